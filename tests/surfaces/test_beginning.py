"""`brain init` and `brain demo`: the first minutes."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

from brain_daemon.service import creation


def test_init_makes_a_brain_and_says_what_to_do_next(cli, tmp_path):
    """Once with what was written, the second time with what is there."""
    said = cli("init", str(tmp_path / "new"))
    assert (said.code, said.complaint) == (0, "")
    assert "with a git repository of its own" in said.out
    assert re.search(r"first commit [0-9a-f]{7}\n", said.out)
    assert "is a brain already" in cli("init", str(tmp_path / "new")).out


def test_init_tells_programs_what_it_did(cli, tmp_path):
    """The shape of `brain init --json`."""
    facts = cli("init", str(tmp_path / "new"), "--json").json
    assert list(facts) == ["brain", "new_repository", "written", "extended", "kept", "commit", "not_committed_because"]
    assert (facts["brain"], facts["new_repository"], facts["not_committed_because"]) == (
        str(tmp_path / "new"),
        True,
        None,
    )
    assert "context/routing.md" in facts["written"]


def test_init_of_a_file_is_bad_input(cli, tmp_path):
    """Exit code 2, and the file is named."""
    (tmp_path / "file").touch()
    said = cli("init", str(tmp_path / "file"))
    assert (said.code, str(tmp_path / "file") in said.complaint) == (2, True)


def test_the_demo_shows_every_part_of_a_task(cli, tmp_path):
    """Results, reasons, the error, the hold, the costs and git, within 80 columns and without an account."""
    said = cli("demo", str(tmp_path / "demo"))
    assert (said.code, said.complaint) == (0, "")
    for part in (
        "command: [tr, a-z, A-Z]",
        "THIS ONE WAITED UNTIL THE FIRST ONE HAD COMPLETED",
        "routing.md lists it as best for knowledge",
        "knowledge/brain-daemon.md:",
        "Allowed: high, medium or low",
        "nobody offers image_generation",
        "completed shout: Shout (upper,",
        "Attempt-Id: shout.a1.",
        "?? tools/interfaces/upper.md",
    ):
        assert part in " ".join(said.out.split()) or part in said.out
    wide = [line for line in said.out.splitlines() if len(line) > 80 and str(tmp_path) not in line]
    assert (wide, "\x1b" in said.out) == ([], False)


def test_the_demo_tells_programs_what_came_out(cli, tmp_path):
    """The shape of `brain demo --json`; each task ended as it should."""
    facts = cli("demo", str(tmp_path / "demo"), "--json").json
    assert list(facts) == ["brain", "seconds", "as_expected", "tasks", "held", "log"]
    assert {one["task_id"]: one["state"] for one in facts["tasks"]} == dict(creation.DEMO_OUTCOMES)
    assert [one["task_id"] for one in facts["held"]] == ["picture"]
    assert {one["cost_basis"] for one in facts["tasks"] if one["interface"]} == {"free"}
    order = [one["task_id"] for one in facts["tasks"]]
    assert order.index("urgent") < order.index("shout") < order.index("shout-again")


def test_the_demo_will_not_fill_a_folder_twice(cli, tmp_path):
    """The second one is refused and names the file in its way."""
    cli("demo", str(tmp_path / "demo"))
    said = cli("demo", str(tmp_path / "demo"))
    assert (said.code, "upper.md is there already" in said.complaint) == (2, True)


def test_the_demo_fits_a_terminal_of_80_columns(tmp_path):
    """On a terminal, in a process of its own with a fresh home."""
    environment = {**os.environ, "HOME": str(tmp_path), "TERM": "xterm-256color", "COLUMNS": "80"}
    master, slave = pty.openpty()
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "brain_daemon", "demo"], stdout=slave, stderr=slave, stdin=slave, env=environment
    )
    os.close(slave)
    printed = _read_all(master, began + 120)
    assert process.wait(30) == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.split("A brain", 1)[1])
    assert max(len(line.rstrip("\r")) for line in plain.splitlines()[1:]) <= 80
    assert "Now you" in plain
    assert not list(Path(tmp_path).glob("*.md"))


def _read_all(master: int, deadline: float) -> str:
    parts = []
    while time.monotonic() < deadline:
        if select.select([master], [], [], 1.0) == ([], [], []):
            continue
        try:
            data = os.read(master, 1 << 16)
        except OSError:
            break
        if not data:
            break
        parts.append(data)
    os.close(master)
    return b"".join(parts).decode()
