"""Tasks per second of other queues beside the real daemon, in one run, and what each has on the disk when a task has ended.

    python benchmarks/peers.py [--tasks N] [--rounds N] [--only NAME ...]

    brain          the daemon: journal, result, ledger and one git commit an outcome, all synced
    huey           SQLite with fsync, one thread; results are kept in the database until they are read
    rq             Redis with `appendonly yes` and `appendfsync always`, SimpleWorker; results expire
    procrastinate  PostgreSQL as it comes (synced), one worker; rows stay
    dirq           a directory queue by renames; nothing is synced
    task-spooler, nq   programs in order; nothing is synced, outputs in files
    loop           inotifywait, mv, git add, git commit; nothing is synced

Each has `tool`, work of no time inside the worker, where it can, and `process`, the start of /bin/true. Tasks are handed in
one by one by this process while the worker runs. A peer that is not installed is listed with the reason. Prints JSON.

`make bench-peers` installs the Python packages; Redis, PostgreSQL, task-spooler, nq and inotify-tools are the system's.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import pwd
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path

import peer_workers as workers
from drop_to_commit import ECHO_INTERFACE, TRUE_INTERFACE, brain_rate, loop_rate, machine, until

WORKERS = str(Path(__file__).with_name("peer_workers.py"))
Measure = Callable[[Path, str, int], float]


@contextlib.contextmanager
def running(*command: str, **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a group of its own, ended with all that it started."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, start_new_session=True, **{**quiet, **more})  # type: ignore[call-overload]
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def worker(peer: str, place: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return running(sys.executable, WORKERS, peer, place)


def timed(tasks: int, hand_in: Callable[[int], object], done: Callable[[], int], what: str) -> float:
    """Tasks per second from the first one handed in to the last one done. One goes first, so that the worker is awake."""
    hand_in(0)
    until(lambda: done() >= 1, f"{what} is awake")
    started = time.perf_counter()
    for number in range(1, tasks + 1):
        hand_in(number)
    until(lambda: done() > tasks, f"{what} has done its tasks")
    return tasks / (time.perf_counter() - started)


def huey_rate(kind: str) -> Measure:
    def measure(base: Path, name: str, tasks: int) -> float:
        place = str(base / f"{name}.db")
        queue, work = workers.huey_queue(place)
        with worker("huey", place):
            return timed(tasks, work[kind], queue.result_count, name)

    return measure


def rq_rate(kind: str) -> Measure:
    from redis import Redis  # noqa: PLC0415 - of this peer alone
    from rq import Queue  # noqa: PLC0415 - of this peer alone

    work = {"tool": workers.nothing, "process": workers.a_process}[kind]

    def measure(base: Path, name: str, tasks: int) -> float:
        folder = base / name
        folder.mkdir()
        place = str(folder / "socket")
        settings = ["--port", "0", "--unixsocket", place, "--dir", str(folder), "--save", ""]
        with running("redis-server", *settings, "--appendonly", "yes", "--appendfsync", "always"):
            until(lambda: os.path.exists(place), "redis listens")
            connection = Redis(unix_socket_path=place)
            queue = Queue(connection=connection)
            with worker("rq", place):
                return timed(tasks, lambda n: queue.enqueue(work, n), queue.finished_job_registry.get_job_count, name)

    return measure


def procrastinate_rate(kind: str) -> Measure:
    def measure(base: Path, name: str, tasks: int) -> float:
        with postgres(base / name) as place:
            app, _ = workers.procrastinate_app(place)
            sync = app.with_connector(app.connector.get_sync_connector())
            with sync.open():
                sync.schema_manager.apply_schema()
                count = "select count(*) as n from procrastinate_jobs where status = 'succeeded'"
                task = sync.tasks[kind]
                with worker("procrastinate", place):
                    return timed(
                        tasks,
                        lambda n: task.defer(number=n),
                        lambda: int(sync.connector.execute_query_one(count)["n"]),
                        name,
                    )

    return measure


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server of its own on a socket, as it comes; it refuses to run as root, so root lends it the user postgres."""
    programs = max(glob("/usr/lib/postgresql/*/bin"))
    folder.mkdir()
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    account = pwd.getpwnam(user)
    if os.geteuid() == 0:
        os.chown(folder, account.pw_uid, account.pw_gid)
        for above in (folder.parent,):
            above.chmod(0o755)
    who: dict[str, object] = {"user": account.pw_uid, "group": account.pw_gid} if os.geteuid() == 0 else {}
    data = str(folder / "data")
    subprocess.run([f"{programs}/initdb", "-A", "trust", "-D", data], check=True, capture_output=True, **who)  # type: ignore[call-overload]
    with running(f"{programs}/postgres", "-D", data, "-k", str(folder), "-c", "listen_addresses=", **who):
        place = f"host={folder} user={user} dbname=postgres"
        until(lambda: bool(glob(f"{folder}/.s.PGSQL.*")), "PostgreSQL listens")
        until(lambda: _answers(f"{programs}/pg_isready", str(folder)), "PostgreSQL is ready")
        yield place


