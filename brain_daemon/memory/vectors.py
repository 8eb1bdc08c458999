"""The parent's side of the vectors: a child process that is asked through pipes, watched, and started again when it dies.

Nothing the child does can harm who asks: no answer in time, an answer that cannot be read, a signal that ended it (SIGSEGV
from Chroma, SIGKILL) are events that are logged, and the search goes on by words alone until the next child is ready.
A child that dies twice before it held every vector is followed by one that leaves Chroma alone, which is what kills most often.
Without the packages of the extra `memory` there is no child, and `told` says so.

Failures: none are raised.
"""

import importlib.util
import itertools
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from brain_daemon.store.layout import Layout

SEARCH_SECONDS = 1.0
EXACT = 100_000
READY_SECONDS = 180.0
_STOP_SECONDS = 5.0
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 60.0
_STEADY_SECONDS = 60.0
_MOST_IN_VAIN = 2
_MOST_WAITING = 16
_MAX_QUESTION = 2_000
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_QUIET = {
    "ANONYMIZED_TELEMETRY": "False",
    "TOKENIZERS_PARALLELISM": "false",
    "RAYON_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_LOG = logging.getLogger("brain_daemon")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingWish:
    """The settings: `wanted` is auto, local, words, chroma or an address; `model` and `key` are for an endpoint."""

    wanted: str = "auto"
    model: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of the vectors: which embedding and why, where they are kept, how many, and how often the child died."""

    embedding: str | None = None
    why: str = "not started"
    store: str = "none"
    complete: bool = False
    vectors: int = 0
    deaths: int = 0
    fault: str | None = None


def index_path(layout: Layout) -> str:
    """Where the index of the pool lives."""
    return os.path.join(layout.state, "memory", "pool.db")


def missing_packages() -> list[str]:
    """What a child could not do without."""
    return [name for name in ("numpy", "tokenizers") if importlib.util.find_spec(name) is None]


def default_store() -> str:
    """chroma where it is installed, else flat."""
    return "chroma" if importlib.util.find_spec("chromadb") is not None else "flat"


def default_is_here(home: str) -> bool:
    """Whether the model that chromadb embeds with by itself was fetched already."""
    folder = os.path.join(home, ".cache", "chroma", "onnx_models", "all-MiniLM-L6-v2", "onnx")
    return default_store() == "chroma" and os.path.isfile(os.path.join(folder, "model.onnx"))


def chroma_fault(environment: Mapping[str, str], seconds: float = 60.0) -> str:
    """Why chromadb, which is installed, cannot be used here, in a line; "" where it can. A process of its own finds out."""
    command = [sys.executable, "-c", "import chromadb"]
    try:
        done = subprocess.run(
            command,
            env=_passed_on(environment),
            capture_output=True,
            timeout=seconds,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it was not loaded after {seconds:g} s"
    except OSError as error:
        return f"its process could not be started: {error}"
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return (
        (said[-1] if said and done.returncode > 0 else f"its process {_spelt(done.returncode)}")
        if done.returncode
        else ""
    )


def _passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    return {**{name: environment[name] for name in (*_PASSED_ON, *_PROXIES) if name in environment}, **_QUIET}


class Vectors:
    """`store` flat leaves Chroma alone: for a process that only looks something up while the daemon holds it.

    Up to `exact` vectors a search goes through all of them; beyond, it asks Chroma.
    """

    def __init__(
        self,
        layout: Layout,
        wish: EmbeddingWish,
        environment: Mapping[str, str],
        store: str | None = None,
        exact: int = EXACT,
    ) -> None:
        memory = os.path.join(layout.state, "memory")
        self._store = store or default_store()
        self._first_line: dict[str, str | int] = {
            "db": index_path(layout),
            "folder": os.path.join(memory, "vectors"),
            "store": self._store,
            "exact": exact,
            "embedding": wish.wanted,
            "model": wish.model,
            "key": wish.key,
            "home": environment.get("HOME", ""),
        }
        self._environment = _passed_on(environment)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.Queue[list[tuple[int, float]] | None]] = {}
        self._guard = threading.Lock()
        self._changed = threading.Condition(self._guard)
        self._stopped = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._was_complete = False
        self.flat = False
        self.told = Told()

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped since; so it may be without the packages, where there is nothing to do."""
        return self._thread is not None

    def start(self, *, flat: bool = False) -> None:
        """Begin; returns at once. `flat` leaves Chroma alone until the next start."""
        missing = missing_packages()
        if missing:
            self.told = Told(why=f"{', '.join(missing)} not installed: pip install 'brain-daemon[memory]'")
            self._thread = threading.Thread(name="no vectors")
            return
        self._stopped.clear()
        self.flat = flat
        self._first_line["store"] = "flat" if flat else self._store
        self._thread = threading.Thread(target=self._keep, name="vectors", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the child close its store, and end it if it does not."""
        self._stopped.set()
        process = self._process
        if process is not None:
            _close(process)
            if self.told.embedding is None:
                process.kill()  # it still loads its libraries, holds nothing yet and hears nothing until it is ready
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def rest(self) -> None:
        """Stop until the next start: there is nothing to do."""
        self.stop()
        self._thread = None
        self.told = Told(why="at rest", deaths=self.told.deaths)

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    @property
    def pending(self) -> bool:
        """Whether a child may still become ready."""
        return not self._hopeless() and self.told.deaths == 0

    def sync(self) -> None:
        """Tell the child that the index has changed."""
        with self._changed:
            self.told = replace(self.told, complete=False)
        self._send({"op": "sync"})

    def until_complete(self, seconds: float) -> bool:
        """Wait until the child holds a vector of everything; whether it does."""
        with self._changed:
            return (
                self._changed.wait_for(lambda: self.told.complete or not self.pending, seconds) and self.told.complete
            )

    def search(self, text: str, limit: int, seconds: float = SEARCH_SECONDS) -> list[tuple[int, float]]:
        """Chunks near the text with their similarity, best first; nothing where no answer comes in time."""
        if self.told.embedding is None or len(self._waiting) >= _MOST_WAITING:
            return []
        number = next(self._numbers)
        reply: queue.Queue[list[tuple[int, float]] | None] = queue.Queue(1)
        with self._guard:
            self._waiting[number] = reply
        try:
            if not self._send({"id": number, "op": "search", "text": text[:_MAX_QUESTION], "limit": limit}):
                return []
            return reply.get(timeout=seconds) or []
        except queue.Empty:
            return []
        finally:
            with self._guard:
                self._waiting.pop(number, None)

    def _hopeless(self) -> bool:
        return self._thread is None or not self._thread.is_alive()

    def _send(self, message: Mapping[str, Any]) -> bool:
        process = self._process
        if process is None or process.stdin is None:
            return False
        try:
            with self._guard:
                process.stdin.write(json.dumps(message) + "\n")
                process.stdin.flush()
        except (OSError, ValueError):
            return False  # it has just died; its reader hears of that
        return True

    def _keep(self) -> None:
        """Start a child, listen until it ends, wait longer each time it dies soon."""
        wait_seconds = _FIRST_WAIT_SECONDS
        in_vain = 0
        while not self._stopped.is_set():
            began = time.monotonic()
            self._was_complete = False
            why = self._one_life()
            if self._stopped.is_set():
                return
            in_vain = 0 if self._was_complete else in_vain + 1
            if in_vain == _MOST_IN_VAIN:
                self._first_line["store"] = "flat"
            if time.monotonic() - began > _STEADY_SECONDS:
                wait_seconds = _FIRST_WAIT_SECONDS
            with self._changed:
                self.told = replace(
                    self.told, embedding=None, complete=False, deaths=self.told.deaths + 1, fault=why, store="none"
                )
                self._changed.notify_all()
            _LOG.warning("the vectors of the pool are built anew", extra={"action": "memory", "error": why})
            self._stopped.wait(wait_seconds)
            wait_seconds = min(wait_seconds * 2, _LONGEST_WAIT_SECONDS)

    def _one_life(self) -> str:
        """From start to end of one child; why it ended."""
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "brain_daemon.memory.vector_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        except OSError as error:
            return f"its process could not be started: {error}"
        self._process = process
        deadline = threading.Timer(READY_SECONDS, self._too_late, [process])
        deadline.daemon = True
        deadline.start()
        try:
            self._send(self._first_line)
            if self._stopped.is_set():
                _close(process)
            assert process.stdout is not None
            for line in process.stdout:
                self._hear(line, deadline)
        finally:
            deadline.cancel()
            self._process = None
            code = _ended(process)
            self._answer_nobody()
        return f"its process {process.pid} {_spelt(code)}"

    def _too_late(self, process: "subprocess.Popen[str]") -> None:
        """An embedding that is not there in time will be done without."""
        self._first_line["embedding"] = "words"
        process.kill()

    def _hear(self, line: str, deadline: threading.Timer) -> None:
        try:
            said = json.loads(line)
            number, event = said.get("id"), said.get("event")
            if number is not None:
                self._answer(number, [(int(chunk), float(near)) for chunk, near in said["found"]])
            elif event is not None:
                if event == "ready":
                    deadline.cancel()
                self._learn(said)
        except (ValueError, TypeError, KeyError, AttributeError):
            _LOG.warning("the vectors of the pool said what cannot be read", extra={"action": "memory"})

    def _learn(self, said: Mapping[str, Any]) -> None:
        with self._changed:
            match said["event"]:
                case "ready":
                    embedding, why, store = str(said["embedding"]), str(said["why"]), str(said["store"])
                    self.told = replace(self.told, embedding=embedding, why=why, store=store)
                case "complete":
                    self._was_complete = True
                    vectors, store = int(said["vectors"]), str(said["store"])
                    self.told = replace(self.told, complete=True, vectors=vectors, store=store, fault=None)
                case "fault":
                    self.told = replace(self.told, fault=str(said["why"]))
                case _:
                    return
            self._changed.notify_all()

    def _answer(self, number: int, found: list[tuple[int, float]] | None) -> None:
        with self._guard:
            reply = self._waiting.pop(number, None)
        if reply is not None:
            reply.put(found)

    def _answer_nobody(self) -> None:
        for number in list(self._waiting):
            self._answer(number, None)


def _close(process: "subprocess.Popen[str]") -> None:
    """The end of its requests: it closes its store and ends."""
    try:
        if process.stdin is not None:
            process.stdin.close()
    except OSError:
        return


def _ended(process: "subprocess.Popen[str]") -> int:
    _close(process)
    try:
        code = process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if process.stdout is not None:
        process.stdout.close()
    return code


def _spelt(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
