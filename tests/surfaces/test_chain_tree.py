"""The tree of `brain chain`, line by line, in a pipe and on a terminal."""

import os
import pty
import subprocess
import sys

import pytest

ABOVE = {"a": "", "b": "a", "c": "b", "d": "c", "e": "b", "f": "a", "g": "f"}
TREE = ["a", "├─ b", "│  ├─ c", "│  │  └─ d", "│  └─ e", "└─ f", "   └─ g", "total"]


@pytest.mark.parametrize("named", ["", "-nightly-report-20261121"], ids=["short", "long"])
def test_the_tree_keeps_its_shape_in_a_pipe_and_on_a_terminal_of_80_columns(brain, cli, named):
    """Each level is set in by three columns, with the lines of those above it, and a task has one line, however long its name."""
    brain.echo("an_interface_with_a_long_name")
    brain.program("broken", "false", more="good_at: {default: 0}\n")
    for name, above in ABOVE.items():
        front = f"depends_on: [{above}{named}]\n" if above else ""
        front += "interface: broken\nattempts: 1\n" if name == "c" else ""
        brain.drop(f"{name}{named}.md", f"---\n{front}---\n# {name}\n")
    # One after the other: siblings stand in the order in which they ended.
    assert brain.run_once(parallel="1") == 1
    lines = cli("chain", f"d{named}").out.splitlines()
    assert lines[0] == f"Chain a{named}"
    assert [line.split("  completed")[0].split("  failed")[0][:40].rstrip() for line in lines[2:-1]] == [
        f"{one}{named}" for one in TREE[:-1]
    ]
    seen = on_terminal(brain, "chain", f"d{named}")
    print("\n".join(seen))
    tree = [f"{one}{named}" for one in TREE[:-1]] + TREE[-1:]
    assert [line for line in tree if not any(one.startswith(f"{line} ") for one in seen)] == []
    assert max(map(len, seen)) <= 80


def on_terminal(brain, *arguments: str) -> list[str]:
    """What `brain` prints on a terminal of 80 columns, without colours."""
    mine, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "40", "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, "-m", "brain_daemon", "--brain", str(brain.root), *arguments]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    said = b""
    try:
        while data := os.read(mine, 65536):
            said += data
    except OSError:
        pass  # the end of a terminal nobody writes to any more
    os.close(mine)
    assert process.wait(60) == 0, said.decode()
    return said.decode().replace("\r", "").splitlines()
