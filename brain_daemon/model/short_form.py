"""The short form of an interface: the one fenced command under `## How to Invoke`.

The command is cut into arguments where a shell would cut it, and no shell ever sees it. What only a shell could do (pipes,
redirections, variables) is a fault that says so, since the program would get those signs as plain arguments.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from brain_daemon.model.frontmatter import Malformed

HEADING = "How to Invoke"

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[^`]*")
_QUOTED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.")
_SHELL_ONLY = re.compile(r"[|<>;&`]|\$[({A-Za-z_]")


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block: its text, and the line on which that begins, counted from 0 in the text it was found in."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """The arguments of a fenced command, and how many more fences stood under the heading and were not read."""

    arguments: tuple[str, ...]
    other_fences: int


def fenced_command(body: str, first_line: int) -> Command | None:
    """The command in the first fence under the heading; None where there is none. Raises Malformed."""
    fences = list(_fences_under(body, HEADING))
    if not fences:
        return None
    return Command(_arguments(fences[0], first_line), len(fences) - 1)


def title_of(body: str) -> str:
    """The first heading of the first level outside fences; empty where there is none."""
    return next((text for level, text, _line in _headings(body) if level == 1), "")


def _fences_under(body: str, heading: str) -> Iterator[Fence]:
    """Fences between a heading and the next one of its level or above."""
    inside = 0
    for level, text, fence in _parts(body):
        if fence is not None:
            if inside:
                yield fence
        elif inside and level <= inside:
            return
        elif text.casefold() == heading.casefold():
            inside = level


def _headings(body: str) -> Iterator[tuple[int, str, None]]:
    return ((level, text, fence) for level, text, fence in _parts(body) if fence is None)


def _parts(body: str) -> Iterator[tuple[int, str, Fence | None]]:
    """Headings as (level, text, None) and fences as (0, "", fence), in the order they stand."""
    lines = iter(enumerate(body.splitlines()))
    for number, line in lines:
        heading, opening = _HEADING.fullmatch(line), _FENCE.fullmatch(line)
        if heading:
            yield len(heading[1]), heading[2], None
        elif opening:
            closing = re.compile(rf" {{0,3}}{re.escape(opening[1][0])}{{{len(opening[1])},}}[ \t]*")
            block = []
            for _number, inner in lines:
                if closing.fullmatch(inner):
                    break
                block.append(inner)
            yield 0, "", Fence(number + 1, "\n".join(block))


def _arguments(fence: Fence, first_line: int) -> tuple[str, ...]:
    line, text = _one_command(fence, first_line)
    only_shell = _SHELL_ONLY.search(_QUOTED.sub("_", text))
    if only_shell is not None:
        raise Malformed(
            f"the command under `## {HEADING}` is not run by a shell, so `{only_shell[0]}` would reach the program as it stands: "
            "quote it if it is meant so, or put the pipeline into a script of its own",
            line=line,
            found=text,
        )
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise Malformed(
            f"the command under `## {HEADING}` cannot be cut into arguments ({error}): close the quote",
            line=line,
            found=text,
        ) from None


def _one_command(fence: Fence, first_line: int) -> tuple[int, str]:
    """The only command line of a fence and where it stands; comments, a leading `$ ` and joined lines are understood."""
    joined = re.sub(r"\\\n\s*", lambda found: "\0" * found[0].count("\n"), fence.text)
    commands = []
    number = first_line + fence.line
    for row in joined.split("\n"):
        text = row.replace("\0", " ").strip().removeprefix("$ ")
        if text and not text.startswith("#"):
            commands.append((number, text))
        number += 1 + row.count("\0")
    if len(commands) != 1:
        raise Malformed(
            f"the fenced block under `## {HEADING}` holds {len(commands)} commands: write one, on one line",
            line=commands[1][0] if commands else first_line + fence.line,
            found=f"{len(commands)} commands",
            allowed="one command",
        )
    return commands[0]