def _answers(program: str, folder: str) -> bool:
    return subprocess.run([program, "-q", "-h", folder], check=False).returncode == 0


def dirq_rate(kind: str) -> Measure:
    from dirq.QueueSimple import QueueSimple  # noqa: PLC0415 - of this peer alone

    def measure(base: Path, name: str, tasks: int) -> float:
        place = str(base / name)
        queue, done = QueueSimple(place), Path(place + ".done")
        with worker("dirq", place):
            until(done.exists, "the worker runs")
            return timed(tasks, lambda n: queue.add(f"{kind} {n}"), lambda: len(os.listdir(done)), name)

    return measure


def spooler_rate(base: Path, name: str, tasks: int) -> float:
    """task-spooler: a server is started by the first call and ended with -K."""
    place = {**os.environ, "TS_SOCKET": str(base / f"{name}.socket"), "TMPDIR": str(base), "TS_MAXFINISHED": "1000000"}

    def call(*words: str) -> str:
        return subprocess.run(["tsp", *words], env=place, check=True, capture_output=True, text=True).stdout

    try:
        return timed(tasks, lambda _: call("-n", "/bin/true"), lambda: call().count(" finished "), name)
    finally:
        call("-K")


def nq_rate(base: Path, name: str, tasks: int) -> float:
    """nq: each job waits for the lock of the one before it."""
    folder = base / name
    folder.mkdir()
    place = {**os.environ, "NQDIR": str(folder)}

    def hand_in(_: int) -> None:
        subprocess.run(["nq", "-q", "/bin/true"], env=place, check=True, capture_output=True)

    def done() -> int:
        return sum("exited with status" in path.read_text() for path in folder.glob(",*"))

    return timed(tasks, hand_in, done, name)


def has(*programs: str, package: str | None = None) -> str:
    """Why a peer cannot be measured here."""
    missing = [program for program in programs if shutil.which(program) is None]
    if package is not None and importlib.util.find_spec(package) is None:
        missing.append(f"the Python package {package}")
    if "postgres" in missing and glob("/usr/lib/postgresql/*/bin/postgres"):
        missing.remove("postgres")
    return f"not installed: {', '.join(missing)}" if missing else ""


def peers() -> dict[str, tuple[str, Callable[[], Measure], float]]:
    """By name: why not, how, and the share of tasks it is given, so that slow ones end."""
    return {
        "brain tool": ("", lambda: brain_rate(ECHO_INTERFACE), 1.0),
        "huey tool": (has(package="huey"), lambda: huey_rate("tool"), 1.0),
        "rq tool": (has("redis-server", package="rq"), lambda: rq_rate("tool"), 1.0),
        "procrastinate tool": (has("postgres", package="procrastinate"), lambda: procrastinate_rate("tool"), 0.3),
        "dirq tool": (has(package="dirq"), lambda: dirq_rate("tool"), 1.0),
        "loop tool": (has("inotifywait"), lambda: loop_rate(":"), 0.2),
        "brain process": ("", lambda: brain_rate(TRUE_INTERFACE), 1.0),
        "huey process": (has(package="huey"), lambda: huey_rate("process"), 1.0),
        "rq process": (has("redis-server", package="rq"), lambda: rq_rate("process"), 0.5),
        "procrastinate process": (has("postgres", package="procrastinate"), lambda: procrastinate_rate("process"), 0.3),
        "dirq process": (has(package="dirq"), lambda: dirq_rate("process"), 1.0),
        "task-spooler process": (has("tsp"), lambda: spooler_rate, 0.3),
        "nq process": (has("nq"), lambda: nq_rate, 0.3),
        "loop process": (has("inotifywait"), lambda: loop_rate("/bin/true"), 0.2),
    }


def versions() -> dict[str, str]:
    found = {}
    for package in ("huey", "rq", "redis", "procrastinate", "psycopg", "dirq"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    for program in ("redis-server", *sorted(glob("/usr/lib/postgresql/*/bin/postgres"))[-1:]):
        if shutil.which(program):
            said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
            found[os.path.basename(program)] = said.strip()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="brain-peers-"))
    started_on = machine()
    chosen = {name: found for name, found in peers().items() if not options.only or name in options.only}
    rates: dict[str, list[float]] = {}
    for number in range(options.rounds):
        for name, (why_not, make, share) in chosen.items():
            if not why_not:
                measure, folder = make(), f"{name.replace(' ', '-')}-{number}"
                rates.setdefault(name, []).append(measure(base, folder, max(20, int(options.tasks * share))))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    report = {
        "machine": started_on,
        "versions": versions(),
        "tasks": options.tasks,
        "rounds": options.rounds,
        "missing": {name: why_not for name, (why_not, _, _) in chosen.items() if why_not},
        "tasks_per_second": {
            name: {"median": round(medians[name], 1), "all": [round(v, 1) for v in values]}
            for name, values in rates.items()
        },
        "brain_against": {
            name: round(medians[ours] / medians[name], 2)
            for name in medians
            if (ours := f"brain {name.rsplit(' ', 1)[1]}") in medians
        },
    }
    print(json.dumps(report, indent=2))
    shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
