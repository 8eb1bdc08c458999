"""Drop-to-start latency and tasks per second of the real daemon, beside two ways people build such a queue by hand.

    python benchmarks/drop_to_commit.py [--tasks N] [--drops N] [--rounds N] [--only NAME ...]

Every case works in a git repository of its own that starts out alike, and leaves one commit an outcome:

    brain tool        the daemon, tasks done by an in-process tool (`echo`)
    brain process     the daemon, tasks done by /bin/true
    loop              inotifywait, mv, git add, git commit in a shell loop; the task is a no-op
    loop process      the same with /bin/true
    gitpython         a Python loop with watchdog's events and GitPython's index.add / index.commit

Cases are interleaved by round in one run; the medians and the ratios to the loop are what may be quoted. Nothing is
deleted between cases: creating files is slow for a minute after a mass delete on ext4. Prints JSON.

`machine.after_a_pause` is how many times longer a fixed piece of Python takes 60 ms after it ran than right after itself, though
the processor has neither slept nor touched other memory: what neighbours on the same hardware leave of the caches. A lone drop
meets them as they are then, so latencies are to be read beside it.
"""

import argparse
import contextlib
import ctypes
import json
import os
import platform
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import git
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from brain_daemon.service.creation import init

TEXT = "# Shout {n}\n\nPlease shout this line, number {n}.\n"
DEADLINE_SECONDS = 300.0
_ENV = {
    **os.environ,
    "GIT_AUTHOR_NAME": "b",
    "GIT_AUTHOR_EMAIL": "b@b",
    "GIT_COMMITTER_NAME": "b",
    "GIT_COMMITTER_EMAIL": "b@b",
}


def until(condition: Callable[[], bool], what: str, every_seconds: float = 0.02) -> None:
    """Wait for a condition up to the deadline. Looking costs the machine something, so rates are looked at seldom."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited {DEADLINE_SECONDS} s in vain until {what}")
        time.sleep(every_seconds)


def count(folder: Path) -> int:
    """The markdown files in a folder and below it: the daemon files older results away."""
    return sum(name.endswith(".md") for _, _, names in os.walk(folder) for name in names)


def commits(root: Path, *chosen: str) -> int:
    said = subprocess.run(["git", "rev-list", "--count", *chosen, "HEAD"], cwd=root, capture_output=True, check=True)
    return int(said.stdout)


def outcomes(root: Path) -> int:
    """The commits that carry one outcome; those of housekeeping and of the archive do not count."""
    return commits(root, "--grep=^Attempt-Id: ")


def drop(folder: Path, name: str, text: str) -> None:
    """As a careful program drops: written aside, renamed in."""
    aside = folder / f".{name}.part"
    aside.write_text(text)
    aside.rename(folder / name)


# the daemon


def make_brain(base: Path, name: str, interface: str) -> Path:
    root = base / name
    init(str(root), _ENV)
    (root / "tools" / "interfaces" / "bench.md").write_text(interface)
    return root


ECHO_INTERFACE = "---\nname: bench\ntype: tool\ninvoke:\n  kind: tool\n  function: echo\n---\n# Bench\n"
TRUE_INTERFACE = "---\nname: bench\ninvoke:\n  kind: command\n  command: [/bin/true]\n---\n# Bench\n"


@contextlib.contextmanager
def daemon(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The real daemon, ready for work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "brain_daemon", "--brain", str(root), "run"],
        env=_ENV,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    board = root / "context" / "board.md"
    try:
        until(lambda: board.exists() and "**running**" in board.read_text(), "the daemon runs")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def brain_rate(interface: str) -> Callable[[Path, str, int], float]:
    def measure(base: Path, name: str, tasks: int) -> float:
        root = make_brain(base, name, interface)
        with daemon(root):
            pending, completed = root / "brain/tasks/pending", root / "brain/tasks/completed"
            started = time.perf_counter()
            for n in range(tasks):
                drop(pending, f"t{n}.md", TEXT.format(n=n))
            until(lambda: count(completed) >= tasks, f"{name} has done its tasks")
            until(lambda: outcomes(root) >= tasks, f"{name} has committed its tasks")
            return tasks / (time.perf_counter() - started)

    return measure


_MODIFY, _OPEN = 0x2, 0x20
_LOOK_SECONDS = 0.0005


class _Eye:
    """Sees by inotify(7) when a file is opened or written. A time of change would not do: Linux may give it as of the last tick."""

    def __init__(self, path: Path, mask: int) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0 or library.inotify_add_watch(self._descriptor, os.fsencode(path), mask) < 0:
            raise OSError(ctypes.get_errno(), "watching", str(path))

    def see(self, what: str) -> float:
        """Seconds of the monotonic clock when it happened; at most a wake-up late. The processor is kept from falling asleep meanwhile."""
        until(lambda: bool(select.select([self._descriptor], [], [], _LOOK_SECONDS)[0]), what, 0.0)
        seen = time.monotonic()
        time.sleep(_LOOK_SECONDS)
        os.read(self._descriptor, 1 << 16)
        return seen


def brain_latency(process: bool) -> Callable[[Path, str, int], list[float]]:
    """Milliseconds from the rename into pending/ until the tool writes or the program's file is opened to be run, one drop at a time."""

    def measure(base: Path, name: str, drops: int) -> list[float]:
        seen = base / f"{name}.seen"
        if process:
            shutil.copy("/bin/true", seen)
            interface = TRUE_INTERFACE.replace("/bin/true", str(seen))
        else:
            seen.touch()
            interface = ECHO_INTERFACE.replace("function: echo", f"function: echo\n  witness: {seen}")
        root = make_brain(base, name, interface)
        found = []
        with daemon(root):
            eye = _Eye(seen, _OPEN if process else _MODIFY)
            for n in range(drops):
                drop(root / "brain/tasks/pending", f"t{n}.md", TEXT.format(n=n))
                dropped = time.monotonic()
                found.append((eye.see("the work starts") - dropped) * 1e3)
                time.sleep(0.03 + 0.06 * ((n * 7919) % 97) / 97)
        return found

    return measure


