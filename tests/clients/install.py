"""Puts the pinned clients and the mock server into a folder of their own, once, and prints where that is.

    python tests/clients/install.py FOLDER

The folder below FOLDER is named after the pins, so changed pins install beside what is there. It appears whole or not at all.
npm is needed, and a registry for it and for pip, as they are configured on the machine.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINS = ("package.json", "package-lock.json", "requirements.txt")


def key() -> str:
    """Changes with any pin, and with the machine they were built for."""
    told = hashlib.sha256(f"{platform.machine()} {platform.system()} {sys.version_info[:2]}".encode())
    for name in PINS:
        told.update((HERE / name).read_bytes())
    return told.hexdigest()[:16]


def install(folder: Path) -> Path:
    """The folder with `bin/`, `node_modules/` and `llm/`; installed if it is not there."""
    ready = folder / key()
    if ready.is_dir():
        return ready
    folder.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
    try:
        _npm(building)
        _llm(building)
        _link(building)
        building.chmod(0o755)
        building.rename(ready)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return ready


def _npm(folder: Path) -> None:
    for name in PINS[:2]:
        shutil.copy(HERE / name, folder / name)
    if shutil.which("npm") is None:
        sys.exit("installing the clients: npm is not on PATH; install Node.js 20 or newer with npm")
    _run("npm", "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", cwd=folder)


def _llm(folder: Path) -> None:
    venv.create(folder / "llm", with_pip=True)
    _run(
        str(folder / "llm" / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(HERE / PINS[2]), cwd=folder
    )  # fmt: skip


def _link(folder: Path) -> None:
    """One folder for PATH, with the clients and what starts them, and none of the other things that a venv holds."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("claude", "codex", "gemini", "opencode", "aimock"):
        (programs / name).symlink_to(f"../node_modules/.bin/{name}")
    # The venv is renamed after it was made, which the first line of its own script does not know.
    (programs / "llm").write_text(
        '#!/bin/sh\nvenv=$(dirname "$(readlink -f "$0")")/../llm/bin\nexec "$venv/python" "$venv/llm" "$@"\n'
    )
    (programs / "llm").chmod(0o755)
    (programs / "node").symlink_to(os.path.realpath(shutil.which("node") or "/usr/bin/node"))


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"installing the clients: `{' '.join(command)}` exited {done.returncode}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(install(Path(sys.argv[1]).expanduser().resolve()))
