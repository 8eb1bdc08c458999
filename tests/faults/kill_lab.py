"""Kills the real daemon with SIGKILL, at named points and at random moments: `make crash-lab KILLS=n SEED=s`.

A daemon in a process of its own works on tasks whose tool writes each start to a synced file outside the brain. It is killed at a
named point of its way (`nursery.Point`), a random time after its start, or a little after it has started a random number of
tasks; or git is killed in the middle of a group, with its daemon or without; or a program that does a task. Then the next daemon is
started. The last one works everything off, and `promises.violations` compares witness, folders, journal, ledger and git.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a program, this file is not below a known folder

from tests.faults.acts import WITNESS
from tests.faults.nursery import Forked, Nursery, Point
from tests.faults.promises import Facts, task_files, violations
from tests.faults.scenarios import echo
from tests.faults.ward import Patient, Scenario, Ward

DEADLINE_SECONDS = float(os.environ.get("BRAIN_KILL_DEADLINE", "120"))
SETTINGS = {
    "BRAIN_SETTLE": "0s",
    "BRAIN_GROUP": "20ms",
    "BRAIN_SCAN": "1s",
    "BRAIN_PARALLEL": "4",
    "BRAIN_GRACE": "1s",
    "BRAIN_CRASH_PAUSE": "0s",
}


# Where a daemon is killed by its own hand: operations of the seam, the steps in the git folder, the starts of git's commands.
POINTS = (
    "commit journal",
    "move .*/tasks/active/",
    "move .*/tasks/completed/",
    "remove .*/tasks/active/",
    "sync folder .*/tasks/",
    "sync .*/tasks/completed/",
    "create .*/aside/",
    "write .*/aside/",
    "replace .*/logs/costs/",
    "replace .*/logs/activity/",
    "replace .*/logs/metrics/",
    "replace .*/context/usage.md",
    "replace .*/context/board.md",
    "replace .*/daemon.json",
    "index copy ",
    "index link .*index.lock",
    "index link .*placed",
    "index link .*saved",
    "index rename ",
    "index unlink .*index.lock",
    "index unlink .*saved",
    "git ",
    "git fast-import",
    "git update-index",
    "git add",
    "git update-ref",
)
_GIT = ("git fast-import", "git update-index", "git add", "git update-ref", "git ")

_PROGRAM = f"""\
---
name: program
idempotent: {{repeatable}}
invoke:
  kind: command
  command: [sh, -c, 'echo "$BRAIN_ATTEMPT_ID" >> {WITNESS}; echo "$$ $BRAIN_ATTEMPT_ID" >> {WITNESS}.pids; sleep 0.05; cat']
