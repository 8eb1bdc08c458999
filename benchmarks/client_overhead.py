"""What the daemon adds to a real client's own time from start to exit, paired with running that client by hand.

    python -m benchmarks.client_overhead --clients FOLDER [--rounds N] [--only NAME ...]

FOLDER is what `python tests/clients/install.py CACHE` printed. A round does for each client one task through a running daemon
and the same call by hand, in changing order: the same program, arguments, environment and prompt, in a new folder beside the
daemon's, with its output in files. The server is aimock on loopback and answers at once, so what is measured is the machine's own work.

    by_hand_ms     from the start of the program to its exit, run by hand
    added_ms       from the file in pending/ to the exit of the program, less `by_hand_ms` of the same round
    to_start_ms    the part of it from the file in pending/ to the start of the program
    recorded_ms    from the exit of the program to its result in completed/, before the group is committed

Figures are medians over the rounds; `added_ms` is the median of the differences. A client's own time varies by more than what
is looked for, so few rounds on a busy machine tell nothing. Prints JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drop_to_commit import machine, until
from brain_daemon.adapters.environment import interface_environment
from brain_daemon.model.attempt import Attempt
from brain_daemon.model.task import Permissions
from brain_daemon.service.brain import Brain
from tests.clients.programs import CLIENTS
from tests.clients.rig import Rig
from tests.clients.servers import Aimock, aimock

PROMPT = "# Measure\n\nmeasure-me"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One round of one client, in seconds."""

    by_hand: float
    dropped_to_start: float
    dropped_to_exit: float
    exit_to_recorded: float

    @property
    def added(self) -> float:
        return self.dropped_to_exit - self.by_hand


def through_daemon(rig: Rig, task_id: str, client: str) -> tuple[Attempt, float, float]:
    """The attempt, when its file was dropped, and when its result was written; looked for seldom, to disturb nothing."""
    recorded = rig.root / "brain" / "tasks" / "completed" / f"{task_id}.md"
    rig.drop(task_id, client, PROMPT)
    dropped = time.time()
    until(recorded.exists, f"{task_id} is done", 0.05)
    with closing(Brain.open(str(rig.root), rig.environment)) as brain:
        return brain.journal.attempts_of(task_id)[-1], dropped, recorded.stat().st_mtime


def by_hand(rig: Rig, attempt: Attempt, folder: Path) -> float:
    """The call that the daemon made, made again; the seconds from fork to exit."""
    with closing(Brain.open(str(rig.root), rig.environment)) as brain:
        registry = brain.registry()
        registry.scan()
        spec = registry.entries[attempt.interface or ""].spec
        files = os.path.join(brain.layout.state, "clients", spec.name)
    values = {"{new_session}": str(uuid.uuid4()), "{files}": files}
    argv = [filled(word, values) for word in attempt.argv]
    environment = interface_environment(spec, rig.environment, Permissions.WRITE)
    environment = {name: filled(value, values) for name, value in environment.items()}
    workspace = folder / "workspace"
    workspace.mkdir(parents=True)
    prompt = folder / "prompt.md"
    prompt.write_text(PROMPT + "\n")
    with prompt.open("rb") as said, (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        began = time.monotonic()
        done = subprocess.run(
            argv,
            stdin=said,
            stdout=out,
            stderr=err,
            cwd=workspace,
            env=environment,
            start_new_session=True,
            check=False,
        )
        took = time.monotonic() - began
    if done.returncode:
        sys.exit(f"{argv[0]} by hand exited {done.returncode}: {(folder / 'stderr').read_text()[-500:]}")
    return took


def filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def measure(rig: Rig, client: str, number: int, first: Attempt) -> Pair:
    """One pair; every second round begins by hand. `first` is an earlier attempt, whose call is repeated."""
    folder = rig.workspaces / f"hand-{client}-{number}"
    took = by_hand(rig, first, folder) if number % 2 else None
    attempt, dropped, seen = through_daemon(rig, f"{client}-{number}", client)
    took = by_hand(rig, first, folder) if took is None else took
    assert attempt.ended is not None
    return Pair(
        by_hand=took,
        dropped_to_start=attempt.ended.started_at - dropped,
        dropped_to_exit=attempt.ended.finished_at - dropped,
        exit_to_recorded=seen - attempt.ended.finished_at,
    )


def summary(pairs: list[Pair]) -> dict[str, float]:
    def median(values: list[float]) -> float:
        return round(statistics.median(values) * 1000, 1)

    return {
        "by_hand_ms": median([pair.by_hand for pair in pairs]),
        "added_ms": median([pair.added for pair in pairs]),
        "to_start_ms": median([pair.dropped_to_start for pair in pairs]),
        "recorded_ms": median([pair.exit_to_recorded for pair in pairs]),
    }


def run(rig: Rig, server: Aimock, clients: list[str], rounds: int) -> dict[str, list[Pair]]:
    server.learn({"match": {"systemMessage": "title generator"}, "response": {"content": "A title"}})
    server.say("measure-me", "measured")
    with rig.running():
        until((rig.root / "context" / "board.md").exists, "the daemon runs")
        first = {name: through_daemon(rig, f"{name}-warm", name)[0] for name in clients}
        pairs: dict[str, list[Pair]] = {name: [] for name in clients}
        for number in range(rounds):
            for name in clients:
                pairs[name].append(measure(rig, name, number, first[name]))
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="*", default=list(CLIENTS), metavar="NAME")
    options = parser.parse_args()
    began_on = machine()
    with tempfile.TemporaryDirectory(prefix="brain-bench-") as folder:
        programs = options.clients / "bin"
        with aimock(programs / "aimock", Path(folder)) as server:
            pairs = run(Rig(Path(folder), programs, server.url), server, options.only, options.rounds)
    report = {
        "machine": began_on,
        "rounds": options.rounds,
        "clients": {name: summary(found) for name, found in pairs.items()},
        "all_together": summary([pair for found in pairs.values() for pair in found]),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
