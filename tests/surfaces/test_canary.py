"""A secret that the daemon knows is nowhere afterwards: no file, no git object, no log, no output (B27).

One canary each in the environment, in a secret file and from a command, printed by a client in every usual spelling on
standard output, standard error, in files and in their names, with success and with failure, through the real `brain run`.
"""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

CANARIES = {
    "environment": "canary/env+Zq81=7fQ2m9Lx&0",
    "file": "canary-file-8sK2pQ7vT4nW9yB3",
    "command": "canary%cmd 5hJ8dR1cX6zM0aG4",
}
LEAK = rf"""
printf 'plain %s\n' "$K"
printf %s "$K" | base64
printf %s "$K" | base64 -w 0 | tr '+/' '-_' | tr -d '='
for pad in a ab abc; do printf '%s%s-and-a-tail-that-is-long-enough-to-break-the-line-after-seventy-six' $pad "$K" | base64; done
printf %s "$K" | od -An -tx1 | tr -d ' \n'; echo
{sys.executable} -SEc 'import json, os, urllib.parse as u
k = os.environ["K"]
print(u.quote(k, safe=""), u.quote_plus(k), u.quote(k).lower(), json.dumps({{"key": k}}), sep="\n")'
"""
SCRIPT = f"""#!/bin/sh
said=$({LEAK})
leak() {{ printf '%s\\n' "$said"; }}
leak
leak >&2
mkdir -p out/deep
leak > out/deep/found.txt
leak > "out/$(printf %s "$K" | base64 -w 0 | tr '+/' '-_').txt"
leak > "out/$(printf %s "$K" | tr -d '/').txt" 2>/dev/null
[ "$1" = fail ] && exit 1
exit 0
"""


@pytest.fixture
def leaky(brain, tmp_path, monkeypatch) -> Path:
    """Three interfaces whose program prints its key, one that fails doing so, one whose check does, each with a task."""
    home = Path(os.environ["HOME"]) / ".brain-secrets"
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "canary").write_text(CANARIES["file"] + "\n")
    (home / "canary").chmod(0o600)
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "leak").write_text(SCRIPT)
    (place / "leak").chmod(0o755)
    (place / "vault").write_text(CANARIES["command"])
    monkeypatch.setenv("K", CANARIES["environment"])
    auths = {
        "environment": "{method: api_key, env: K}",
        "file": "{method: api_key, config_location: ~/.brain-secrets/canary, env: K}",
        "command": f"{{method: api_key, env: K, secret_command: [cat, {place}/vault]}}",
    }
    for name, auth in auths.items():
        for ending in ("well", "fail"):
            brain.program(f"{name}_{ending}", f"{place}/leak", ending, more=f"auth: {auth}\ncost: free\n")
            brain.drop(f"{name}-{ending}.md", f"---\ninterface: {name}_{ending}\nattempts: 1\n---\n# Leak\n")
    checked = f"  check: [{place}/leak, fail]\n"
    brain.program("checked", "cat", more=f"auth: {auths['command']}\ncost: free\n", inside=checked)
    brain.drop("checked.md", "---\ninterface: checked\n---\n# Leak\n")
    return home


def spellings(secret: str) -> Iterator[bytes]:
    """What must not be found, as bytes, apart from how they were made by the program under test."""
    data = secret.encode()
    yield data
    yield quote(secret, safe="").encode()
    yield data.hex().encode()
    for before in (b"", b"x", b"xy"):
        inner = base64.b64encode(before + data)[4 if before else 0 : (len(before + data)) // 3 * 4 - 4]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def leaks(data: bytes) -> list[str]:
    """Which canaries a text holds; line breaks are taken out as well, since `base64` breaks its lines."""
    joined = data.replace(b"\r", b"").replace(b"\n", b"").replace(b"\\n", b"")
    return [
        f"{name} as {form!r}"
        for name, secret in CANARIES.items()
        for form in spellings(secret)
        if form in data or form in joined
    ]


def files_below(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def test_a_canary_is_found_nowhere(brain, cli, leaky, monkeypatch):
    """Under the brain, in its state folder (in .git), in git's objects, in logs and in what the commands print.

    Not looked at: the workspaces outside the brain, where the program wrote it itself.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(brain.state_home))
    printed: dict[str, bytes] = {}

    def run(*arguments: str) -> None:
        said = cli(*arguments)
        printed[" ".join(arguments)] = said.data + said.complaint.encode()

    run("run", "--once")
    assert {f"{name}-well.files" for name in CANARIES} <= set(brain.names(brain.completed))
    assert {f"{name}-fail.md" for name in CANARIES} <= set(brain.names(brain.failed))
    assert b"redacted" in (brain.completed / "file-well.md").read_bytes()
    for command in (
        *(("show", f"{name}-well", "--json") for name in CANARIES),
        *(("logs", f"{name}-fail") for name in CANARIES),
        ("list",),
        ("status", "--json"),
        ("doctor", "--json"),
        ("interfaces", "--json"),
        ("interfaces", "check", "--json"),
        ("interfaces", "show", "command_well", "--json"),
        ("interfaces", "detect", "--json"),
        ("config", "--json"),
        ("questions", "--json"),
    ):
        run(*command)
    assert {command: found for command, text in printed.items() if (found := leaks(text))} == {}
    places = {str(path): path.read_bytes() for path in files_below(brain.root)}
    assert {path: found for path, data in places.items() if (found := leaks(data) or leaks(path.encode()))} == {}
    objects = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch"], cwd=brain.root, capture_output=True, check=True
    ).stdout
    assert b"redacted" in objects
    assert leaks(objects) == []


def test_the_program_did_print_them(brain, leaky, tmp_path):
    """The search above finds what it looks for where nothing is taken out."""
    said = subprocess.run(
        [str(tmp_path / "elsewhere" / "leak"), "well"],
        cwd=tmp_path,
        env={**os.environ, "K": CANARIES["command"]},
        capture_output=True,
        check=False,
    ).stdout
    assert len(leaks(said)) >= len([*spellings("x" * 20)]) - 3
