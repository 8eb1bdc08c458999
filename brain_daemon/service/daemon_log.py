"""The daemon's own log: JSON lines in the state folder, and a readable line on a terminal.

One line an event: `time` (UTC, milliseconds), `level`, `message`, then what the event brings (`action`, `task`, ...) and
`traceback` where something broke. When `daemon.log` reaches its size it becomes `daemon.log.1`, of which one is kept.
Everything is redacted and freed of control characters before it is written.

Failures: a log that cannot be written is said once on standard error and stops nothing.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.errors import BrainError
from brain_daemon.model.redaction import Redactor
from brain_daemon.store.files import Files

LOGGER = "brain_daemon"
FILE_NAME = "daemon.log"
_MAX_TEXT_LENGTH = 4_000
_OURS = frozenset({"message", "asctime", *vars(logging.makeLogRecord({}))})


@contextmanager
def logging_to(
    state: str, files: Files, size_bytes: int, redactor: Redactor, terminal: TextIO | None
) -> Iterator[None]:
    """Keep the log of a daemon whose state folder is `state` for as long as the block runs; `terminal` may be None."""
    logger = logging.getLogger(LOGGER)
    handlers: list[logging.Handler] = [JsonLines(os.path.join(state, FILE_NAME), files, size_bytes, redactor)]
    if terminal is not None:
        handlers.append(Readable(terminal, redactor))
    level = logger.level
    logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        logger.setLevel(level)


class JsonLines(logging.Handler):
    """Appends to a file, and rolls it over when it would pass `size_bytes`."""

    def __init__(self, path: str, files: Files, size_bytes: int, redactor: Redactor) -> None:
        super().__init__(logging.INFO)
        self._path = path
        self._files = files
        self._size_bytes = size_bytes
        self._redactor = redactor
        self._complained = False

    def emit(self, record: logging.LogRecord) -> None:
        line = json.dumps(_event(record, self._redactor), ensure_ascii=True).encode() + b"\n"
        try:
            self._roll(len(line))
            self._files.append(self._path, line)
        except (BrainError, OSError) as error:
            self._complain(str(error))

    def _roll(self, more_bytes: int) -> None:
        try:
            size = os.stat(self._path).st_size
        except FileNotFoundError:
            return
        if size and size + more_bytes > self._size_bytes:
            older = f"{self._path}.1"
            self._files.remove(older)
            self._files.move(self._path, older)

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            sys.stderr.write(f"brain: the log cannot be written: {clean_line(why, 500)}\n")


class Readable(logging.Handler):
    """One line an event for eyes: `08:41:19 completed task=t4 interface=upper`."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        super().__init__(logging.INFO)
        self._stream = stream
        self._redactor = redactor

    def emit(self, record: logging.LogRecord) -> None:
        event = _event(record, self._redactor)
        mark = "" if record.levelno < logging.WARNING else f"{record.levelname}: "
        facts = "".join(f" {key}={_fact(value)}" for key, value in event.items() if key not in _SHOWN_OTHERWISE)
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        trace = f"\n{event['traceback'].rstrip()}" if "traceback" in event else ""
        try:
            self._stream.write(f"{clock} {mark}{event['message']}{facts}{trace}\n")
            self._stream.flush()
        except (OSError, ValueError):
            # The terminal is gone; the file has the event.
            return


_SHOWN_OTHERWISE = frozenset({"time", "level", "message", "action", "traceback"})


def _fact(value: object) -> str:
    text = clean_line(str(value), 300)
    return f'"{text}"' if " " in text else text


def _event(record: logging.LogRecord, redactor: Redactor) -> dict[str, Any]:
    """What a record says, as values that JSON has."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    event: dict[str, Any] = {
        "time": f"{stamp}.{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "message": _clean(record.getMessage(), redactor),
    }
    event |= {key: _value(value, redactor) for key, value in vars(record).items() if key not in _OURS}
    if record.exc_info and record.exc_info[0] is not None:
        trace = logging.Formatter().formatException(record.exc_info)
        event["traceback"] = redactor.text(clean_text(trace))[-_MAX_TEXT_LENGTH:]
    return event


def _value(value: object, redactor: Redactor) -> object:
    return value if value is None or isinstance(value, (bool, int, float)) else _clean(str(value), redactor)


def _clean(text: str, redactor: Redactor) -> str:
    return clean_line(redactor.text(clean_text(text)), _MAX_TEXT_LENGTH)
