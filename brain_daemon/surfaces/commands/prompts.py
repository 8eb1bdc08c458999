"""`brain show ID --prompt`: the exact text an attempt was sent, what it is made of, and how many tokens each part has.

The text goes to stdout byte for byte; what is said about it goes to stderr, so that `brain show ID --prompt > file` keeps the
prompt and nothing else.

Failures: UserError where no prompt is kept, with the reason: not started, an attempt that is not known, one that was sent
none, or one whose prompt has been taken away since (`keep_output`).
"""

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.errors import UserError
from brain_daemon.record.wording import duration, utc
from brain_daemon.surfaces.calls import print_json
from brain_daemon.surfaces.tables import Column, on_terminal, plain, say, show

if TYPE_CHECKING:
    from brain_daemon.service.brain import Brain
    from brain_daemon.service.prompting import Kept

_OURS = "daemon"
_PARTS = (Column("PART"), Column("TOKENS", right=True), Column("SOURCE"))


def show_prompt(brain: "Brain", task_id: str, number: int | None, *, as_json: bool) -> None:
    """Print the prompt of attempt `number`, or of the newest one that was sent any."""
    attempt, found = _kept(brain, task_id, number)
    if as_json:
        print_json(_facts(attempt, found))
        return
    _say_parts(attempt, found)
    write_exactly(found.data)


def write_exactly(data: bytes) -> None:
    """Byte for byte into a pipe or file; on a terminal without what could move its cursor."""
    if on_terminal():
        click.echo(clean_text(data.decode("utf-8", "replace")), nl=False)
    else:
        sys.stdout.buffer.write(data)


def _kept(brain: "Brain", task_id: str, number: int | None) -> tuple[Attempt, "Kept"]:
    from brain_daemon.service.prompting import kept  # noqa: PLC0415 - counting tokens is slow to import

    attempts = brain.journal.attempts_of(task_id)
    chosen = [attempt for attempt in attempts if number in (None, attempt.number)]
    for attempt in reversed(chosen):
        found = kept(brain.layout, attempt.attempt_id, task_id)
        if found is not None:
            return attempt, found
    why = _why_none(chosen[-1], brain.config.keep_output_seconds) if chosen else _why_unknown(attempts, number)
    raise UserError(
        f"showing the prompt of {task_id}: {why} `brain show {task_id} --original` prints what the task asks, "
        f"`brain show {task_id}` how it stands."
    )


def _why_unknown(attempts: list[Attempt], number: int | None) -> str:
    if not attempts:
        return "no attempt of it is on record on this machine, so nothing was sent from here."
    known = ", ".join(str(attempt.number) for attempt in attempts)
    return f"there is no attempt {number} on record on this machine, only {known}."


def _why_none(attempt: Attempt, kept_seconds: float) -> str:
    """Why this attempt, the newest asked for, has none."""
    which = f"attempt {attempt.number}"
    if attempt.claimant != _OURS:
        return f"{which} was no call of ours: {clean_line(attempt.claimant, 80)} claimed the task and read it as it is."
    if attempt.ended is not None and time.time() - attempt.ended.finished_at > kept_seconds:
        return (
            f"that of {which} was taken away: prompts are kept for {duration(kept_seconds)} "
            "after the end (setting `keep_output`)."
        )
    if attempt.ended is None:
        return f"{which} has been sent nothing so far."
    return (
        f"{which}, on {attempt.interface}, keeps none: only programs, services and shared folders are sent a text, "
        "and an attempt may end before it is."
    )


def _facts(attempt: Attempt, found: "Kept") -> dict[str, Any]:
    """The document of `brain show --prompt --json`."""
    return {
        "task_id": attempt.task_id,
        "attempt_id": attempt.attempt_id,
        "attempt": attempt.number,
        "interface": attempt.interface,
        "model": attempt.model,
        "started": None if attempt.started_at is None else utc(attempt.started_at),
        "path": found.path,
        "bytes": len(found.data),
        "tokens": found.tokens,
        "parts": [{"kind": part.kind, "source": part.source, "tokens": part.tokens} for part in found.parts],
        "basis": found.basis,
        "warnings": list(found.warnings),
        "text": found.data.decode("utf-8", "replace"),
    }


def _say_parts(attempt: Attempt, found: "Kept") -> None:
    on = f" on {attempt.interface}" if attempt.interface else ""
    title = f"attempt {attempt.number}{on}: {found.tokens} tokens, {len(found.data)} bytes"
    rows = [(part.kind, str(part.tokens), part.source) for part in found.parts]
    say(title, err=not on_terminal())
    if on_terminal():
        show(_PARTS, rows)
    else:
        click.echo(plain(_PARTS, rows), err=True)
    for warning in found.warnings:
        say(f"warning: {warning}", err=True)
    say(err=not on_terminal())
