"""What the daemon finds of each interface, kept in the journal for pages and for commands in other processes.

Failures: StorageError where the disk refuses; it is written with the next change.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.policy.quotas import SHARE, Reading
from brain_daemon.record.usage import FINDINGS, NO_FINDING, Finding, QuotaUse, findings_from, findings_to
from brain_daemon.store.journal import Journal


class Findings:
    """Of one daemon. Written only when something has changed."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._kept = journal.get(FINDINGS) or "{}"
        self._found = findings_from(self._kept)

    def keep(
        self,
        specs: Iterable[InterfaceSpec],
        *,
        words: Mapping[str, tuple[str, str]],
        caps: Mapping[str, int],
        read: Callable[[InterfaceSpec], Sequence[Reading]],
        others: bool = False,
    ) -> None:
        """Breakers that are not closed in `words` with why, fewer slots in `caps`, and the quotas as `read` gives them.

        `others`: what was found of interfaces that are not among `specs` still stands.
        """
        found = dict(self._found) if others else {}
        for spec in specs:
            now = finding_of(spec, read(spec), word=words.get(spec.name), slots=caps.get(spec.name))
            found.pop(spec.name, None)
            if now != NO_FINDING:
                found[spec.name] = now
        told = findings_to(found)
        if told != self._kept:
            self._journal.set(FINDINGS, told)
            self._kept, self._found = told, found

    @property
    def caps(self) -> Mapping[str, int]:
        """Slots of the interfaces that were found to bear fewer than they declare."""
        return {name: one.slots for name, one in self._found.items() if one.slots is not None}

    def knows(self, name: str) -> bool:
        """Whether there is a finding of an interface."""
        return name in self._found


def finding_of(
    spec: InterfaceSpec, readings: Sequence[Reading], *, word: tuple[str, str] | None, slots: int | None
) -> Finding:
    """What these readings say of an interface; `word` is the state of its breaker and why, None: closed."""
    breaker, why = word or ("closed", "")
    uses = tuple(map(_use_of, readings))
    daily = spec.limits.messages_per_day is not None and bool(uses)  # the first of its quotas, then (policy/quotas.py)
    return Finding(breaker=breaker, why=why, slots=slots, quotas=uses, messages_left=uses[0].left if daily else None)


def _use_of(reading: Reading) -> QuotaUse:
    quota = reading.quota
    left = None if quota.unit == SHARE else max(0, int(quota.amount - reading.used))
    return QuotaUse(quota=quota.label, share=reading.share, resets_at=reading.resets_at, left=left)
