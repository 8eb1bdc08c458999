"""The daemon's own log: JSON lines in the state folder, and a readable line on a terminal.

One line an event: `time` (UTC, milliseconds), `level`, `message`, then what the event brings (`action`, `task`, ...) and
`traceback` where something broke. When `daemon.log` reaches its size it becomes `daemon.log.1`, of which one is kept.
Everything is redacted and freed of control characters before it is written. The file is written to at most ten times a
second, but at once for a warning or worse: a crash may take a tenth of a second of the other lines along.

Failures: a log that cannot be written is said once on standard error and stops nothing.
"""

import json
import logging
import os
import sys
import threading
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
_PAUSE_SECONDS = 0.1
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
            handler.close()
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
        self._lines: list[bytes] = []
        self._written_at = 0.0
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(json.dumps(_event(record, self._redactor), ensure_ascii=True).encode() + b"\n")
        left = self._written_at + _PAUSE_SECONDS - time.monotonic()
        if left <= 0 or record.levelno >= logging.WARNING:
            self.flush()
        elif self._timer is None:
            self._timer = threading.Timer(left, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._written_at = time.monotonic()
            lines, self._lines = self._lines, []
            self._write(lines)
        except (BrainError, OSError) as error:
            self._complain(str(error))
        finally:
            self.release()

    def close(self) -> None:
        self.flush()
        super().close()

    def _write(self, lines: list[bytes]) -> None:
        size = _size_of(self._path)
        together: list[bytes] = []
        for line in lines:
            if size and size + len(line) > self._size_bytes:
                self._append(together)
                self._roll()
                together, size = [], 0
            together.append(line)
            size += len(line)
        self._append(together)

    def _append(self, lines: list[bytes]) -> None:
        if lines:
            self._files.append(self._path, b"".join(lines))

    def _roll(self) -> None:
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


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _event(record: logging.LogRecord, redactor: Redactor) -> dict[str, Any]:
    """What a record says, as values that JSON has."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    said: dict[str, Any] = {"message": record.getMessage()}
    said |= {key: _plain(value) for key, value in vars(record).items() if key not in _OURS}
    event = {
        "time": f"{stamp}.{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        **_cleaned(said, redactor),
    }
    if record.exc_info and record.exc_info[0] is not None:
        trace = logging.Formatter().formatException(record.exc_info)
        event["traceback"] = redactor.text(clean_text(trace))[-_MAX_TEXT_LENGTH:]
    return event


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _cleaned(said: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    """The values without secrets and control characters; one look tells for all of them that there is no secret."""
    texts = {key: clean_text(value) for key, value in said.items() if isinstance(value, str)}
    if redactor.find("\n".join(texts.values())):
        texts = {key: redactor.text(text) for key, text in texts.items()}
    return said | {key: clean_line(text, _MAX_TEXT_LENGTH) for key, text in texts.items()}
