"""What the daemon finds of each interface, kept in the journal for pages and for commands in other processes.

Failures: StorageError where the disk refuses; it is written with the next change.
"""

from collections.abc import Callable, Iterable, Mapping

from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.policy.quotas import Reading
from brain_daemon.record.usage import FINDINGS, Finding, QuotaUse, findings_to
from brain_daemon.store.journal import Journal


class Findings:
    """Of one daemon. Written only when something has changed."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._kept = journal.get(FINDINGS) or "{}"

    def keep(
        self,
        specs: Iterable[InterfaceSpec],
        *,
        words: Mapping[str, tuple[str, str]],
        caps: Mapping[str, int],
        read: Callable[[InterfaceSpec], Iterable[Reading]],
    ) -> None:
        """Breakers that are not closed in `words` with why, fewer slots in `caps`, and the quotas as `read` gives them."""
        found: dict[str, Finding] = {}
        for spec in specs:
            quotas = tuple(map(_use_of, read(spec)))
            if quotas or spec.name in words or spec.name in caps:
                breaker, why = words.get(spec.name, ("closed", ""))
                found[spec.name] = Finding(breaker=breaker, why=why, slots=caps.get(spec.name), quotas=quotas)
        told = findings_to(found)
        if told != self._kept:
            self._journal.set(FINDINGS, told)
            self._kept = told


def _use_of(reading: Reading) -> QuotaUse:
    return QuotaUse(quota=reading.quota.label, share=reading.share, resets_at=reading.resets_at)
