"""`brain doctor`, `verify` and `reindex`: keeping a brain well. (`config` and `completion` stand in settings.py.)"""

import sys
from contextlib import closing
from itertools import groupby
from typing import Any

import click

from brain_daemon.record.ledger import Totals
from brain_daemon.record.wording import dollars
from brain_daemon.service.brain import Brain
from brain_daemon.service.diagnosis import examine
from brain_daemon.service.machine import Level
from brain_daemon.service.reindexing import reindex
from brain_daemon.service.remembering import open_pool
from brain_daemon.service.verification import verify
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.commands.settings import completion_command, config_command
from brain_daemon.surfaces.tables import STATE_STYLES, Column, say, show

__all__ = ["completion_command", "config_command", "doctor_command", "reindex_command", "verify_command"]

_DOCTOR = (Column("", whole=True, styles=STATE_STYLES), Column("AREA", whole=True), Column("FOUND"))
_VERIFY = (Column("AREA", whole=True), Column("SUBJECT"), Column("WHAT IS WRONG"))
_LISTED = 50


@click.command("doctor")
@json_option
@click.pass_obj
def doctor_command(call: Call, as_json: bool) -> None:
    """Find the usual trouble and say how to mend it. Exit 1 if something is bad.

    Example: brain doctor
    """
    findings = examine(call.layout, call.environment)
    if as_json:
        print_json(
            {
                "findings": [
                    {"level": one.level.value, "area": one.area, "what": one.what, "fix": one.fix or None}
                    for one in findings
                ]
            }
        )
    else:
        show(_DOCTOR, [(one.level.value, one.area, f"{one.what} {one.fix}".strip()) for one in findings])
    if any(one.level is Level.BAD for one in findings):
        sys.exit(1)


@click.command("verify")
@click.option(
    "--all", "everything", is_flag=True, help="Read every recorded file, not only the newest and some others."
)
@json_option
@click.pass_obj
def verify_command(call: Call, everything: bool, as_json: bool) -> None:
    """Check that nothing is lost and all figures agree; changes nothing, runs beside a daemon. Exit 1 if anything is wrong.

    Example: brain verify --all
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        found = verify(brain, everything=everything)
    if as_json:
        findings = [{"area": one.area.value, "subject": one.subject, "message": one.message} for one in found.findings]
        print_json({"findings": findings, "checked": dict(found.checked), "sampled": found.sampled})
    else:
        for area, group in groupby(found.findings, key=lambda one: one.area):
            rows = [(area.value, one.subject, one.message) for one in group]
            show(_VERIFY, rows[:_LISTED])
            if len(rows) > _LISTED:
                say(f"and {len(rows) - _LISTED} more of {area.value}: `brain verify --json` has them all")
        looked = ", ".join(f"{number:,} {name}" for name, number in found.checked.items())
        sampled = "; `--all` reads every recorded file" if found.sampled else ""
        number = len(found.findings)
        verdict = "Nothing is wrong" if not number else f"{number} {'thing is' if number == 1 else 'things are'} wrong"
        say(f"{verdict} (looked at {looked}{sampled}).")
    if found.findings:
        sys.exit(1)


@click.command("reindex")
@json_option
@click.pass_obj
def reindex_command(call: Call, as_json: bool) -> None:
    """Build the index anew from completed/, failed/ and the ledger's text. Not while a daemon runs.

    Example: brain reindex
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        found = reindex(brain)
        open_pool(brain).rebuild()
    if as_json:
        sums = {"before": _sums(found.before), "after": _sums(found.after)}
        print_json({"tasks": found.tasks, **sums, "faults": list(found.faults)})
        return
    say(f"The index lists {found.tasks:,} ended tasks and {_words(found.after)}.")
    if _sums(found.before) != _sums(found.after):
        say(f"Before it had {_words(found.before)}.")
    for fault in found.faults:
        say(f"note: {fault}", err=True)


def _sums(totals: Totals) -> dict[str, Any]:
    return {
        "attempts": totals.rows,
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "cost_usd": format(totals.known_usd, "f"),
        "unknown_costs": totals.unknown,
    }


def _words(totals: Totals) -> str:
    unknown = f" and {totals.unknown:,} unknown costs" if totals.unknown else ""
    return f"{totals.rows:,} attempts, {dollars(totals.known_usd)}{unknown}"
