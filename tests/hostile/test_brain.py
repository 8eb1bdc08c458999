"""A brain full of what nobody means well with: the good tasks are done, each bad one is said, and nothing is lost."""

import contextlib
import os
import re
import socket
from pathlib import Path

import pytest

from brain_daemon.model.cleaning import clean_text
from brain_daemon.service.verification import verify
from tests.hostile.corpus import ALIAS_BOMB, DEEP_JSON, DEEP_TOML, FILES

GOOD = tuple(f"good {number}" for number in range(6))
SPARSE_BYTES = 10 << 30


def file_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()) + ".md"


def plant_odd_nodes(folder: Path) -> list[str]:
    """What is no file to be read, under names that tasks have."""
    (folder / "link.md").symlink_to("/etc/hostname")
    (folder / "dangling.md").symlink_to("/nowhere")
    (folder / "loop.md").symlink_to(folder / "loop.md")
    os.mkfifo(folder / "fifo.md")
    (folder / "folder.md").mkdir()
    listening = socket.socket(socket.AF_UNIX)
    with contextlib.chdir(folder):  # a socket's path may have some hundred bytes only
        listening.bind("socket.md")
    listening.close()
    (folder / "hard-source.txt").write_text("# T\n\nx\n")
    os.link(folder / "hard-source.txt", folder / "hard.md")
    made = ["link.md", "dangling.md", "loop.md", "fifo.md", "folder.md", "socket.md", "hard.md"]
    if os.geteuid() == 0:
        try:
            os.mknod(folder / "device.md", 0o20666, os.makedev(1, 5))  # /dev/zero has no end
        except OSError:
            return made
        made.append("device.md")
    return made


@pytest.fixture
def besieged(brain):
    """The corpus as tasks among good ones, and as everything else that a daemon reads on its way."""
    brain.echo()
    for name in GOOD:
        brain.drop(f"{name}.md", f"# {name}\n\nSay it.\n")
    for name, data in FILES.items():
        if not name.startswith("CRLF: "):
            (brain.pending / file_name(name)).write_bytes(data)
    with (brain.pending / "sparse.md").open("wb") as handle:
        handle.truncate(SPARSE_BYTES)
    (brain.pending / ("n" * 252 + ".md")).write_text("# Long name\n\nx\n")
    os.close(os.open(os.fsencode(brain.pending) + b"/not-utf8-\xff.md", os.O_CREAT | os.O_WRONLY))
    (brain.pending / "es\x1b]0;owned\x07c.md").write_text("# Escape\n\nx\n")
    (brain.pending / "new\nline.md").write_text("# Line\n\nx\n")
    (brain.pending / "-rf.md").write_text("# Option\n\nx\n")
    for folder, hostile in (
        ("tools/interfaces", {"bomb.md": b"---\n" + ALIAS_BOMB + b"---\n", "bytes.md": bytes(range(256))}),
        ("brain/workflows", {"deep.json": DEEP_JSON, "fence.yaml": b"---", "nul.yaml": b"\0"}),
        ("logs/ratings", {"2026-11-20.jsonl": DEEP_JSON + b"\n\xff\n[]\n"}),
        ("prompts", {"pending.md": b"## interrupted-x\n- [x] **rerun** y\n" + bytes(range(256)) * 40}),
    ):
        for name, data in hostile.items():
            brain.write(f"{folder}/{name}", data)
    for path in ("tools/interfaces/fifo.md", "brain/workflows/fifo.yaml"):
        os.mkfifo(brain.root / path)
    brain.write("context/routing.md", b"---\ntypes: [[[[\n---\n")
    return brain


def test_a_brain_full_of_hostile_files_finishes_the_good_ones_and_says_what_is_wrong_with_each_other(besieged):
    """B4: each file ends as done, as failed with a reason, or stays in pending/ with words on the board; its bytes are somewhere."""
    odd = plant_odd_nodes(besieged.pending)
    before = set(besieged.names(besieged.pending))
    besieged.run_once()
    for name in GOOD:
        assert besieged.recorded(name.replace(" ", "-")).values["status"] == "completed"
    opened = besieged.open()
    try:
        ended = {one.task_id.casefold(): one for one in opened.journal.ended_tasks()}
        held = {one.name for one in opened.journal.holds()}
        board = besieged.board.read_text()
        for name in set(besieged.names(besieged.pending)) & before:
            shown = clean_text(name.replace("\n", " ")).encode("utf-8", "replace").decode()
            silent = name == "n" * 252 + ".md" or not name.isprintable() or not name.isascii()
            assert name in held or shown.removesuffix(".md")[:60] in board or silent or not name.endswith(".md"), name
        assert set(odd) <= set(besieged.names(besieged.pending))
        reasons = {one.reason for one in ended.values() if one.status == "failed"}
        assert "malformed" in reasons
        assert verify(opened, everything=True, pause_seconds=0.0).findings == ()
    finally:
        opened.close()
    assert Path("/tmp/brain-owned").exists() is False
    for page in ("context/board.md", "context/usage.md"):
        text = (besieged.root / page).read_text()
        assert clean_text(text) == text
    said = besieged.git("log", "--format=%B")
    assert clean_text(said) == said


def test_settings_that_are_no_settings_are_refused_in_words(brain, cli_words):
    """Exit 2 with the file's name; nothing waits, nothing is read without end."""
    toml = brain.root / "brain.toml"
    for data in (DEEP_TOML, b"\0", b"\xff\xfe", b"parallel = " + b"9" * 6_000, b"a" * 400_000):
        toml.write_bytes(data)
        assert str(toml) in cli_words()
    toml.unlink()
    os.mkfifo(toml)
    assert "not a regular file" in cli_words()
    toml.unlink()
    with toml.open("wb") as handle:
        handle.truncate(SPARSE_BYTES)
    assert "at most" in cli_words()
    toml.unlink()
    (brain.root / "mine.toml").write_text("parallel = 2\n")
    toml.symlink_to("mine.toml")
    assert cli_words() == ""


@pytest.fixture
def cli_words(brain):
    """What opening the brain is refused with."""
    from brain_daemon.model.errors import UserError

    def ask() -> str:
        try:
            brain.open().close()
        except UserError as error:
            return str(error)
        return ""

    return ask
