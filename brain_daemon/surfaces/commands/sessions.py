"""`brain session`: the runs of work that requests belong to, what each asked for and what came of it."""

import os
import sys
from contextlib import closing
from typing import Any

import click
from msgspec import to_builtins

from brain_daemon.model.session import Session
from brain_daemon.record.wording import utc
from brain_daemon.service.brain import Brain
from brain_daemon.service.sessions import PREFERENCES, Sitting, found_session, project_root, sessions_of
from brain_daemon.store.sessions import Listed
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import Column, say, show

_LIST = (
    Column("SESSION"),
    Column("LAST USED", whole=True),
    Column("REQUESTS", right=True),
    Column("WAITING", right=True),
    Column("PROJECT"),
)
_HISTORY = (
    Column("AT", whole=True),
    Column("REQUEST", whole=True),
    Column("MODE"),
    Column("AGENT"),
    Column("RESULT"),
    Column("TASK"),
)
_WAITING = (Column("WAITING"), Column("SINCE", whole=True), Column("STANDS"))


@click.group("session")
def session_command() -> None:
    """Show and resume the runs of work that requests belong to.

    Example: brain session list
    """


@session_command.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Most sessions.")
@json_option
@click.pass_obj
def _list_command(call: Call, limit: int, as_json: bool) -> None:
    """List the sessions, the one used last first.

    Example: brain session list --json
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        store = sessions_of(brain)
        listed = store.listed()
        found = [(one, store.read(one.session_id)) for one in listed[:limit]]
    sessions = [(one, each.session) for one, each in found if each.session is not None]
    if as_json:
        print_json(
            {"sessions": [_line_facts(one, session) for one, session in sessions], "not_shown": len(listed[limit:])}
        )
        return
    show(_LIST, [_row(session) for _, session in sessions])
    for each in (each for _, each in found if each.note):
        say(f"brain: {each.note}", err=True)
    if not listed:
        say("No session yet: `brain request` begins one.")


def _row(session: Session) -> tuple[str, ...]:
    return (
        session.session_id,
        _second(session.updated_at),
        str(len(session.routing_history)),
        str(len(session.work_queue)),
        session.project_root,
    )


def _line_facts(one: Listed, session: Session) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "written_at": utc(one.written_at),
        "project_root": session.project_root,
        "requests": len(session.routing_history),
        "waiting": len(session.work_queue),
        "size_bytes": one.size_bytes,
    }


@session_command.command("show")
@click.argument("session_id", metavar="ID")
@json_option
@click.pass_obj
def _show_command(call: Call, session_id: str, as_json: bool) -> None:
    """Show what a session asked for, who did it and what waits. `--json` prints the session as it is kept.

    Example: brain session show session-20261120T201500-7f3a
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        found = found_session(brain, session_id)
    assert found.session is not None
    if as_json:
        print_json(to_builtins(found.session))
    else:
        _print(found.session)
    if found.note:
        say(f"brain: {found.note}", err=True)


def _print(session: Session) -> None:
    say(f"{session.session_id}: since {_second(session.created_at)}, last used {_second(session.updated_at)}")
    say(f"project {session.project_root}")
    for key, preference in session.context.user_preferences.items():
        say(f"prefers {key} {preference.value}")
    if session.routing_history:
        say()
        show(
            _HISTORY,
            [
                (
                    _second(one.timestamp),
                    one.request_hash[:8],
                    one.mode or "-",
                    one.agent,
                    one.result,
                    one.task_id or "-",
                )
                for one in session.routing_history
            ],
        )
    if session.work_queue:
        say()
        waiting = [(one.task_id, _second(one.timestamp), "`brain session resume` looks") for one in session.work_queue]
        show(_WAITING, waiting)
    files = [one.path for one in session.context.active_files]
    if files:
        say(f"\nfiles: {', '.join(files)}")


@session_command.command("resume")
@click.argument("session_id", metavar="[ID]", required=False)
@json_option
@click.pass_obj
def _resume_command(call: Call, session_id: str | None, as_json: bool) -> None:
    """Go on with a session: what has ended meanwhile is noted, and the next request of its project belongs to it.

    Without ID, the one used last. Example: brain session resume
    """
    from brain_daemon.service.collecting import collect  # noqa: PLC0415 - what runs tasks is not needed to list and show

    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        newest = next((one.session_id for one in sessions_of(brain).listed()), None)
        wanted = session_id or newest
        if wanted is None:
            say("No session yet: `brain request` begins one.", err=True)
            sys.exit(1)
        found = found_session(brain, wanted)
        assert found.session is not None
        sitting = Sitting(brain, found.session, found.note)
        standings = collect(brain, sitting)
        sitting.used()
    if as_json:
        print_json(
            {
                "session_id": sitting.id,
                "project_root": sitting.session.project_root,
                "waiting": [
                    {"task_id": one.waiting.task_id, "ended": one.answer is not None, "stands": one.stands}
                    for one in standings
                ],
            }
        )
        return
    say(f"{sitting.id} goes on: the next `brain request` in {sitting.session.project_root} belongs to it")
    for one in standings:
        say(f"{one.waiting.task_id} {one.stands}")
    for note in sitting.notes:
        say(f"brain: {note}", err=True)


@session_command.command("prefer")
@click.argument("key", type=click.Choice(list(PREFERENCES)))
@click.argument("value")
@click.option("--session", "session_id", metavar="ID", help="Else the one the next request belongs to.")
@click.pass_obj
def _prefer_command(call: Call, key: str, value: str, session_id: str | None) -> None:
    """Say what requests of a session should do: `mode` directive, orchestrated or auto; `interface` NAME or auto.

    Example: brain session prefer mode orchestrated
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        sitting = Sitting.open(brain, project_root(os.getcwd()), session_id)
        sitting.prefer(key, value)
    say(f"{sitting.id} prefers {key} {value}")


def _second(instant: str) -> str:
    """`2026-11-20 20:15:04` of an instant to the microsecond."""
    return instant[:19].replace("T", " ")
