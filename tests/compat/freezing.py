"""A brain with its journal as one text file, and back: how the format of a release is kept for ever.

    python tests/compat/freezing.py tests/compat/brains/v0.1.json

runs the program as it is now on a few tasks and freezes what it leaves. Done once for each release whose text or journal differs
from the one before; the files of earlier releases are never written again.
"""

import asyncio
import base64
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a program, this file is not below a known folder

from brain_daemon.service.agents import Agent, Claimed, claim
from brain_daemon.service.brain import Brain
from brain_daemon.service.creation import init
from brain_daemon.service.supervisor import Supervisor
from brain_daemon.store.layout import Layout

INTERFACES = {
    "echo": "---\nname: echo\ntype: tool\ninvoke:\n  kind: tool\n  function: echo\n---\n# echo\n",
    "priced": "---\nname: priced\ntype: llm\ncost: {tier: paid, input_per_million: 3, output_per_million: 15}\n"
    "invoke:\n  kind: command\n  command: [cat]\n---\n# priced\n",
    "broken": "---\nname: broken\ngood_at: {default: 0}\ninvoke:\n  kind: command\n  command: ['false']\n---\n# broken\n",
}
TASKS = {
    "one.md": b"# One\n\nSay it.\n",
    "crlf.md": b"\xef\xbb\xbf---\r\ntype: quick\r\n---\r\n# CRLF\r\n\r\nno final newline",
    "paid.md": b"---\ninterface: priced\nchain: nightly\n---\n# Paid\n\nsome words\n",
    "twice.md": b"---\npreferred_interface: broken\n---\n# Twice\n\nx\n",
    "failed.md": b"---\ninterface: broken\nattempts: 1\n---\n# Failed\n\nx\n",
    "binary.md": b"# Binary\0\n",
    "malformed.md": b"---\npriority: [\n---\n# Malformed\n",
    "after.md": b"---\ndepends_on: [one]\nhandoff_from: [one]\n---\n# After\n\nx\n",
}
LEFT = {
    "waits.md": b"---\nrequires: [vision]\n---\n# Waits\n\nfor an interface\n",
    "fresh.md": b"---\ninterface: echo\n---\n# Fresh\n\nto be done by the next release\n",
    "held.md": b"# Held\n\nby an agent\n",
}
_LEFT_OUT = ("tools/", "knowledge/", ".git", "README.md", "context/routing.md")


def freeze(root: str, environment: dict[str, str]) -> dict[str, Any]:
    """The files of the brain but those that are shipped, and its journal as SQL."""
    with closing(Brain.open(root, environment)) as brain:
        layout = brain.layout
    with closing(sqlite3.connect(layout.journal)) as journal:
        version = journal.execute("pragma user_version").fetchone()[0]
        dump = [line for line in journal.iterdump() if not line.startswith(("BEGIN", "COMMIT"))]
    files = {name: _text(path) for name, path in _files(root)}
    files |= {f"tools/interfaces/{name}.md": {"text": text} for name, text in INTERFACES.items()}
    return {"user_version": version, "files": dict(sorted(files.items())), "journal": dump}


def thaw(frozen: dict[str, Any], root: str) -> None:
    """Write the files of a frozen brain."""
    for name, told in frozen["files"].items():
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(told["base64"]) if "base64" in told else told["text"].encode())


def thaw_journal(frozen: dict[str, Any], layout: Layout) -> None:
    """Write the journal of a frozen brain to its place, whatever is there."""
    os.makedirs(layout.state, exist_ok=True)
    for ending in ("", "-wal", "-shm"):
        Path(layout.journal + ending).unlink(missing_ok=True)
    with closing(sqlite3.connect(layout.journal, isolation_level=None)) as journal:
        for statement in frozen["journal"]:
            journal.execute(statement)
        journal.execute(f"pragma user_version = {frozen['user_version']}")


def _files(root: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(Path(root).rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith(_LEFT_OUT):
            yield name, path


def _text(path: Path) -> dict[str, str]:
    """As text where JSON gives the same bytes back."""
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    return {"base64": base64.b64encode(data).decode()} if "\0" in text else {"text": text}


def _worked(base: Path, environment: dict[str, str]) -> str:
    root = base / "brain"
    init(str(root), environment)
    for name, text in INTERFACES.items():
        (root / f"tools/interfaces/{name}.md").write_text(text)
    pending = root / "brain/tasks/pending"
    for name, data in TASKS.items():
        (pending / name).write_bytes(data)
    flags = {"settle": "0s", "on_limit": "wait"}
    with closing(Brain.open(str(root), environment, flags)) as brain:
        asyncio.run(Supervisor(brain, once=True).run())
    (pending / "waits.md").write_bytes(LEFT["waits.md"])
    with closing(Brain.open(str(root), environment, flags)) as brain:
        asyncio.run(Supervisor(brain, once=True).run())
    (pending / "held.md").write_bytes(LEFT["held.md"])
    with closing(Brain.open(str(root), environment, flags)) as brain:
        assert isinstance(claim(brain, Agent(name="ann", lease_seconds=3600.0)), Claimed)
    (pending / "fresh.md").write_bytes(LEFT["fresh.md"])
    return str(root)


def main() -> None:
    target = Path(sys.argv[1])
    if target.exists():
        sys.exit(f"{target} is there: the format of a release is frozen once")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        home.mkdir()
        (home / ".gitconfig").write_text("[user]\n\tname = Ann\n\temail = ann@example.org\n")
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}
        os.environ |= environment
        frozen = freeze(_worked(Path(folder), environment), environment)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(frozen, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
