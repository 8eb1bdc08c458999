"""Bytes nobody means well with, given to everything that reads bytes: a value or the documented error, within a bound of memory."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.corpus import FILES
from tests.hostile.fuzz import executions
from tests.hostile.targets import targets

# What `make fuzz` does a hundred thousand times by hand.
EXECUTIONS = int(os.environ.get("FUZZ", "150"))
SEED = int(os.environ.get("SEED", "1"))
MEMORY_BYTES = 768 << 20
CPU_SECONDS = 120

ALL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
sys.path.insert(0, {top!r})
from tests.hostile.corpus import FILES
from tests.hostile.targets import targets
faults = []
for target in targets().values():
    for name, data in FILES.items():
        try:
            target.check(data)
        except Exception as error:
            faults.append([target.name, name, repr(error)[:300]])
import json
print(json.dumps([faults, len(targets()) * len(FILES)]))
"""


def test_nothing_in_the_corpus_breaks_anything_that_reads_within_bounds_of_memory_and_time():
    """Every file of the corpus through every reader, in a process that may have so much memory and processor time and no more."""
    top = str(Path(__file__).parents[2])
    code = ALL.format(memory=MEMORY_BYTES, seconds=CPU_SECONDS, top=top)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    faults, number = json.loads(done.stdout)
    assert faults == []
    assert number == len(targets()) * len(FILES) > 1_000


@pytest.mark.parametrize("name", sorted(targets()))
def test_a_sample_of_random_changes_breaks_no_reader(name):
    """Seeded, so a failure here is the same one by hand: `make fuzz TARGET=name SEED=s`."""
    number = EXECUTIONS // 5 if name == "journal_file" else EXECUTIONS
    found = executions(targets()[name], number, SEED)
    assert [why for _, why in found["faults"]] == []


def test_the_fuzzer_sees_a_reader_that_breaks():
    """A target that falls over one byte is found, and the input is kept."""

    def check(data: bytes) -> None:
        assert b"\0" not in data

    found = executions(targets()["task"].__class__("task", targets()["task"].seeds, check), 2_000, SEED)
    assert found["faults"]
    assert all(b"\0" in data for data, _ in found["faults"])


def test_the_limit_on_memory_is_one_that_counts():
    """The bound of the first test is real: more than that is refused."""
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES}, {MEMORY_BYTES})); bytearray(1 << 30)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != MEMORY_BYTES
