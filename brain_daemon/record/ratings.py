"""logs/ratings/DAY.jsonl: what a person said of a result, one object a line, the newest of an attempt counts.

    {"at": "2026-11-20T20:15:04Z", "task_id": "task-001", "attempt_id": "task-001.a1.0123abcd", "good": false, "why": "wrong year"}

The text in git is the record; what history teaches is read from it. Failures: a line that is not one of ours says nothing.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from brain_daemon.record.wording import utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A word on one attempt; `at` is an instant in words, `why` may be empty."""

    attempt_id: str
    task_id: str
    good: bool
    why: str = ""
    at: str = ""


def rating(task_id: str, attempt_id: str, good: bool, why: str, at: float) -> Rating:
    """A rating given at `at`, epoch seconds."""
    return Rating(attempt_id=attempt_id, task_id=task_id, good=good, why=why, at=utc(at))


def append(existing: bytes, one: Rating) -> bytes:
    """The day's file (b"" for a new one) with one line more."""
    told: dict[str, object] = {"at": one.at, "task_id": one.task_id, "attempt_id": one.attempt_id, "good": one.good}
    line = json.dumps(told | ({"why": one.why} if one.why else {}), ensure_ascii=False)
    return existing + (b"" if not existing or existing.endswith(b"\n") else b"\n") + line.encode() + b"\n"


def parse(data: bytes) -> Iterator[Rating]:
    """The ratings in a file, oldest first."""
    # Line feeds alone end lines: what a person wrote may hold others, such as U+2028.
    for line in filter(str.strip, data.decode("utf-8", "replace").split("\n")):
        try:
            told = json.loads(line)
            yield Rating(
                attempt_id=str(told["attempt_id"]),
                task_id=str(told["task_id"]),
                good=told["good"] is True,
                why=str(told.get("why", "")),
                at=str(told.get("at", "")),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