# by hand


def hand_repository(base: Path, name: str) -> Path:
    root = base / name
    for folder in ("pending", "done"):
        (root / folder).mkdir(parents=True)
        (root / folder / ".gitkeep").touch()
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run(["git", *command], cwd=root, env=_ENV, check=True)
    return root


def loop_rate(work: str) -> Callable[[Path, str, int], float]:
    script = (
        "inotifywait -q -m -e moved_to --format %f pending | while read -r f; do case $f in *.md) "
        f'{work}; mv "pending/$f" "done/$f" && git add "done/$f" && git commit -q -m "done $f";; esac; done'
    )

    def measure(base: Path, name: str, tasks: int) -> float:
        root = hand_repository(base, name)
        loop = subprocess.Popen(
            ["sh", "-c", script], cwd=root, env=_ENV, start_new_session=True, stderr=subprocess.PIPE
        )
        try:
            time.sleep(0.5)
            started = time.perf_counter()
            for n in range(tasks):
                drop(root / "pending", f"t{n}.md", TEXT.format(n=n))
            until(lambda: count(root / "done") >= tasks, f"{name} has done its tasks")
            until(lambda: commits(root) > tasks, f"{name} has committed its tasks")
            return tasks / (time.perf_counter() - started)
        finally:
            os.killpg(loop.pid, signal.SIGKILL)
            loop.wait()

    return measure


class _Move(FileSystemEventHandler):
    def __init__(self, root: Path, repository: git.Repo) -> None:
        self._root = root
        self._repository = repository

    def on_moved(self, event: FileSystemEvent) -> None:
        name = os.path.basename(os.fsdecode(event.dest_path))
        if not name.endswith(".md") or os.path.dirname(os.fsdecode(event.dest_path)) != str(self._root / "pending"):
            return
        os.rename(self._root / "pending" / name, self._root / "done" / name)
        self._repository.index.add([f"done/{name}"])
        self._repository.index.commit(f"done {name}")


def gitpython_rate(base: Path, name: str, tasks: int) -> float:
    root = hand_repository(base, name)
    observer = Observer()
    observer.schedule(_Move(root, git.Repo(root)), str(root / "pending"))
    observer.start()
    try:
        started = time.perf_counter()
        for n in range(tasks):
            drop(root / "pending", f"t{n}.md", TEXT.format(n=n))
        until(lambda: commits(root) > tasks, f"{name} has committed its tasks")
        return tasks / (time.perf_counter() - started)
    finally:
        observer.stop()
        observer.join()


RATES: dict[str, tuple[Callable[[Path, str, int], float], float]] = {
    "brain tool": (brain_rate(ECHO_INTERFACE), 1.0),
    "brain process": (brain_rate(TRUE_INTERFACE), 1.0),
    "loop": (loop_rate(":"), 0.2),
    "loop process": (loop_rate("/bin/true"), 0.2),
    "gitpython": (gitpython_rate, 0.1),
}
LATENCIES = {"brain tool": brain_latency(process=False), "brain process": brain_latency(process=True)}


def percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def after_a_pause() -> float:
    """A ratio of medians; 1.0 on a machine of one's own."""

    def milliseconds(pause_seconds: float) -> float:
        until_then = time.perf_counter() + pause_seconds
        while time.perf_counter() < until_then:
            pass
        began = time.perf_counter()
        parser = argparse.ArgumentParser()
        parser.add_argument("--some")
        parser.parse_args(["--some", "thing"])
        textwrap.fill("a line of some words " * 10, 20)
        return (time.perf_counter() - began) * 1e3

    rest, pause = (statistics.median(milliseconds(seconds) for _ in range(40)) for seconds in (0.0, 0.06))
    return pause / rest


def machine() -> dict[str, object]:
    said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "git": said,
        "load_1min": os.getloadavg()[0],
        "after_a_pause": round(after_a_pause(), 1),
        "filesystem": subprocess.run(
            ["stat", "-f", "-c", "%T", "."], capture_output=True, text=True, check=False
        ).stdout.strip(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--drops", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--keep", action="store_true", help="leave the folders behind")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="brain-bench-"))
    started_on = machine()
    rates: dict[str, list[float]] = {}
    for number in range(options.rounds):
        for name, (measure, share) in RATES.items():
            if not options.only or name in options.only:
                tasks = max(20, int(options.tasks * share))
                rates.setdefault(name, []).append(measure(base, f"{name.replace(' ', '-')}-{number}", tasks))
    latencies = {
        name: measure(base, f"latency-{name.replace(' ', '-')}", options.drops) for name, measure in LATENCIES.items()
    }
    medians = {name: statistics.median(values) for name, values in rates.items()}
    report = {
        "machine": started_on,
        "tasks": options.tasks,
        "rounds": options.rounds,
        "tasks_per_second": {
            name: {"median": round(medians[name], 1), "all": [round(v, 1) for v in values]}
            for name, values in rates.items()
        },
        "times_the_loop": {
            name: round(medians[name] / medians["loop process" if "process" in name else "loop"], 2)
            for name in medians
            if "loop" in medians and "loop process" in medians
        },
        "drop_to_start_ms": {
            name: {"p50": round(percentile(values, 50), 2), "p99": round(percentile(values, 99), 2), "n": len(values)}
            for name, values in latencies.items()
        },
    }
    print(json.dumps(report, indent=2))
    if not options.keep:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
