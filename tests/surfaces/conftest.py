"""The command line as a person meets it: its exit code, what it prints, what it complains of."""

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from brain_daemon.surfaces.cli import main


class Said(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    data: bytes
    complaint: str

    @property
    def out(self) -> str:
        return self.data.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@pytest.fixture
def cli(brain, monkeypatch, capfdbinary) -> Callable[..., Said]:
    """`cli("list", "--json")` runs `brain list --json` on the brain of the test, in this process, its output a pipe."""

    def run(*arguments: str, root: str | None = None) -> Said:
        monkeypatch.setattr(sys, "argv", ["brain", "--brain", root or str(brain.root), *arguments])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfdbinary.readouterr()
        return Said(int(ended.value.code or 0), out, err.decode())

    return run
