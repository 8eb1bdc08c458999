"""What stands in the file of an ended task: its result block and the whole text, wherever the recorder had to put it."""

import os
from dataclasses import dataclass
from typing import Any

from brain_daemon.model import document
from brain_daemon.model.errors import Damaged
from brain_daemon.service.brain import Brain
from brain_daemon.store.journal import TaskRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What stands in an ended task's file: the result block and its whole text. `path` is the file that has it, below the brain."""

    values: dict[str, Any]
    text: str
    path: str


def read_recorded(brain: Brain, record: TaskRecord) -> Recorded:
    """The result of an ended task, also where it stands beside its file or was too long for it. Damaged if it was edited apart."""
    path = brain.layout.inside(record.path)
    stem = path.removesuffix(".md")
    places = (f"{stem}.result.md", f"{stem}.error.md", path)
    place = next((one for one in places if os.path.exists(one)), path)
    result = document.read_result(_read(place))
    text = result.text
    if result.cut_bytes is not None and os.path.exists(f"{stem}.files/result.md"):
        place = f"{stem}.files/result.md"
        text = _read(place).decode("utf-8", "replace")
    return Recorded(values=result.values, text=text, path=brain.layout.relative(place))


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except OSError as error:
        raise Damaged(f"reading the result {path}: {error.strerror}. `git log -- {path}` may have it.") from error
