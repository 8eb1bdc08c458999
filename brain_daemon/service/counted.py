"""The sums that routing learns from, kept from one start to the next: counting twenty thousand rows takes half a second.

A file in the state folder that only says what the ledger's index says as well: damaged, foreign or missing, the rows are counted anew.
Failures: none are told.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from datetime import date
from typing import Any

from brain_daemon import __version__
from brain_daemon.model.errors import StorageError
from brain_daemon.policy.evidence import Tally
from brain_daemon.store.files import Files
from brain_daemon.store.looking import only_looking
from brain_daemon.store.reading import read_regular

_MAX_BYTES = 16 << 20
_MOST = 1 << 62
_FIELDS = [field.name for field in fields(Tally)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Sums by (type, interface, day) over the rows after number `since` up to number `read`, which is that of the attempt `last`.

    `made_of` names what else they depend on: the type names in force and the ratings.
    """

    made_of: str
    since: int
    read: int
    last: str | None
    newest_day: int
    sums: Mapping[tuple[str, str, int], Tally]


def kept_sums(state: str) -> Counted | None:
    """What was kept last, by this release; None where there is none."""
    try:
        told = json.loads(read_regular(_path(state), _MAX_BYTES))
        if told["version"] != __version__ or told["fields"] != _FIELDS:
            return None
        since, read, newest_day = (int(told[name]) for name in ("since", "read", "newest_day"))
        sums = {(str(kind), str(name), int(day)): _tally(values) for kind, name, day, *values in told["sums"]}
        if not 0 <= since <= read < _MOST or not all(
            0 < day <= newest_day <= date.max.toordinal() for _, _, day in sums
        ):
            return None
        return Counted(
            made_of=str(told["made_of"]), since=since, read=read, last=told["last"], newest_day=newest_day, sums=sums
        )
    except (StorageError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def keep_sums(state: str, counted: Counted, files: Files) -> None:
    """For the next start."""
    if only_looking(state):
        return
    told = {
        "version": __version__,
        "fields": _FIELDS,
        "made_of": counted.made_of,
        "since": counted.since,
        "read": counted.read,
        "last": counted.last,
        "newest_day": counted.newest_day,
        "sums": [[*key, *astuple(tally)] for key, tally in counted.sums.items()],
    }
    with suppress(StorageError, OSError):
        files.put(_path(state), json.dumps(told).encode(), sync=False)


def _tally(values: Sequence[Any]) -> Tally:
    if not all(isinstance(value, int | float) for value in values):
        raise TypeError(values)
    return Tally(**dict(zip(_FIELDS, values, strict=True)))


def _path(state: str) -> str:
    return os.path.join(state, "history.counted")
