"""How long a daemon needs to begin where much has been done already, and what looking costs there.

    python benchmarks/start_up.py [--recorded N] [--pending N] [--looks N] [--keep] [--at FOLDER]

A brain with `recorded` ended tasks (200 days of them, filed away as the daemon does, one commit) and `pending` waiting ones
is built from the program's own forms: result blocks, ledger rows, journal rows. Then it measures

    status_seconds         `brain status` from the shell, no daemon running, and while one runs
    start_seconds          `brain run` to "running" with nothing pending
    idle                   memory, processor time and wake-ups of that daemon while nothing happens
    first_claim_seconds    `brain run` to the first instruction of the first pending task's work

Prints JSON. Building takes one to two minutes for 100,000.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil

from brain_daemon.model import document
from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.ids import attempt_id
from brain_daemon.model.outcome import FREE, Ended, Status, Succeeded, Usage
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.record import ledger
from brain_daemon.record.archive import ArchiveLimits, day_folder
from brain_daemon.record.result import cost_row, part
from brain_daemon.service.brain import Brain
from brain_daemon.service.creation import init
from brain_daemon.store.journal import TaskRecord

TEXT = "# Shout {n}\n\nPlease shout this line, number {n}.\n"
RESULT = "PLEASE SHOUT THIS LINE, NUMBER {n}.\n\n" + "It was shouted as it should be. " * 12
INTERFACE = (
    "---\nname: bench\ntype: tool\ninvoke:\n  kind: tool\n  function: echo\n  delay_seconds: 0.2\n  witness: {witness}\n"
    "---\n# Bench\n"
)
DAYS = 200
ROWS_A_FILE = 1_000
GROUP = 5_000
DEADLINE_SECONDS = 300.0


def environment(base: Path) -> dict[str, str]:
    """A home of its own, so that nothing of the user's settings counts."""
    home = base / "home"
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text("[user]\n\tname = b\n\temail = b@example.org\n")
    own = {key: value for key, value in os.environ.items() if not key.startswith(("BRAIN_", "XDG_", "GIT_"))}
    return {**own, "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}


# building


def ended_attempt(number: int, finished_at: float) -> tuple[Attempt, TaskSpec]:
    """A task that was completed at that instant, as the journal has it when git has it."""
    task_id = f"done-{number}"
    spec = TEXT.format(n=number).encode()
    task = parse_task(f"{task_id}.md", spec)
    assert isinstance(task, TaskSpec)
    text = RESULT.format(n=number)
    ended = Ended(
        outcome=Succeeded(text=text),
        started_at=finished_at - 2.0,
        finished_at=finished_at,
        duration_seconds=2.0,
        usage=Usage(input_tokens=900 + number % 300, output_tokens=200),
        cost=FREE,
        text=text,
    )
    attempt = Attempt(
        attempt_id=attempt_id(task_id, 1, f"{number:08x}"),
        task_id=task_id,
        number=1,
        state=AttemptState.STARTING,
        name=f"{task_id}.md",
        sha256=hashlib.sha256(spec).hexdigest(),
        spec=spec,
        claimant="daemon",
        claimed_at=finished_at - 2.1,
        started_at=finished_at - 2.0,
        interface="bench",
        tier="free",
    )
    return attempt.finished(ended, Decision.FINISH, Status.COMPLETED, None, ""), task


def build(root: Path, recorded: int) -> None:
    """Files, ledger, journal and one commit of `recorded` ended tasks."""
    began = time.time() - DAYS * 86_400
    with closing(Brain.open(str(root), environment(root.parent))) as brain:
        newest = recorded - ArchiveLimits().kept
        stream = (root.parent / "stream").open("wb")
        rows: list[CostRow] = []
        for start in range(0, recorded, GROUP):
            attempts, records = [], []
            for number in range(start, min(start + GROUP, recorded)):
                finished_at = began + number * (DAYS - 1) * 86_400 / recorded
                attempt, task = ended_attempt(number, finished_at)
                top = brain.layout.completed
                path = os.path.join(top if number >= newest else day_folder(top, finished_at), attempt.name)
                told = part(attempt, task, (), (), ())
                data = document.render(attempt.spec, told.values, told.heading, told.text).data
                put(stream, path, brain.layout.relative(path), data)
                # What mark_committed leaves: git has the bytes.
                attempts.append(dataclasses.replace(attempt, state=AttemptState.COMMITTED, spec=b""))
                records.append(
                    TaskRecord(
                        task_id=attempt.task_id,
                        status="completed",
                        path=brain.layout.relative(path),
                        sha256=attempt.sha256,
                        finished_at=finished_at,
                    )
                )
                rows.append(cost_row(attempt, task, None))
            with brain.journal.transaction():
                brain.journal.insert(attempts)
                brain.journal.set_ended_tasks(records)
                brain.journal.insert_outcomes(row.to_values() for row in rows[start:])
        by_day: dict[str, list[CostRow]] = {}
        for row in rows:
            by_day.setdefault(row.day, []).append(row)
        for day, found in by_day.items():
            for place, first in enumerate(range(0, len(found), ROWS_A_FILE)):
                name = f"logs/costs/{day}{'' if place == 0 else f'.{place + 1}'}.csv"
                data = ledger.append(b"", found[first : first + ROWS_A_FILE], name)
                put(stream, brain.layout.inside(name), name, data)
        stream.close()
    commit(root)


def put(stream, path: str, name: str, data: bytes) -> None:
    """The file, and its line for git fast-import."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as handle:
        handle.write(data)
    stream.write(b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data))


def commit(root: Path) -> None:
    """One commit with all that was built, in one pack, and an index that knows it."""
    head = b"commit refs/heads/main\ncommitter b <b@example.org> now\ndata 5\nbuilt\nfrom refs/heads/main^0\n"
    git = ["git", "-C", str(root)]
    own = environment(root.parent)
    subprocess.run([*git, "branch", "-m", "main"], env=own, check=True)
    with subprocess.Popen(
        [*git, "fast-import", "--quiet", "--date-format=now"], stdin=subprocess.PIPE, env=own
    ) as importing:
        assert importing.stdin is not None
        importing.stdin.write(head)
        with (root.parent / "stream").open("rb") as stream:
            shutil.copyfileobj(stream, importing.stdin, 1 << 20)
        importing.stdin.close()
        assert importing.wait() == 0
    subprocess.run([*git, "read-tree", "HEAD"], env=own, check=True)
    subprocess.run([*git, "update-index", "-q", "--refresh"], env=own, check=True)


# measuring


def until(
    process: subprocess.Popen[bytes], condition: Callable[[], bool], what: str, every_seconds: float = 0.002
) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if process.poll() is not None:
            sys.exit(f"the daemon ended with {process.returncode} before {what}")
        if time.monotonic() > deadline:
            sys.exit(f"waited {DEADLINE_SECONDS} s in vain until {what}")
        time.sleep(every_seconds)


def status_seconds(root: Path, looks: int) -> dict[str, float]:
    found = []
    for _ in range(looks):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "brain_daemon", "--brain", str(root), "status"],
            env=environment(root.parent),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        found.append(time.perf_counter() - started)
    return {"median": round(statistics.median(found), 3), "worst": round(max(found), 3), "n": looks}


@contextlib.contextmanager
def daemon(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "brain_daemon", "--brain", str(root), "run"],
        env=environment(root.parent),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(120)


def is_running(root: Path) -> bool:
    board = root / "context" / "board.md"
    return board.exists() and "**running**" in board.read_text()


def wake_ups(pid: int) -> int:
    """How often the threads of a process have gone to sleep so far (Linux)."""
    found = Path(f"/proc/{pid}/task").glob("*/status")
    lines = [line for path in found for line in path.read_text().splitlines() if line.startswith("voluntary_ctxt")]
    return sum(int(line.split()[1]) for line in lines)


def idle(process: subprocess.Popen[bytes], seconds: float) -> dict[str, float]:
    """What a daemon uses while nothing happens; its children count."""
    one = psutil.Process(process.pid)
    time.sleep(3.0)
    before, switched = one.cpu_times(), wake_ups(process.pid)
    time.sleep(seconds)
    after, now = one.cpu_times(), wake_ups(process.pid)
    memory = one.memory_full_info()
    children = [child.memory_full_info().rss for child in one.children(recursive=True)]
    return {
        "rss_mb": round(memory.rss / 1e6, 1),
        "uss_mb": round(memory.uss / 1e6, 1),
        "children": len(children),
        "children_rss_mb": round(sum(children) / 1e6, 1),
        "cpu_share": round((after.user + after.system - before.user - before.system) / seconds, 5),
        "wake_ups_a_second": round((now - switched) / seconds, 2),
        "threads": one.num_threads(),
        "descriptors": one.num_fds(),
    }


def measure(root: Path, pending: int, looks: int, idle_seconds: float) -> dict[str, object]:
    report: dict[str, object] = {"status_seconds": {"stopped": status_seconds(root, looks)}}
    (root / "context" / "board.md").unlink(missing_ok=True)
    started = time.perf_counter()
    with daemon(root) as process:
        until(process, lambda: is_running(root), "it runs")
        report["start_seconds"] = round(time.perf_counter() - started, 3)
        report["idle"] = idle(process, idle_seconds)
        report["status_seconds"] |= {"running": status_seconds(root, looks)}  # type: ignore[operator]
    for n in range(pending):
        (root / "brain/tasks/pending" / f"new-{n}.md").write_text(TEXT.format(n=n))
    past = time.time() - 60
    for n in range(pending):
        os.utime(root / "brain/tasks/pending" / f"new-{n}.md", (past, past))
    report["status_seconds"] |= {f"stopped, {pending} pending": status_seconds(root, looks)}  # type: ignore[operator]
    witness = root.parent / "witness"
    claims = []
    for _ in range(3):
        witness.unlink(missing_ok=True)
        begun = time.time()
        with daemon(root) as process:
            until(process, witness.exists, "the first task starts", 0.0005)
            claims.append(round(time.time() - begun, 3))
            report["status_seconds"] |= {f"running, {pending} pending": status_seconds(root, 3)}  # type: ignore[operator]
    report["first_claim_seconds"] = claims
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recorded", type=int, default=100_000)
    parser.add_argument("--pending", type=int, default=10_000)
    parser.add_argument("--looks", type=int, default=9)
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    parser.add_argument("--at", help="build here and keep it; a brain that is here already is used again")
    options = parser.parse_args()
    base = Path(options.at or tempfile.mkdtemp(prefix="brain-start-"))
    base.mkdir(parents=True, exist_ok=True)
    root = base / "brain"
    started = time.perf_counter()
    if not root.exists():
        init(str(root), environment(base))
        (root / "tools/interfaces/bench.md").write_text(INTERFACE.format(witness=base / "witness"))
        build(root, options.recorded)
    built = round(time.perf_counter() - started, 1)
    try:
        found = measure(root, options.pending, options.looks, options.idle_seconds)
    finally:
        if not options.at:
            shutil.rmtree(base, ignore_errors=True)
    figures = {"recorded": options.recorded, "pending": options.pending, "build_seconds": built, **found}
    print(json.dumps({**figures, "cores": os.cpu_count(), "load_1min": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    main()
