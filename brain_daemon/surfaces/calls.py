"""One call of the command line: which brain it is about, and how facts are printed (JSON, or tables on a terminal)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import click

from brain_daemon.store.layout import Layout
from brain_daemon.store.locate import find_root, layout_of


@dataclass
class Call:
    """`root` is what --brain said; `environment` the process's."""

    root: str | None
    environment: Mapping[str, str]

    @cached_property
    def brain_root(self) -> str:
        """The brain this call is about. UserError if there is none."""
        return find_root(self.root or self.environment.get("BRAIN_ROOT") or ".")

    @cached_property
    def layout(self) -> Layout:
        """Its paths, found without opening anything."""
        from brain_daemon.service.config import user_state_path  # noqa: PLC0415 - keeps platformdirs and pydantic out of --help

        return layout_of(self.brain_root, user_state_path())


def print_json(value: Any) -> None:
    """A document for programs: two-space JSON, UTF-8, keys in the documented order."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def json_option(command: Any) -> Any:
    """The --json flag of every command that prints facts."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)
