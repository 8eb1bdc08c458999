"""File events as hints: real observers on real folders."""

import asyncio
import logging
import os
import queue
from functools import partial

import pytest
from watchdog.observers.polling import PollingObserver

from brain_daemon.store import watch as watch_module
from brain_daemon.store.files import Files
from brain_daemon.store.watch import Folder, Hint, Watch


class Heard:
    """The hints, for one test."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Hint, str]] = queue.Queue()

    def __call__(self, hint: Hint, path: str) -> None:
        self._queue.put((hint, path))

    def until(self, hint: Hint, path) -> list[tuple[Hint, str]]:
        """Everything heard up to this one."""
        seen = []
        while True:
            seen.append(self._queue.get(timeout=60))
            if seen[-1] == (hint, str(path)):
                return seen


@pytest.fixture
def folders(tmp_path):
    for name in ("tasks/pending", "tasks/active", "other"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def watching(folders, request):
    """Watches tasks/ with what is below it, and other/."""
    heard = Heard()
    watch = Watch(
        (Folder(str(folders / "tasks"), recursive=True), Folder(str(folders / "other"))), heard, polling_seconds=0.05
    )
    watch.start(Files(), str(folders / "tasks" / "pending"))
    yield watch, heard
    watch.close()


def test_a_file_written_and_closed_is_complete(watching, folders):
    """The hint names the file; the probe of the start is not heard of."""
    watch, heard = watching
    assert watch.kind == "events"
    (folders / "tasks" / "pending" / "a.md").write_text("x")
    seen = heard.until(Hint.COMPLETE, folders / "tasks" / "pending" / "a.md")
    assert not [path for _, path in seen if "probe" in path]
    assert os.listdir(folders / "tasks" / "pending") == ["a.md"]


def test_a_move_is_gone_here_and_complete_there(watching, folders):
    """Between watched folders, in from outside, and out to outside."""
    _, heard = watching
    pending, active = folders / "tasks" / "pending", folders / "tasks" / "active"
    (folders / "a.md").write_text("x")
    (folders / "a.md").rename(pending / "a.md")
    heard.until(Hint.COMPLETE, pending / "a.md")
    (pending / "a.md").rename(active / "a.md")
    seen = heard.until(Hint.COMPLETE, active / "a.md")
    assert (Hint.GONE, str(pending / "a.md")) in seen
    (active / "a.md").rename(folders / "b.md")
    heard.until(Hint.GONE, active / "a.md")


def test_reading_makes_no_hint(watching, folders):
    """Else each of our own looks would wake us."""
    _, heard = watching
    path = folders / "other" / "a.md"
    path.write_text("x")
    heard.until(Hint.COMPLETE, path)
    path.read_text()
    (folders / "other" / "b.md").write_text("x")
    assert heard.until(Hint.COMPLETE, folders / "other" / "b.md") == [(Hint.COMPLETE, str(folders / "other" / "b.md"))]


def test_a_warning_of_watchdog_is_an_overflow(watching):
    """It drops events in a storm and says so only in its log."""
    watch, heard = watching
    logging.getLogger("watchdog.observers.inotify_c").warning("Events lost")
    heard.until(Hint.OVERFLOW, "Events lost")
    watch.close()
    logging.getLogger("watchdog.observers.inotify_c").warning("Later")
    assert "Later" not in [heard._queue.get_nowait()[1] for _ in range(heard._queue.qsize())]


@pytest.mark.parametrize("why", ["deaf", "refused"])
def test_polling_takes_over_where_events_do_not_work(folders, monkeypatch, why):
    """No event for the probe, or no observer at all (too many watches)."""

    def refuse():
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(watch_module, "_observer", partial(PollingObserver, timeout=3600) if why == "deaf" else refuse)
    heard = Heard()
    watch = Watch((Folder(str(folders / "tasks"), recursive=True),), heard, polling_seconds=0.05)
    watch.start(Files(), str(folders / "tasks" / "pending"), probe_timeout_seconds=0.1)
    assert watch.kind == "polling"
    path = folders / "tasks" / "pending" / "a.md"
    path.write_text("x")
    heard.until(Hint.CHANGING, path)
    path.unlink()
    heard.until(Hint.GONE, path)
    watch.close()
    watch.close()


def test_a_watch_that_never_started_can_be_closed(folders):
    """Closing is always safe."""
    Watch((Folder(str(folders)),), Heard()).close()


@pytest.fixture
async def in_loop(folders):
    """Watches a busy pending/ in the test's own loop, and other/ by watchdog."""
    heard = Heard()
    loop = asyncio.get_running_loop()
    watch = Watch(
        (Folder(str(folders / "tasks" / "pending"), busy=True), Folder(str(folders / "other"))), heard, loop=loop
    )
    watch.start(Files(), str(folders / "tasks" / "pending"))
    yield watch, heard
    watch.close()


async def _next(heard: Heard) -> tuple[Hint, str]:
    """The next hint; the loop goes on meanwhile."""
    return await asyncio.to_thread(heard._queue.get, timeout=60)


async def test_a_busy_folder_is_read_in_the_loop_and_the_others_by_watchdog(in_loop, folders):
    """The probe of the start is not heard of, and after the end nothing is."""
    watch, heard = in_loop
    assert watch.kind == "events"
    (folders / "tasks" / "pending" / "a.md").write_text("x")
    assert heard._queue.empty()
    assert await _next(heard) == (Hint.COMPLETE, str(folders / "tasks" / "pending" / "a.md"))
    (folders / "other" / "b.md").write_text("x")
    await asyncio.to_thread(heard.until, Hint.COMPLETE, folders / "other" / "b.md")
    await asyncio.to_thread(watch.close)
    await asyncio.sleep(0)
    (folders / "tasks" / "pending" / "c.md").write_text("x")
    await asyncio.sleep(0)
    assert heard._queue.empty()


async def test_a_busy_folder_that_was_replaced_is_in_doubt(in_loop, folders):
    """Its new files are heard of from then on."""
    watch, heard = in_loop
    watch.renew()
    assert heard._queue.empty()
    pending = folders / "tasks" / "pending"
    pending.rmdir()
    assert (await _next(heard))[0] is Hint.OVERFLOW
    pending.mkdir()
    watch.renew()
    assert heard._queue.get_nowait()[0] is Hint.OVERFLOW
    (pending / "a.md").touch()
    assert await _next(heard) == (Hint.COMPLETE, str(pending / "a.md"))
