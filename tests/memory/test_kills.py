"""The writers of the pool killed in the middle of writes, and their files damaged: ids resolve, and the search comes back."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from brain_daemon.memory.pool import Pool
from brain_daemon.memory.vectors import index_path
from brain_daemon.store.files import Files
from tests.depth import deep

KILLS = deep(6, 50)
NOTES = 120
WRITER = """
import os, sys, itertools
from brain_daemon.memory.indexer import Indexer
from brain_daemon.memory.notes import put_note
from brain_daemon.memory.pool import Pool
from brain_daemon.memory.vectors import EmbeddingWish, Vectors
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
layout = Layout(*sys.argv[1:4])
vectors = Vectors(layout, EmbeddingWish(wanted="local"), dict(os.environ))
pool = Pool(layout, Files(), vectors)
indexer = Indexer(pool, scan_seconds=0.05)
indexer.start()
print("writing", flush=True)
for number in itertools.count():
    path = put_note(layout, Files(), f"note {sys.argv[4]}x{number} " + "of words " * 80)
    print(path, flush=True)
    indexer.hint(layout.inside(path))
    pool.refresh([path])
"""


def damage(folder: Path, draw: random.Random) -> str:
    """One file of the pool's state cut, overwritten, emptied or taken away; what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        return "nothing there"
    path, how = draw.choice(files), draw.choice(["cut", "scribble", "empty", "remove"])
    size = path.stat().st_size
    match how:
        case "cut":
            os.truncate(path, draw.randrange(size + 1))
        case "scribble":
            with path.open("r+b") as file:
                for _ in range(50):
                    file.seek(draw.randrange(size + 1))
                    file.write(draw.randbytes(64))
        case "empty":
            os.truncate(path, 0)
        case _:
            path.unlink()
    return f"{how} {path.relative_to(folder)}"


def killed(brain, run: int, seconds: float) -> list[str]:
    """Start a writer, kill it and all its children after a while; the notes it said it had written."""
    layout = brain.layout
    arguments = [sys.executable, "-c", WRITER, layout.root, layout.state, layout.work, str(run)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        time.sleep(seconds)
    finally:
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for one in (process.pid, *map(int, children)):
            try:
                os.kill(one, signal.SIGKILL)
            except ProcessLookupError:
                continue
        said = process.stdout.read().decode().split() if process.stdout else []
        process.stdout.close()
        process.wait()
    return said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_and_damages_lose_no_id_and_no_search(brain):
    """After each of them every id resolves, and planted words are found."""
    draw = random.Random(20261121)
    for number in range(NOTES):
        brain.write(f"knowledge/n{number}.md", f"# Note {number}\n\nplanted{number} " + "filler " * 40 + "\n")
    folder = Path(index_path(brain.layout)).parent
    written: list[str] = []
    for run in range(KILLS):
        long = run % 10 == 0
        written += killed(brain, run, draw.uniform(1.5, 2.5) if long else draw.uniform(0.0, 0.3))
        what = damage(folder, draw) if run % 2 else "no damage"
        pool = Pool(brain.layout, Files())
        wanted = [*draw.sample(range(NOTES), 3)]
        for number in wanted:
            assert pool.resolve(f"knowledge/n{number}.md"), (run, what)
        for path in draw.sample(written, min(5, len(written))):
            assert pool.resolve(Path(path).stem).path == path, (run, what)
        pool.check()
        pool.refresh()
        for number in wanted:
            assert f"knowledge/n{number}.md" in [hit.path for hit in pool.search(f"planted{number}")], (run, what)
    assert all(pool.resolve(Path(path).stem) for path in written)
