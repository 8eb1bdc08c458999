"""The daemon's own log: whole JSON lines, bounded, and never a secret or a control character."""

import io
import json
import logging
import time
from contextlib import contextmanager

import pytest

from brain_daemon.model.errors import StorageError
from brain_daemon.model.redaction import Redactor
from brain_daemon.service import daemon_log as module
from brain_daemon.service.daemon_log import logging_to
from brain_daemon.store.files import Files

SECRET = "correct-horse-battery"
LOG = logging.getLogger("brain_daemon")


@pytest.fixture
def kept(tmp_path):
    """`with kept(size) as (lines, terminal):` keeps a log; `lines()` reads it."""

    @contextmanager
    def keep(size_bytes=1_000_000, files=None):
        terminal = io.StringIO()
        with logging_to(str(tmp_path), files or Files(), size_bytes, Redactor([SECRET]), terminal):
            yield lambda: [json.loads(line) for line in (tmp_path / "daemon.log").read_text().splitlines()], terminal

    return keep


def test_an_event_is_one_line_for_programs_and_one_for_eyes(kept):
    """Time, level and message first, then what the event brings."""
    with kept() as (lines, terminal):
        LOG.info(
            "task %s done",
            "t1",
            extra={"action": "end", "task": "t1", "seconds": 1.5, "why": "two words", "none": None},
        )
    event = lines()[0]
    assert list(event) == ["time", "level", "message", "action", "task", "seconds", "why", "none"]
    assert (event["level"], event["message"], event["seconds"], event["none"]) == ("info", "task t1 done", 1.5, None)
    assert event["time"].endswith("Z")
    assert terminal.getvalue().endswith(' task t1 done task=t1 seconds=1.5 why="two words" none=None\n')


def test_a_fault_brings_its_traceback(kept):
    """As one field of one line; on the terminal below the line, with its level."""
    with kept() as (lines, terminal):
        try:
            int(f"bad\x1b[31m {SECRET}")
        except ValueError:
            LOG.exception("it broke")
    assert "ValueError: invalid literal" in lines()[0]["traceback"]
    assert SECRET not in lines()[0]["traceback"]
    assert "ERROR: it broke\nTraceback" in terminal.getvalue()


def test_secrets_and_control_characters_reach_neither_file_nor_terminal(kept, tmp_path):
    """In messages, fields and tracebacks."""
    with kept() as (_, terminal):
        LOG.warning("key %s\x1b]0;title\x07", SECRET, extra={"error": f"{SECRET}\r\n\x9bforged"})
    for said in ((tmp_path / "daemon.log").read_text(), terminal.getvalue()):
        assert SECRET not in said
        assert not any(sign in said for sign in "\x1b\x07\r\x9b")
        assert said.count("\n") == 1


def test_the_log_is_rolled_at_its_size_and_one_older_one_is_kept(kept, tmp_path):
    """No line is cut, and what is kept is never more than two sizes."""
    with kept(size_bytes=2_000) as (lines, _):
        for number in range(100):
            LOG.info("line", extra={"number": number})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["daemon.log", "daemon.log.1"]
    older = [json.loads(line)["number"] for line in (tmp_path / "daemon.log.1").read_text().splitlines()]
    newest = [event["number"] for event in lines()]
    assert [*older, *newest] == list(range(older[0], 100))
    assert all(path.stat().st_size <= 2_000 for path in tmp_path.iterdir())


def test_a_log_that_cannot_be_written_stops_nothing_and_is_said_once(kept, capsys):
    """The disk refuses; the caller goes on."""

    class Full(Files):
        def append(self, path: str, data: bytes) -> None:
            raise StorageError(f"appending to {path} failed: no space")

    with kept(files=Full()) as (_, terminal):
        LOG.info("one")
        LOG.info("two")
    assert capsys.readouterr().err.count("the log cannot be written") == 1
    assert terminal.getvalue().count("\n") == 2


def test_a_terminal_that_has_gone_stops_nothing(kept):
    """The file has the event."""
    with kept() as (lines, terminal):
        terminal.close()
        LOG.info("still here")
    assert lines()[0]["message"] == "still here"


def test_the_log_is_kept_only_within_its_block(kept):
    """Before and after, the program logs nowhere of its own accord."""
    before = list(LOG.handlers)
    with kept() as (_, terminal):
        assert len(LOG.handlers) == len(before) + 2
    LOG.info("after")
    assert (LOG.handlers, terminal.getvalue()) == (before, "")


def test_many_events_are_written_together_soon_and_a_warning_at_once(kept, monkeypatch):
    """The first one is written at once; those that follow wait for a moment, or for the end."""

    class Counting(Files):
        appended = 0

        def append(self, path: str, data: bytes) -> None:
            self.appended += 1
            super().append(path, data)

    files = Counting()
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 3600.0)
    with kept(files=files) as (lines, _):
        for number in range(50):
            LOG.info("line", extra={"number": number})
        assert (files.appended, len(lines())) == (1, 1)
        LOG.warning("look")
        assert (files.appended, len(lines())) == (2, 51)
        LOG.info("last")
    assert [event["message"] for event in lines()][-2:] == ["look", "last"]


def test_what_waits_is_written_without_another_event(kept, monkeypatch):
    """By a timer."""
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.01)
    with kept() as (lines, _):
        LOG.info("one")
        LOG.info("two")
        deadline = time.monotonic() + 60
        while len(lines()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.002)
