"""Kills the real daemon with SIGKILL at random moments and looks whether a promise broke: `make crash-lab KILLS=n SEED=s`.

A daemon in a process of its own works on tasks whose tool writes each start to a synced file outside the brain. It is killed
at a random time after its start, or a little after it has started a random number of tasks; then the next one is started. The last
one works everything off, and `promises.violations` compares witness, folders, journal, ledger and git.
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
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a program, this file is not below a known folder

from tests.faults.promises import Facts, task_files, violations
from tests.faults.scenarios import echo
from tests.faults.ward import Patient, Scenario, Ward

DEADLINE_SECONDS = 120.0
SETTINGS = {"BRAIN_SETTLE": "0s", "BRAIN_GROUP": "20ms", "BRAIN_SCAN": "1s", "BRAIN_PARALLEL": "8", "BRAIN_GRACE": "1s"}


class Victim:
    """The daemon of one brain, as often as it is started."""

    def __init__(self, patient: Patient, **settings: str) -> None:
        self._patient = patient
        self._environment = {**os.environ, **SETTINGS, **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._ups_before = 0
        self.log = f"{patient.root}.log"

    def start(self) -> None:
        """Start `brain run`; returns at once."""
        self._ups_before = self._ups()
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
        """The end of what the daemons said."""
        return Path(self.log).read_text(errors="replace")[-3000:]


@contextlib.contextmanager
def running(victim: Victim) -> Iterator[None]:
    """Never leaves a daemon behind."""
    victim.start()
    try:
        yield
    except BaseException:
        victim.kill()
        raise


def kills_during(victim: Victim, patient: Patient, kills: int, tasks: int, choice: random.Random) -> list[str]:
    """Start and kill; a line on each kill."""
    table = []
    for left in range(kills, 0, -1):
        with running(victim):
            if choice.random() < 0.3:
                words = _some_time_after_its_start(choice)
            else:
                words = _some_starts_later(victim, patient, tasks, left, choice)
        victim.kill()
        table.append(f"killed {words}; {len(starts(patient))} starts, {ended(patient)} ended")
    return table


def _some_time_after_its_start(choice: random.Random) -> str:
    moment = choice.uniform(0.0, 0.8)
    time.sleep(moment)
    return f"{moment:.3f} s after its start"


def _some_starts_later(victim: Victim, patient: Patient, tasks: int, left: int, choice: random.Random) -> str:
    """In the middle of work, and not so late that nothing is left for the kills to come."""
    before = len(starts(patient))
    wanted = choice.randint(1, max(1, (tasks - before) // left))
    words = f"{wanted} starts later"
    victim.wait_for(lambda: len(starts(patient)) >= before + wanted or is_done(patient, tasks), words)
    time.sleep(choice.uniform(0.0, 0.05))
    return words


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
    """Tasks of a few milliseconds each."""
    return Scenario(
        name=f"{tasks} tasks, {'repeatable' if repeatable else 'not repeatable'}",
        interfaces={"echo.md": echo("echo", "delay_seconds: 0.01", repeatable=repeatable)},
        tasks={f"t{number:04d}.md": f"# Task {number}\n\nSay {number}.\n" for number in range(tasks)},
        repeatable=repeatable,
    )


def session(ward: Ward, kills: int, tasks: int, seed: int, *, repeatable: bool) -> tuple[list[str], list[str]]:
    """One brain, `tasks` tasks, `kills` kills: the table, and what is wrong in the end."""
    choice = random.Random(f"{seed} {repeatable}")
    scenario = many(tasks, repeatable=repeatable)
    patient = ward.admit(scenario)
    victim = Victim(patient)
    table = kills_during(victim, patient, kills, tasks, choice)
    with running(victim):
        victim.wait_for(lambda: is_settled(patient, scenario), "the end of all tasks")
        victim.stop()
    found = violations(patient, scenario)
    interrupted = sum(row["decision"] in {"ask", "again"} for row in Facts.of(patient).attempts)
    table.append(f"{ended(patient)} of {tasks} ended, {interrupted} attempts were interrupted")
    if not found:
        ward.discharge(patient)
    return table, found


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


def main() -> int:
    """Sessions of at most ten kills over 300 tasks, in turn repeatable and not, until `--kills` are done."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--tasks", type=int, default=300)
    asked = options.parse_args()
    broken = done = 0
    with tempfile.TemporaryDirectory(prefix="brain-kills-") as folder:
        _own_home(folder)
        ward = Ward(os.path.join(folder, "ward"))
        number = 0
        while done < asked.kills:
            kills = min(10, asked.kills - done)
            seed, repeatable = asked.seed * 100_000 + number, number % 2 == 0
            table, found = session(ward, kills, asked.tasks, seed, repeatable=repeatable)
            done, number, broken = done + kills, number + 1, broken + len(found)
            print(
                f"session {number}, seed {seed}, {'' if repeatable else 'not '}repeatable",
                *table,
                sep="\n  ",
                flush=True,
            )
            print(
                *(f"  BROKEN {one}" for one in found), sep="\n" if found else "", end="\n" if found else "", flush=True
            )
    print(f"{done} kills, {broken} violations, SEED={asked.seed}")
    return 1 if broken else 0


def _own_home(folder: str) -> None:
    """Nothing of the machine's own settings."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "BRAIN_", "XDG_")):
            del os.environ[name]
    os.environ.update(HOME=folder, GIT_CONFIG_NOSYSTEM="1")


if __name__ == "__main__":
    sys.exit(main())