---
# Program
"""


class Victim:
    """The daemon of one brain, as often as it is started; by a nursery, or as a program of its own."""

    def __init__(self, patient: Patient, nursery: Nursery | None = None, **settings: str) -> None:
        self._patient = patient
        self._nursery = nursery
        self._environment = {**os.environ, **SETTINGS, **settings}
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._ups_before = 0
        self.log = f"{patient.root}.log"

    def start(self, point: Point | None = None) -> None:
        """Start `brain run`; returns at once. A `point` needs a nursery."""
        self._ups_before = self._ups()
        if self._nursery is not None:
            self._process = self._nursery.start(self._patient.root, self.log, self._environment, point)
            return
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "brain_daemon", "--brain", self._patient.root, "run"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=Path(__file__).resolve().parents[2],
            )

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        """SIGTERM, and wait for a good end."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(deadline_seconds)
        assert code == 0, f"the daemon ended with {code}:\n{self.said()}"

    @property
    def is_dead(self) -> bool:
        """Whether it has been killed, or has ended because a git that it needed at its start was; any other end is a fault."""
        assert self._process is not None
        code = self._process.poll()
        good = code in {None, -signal.SIGKILL} or (
            code in {1, 2} and "failed (-9)" in Path(self.log).read_text()[-500:]
        )
        assert good, f"the daemon ended with {code}:\n{self.said()}"
        return code is not None

    def is_up(self) -> bool:
        """Whether this daemon has recovered what the one before it left, and works."""
        return self._ups() > self._ups_before

    def _ups(self) -> int:
        """How many daemons have said in their log that they run."""
        state = os.path.join(self._patient.root, ".git", "brain")
        logs = [os.path.join(state, key, "daemon.log") for key in os.listdir(state)] if os.path.isdir(state) else []
        return sum(Path(log).read_text().count("the daemon runs") for log in logs if os.path.exists(log))

    def wait_for(self, condition: Callable[[], bool], what: str, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        """Until `condition` holds, while the daemon lives."""
        assert self._process is not None
        end = time.monotonic() + deadline_seconds
        while not condition():
            assert self._process.poll() is None, f"waiting for {what}, the daemon ended:\n{self.said()}"
            assert time.monotonic() < end, f"waited {deadline_seconds:g} s in vain for {what}:\n{self.said()}"
            time.sleep(0.005)

    def said(self) -> str:
        """The end of what the daemons said; where a living one is at the moment."""
        if isinstance(self._process, Forked) and self._process.poll() is None:
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(1.0)
        state = os.path.join(self._patient.root, ".git", "brain")
        logs = [self.log, *(os.path.join(state, key, "daemon.log") for key in os.listdir(state))]
        return "\n".join(Path(log).read_text(errors="replace")[-6000:] for log in logs if os.path.exists(log))


@contextlib.contextmanager
def running(victim: Victim, point: Point | None = None) -> Iterator[None]:
    """Never leaves a daemon behind."""
    victim.start(point)
    try:
        yield
    except BaseException:
        victim.kill()
        raise


@dataclass(slots=True)
class Tally:
    """What was killed, how often, and what was found broken."""

    kills: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.kills.total()

    def note(self, kind: str, words: str) -> None:
        self.kills[kind] += 1
        self.lines.append(f"{kind}: {words}")


class Killer:
    """Starts daemons on one brain and kills them; `choice` decides where."""

    def __init__(self, victim: Victim, patient: Patient, tasks: int, choice: random.Random, tally: Tally) -> None:
        self._victim, self._patient, self._tasks, self._choice, self._tally = victim, patient, tasks, choice, tally
        self.programs_killed: set[str] = set()

    def kill_once(self, left: int) -> None:
        """One daemon from its start to its end; `left` kills are still to come, with this one."""
        way = self._choice.choices(
            (self._at_a_point, self._in_git, self._after_a_time, self._after_starts, self._a_program),
            (45, 20, 10, 15, 10),
        )[0]
        way(left)

    def _at_a_point(self, left: int) -> None:
        pattern = self._choice.choice(POINTS)
        victim = self._choice.choices(("daemon", "recorder"), (4, 1))[0]
        point = Point(pattern=pattern, count=self._choice.randint(1, 2), delay_seconds=self._a_moment(), victim=victim)
        reached = self._run_into(point, left)
        place = f"at {pattern}" if reached else "after starts"
        self._tally.note("recorder, daemon later" if victim == "recorder" else f"daemon {place}", str(point))

    def _in_git(self, left: int) -> None:
        victim, pattern = self._choice.choice(["git", "git and daemon"]), self._choice.choice(_GIT)
        delay = self._choice.choice([0.0, 0.001, 0.003, 0.008])
        point = Point(pattern=pattern, count=self._choice.randint(1, 4), delay_seconds=delay, victim=victim)
        self._run_into(point, left)
        self._tally.note(f"{victim} in {pattern}".strip(), str(point))

    def _after_a_time(self, left: int) -> None:
        moment = self._choice.uniform(0.0, 0.25)
        with running(self._victim):
            time.sleep(moment)
        self._victim.kill()
        self._tally.note("daemon after a random time", f"{moment:.3f} s after its start")

    def _after_starts(self, left: int) -> None:
        """In the middle of work, and not so late that nothing is left for the kills to come."""
        wanted = self._some(left)
        has_enough = self._after(wanted)
        with running(self._victim):
            self._victim.wait_for(has_enough, "starts")
            time.sleep(self._choice.uniform(0.0, 0.05))
        self._victim.kill()
        self._tally.note("daemon after starts", f"{wanted} starts later")

    def _a_program(self, left: int) -> None:
        """A program is killed, and its daemon a little later."""
        before = len(_pids(self._patient))
        with running(self._victim):
            self._victim.wait_for(lambda: len(_pids(self._patient)) > before or self._is_done(), "a program")
            hit = next((one for pid, one in _pids(self._patient)[before:] if _kill_program(pid, self._patient)), None)
            self.programs_killed |= {hit} if hit else set()
            time.sleep(self._choice.uniform(0.0, 0.1))
        self._victim.kill()
        self._tally.note("program and daemon" if hit else "daemon with nothing to do", "a little after its start")

    def _run_into(self, point: Point, left: int) -> bool:
        """Whether the daemon has died of its point; one that does not come there is killed once some tasks have ended."""
        goal = ended(self._patient) + max(self._some(left), 4 * point.count)
        end = time.monotonic() + DEADLINE_SECONDS
        grace = 0.1
        with running(self._victim, point):
            while not (dead := self._victim.is_dead) and grace > 0:
                assert time.monotonic() < end, f"neither dead nor at work:\n{self._victim.said()}"
                time.sleep(0.004)
                if self._is_done() or ended(self._patient) >= goal:
                    grace -= 0.004
        self._victim.kill()
        return dead

    def _some(self, left: int) -> int:
        """So many tasks that something is left for the kills to come."""
        return self._choice.randint(1, max(1, 2 * (self._tasks - len(starts(self._patient))) // left))

    def _after(self, wanted: int) -> Callable[[], bool]:
        goal = len(starts(self._patient)) + wanted
        return lambda: len(starts(self._patient)) >= goal or self._is_done()

    def _a_moment(self) -> float:
        return self._choice.choice([0.0, 0.0, self._choice.uniform(0.0, 0.004)])

    def _is_done(self) -> bool:
        return is_done(self._patient, self._tasks)


def _pids(patient: Patient) -> list[tuple[int, str]]:
    """(process, attempt) of each program that has started."""
    with contextlib.suppress(FileNotFoundError):
        lines = [line.split() for line in Path(f"{patient.witness}.pids").read_text().splitlines()]
        return [(int(words[0]), words[1]) for words in lines if len(words) == 2]
    return []


def _kill_program(pid: int, patient: Patient) -> bool:
    """Only what is a program of this brain: a number may have been given away again."""
    try:
        if patient.witness in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGKILL)
            return True
    except (FileNotFoundError, ProcessLookupError):
        pass
    return False


def starts(patient: Patient) -> list[str]:
    """The attempts that the outside witness saw start."""
    with contextlib.suppress(FileNotFoundError):
        return Path(patient.witness).read_text().split()
    return []


def ended(patient: Patient) -> int:
    return sum(_count(patient, folder) for folder in ("completed", "failed"))


def is_done(patient: Patient, tasks: int) -> bool:
    """Whether all tasks have ended or wait for an answer."""
    return ended(patient) + _count(patient, "active") >= tasks and not _count(patient, "pending")


def _count(patient: Patient, folder: str) -> int:
    return len(task_files(os.path.join(patient.root, "brain", "tasks", folder)))


def many(tasks: int, *, repeatable: bool) -> Scenario:
    """Tasks of a few milliseconds each, every eighth of them done by a program."""
    return Scenario(
        name=f"{tasks} tasks, {'repeatable' if repeatable else 'not repeatable'}",
        interfaces={
            "echo.md": echo("echo", "delay_seconds: 0.01", repeatable=repeatable),
            "program.md": _PROGRAM.format(repeatable=str(repeatable).lower()),
        },
        tasks={
            f"t{number:04d}.md": f"---\ninterface: {'program' if number % 8 == 0 else 'echo'}\n---\n# Task {number}\n"
            for number in range(tasks)
        },
        repeatable=repeatable,
    )


def session(ward: Ward, nursery: Nursery, kills: int, tasks: int, seed: int, *, repeatable: bool) -> Tally:
    """One brain, `tasks` tasks, `kills` kills: what was killed, and what is wrong in the end."""
    choice, tally = random.Random(f"{seed} {repeatable}"), Tally()
    scenario = many(tasks, repeatable=repeatable)
    patient = ward.admit(scenario)
    victim = Victim(patient, nursery)
    killer = Killer(victim, patient, tasks, choice, tally)
    for left in range(kills, 0, -1):
        killer.kill_once(left)
    with running(victim):
        victim.wait_for(lambda: victim.is_up() and is_settled(patient, scenario), "the end of all tasks")
        victim.stop()
    killed = frozenset(killer.programs_killed)
    tally.broken = violations(patient, replace(scenario, failed=len(killed), excused=killed))
    interrupted = sum(row["decision"] in {"ask", "again"} for row in Facts.of(patient).attempts)
    tally.lines.append(f"{ended(patient)} of {tasks} ended, {interrupted} attempts were interrupted")
    if not tally.broken:
        ward.discharge(patient)
    return tally


def is_settled(patient: Patient, scenario: Scenario) -> bool:
    """Whether nothing is left to do but to answer questions."""
    if scenario.repeatable:
        return ended(patient) >= scenario.size
    return (
        is_done(patient, scenario.size)
        and not _count(patient, "pending")
        and _unanswered(patient) == _count(patient, "active")
    )


def _unanswered(patient: Patient) -> int:
    path = Path(patient.root, "prompts", "pending.md")
    return path.read_text().count("\n## ") if path.exists() else 0


def _tried(ward: Ward, nursery: Nursery, kills: int, tasks: int, seed: int, *, repeatable: bool) -> Tally:
    """A session; one that does not come to its end is broken, and costs no other."""
    try:
        return session(ward, nursery, kills, tasks, seed, repeatable=repeatable)
    except AssertionError as error:
        return Tally(kills=Counter({"of a session that came to no end": kills}), lines=["no end"], broken=[str(error)])


def main() -> int:
    """Sessions of at most `--session` kills, in turn repeatable and not, until `--kills` are done; then the table of what was killed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--session", type=int, default=25)
    options.add_argument("--tasks", type=int, default=200)
    asked = options.parse_args()
    began, total = time.monotonic(), Tally()
    with tempfile.TemporaryDirectory(prefix="brain-kills-") as folder, Nursery() as nursery:
        _own_home(folder)
        ward = Ward(os.path.join(folder, "ward"))
        number = 0
        while total.count < asked.kills:
            kills = min(asked.session, asked.kills - total.count)
            seed, repeatable = asked.seed * 100_000 + number, number % 2 == 0
            tally = _tried(ward, nursery, kills, asked.tasks, seed, repeatable=repeatable)
            number += 1
            total.kills += tally.kills
            total.broken += tally.broken
            words = f"session {number}, seed {seed}, {'' if repeatable else 'not '}repeatable: {tally.lines[-1]}"
            print(f"{words}; {total.count} kills, {len(total.broken)} violations", flush=True)
            if tally.broken:
                print(*tally.lines, *(f"BROKEN {one}" for one in tally.broken), sep="\n  ", flush=True)
    print(*(f"{count:6} {kind}" for kind, count in sorted(total.kills.items())), sep="\n")
    seconds = time.monotonic() - began
    print(f"{total.count} kills in {seconds:.0f} s, {len(total.broken)} violations, SEED={asked.seed}")
    return 1 if total.broken else 0


def _own_home(folder: str) -> None:
    """Nothing of the machine's own settings."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "BRAIN_", "XDG_")):
            del os.environ[name]
    os.environ.update(HOME=folder, GIT_CONFIG_NOSYSTEM="1")


if __name__ == "__main__":
    sys.exit(main())
