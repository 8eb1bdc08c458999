"""context/usage.md: what each interface was used for today, and what it has left.

The front matter is for programs (any YAML reader gives whole numbers as whole numbers), the table below it for eyes.

    interfaces:
      claude_code:
        messages_today: 12
        requests_today: 31
        tokens_today: 48210
        limit_remaining: 1488
        quota_remaining: null
        last_error: null
        status: available
        breaker: closed
        quota_used: 0.62
        quota_resets_at: "2026-11-20T22:00:00Z"

`quota_used` is the share of its account's fullest quota, with what other brains and the client itself have told; the daemon finds it
at each look at the folders and at each end, and keeps it in the journal (`FINDINGS`). `brain usage` reads the accounts themselves.

Written by the daemon as a whole, interfaces by name; the same view gives the same bytes. Reading is for people's tools
and for tests: the daemon counts from the ledger. Failures: a file whose front matter cannot be read is `Malformed`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brain_daemon.model import frontmatter
from brain_daemon.model.cleaning import clean_line
from brain_daemon.record.wording import markdown, utc, yaml_text

FINDINGS = "findings"
"""The key in the journal under which the daemon keeps a `Finding` for each interface that has one."""

_HEADINGS = (
    "Interface",
    "Status",
    "Breaker",
    "Messages",
    "Requests",
    "Tokens",
    "Limit left",
    "Quota left",
    "Quota used",
    "Last error",
)
_NUMERIC = range(3, 9)
_COUNTS = ("messages_today", "requests_today", "tokens_today", "limit_remaining", "quota_remaining")
_SHARE = re.compile(r"[0-9.]{1,12}(e[+-]?[0-9]{1,3})?")
_SAID = ("breaker", "quota_used", "quota_resets_at")
_NUMBER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaUse:
    """One quota of an interface's account: its name in words, the share used, when it has room again (epoch seconds).

    `left` is what is left of it in its unit, in whole ones; None where only a share is known.
    """

    quota: str
    share: float
    resets_at: float | None = None
    left: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the daemon last found of an interface; `slots` is None where it bears as many as it declares.

    `messages_left` is what its account has left of its messages a day, None where there is no such limit.
    """

    breaker: str = "closed"
    why: str = ""
    quotas: tuple[QuotaUse, ...] = ()
    slots: int | None = None
    messages_left: int | None = None

    @property
    def fullest(self) -> QuotaUse | None:
        """The quota that will hold up work first."""
        return max(self.quotas, key=lambda one: one.share, default=None)


NO_FINDING = Finding()


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceUsage:
    """One interface today (UTC).

    `messages_today` are tasks sent, `requests_today` the requests they took at the provider. `limit_remaining` is what
    is left of messages_per_day, `quota_remaining` of the tightest quota window, in that window's unit; None is: no such limit,
    or not told. `status` is the daemon's finding, not what the interface's file says. `quota_used` is a share, 1 is all;
    `quota_resets_at` epoch seconds.
    """

    name: str
    messages_today: int = 0
    requests_today: int = 0
    tokens_today: int = 0
    limit_remaining: int | None = None
    quota_remaining: int | None = None
    last_error: str | None = None
    status: str = "available"
    breaker: str = "closed"
    quota_used: float | None = None
    quota_resets_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageView:
    """All that usage.md says; `updated` is epoch seconds, `day` the UTC day, `state` the daemon's."""

    updated: float
    day: str
    state: str
    interfaces: Sequence[InterfaceUsage] = ()


def render(view: UsageView) -> bytes:
    """The file, UTF-8."""
    interfaces = sorted(view.interfaces, key=lambda usage: usage.name)
    blocks = "".join(_block(usage) for usage in interfaces)
    head = f'updated: "{utc(view.updated)}"\nday: {yaml_text(view.day)}\ndaemon: {yaml_text(view.state)}\n'
    body = _table([_cells(usage) for usage in interfaces]) if interfaces else "No interface is registered.\n"
    front = f"---\n{head}interfaces:{'' if interfaces else ' {}'}\n{blocks}---\n"
    return f"{front}# Usage on {clean_line(view.day)}\n\n{body}".encode()


