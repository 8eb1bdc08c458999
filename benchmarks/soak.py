"""An hour of work without growth: memory, descriptors, threads, processes and files of one daemon, measured all along.

    python benchmarks/soak.py [--minutes N] [--tasks-a-minute N] [--keep]

The real daemon works on a steady stream of tasks: an in-process tool, a process, one that fails, and a malformed file now and
then; in between it is asked, watched and rests. A sample is taken every few seconds. After a warm-up of a tenth of the time,
the first and the last fifth of the samples are compared, and a line is fitted to each figure. Prints JSON; exit 1 where
memory grew by more than a tenth and 5 MB, or anything else by more than two.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from brain_daemon.service.creation import init

SAMPLE_SECONDS = 5.0
INTERFACES = {
    "bench": "---\nname: bench\ntype: tool\ninvoke:\n  kind: tool\n  function: echo\n---\n# Bench\n",
    "shouts": "---\nname: shouts\ninvoke:\n  kind: command\n  command: [cat]\n---\n# Shouts\n",
    "fails": "---\nname: fails\ninvoke:\n  kind: command\n  command: [/bin/false]\n---\n# Fails\n",
}
TEXTS = (
    "---\ninterface: bench\n---\n# Note {n}\n\nSay number {n}.\n",
    "---\ninterface: shouts\n---\n# Shout {n}\n\nShout number {n}.\n",
    "---\ninterface: bench\nchain: soak\ntype: quick\n---\n# Link {n}\n\nSay [[knowledge/README.md]] {n}.\n",
    "---\ninterface: fails\nattempts: 1\n---\n# Fail {n}\n\nThis fails.\n",
    "---\npriority: [broken\n---\n# Broken {n}\n",
)


def environment(base: Path) -> dict[str, str]:
    """A home of its own, so that nothing of the user's settings counts."""
    home = base / "home"
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text("[user]\n\tname = b\n\temail = b@example.org\n")
    own = {key: value for key, value in os.environ.items() if not key.startswith(("BRAIN_", "XDG_", "GIT_"))}
    return {**own, "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}


def sample(daemon: psutil.Process) -> dict[str, float]:
    """What the daemon holds now, with the process that records for it."""
    both = [daemon, *filter(_records, daemon.children())]
    memory = [one.memory_full_info() for one in both]
    return {
        "rss_mb": sum(one.rss for one in memory) / 1e6,
        "uss_mb": sum(one.uss for one in memory) / 1e6,
        "descriptors": sum(one.num_fds() for one in both),
        "threads": sum(one.num_threads() for one in both),
        "children": len(daemon.children(recursive=True)),
    }


def _records(child: psutil.Process) -> bool:
    try:
        return child.name() == "brain-recorder"
    except psutil.NoSuchProcess:
        return False


def drop(root: Path, number: int) -> None:
    folder = root / "brain/tasks/pending"
    aside = folder / f".soak-{number}.part"
    aside.write_text(TEXTS[number % 20 if number % 20 < len(TEXTS) else number % 3].format(n=number))
    aside.rename(folder / f"soak-{number}.md")


def work(
    root: Path, process: subprocess.Popen[bytes], minutes: float, rate: float
) -> tuple[list[dict[str, float]], int]:
    """Drop tasks at a steady rate and take samples; the samples and how many tasks were dropped."""
    daemon, own = psutil.Process(process.pid), environment(root.parent)
    began = time.monotonic()
    samples, number, looked = list[dict[str, float]](), 0, 0.0
    while (now := time.monotonic() - began) < minutes * 60 and process.poll() is None:
        # Every tenth minute is a rest.
        while int(now / 60) % 10 != 9 and number < now / 60 * rate:
            drop(root, number)
            number += 1
        if now - looked >= SAMPLE_SECONDS:
            looked = now
            samples.append({"at": now, **sample(daemon)})
            verb = ("status", "list", "costs", "doctor")[len(samples) % 4]
            subprocess.run(
                [sys.executable, "-m", "brain_daemon", "--brain", str(root), verb],
                env=own,
                capture_output=True,
                check=False,
            )
        time.sleep(0.05)
    return samples, number


def growth(samples: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """For each figure: its median in the first and in the last fifth after the warm-up, and its slope an hour."""
    settled = samples[len(samples) // 10 :]
    fifth = max(1, len(settled) // 5)
    found = {}
    for name in settled[0].keys() - {"at"}:
        values = [one[name] for one in settled]
        first, last = statistics.median(values[:fifth]), statistics.median(values[-fifth:])
        slope = statistics.linear_regression([one["at"] for one in settled], values).slope * 3600
        found[name] = {
            "first": round(first, 1),
            "last": round(last, 1),
            "most": round(max(values), 1),
            "an_hour": round(slope, 2),
            "grew": last > first * 1.1 + 5 if name.endswith("_mb") else last > first + 2,
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--tasks-a-minute", type=float, default=300.0)
    parser.add_argument("--keep", action="store_true", help="leave the brain behind")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="brain-soak-"))
    root, own = base / "brain", environment(base)
    init(str(root), own)
    for name, text in INTERFACES.items():
        (root / f"tools/interfaces/{name}.md").write_text(text)
    brain = [sys.executable, "-m", "brain_daemon", "--brain", str(root)]
    with (base / "daemon.err").open("wb") as said:
        process = subprocess.Popen([*brain, "run"], env=own, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    time.sleep(3.0)
    samples, number = work(root, process, options.minutes, options.tasks_a_minute)
    ended_by_itself = process.poll()
    if ended_by_itself is None:
        process.send_signal(signal.SIGTERM)
        process.wait(180)
    verified = json.loads(
        subprocess.run([*brain, "verify", "--json"], env=own, capture_output=True, check=False).stdout
    )
    counts = json.loads(subprocess.run([*brain, "status", "--json"], env=own, capture_output=True, check=False).stdout)
    found = growth(samples)
    report = {
        "minutes": options.minutes,
        "dropped": number,
        "counts": counts.get("counts", counts),
        "ended_by_itself": ended_by_itself,
        "findings_of_verify": verified["findings"][:20],
        "samples": len(samples),
        "figures": found,
        "state_mb": round(
            sum(path.stat().st_size for path in root.rglob(".git/brain/**/*") if path.is_file()) / 1e6, 1
        ),
        "load_1min": os.getloadavg()[0],
    }
    print(json.dumps(report, indent=2))
    if not options.keep:
        shutil.rmtree(base, ignore_errors=True)
    if ended_by_itself is not None or verified["findings"] or any(one["grew"] for one in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
