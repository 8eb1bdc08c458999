"""What `brain request` and `brain hook` add of their own, paired with doing the same without them.

    python benchmarks/request_overhead.py [--rounds N]

The interface is /bin/cat, which answers at once. A round does each of these once, in changing order:

    python         the interpreter, started and ended
    hook           `brain hook` with a prompt of a kind it has met before, directive
    hook_fresh     `brain hook` with a prompt whose directive must be found
    directive      `brain request --mode directive`
    submit         `brain submit --wait`, beside a running daemon
    orchestrated   `brain request --mode orchestrated`, beside the same daemon

    hook_ms, hook_fresh_ms, directive_ms    the whole command, which is all overhead: the agent or the person waits for it
    request_ms               `orchestrated` less `submit` of the same round: what the mode, the session and the log add to a task
    *_cpu_ms                 the processor time of the same (user and system), which a busy machine does not stretch as much

Figures are medians over the rounds, differences are taken within a round. `load` is the machine's at the start: on a busy one
only the processor times tell something. Prints JSON.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from brain_daemon.service.creation import init

INTERFACE = """\
---
name: parrot
cost: {tier: free}
good_at: {default: 0.9}
invoke: {kind: command, command: [cat]}
---
# Parrot
"""
PROMPT = "Fix the bug in parser.py"
LIMIT_MS = 500.0
DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds on the clock, and of the processor."""

    wall: float
    cpu: float


def took(command: list[str], said: bytes = b"", **environment: str) -> Took:
    """Run it to its end; it must exit 0 and print something."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run(command, input=said, capture_output=True, env={**os.environ, **environment}, check=False)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or not done.stdout:
        sys.exit(f"{command} exited {done.returncode} and printed {done.stdout!r}: {done.stderr.decode()[-500:]}")
    return Took(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


@contextmanager
def daemon(root: Path) -> Iterator[None]:
    command = [*brain(root), "run"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (root / "context" / "board.md").exists():
        if time.monotonic() > deadline or process.poll() is not None:
            sys.exit("the daemon did not start")
        time.sleep(0.02)
    try:
        yield
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def brain(root: Path) -> list[str]:
    return [sys.executable, "-m", "brain_daemon", "--brain", str(root)]


def cases(root: Path) -> dict[str, tuple[list[str], bytes]]:
    told = {"hook_event_name": "UserPromptSubmit", "session_id": "bench", "cwd": str(root), "prompt": PROMPT}
    hook = [*brain(root), "hook", "--mode", "directive"]
    request = [*brain(root), "request", PROMPT, "--session", "bench", "--mode"]
    return {
        "python": ([sys.executable, "-c", "print(1)"], b""),
        "hook": (hook, json.dumps(told).encode()),
        "hook_fresh": (hook, json.dumps(told | {"prompt": f"---\ntype: code\n---\n{PROMPT}"}).encode()),
        "directive": ([*request, "directive"], b""),
        "submit": ([*brain(root), "submit", PROMPT, "--wait"], b""),
        "orchestrated": ([*request, "orchestrated"], b""),
    }


def measure(root: Path, rounds: int) -> dict[str, list[Took]]:
    found: dict[str, list[Took]] = {name: [] for name in cases(root)}
    for number in range(-1, rounds):
        order = list(cases(root).items())
        for name, (command, said) in order if number % 2 else reversed(order):
            one = took(command, said)
            # The first round warms the caches of the machine.
            if number >= 0:
                found[name].append(one)
    return found


def median_ms(values: list[float]) -> float:
    return round(statistics.median(values) * 1000, 1)


def summary(found: dict[str, list[Took]]) -> dict[str, float]:
    pairs = list(zip(found["orchestrated"], found["submit"], strict=True))
    figures = {f"{name}_ms": median_ms([one.wall for one in found[name]]) for name in found}
    figures |= {f"{name}_cpu_ms": median_ms([one.cpu for one in found[name]]) for name in found}
    figures["request_ms"] = median_ms([ours.wall - theirs.wall for ours, theirs in pairs])
    figures["request_cpu_ms"] = median_ms([ours.cpu - theirs.cpu for ours, theirs in pairs])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="brain-bench-") as folder:
        root = Path(folder) / "brain"
        init(str(root), dict(os.environ))
        (root / "tools" / "interfaces" / "parrot.md").write_text(INTERFACE)
        with daemon(root):
            figures = summary(measure(root, options.rounds))
    own = max(figures[f"{name}_ms"] for name in ("hook", "hook_fresh", "directive", "request"))
    report = {
        "machine": {"processors": os.cpu_count(), "load": round(load, 2), "python": sys.version.split()[0]},
        "rounds": options.rounds,
        **figures,
        "limit_ms": LIMIT_MS,
        "within_limit": own < LIMIT_MS,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