def parse(data: bytes) -> dict[str, Any]:
    """The front matter as plain values, numbers as numbers: `parse(data)["interfaces"]["upper"]["messages_today"]`. Raises Malformed."""
    metadata, _ = frontmatter.read(data.decode("utf-8-sig", "replace"))
    interfaces = metadata.get("interfaces")
    named = interfaces.items() if isinstance(interfaces, dict) else ()
    return {**metadata, "interfaces": {name: _values(told) for name, told in named if isinstance(told, dict)}}


def findings_to(findings: Mapping[str, Finding]) -> str:
    """The findings as text for the journal; equal findings, equal text."""
    return json.dumps(
        {
            name: [one.breaker, one.why, one.slots, [_quota_to(use) for use in one.quotas], one.messages_left]
            for name, one in sorted(findings.items())
        }
    )


def findings_from(text: str | None) -> dict[str, Finding]:
    """The findings behind `findings_to`; none in anything else."""
    try:
        return {
            name: Finding(
                breaker=breaker,
                why=why,
                slots=slots,
                quotas=tuple(
                    QuotaUse(quota=q, share=float(share), resets_at=at, left=left) for q, share, at, left in quotas
                ),
                messages_left=messages_left,
            )
            for name, (breaker, why, slots, quotas, messages_left) in json.loads(text or "{}").items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _quota_to(use: QuotaUse) -> list[Any]:
    return [use.quota, round(use.share, 4), use.resets_at, use.left]


def _values(told: dict[str, Any]) -> dict[str, Any]:
    """What is told of one interface: the reader gives text and leaves out what is null."""
    values: dict[str, Any] = {**dict.fromkeys((*_COUNTS, "last_error", "status", *_SAID)), **told}
    for name in _COUNTS:
        found = values[name]
        if isinstance(found, str) and _NUMBER.fullmatch(found):
            values[name] = int(found)
    share = values["quota_used"]
    if isinstance(share, str) and _SHARE.fullmatch(share):
        values["quota_used"] = float(share)
    return values


def _block(usage: InterfaceUsage) -> str:
    return (
        f"  {yaml_text(usage.name)}:\n"
        f"    messages_today: {usage.messages_today}\n"
        f"    requests_today: {usage.requests_today}\n"
        f"    tokens_today: {usage.tokens_today}\n"
        f"    limit_remaining: {_whole(usage.limit_remaining)}\n"
        f"    quota_remaining: {_whole(usage.quota_remaining)}\n"
        f"    last_error: {yaml_text(clean_line(usage.last_error)) if usage.last_error else 'null'}\n"
        f"    status: {yaml_text(clean_line(usage.status))}\n"
        f"    breaker: {yaml_text(usage.breaker)}\n"
        f"    quota_used: {'null' if usage.quota_used is None else f'{usage.quota_used:.4g}'}\n"
        f"    quota_resets_at: {'null' if usage.quota_resets_at is None else yaml_text(utc(usage.quota_resets_at))}\n"
    )


def _whole(number: int | None) -> str:
    return "null" if number is None else str(number)


def _cells(usage: InterfaceUsage) -> tuple[str, ...]:
    return (
        usage.name,
        markdown(usage.status),
        usage.breaker,
        f"{usage.messages_today:,}",
        f"{usage.requests_today:,}",
        f"{usage.tokens_today:,}",
        "-" if usage.limit_remaining is None else f"{usage.limit_remaining:,}",
        "-" if usage.quota_remaining is None else f"{usage.quota_remaining:,}",
        "-" if usage.quota_used is None else f"{usage.quota_used:.0%}",
        markdown(usage.last_error or "") or "-",
    )


def _table(rows: list[tuple[str, ...]]) -> str:
    """A markdown table with its columns aligned; the last one, which holds free text, is not padded."""
    widths = [max(len(row[column]) for row in (_HEADINGS, *rows)) for column in range(len(_HEADINGS) - 1)]
    rule = "|".join(
        f" {'-' * (width - 1)}: " if column in _NUMERIC else f" {'-' * width} " for column, width in enumerate(widths)
    )
    lines = [_line(_HEADINGS, widths), f"|{rule}| --- |", *(_line(row, widths) for row in rows)]
    return "\n".join(lines) + "\n"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        row[column].rjust(width) if column in _NUMERIC else row[column].ljust(width)
        for column, width in enumerate(widths)
    )
    return f"| {' | '.join(padded)} | {row[-1]} |"
