"""`brain show` and `brain logs`: one task in full, and what its program prints.

What opens a whole brain takes half a second to import, so it is imported by the command that is called: `brain list` lies
in the same module for the command line and must not wait for it.

Failures: a recorded file that was edited so that its figures no longer fit is said, and shown as the text it is.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from brain_daemon.model import document
from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.errors import BrainError, Damaged, UserError
from brain_daemon.model.outcome import Usage
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.record.result import ended_word, outcome_message
from brain_daemon.record.wording import dollars, duration, until_words, utc
from brain_daemon.service.snapshot import waits_until
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.commands.prompts import show_prompt, write_exactly
from brain_daemon.surfaces.tables import STATE_STYLES, Column, say
from brain_daemon.surfaces.tables import show as show_table

if TYPE_CHECKING:
    from brain_daemon.service.actions import Place
    from brain_daemon.service.brain import Brain

_ATTEMPTS = (
    Column("ATTEMPT", right=True),
    Column("ON"),
    Column("OUTCOME", whole=True, styles=STATE_STYLES),
    Column("TOOK", right=True),
    Column("COST", right=True),
    Column("WHY"),
)
_FOLLOW_SECONDS = 0.1
_CHUNK_BYTES = 1 << 16


@click.command("show")
@click.argument("task_id", metavar="ID")
@click.option("--original", "what", flag_value="original", help="Print the exact bytes the task was dropped with.")
@click.option(
    "--prompt",
    "what",
    flag_value="prompt",
    help="Print the exact prompt of the newest attempt, and what it is made of.",
)
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="With --prompt: of this attempt.")
@json_option
@click.pass_obj
def show_command(call: Call, task_id: str, what: str | None, attempt: int | None, as_json: bool) -> None:
    """Show one task: where it stands, what it cost and why, and its result.

    Example: brain show task-001 --original
    """
    if attempt is not None and what != "prompt":
        raise click.UsageError("--attempt goes with --prompt.")
    with closing(_open(call)) as brain:
        place = _find(brain, task_id)
        if what == "original":
            write_exactly(_original(place))
        elif what == "prompt":
            show_prompt(brain, place.task_id, attempt, as_json=as_json)
        else:
            facts, text = _facts(brain, place)
            if as_json:
                print_json({**facts, "text": text})
            else:
                _page(facts, text)


def _open(call: Call) -> "Brain":
    from brain_daemon.service.brain import Brain  # noqa: PLC0415 - see the module's docstring

    return Brain.open(call.brain_root, call.environment)


def _find(brain: "Brain", task_id: str) -> "Place":
    from brain_daemon.service.actions import find  # noqa: PLC0415 - see the module's docstring

    return find(brain, task_id.removesuffix(".md"))


def _bytes_of(place: "Place") -> bytes:
    try:
        with open(place.path, "rb") as handle:
            return handle.read()
    except OSError as error:
        raise UserError(
            f"showing {place.task_id}: {place.path} cannot be read: {error.strerror}. `git log -- {place.path}` may have it."
        ) from error


def _original(place: "Place") -> bytes:
    """What was dropped. A file that could not hold a result is untouched; its result stands beside it."""
    data = _bytes_of(place)
    ended = place.state in ("completed", "failed")
    return document.restore(data) if ended and not _beside(place) else data


def _beside(place: "Place") -> str | None:
    stem = place.path.removesuffix(".md")
    return next((path for word in ("result", "error") if os.path.exists(path := f"{stem}.{word}.md")), None)


def _facts(brain: "Brain", place: "Place") -> tuple[dict[str, Any], str]:
    """The document of `brain show --json` but for its text, and the text: the result's, or the task's while there is none."""
    data = _bytes_of(place)
    result = _result(place, data)
    parsed = parse_task(os.path.basename(place.path), document.strip(data).data if document.is_recorded(data) else data)
    task = parsed if isinstance(parsed, TaskSpec) else None
    attempts = brain.journal.attempts_of(place.task_id)
    hold = next((hold for hold in brain.journal.holds() if hold.task_id == place.task_id), None)
    asked = attempts[-1] if attempts and attempts[-1].decision in ("ask", "park") and place.state == "active" else None
    held = None
    if hold is not None and place.state == "pending":
        held = {"why": hold.reason, "until": None if hold.until is None else utc(hold.until)}
    elif asked is not None:
        held = {"why": asked.message, "until": None if asked.resume_at is None else utc(asked.resume_at)}
    elif attempts and place.state == "active" and (until := waits_until(attempts[-1]) or 0.0) > time.time():
        held = {"why": f"{attempts[-1].message}; it is tried again then", "until": utc(until)}
    facts = {
        "task_id": place.task_id,
        "state": place.state,
        "path": brain.layout.relative(place.path),
        "title": task.title if task else "",
        "type": task.type if task else None,
        "priority": task.priority.value if task else None,
        "requires": list(task.requires) if task else [],
        "chain": task.chain if task else None,
        "held": held,
        "estimate": _estimate(brain, place, task, attempts),
        "result": None if result is None else result.values,
        "attempts": [_attempt_facts(brain, attempt) for attempt in attempts],
        "commit": _commit(brain, place),
    }
    return facts, result.text if result is not None else task.text if task else clean_text(
        data.decode("utf-8", "replace")
    )


def _estimate(brain: "Brain", place: "Place", task: TaskSpec | None, attempts: Sequence[Attempt]) -> str | None:
    """What a long prompt may cost, before it starts and while it runs; None where a brain that is only read does not tell."""
    from brain_daemon.service.foresight import ESTIMATE, foresight  # noqa: PLC0415 - see the module's docstring

    if task is not None and place.state == "pending":
        try:
            return foresight(brain, task)
        except BrainError:
            return None
    said = (attempts[-1].routing or {}).get(ESTIMATE) if attempts and place.state == "active" else None
    return None if said is None else str(said)


def _result(place: "Place", data: bytes) -> document.Result | None:
    if place.state not in ("completed", "failed"):
        return None
    beside = _beside(place)
    if beside is not None:
        with open(beside, "rb") as handle:
            data = handle.read()
    try:
        return document.read_result(data)
    except Damaged as error:
        say(f"brain: {error}", err=True)
        return None


def _commit(brain: "Brain", place: "Place") -> str | None:
    """The commit of its outcome: as the journal has it, else the last one that touched its file."""
    known = brain.journal.commit_of(place.task_id)
    if known or brain.repository is None or place.state not in ("completed", "failed"):
        return known or None
    path = brain.repository.prefix + brain.layout.relative(place.path)
    try:
        return brain.repository.git.run("log", "-1", "--format=%H", "--", path).decode().strip() or None
    except BrainError:
        return None


def _attempt_facts(brain: "Brain", attempt: Attempt) -> dict[str, Any]:
    ended = attempt.ended
    usage = ended.usage if ended else Usage()
    return {
        "attempt_id": attempt.attempt_id,
        "attempt": attempt.number,
        "state": attempt.state.value,
        "interface": attempt.interface,
        "claimant": attempt.claimant,
        "model": (ended.model if ended else None) or attempt.model,
        "started": None if attempt.started_at is None else utc(attempt.started_at),
        "finished": None if ended is None else utc(ended.finished_at),
        "duration_seconds": None if ended is None else round(ended.duration_seconds, 3),
        "outcome": None if ended is None else ended_word(ended.outcome),
        "why": (attempt.message or outcome_message(ended.outcome)) if ended else attempt.message,
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": None if ended is None or ended.cost.usd is None else format(ended.cost.usd, "f"),
        "cost_basis": None if ended is None else ended.cost.basis.value,
        "folder": brain.layout.attempt(attempt.attempt_id),
    }


def _page(facts: dict[str, Any], text: str) -> None:
    """The readable page of one task."""
    say(f"{facts['task_id']}: {facts['title']}" if facts["title"] else facts["task_id"])
    for name, value in _page_lines(facts):
        say(f"  {name:<10}{clean_line(value, 2000)}")
    rows = [_attempt_row(attempt) for attempt in facts["attempts"]]
    if len(rows) > 1:
        say()
        show_table(_ATTEMPTS, rows)
    say()
    say(text.rstrip("\n"))


def _page_lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    result = facts["result"] or {}
    reason = f" ({result['reason']})" if result.get("reason") else ""
    on = f" on {result['interface']}" if result.get("interface") else ""
    model = f" ({result['model']})" if result.get("model") else ""
    yield "state", f"{facts['state']}{reason}{on}{model}"
    if facts["held"]:
        yield "held", facts["held"]["why"] + _until(facts["held"]["until"])
    if facts["estimate"]:
        yield "estimate", facts["estimate"]
    newest = facts["attempts"][-1] if facts["attempts"] else None
    if newest and facts["state"] == "active" and not facts["held"]:
        yield "runs on", f"{newest['interface'] or newest['claimant']} since {newest['started'] or 'its claim'}"
    yield "file", facts["path"]
    asks = [facts["type"], facts["priority"] and f"{facts['priority']} priority", *facts["requires"]]
    if any(asks):
        yield "asks for", ", ".join(word for word in asks if word)
    if facts["chain"]:
        yield "chain", facts["chain"]
    yield from _result_lines(result)
    if facts["commit"]:
        yield "commit", facts["commit"]


def _until(told: str | None) -> str:
    """An instant as `utc` spells it, and how far off it is."""
    if told is None:
        return ""
    return until_words(datetime.fromisoformat(told).timestamp(), time.time())


def _result_lines(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    routing = result.get("routing") or {}
    if routing.get("reason"):
        yield "chosen", f"{routing['reason']}"
    if result.get("started"):
        yield "ran", f"{duration(float(result.get('duration_seconds') or 0))}, ended {result.get('finished')}"
    usage = result.get("usage") or {}
    if usage:
        cached = f" ({usage['cached_input_tokens']} cached)" if usage.get("cached_input_tokens") else ""
        estimated = ", estimated" if usage.get("estimated") else ""
        yield (
            "used",
            f"{usage.get('input_tokens', '?')} tokens in{cached}, {usage.get('output_tokens', '?')} out{estimated}",
        )
    if "cost_basis" in result:
        yield "cost", _cost(result.get("cost_usd"), result["cost_basis"])
    for name in ("files", "warnings", "survivors"):
        for value in result.get(name) or ():
            yield name, str(value)


def _cost(usd: Decimal | str | None, basis: str) -> str:
    """The figure for eyes, and where it comes from; `--json` has it as it is kept."""
    if usd is None:
        return "unknown"
    known = Decimal(usd)
    return basis if not known and basis in ("free", "subscription") else f"{dollars(known)} ({basis})"


def _attempt_row(attempt: dict[str, Any]) -> tuple[str, ...]:
    took = attempt["duration_seconds"]
    return (
        str(attempt["attempt"]),
        attempt["interface"] or attempt["claimant"],
        attempt["outcome"] or attempt["state"],
        "-" if took is None else duration(took),
        _cost(attempt["cost_usd"], attempt["cost_basis"]) if attempt["cost_basis"] else "-",
        attempt["why"] or "-",
    )


# logs


@click.command("logs")
@click.argument("task_id", metavar="ID")
@click.option(
    "-f", "--follow", is_flag=True, help="Go on until the attempt has ended; wait for a task that has not started."
)
@click.pass_obj
def logs_command(call: Call, task_id: str, follow: bool) -> None:
    """Print what the newest attempt's program wrote: its stdout to stdout, its stderr to stderr.

    Example: brain logs -f task-001
    """
    with closing(_open(call)) as brain:
        place = _find(brain, task_id)
        attempt = _attempt_to_read(brain, place, follow)
        try:
            _print_output(brain, attempt, follow)
        except KeyboardInterrupt:
            return
        if follow:
            newest = brain.journal.attempt(attempt.attempt_id)
            ended = newest.ended if newest else None
            say(f"{attempt.task_id}: {ended_word(ended.outcome) if ended else 'given back'}", err=True)


def _attempt_to_read(brain: "Brain", place: "Place", follow: bool) -> Attempt:
    while True:
        attempts = brain.journal.attempts_of(place.task_id)
        if attempts and (attempts[-1].state is not AttemptState.RELEASED or not follow):
            return attempts[-1]
        if not follow:
            raise UserError(
                f"printing the output of {place.task_id}: no attempt of it is on record on this machine. "
                f"`brain show {place.task_id}` shows the task."
            )
        time.sleep(_FOLLOW_SECONDS)


class _Tail:
    """One growing file, given out in whole lines, cleaned and without the secrets known here."""

    def __init__(self, path: str, clean: Callable[[str], str]) -> None:
        self._path = path
        self._clean = clean
        self._offset = 0
        self._rest = b""

    def read(self, *, last: bool) -> str:
        """What is new; with `last` also a line that has not ended."""
        try:
            with open(self._path, "rb") as handle:
                handle.seek(self._offset)
                data = handle.read(_CHUNK_BYTES) if not last else handle.read()
        except FileNotFoundError:
            data = b""
        self._offset += len(data)
        whole = self._rest + data
        cut = len(whole) if last else whole.rfind(b"\n") + 1
        self._rest = whole[cut:]
        return self._clean(whole[:cut].decode("utf-8", "replace"))


def _print_output(brain: "Brain", attempt: Attempt, follow: bool) -> None:
    redactor = brain.redactor(brain.registry())
    folder = brain.layout.attempt(attempt.attempt_id)
    tails = [
        (_Tail(os.path.join(folder, name), lambda text: redactor.text(clean_text(text))), err)
        for name, err in (("stdout", False), ("stderr", True))
    ]
    while True:
        now = brain.journal.attempt(attempt.attempt_id)
        runs = now is not None and now.state in (AttemptState.CLAIMED, AttemptState.STARTING)
        last = not (follow and runs)
        for tail, err in tails:
            text = tail.read(last=last)
            if text:
                click.echo(text, nl=last and not text.endswith("\n") and sys.stdout.isatty(), err=err)
        if last:
            break
        time.sleep(_FOLLOW_SECONDS)
    if not any(os.path.exists(os.path.join(folder, name)) for name in ("stdout", "stderr")):
        say(
            f"{attempt.attempt_id} has no output here: a tool hands in its answer itself (`brain show {attempt.task_id}`).",
            err=True,
        )
