"""Tables for people: drawn by rich on a terminal, aligned plain text in a pipe.

Whatever stands in a cell is cleaned to one line here, so no text from outside moves a cursor, sets a colour or breaks a
row. rich takes 80 ms to import and is only asked for on a terminal, so `brain status | cat` stays instant.
"""

import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from brain_daemon.model.cleaning import clean_line, clean_text

if TYPE_CHECKING:
    from rich.table import Table

_CELL_LENGTH = 1000
_GAP = "  "
_BRANCHES = " │├└─"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; `right` aligns numbers, `whole` keeps a cell on one line, `styles` colour a cell by its first word.

    `tree` leaves the lines and blanks alone that a cell begins with.
    """

    heading: str
    right: bool = False
    whole: bool = False
    tree: bool = False
    styles: tuple[tuple[str, str], ...] = ()


STATE_STYLES = (
    ("running", "green"),
    ("completed", "green"),
    ("available", "green"),
    ("ok", "green"),
    ("failed", "red"),
    ("bad", "red"),
    ("held", "yellow"),
    ("paused", "yellow"),
    ("warn", "yellow"),
    ("offline", "yellow"),
    ("active", "cyan"),
)

Rows = Sequence[Sequence[str]]


def on_terminal() -> bool:
    """Whether a person looks at what is printed."""
    return sys.stdout.isatty()


def say(text: str = "", *, err: bool = False) -> None:
    """Print lines of text, cleaned."""
    click.echo(clean_text(text), err=err)


def show(columns: Sequence[Column], rows: Rows, title: str = "") -> None:
    """Print a table; nothing at all where there are no rows."""
    if not rows:
        return
    if on_terminal():
        from rich.console import Console  # noqa: PLC0415 - see the module's docstring

        Console().print(drawn(columns, rows, title))
    else:
        click.echo(plain(columns, rows, title))


def drawn(columns: Sequence[Column], rows: Rows, title: str = "") -> "Table":
    """The table for a terminal."""
    from rich import box  # noqa: PLC0415 - see the module's docstring
    from rich.table import Table  # noqa: PLC0415 - rich is slow to load, and only a terminal needs it
    from rich.text import Text  # noqa: PLC0415 - rich is slow to load, and only a terminal needs it

    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        header_style="bold dim",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for column in columns:
        justify: Any = "right" if column.right else "left"
        table.add_column(column.heading, justify=justify, no_wrap=column.whole or column.right, overflow="fold")
    for row in rows:
        cells = zip(columns, row, strict=True)
        table.add_row(*(Text(_clean(column, cell), style=_style(column, cell)) for column, cell in cells))
    return table


def plain(columns: Sequence[Column], rows: Rows, title: str = "") -> str:
    """The table for a pipe: columns aligned by blanks, the last one as long as it is."""
    body = [[_clean(column, cell) for column, cell in zip(columns, row, strict=True)] for row in rows]
    lines = [[column.heading for column in columns], *body]
    widths = [max(width(line[number]) for line in lines) for number in range(len(columns))]
    head = [title] if title else []
    return "\n".join([*head, *(_aligned(columns, widths, line) for line in lines)])


def width(text: str) -> int:
    """Columns that a text takes on a terminal, as far as Unicode tells."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def _aligned(columns: Sequence[Column], widths: Sequence[int], line: Sequence[str]) -> str:
    cells = []
    for column, room, cell in zip(columns, widths, line, strict=True):
        blanks = " " * (room - width(cell))
        cells.append(blanks + cell if column.right else cell + blanks)
    return _GAP.join(cells).rstrip()


def _clean(column: Column, cell: str) -> str:
    text = cell.lstrip(_BRANCHES) if column.tree else cell
    return cell[: len(cell) - len(text)] + clean_line(text, _CELL_LENGTH)


def _style(column: Column, cell: str) -> str:
    return next((style for word, style in column.styles if cell.startswith(word)), "")
