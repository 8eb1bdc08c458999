"""Fuzzes what reads bytes from outside: `make fuzz N=100000 TARGET=task SEED=1`, all targets where none is named.

Each execution is a good file with a few random changes; the same seed gives the same executions. Each target runs in a process of
its own with a limit on memory; an execution that takes longer than `SLOW_SECONDS` of processor time counts as a fault. Prints JSON;
faulty inputs are kept in a folder. Exit 1 if there is any.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a program, this file is not below a known folder

from tests.hostile.mutation import mutated
from tests.hostile.targets import Target, targets

MEMORY_BYTES = 1 << 30
SLOW_SECONDS = 2.0
_MOST_FAULTS = 20


def executions(target: Target, number: int, seed: int) -> dict[str, Any]:
    """Run a target `number` times; what was slowest, and the inputs that broke it."""
    random = Random(f"{target.name} {seed}")
    slowest, faults = 0.0, list[tuple[bytes, str]]()
    began = time.process_time()
    for _ in range(number):
        data = mutated(random, target.seeds)
        before = time.process_time()
        try:
            target.check(data)
        except Exception:  # noqa: BLE001 - anything that leaves is a fault
            faults.append((data, traceback.format_exc(limit=-4)))
        taken = time.process_time() - before
        slowest = max(slowest, taken)
        if taken > SLOW_SECONDS:
            faults.append((data, f"it took {taken:.1f} s of processor time"))
        if len(faults) >= _MOST_FAULTS:
            break
    return {"seconds": round(time.process_time() - began, 1), "slowest_ms": round(slowest * 1e3, 1), "faults": faults}


def _alone(name: str, number: int, seed: int) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    found = executions(targets()[name], number, seed)
    found["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", choices=sorted(targets()), help="may be given several times")
    options = parser.parse_args()
    kept = Path(tempfile.mkdtemp(prefix="brain-fuzz-"))
    report: dict[str, Any] = {"executions": options.number, "seed": options.seed, "targets": {}}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in options.target or targets():
            found = pool.apply(_alone, (name, options.number, options.seed))
            for place, (data, why) in enumerate(found["faults"]):
                (kept / f"{name}-{place}").write_bytes(data)
                print(f"{kept / name}-{place}: {why}", file=sys.stderr)
            found["faults"] = len(found["faults"])
            report["targets"][name] = found
            print(name, found, file=sys.stderr, flush=True)
    print(json.dumps(report, indent=2))
    if any(found["faults"] for found in report["targets"].values()):
        sys.exit(1)
    os.rmdir(kept)


if __name__ == "__main__":
    main()
