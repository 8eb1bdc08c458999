"""A brain with the real clients, in a home of its own, and the daemon on it as a program with a clean environment."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brain_daemon.model import document
from tests.clients.programs import CLIENTS

RUN_SECONDS = 290.0
PROJECT = Path(__file__).resolve().parents[2]
_GIT_IDENTITY = "[user]\n\tname = Ann\n\temail = ann@example.org\n[init]\n\tdefaultBranch = main\n"


@dataclass(slots=True)
class Rig:
    """One brain. `settings` become BRAIN_ variables of every command, so `timeout: 5s` and the like."""

    folder: Path
    programs: Path
    url: str
    settings: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / ".gitconfig").write_text(_GIT_IDENTITY)
        for client in CLIENTS.values():
            self.extra = {**client.dress(self.home, self.url), **self.extra}
        assert self.brain("init", str(self.root)).returncode == 0

    @property
    def root(self) -> Path:
        return self.folder / "brain"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the environment the tests run in, but for the language."""
        usual = {"settle": "0s", "group": "20ms", "scan": "1s", "transient_retries": "0", "grace": "2s", "drain": "2s"}
        # The servers know a request by the words in it: what the pool finds in other tasks must not stand there too.
        usual = {"memory_tokens": "0", **usual}
        settings = {f"BRAIN_{name.upper()}": value for name, value in {**usual, **self.settings}.items()}
        path = f"{self.programs}{os.pathsep}{os.defpath}"
        return {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", **self.extra, **settings}

    def brain(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command of the program."""
        place = () if arguments[0] == "init" else ("--brain", str(self.root))
        return subprocess.run(
            [sys.executable, "-m", "brain_daemon", *place, *arguments],
            env=self.environment | _import_path(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

    def drop(self, task_id: str, interface: str, text: str, **keys: str) -> None:
        """A task, bound to an interface where one is named, moved into pending/ whole."""
        bound = {"interface": interface} if interface else {}
        lines = "".join(f"{name}: {value}\n" for name, value in {**bound, **keys}.items())
        aside = self.root / f".dropping-{task_id}"
        aside.write_text(f"---\n{lines}---\n{text}\n", encoding="utf-8")
        aside.rename(self.root / "brain" / "tasks" / "pending" / f"{task_id}.md")

    @property
    def workspaces(self) -> Path:
        """Where the scratch folders of the attempts are."""
        return self.home / ".local" / "state" / "brain-daemon" / "workspaces"

    def run_once(self) -> int:
        """Work through what is there; the exit code, or a failure that quotes the daemon."""
        done = self.brain("run", "--once")
        assert done.returncode in (0, 1), done.stderr
        return done.returncode

    def task(self, task_id: str) -> "Told":
        """What `brain show` says of a task."""
        said = self.brain("show", task_id, "--json")
        assert said.returncode == 0, said.stderr
        return Told(json.loads(said.stdout))

    def results(self) -> dict[str, document.Result]:
        """What the files in completed/ and failed/ say, by task."""
        folders = (self.root / "brain" / "tasks" / name for name in ("completed", "failed"))
        files = [path for folder in folders for path in folder.glob("*.md")]
        return {path.stem: document.read_result(path.read_bytes()) for path in files}

    @contextmanager
    def running(self, first: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """`brain run` in the background; it is asked to stop at the end, and killed if it does not. `first` is Python that it does before."""
        program = f"{first}\nimport runpy\nrunpy.run_module('brain_daemon', run_name='__main__', alter_sys=True)"
        start = ("-c", program) if first else ("-m", "brain_daemon")
        log = self.folder / "daemon.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *start, "--brain", str(self.root), "run"],
                env=self.environment | _import_path(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True, slots=True)
class Told:
    """A task as `brain show --json` tells it."""

    facts: Mapping[str, Any]

    @property
    def state(self) -> str:
        return str(self.facts["state"])

    @property
    def text(self) -> str:
        return str(self.facts["text"])

    @property
    def attempts(self) -> list[Mapping[str, Any]]:
        return list(self.facts["attempts"])


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait for a condition; fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.02)
    return found


def left_behind(home: Path) -> list[str]:
    """The processes on this machine that have this home in their environment: what a brain's clients left."""
    mark = f"HOME={home}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return found


def _import_path() -> dict[str, str]:
    return {"PYTHONPATH": str(PROJECT)}
