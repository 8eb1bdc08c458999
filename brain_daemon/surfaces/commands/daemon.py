"""The commands around the daemon: run it, pause it, let it go on, let it end."""

import asyncio
import logging
import os
import sys
import time
from collections import Counter
from contextlib import closing, nullcontext
from typing import Any, TextIO

import click

from brain_daemon.adapters.registry import Entry, Registry
from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import Refused, StorageError
from brain_daemon.service import actions
from brain_daemon.service.brain import Brain
from brain_daemon.service.collector import calm
from brain_daemon.service.daemon_log import logging_to
from brain_daemon.service.recorder_process import forked
from brain_daemon.service.restarts import Start, unsettled
from brain_daemon.service.supervisor import Supervisor
from brain_daemon.store import control
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
from brain_daemon.store.layout import Layout
from brain_daemon.store.locks import Holder, running_daemon
from brain_daemon.surfaces.calls import Call, json_option, print_json

_LOG = logging.getLogger("brain_daemon")
_ANSWER_SECONDS = 5.0
_POLL_SECONDS = 0.2


@click.command("run")
@click.option("--once", is_flag=True, help="Work through what is there, then end: 0, or 1 if a task failed.")
@click.option("--no-commit", is_flag=True, help="Leave the commits to you.")
@click.option(
    "--parallel", type=click.IntRange(min=1), metavar="N", help="Attempts at the same time, all interfaces together."
)
@click.pass_context
def run_command(context: click.Context, once: bool, no_commit: bool, parallel: int | None) -> None:
    """Run the daemon in the foreground, until Ctrl-C: the first one lets running tasks end, a second one interrupts them.

    Example: brain run --once
    """
    call: Call = context.obj
    flags: dict[str, Any] = {"commit": False if no_commit else None, "parallel": parallel}
    terminal = sys.stderr if sys.stderr.isatty() else None
    with (
        forked(wanted=not once) as recorder,
        closing(Brain.open(call.brain_root, call.environment, flags)) as brain,
    ):
        if brain.journal.read_only:
            raise StorageError(
                f"running the daemon on {brain.layout.root}: {brain.layout.state} may not be written, by you or at all. "
                "`brain status`, `list`, `show` and `costs` work without; `brain doctor` says more."
            )
        registry = brain.registry()
        if sys.stdin.isatty() and terminal is not None and running_daemon(brain.layout) is None:
            _offer_approvals(brain, registry)
        code = _run(brain, registry, terminal, Supervisor(brain, once=once, forked=recorder), once=once)
    context.exit(code)


def _run(brain: Brain, registry: Registry, terminal: TextIO | None, supervisor: Supervisor, *, once: bool) -> int:
    calm()
    before = Counter(brain.journal.count_ended())
    with logging_to(brain.layout.state, brain.files, brain.config.log_bytes, brain.redactor(registry), terminal):
        if running_daemon(brain.layout) is None:
            _wait_after_deaths(brain, terminal)
            with Start(brain.layout, brain.files):
                code = asyncio.run(supervisor.run())
        else:
            code = asyncio.run(supervisor.run())  # which says who runs
    if once and terminal is not None:
        ended = Counter(brain.journal.count_ended()) - before
        held = len(brain.journal.holds())
        click.echo(
            f"{ended['completed']} completed, {ended['failed']} failed, {held} held (context/board.md says why)",
            err=True,
        )
    return code


def _wait_after_deaths(brain: Brain, terminal: TextIO | None) -> None:
    """Before work begins, where the starts before this one came to nothing. Ctrl-C and SIGTERM end the waiting, and the program."""
    before = unsettled(brain.layout)
    pause_seconds = before.pause_seconds(brain.config.crash_pause_seconds)
    if pause_seconds:
        words = f"the daemon has died {before.starts} times in a row soon after its start; it waits {pause_seconds:.0f} s before it works"
        _LOG.warning(words, extra={"action": "start"})
        if terminal is None:
            click.echo(f"brain: {words}. `brain doctor` looks for the cause.", err=True)
        time.sleep(pause_seconds)


def _offer_approvals(brain: Brain, registry: Registry) -> None:
    """An interface file is a program: what came with git runs here only after a person has said so."""
    for name, entry in registry.entries.items():
        if not entry.approved:
            click.echo(f"The interface {name} came with git. It is a program; it would {_would(entry)}", err=True)
            if click.confirm(f"Let {name} run on this machine?", default=False, err=True):
                click.echo(actions.approve(brain, name, entry.spec.sha256), err=True)


def _would(entry: Entry) -> str:
    invoke = entry.spec.invoke
    what = " ".join(invoke.command) if invoke.command else f"call the tool {invoke.function or entry.spec.name}"
    return f"run: {clean_line(what, 300)}\n(its file: tools/interfaces/{entry.file_name})"


@click.command("pause")
@json_option
@click.pass_obj
def pause_command(call: Call, as_json: bool) -> None:
    """Start nothing new; what runs goes on.

    Example: brain pause
    """
    _ask(call, "pause", "paused", "paused: what runs goes on, nothing new starts until `brain resume`", as_json=as_json)


@click.command("resume")
@json_option
@click.pass_obj
def resume_command(call: Call, as_json: bool) -> None:
    """Start tasks again after `brain pause`.

    Example: brain resume
    """
    if running_daemon(call.layout) is None and _lift_pause(call.layout):
        return _say(
            call, "resume", None, "stopped", "no daemon runs; the pause is lifted for the next one", as_json=as_json
        )
    return _ask(call, "resume", "running", "running: tasks start again", as_json=as_json)


def _lift_pause(layout: Layout) -> bool:
    """A pause outlives its daemon; whether there was one."""
    if not os.path.exists(layout.journal):
        return False
    with closing(Journal(layout.journal, Files())) as journal:
        paused = journal.get("paused") == "yes"
        if paused:
            journal.set("paused", "no")
        return paused


@click.command("drain")
@click.option("--wait", is_flag=True, help="Return when the daemon has ended.")
@json_option
@click.pass_obj
def drain_command(call: Call, wait: bool, as_json: bool) -> None:
    """Let the daemon finish what runs, then end. Pending tasks stay where they are.

    Example: brain drain --wait
    """
    _end(call, "drain", "it finishes what runs, then ends", wait=wait, as_json=as_json)


@click.command("stop")
@click.option("--wait", is_flag=True, help="Return when the daemon has ended.")
@json_option
@click.pass_obj
def stop_command(call: Call, wait: bool, as_json: bool) -> None:
    """End the daemon now. What runs is interrupted: it is run again, or you are asked.

    Example: brain stop --wait
    """
    _end(call, "stop", "it interrupts what runs and ends", wait=wait, as_json=as_json)


def _holder(layout: Layout) -> Holder:
    holder = running_daemon(layout)
    if holder is None:
        raise Refused(f"no daemon runs on {layout.root}. `brain run` starts one.")
    return holder


def _ask(call: Call, verb: str, goal: str, done: str, *, as_json: bool) -> None:
    """Post a request and wait a moment until the daemon shows the state that was asked for."""
    holder = _holder(call.layout)
    control.post(call.layout, Files(), verb)
    deadline = time.monotonic() + _ANSWER_SECONDS
    with closing(Journal(call.layout.journal, Files())) as journal:
        while (state := journal.get("state") or "starting") != goal and time.monotonic() < deadline:
            time.sleep(0.02)
    late = f"asked; the daemon has not answered within {_ANSWER_SECONDS:g} s, it is {state}"
    _say(call, verb, holder, state, done if state == goal else late, as_json=as_json)


def _end(call: Call, verb: str, what: str, *, wait: bool, as_json: bool) -> None:
    holder = _holder(call.layout)
    control.post(call.layout, Files(), verb)
    if not wait:
        return _say(call, verb, holder, "draining", f"process {holder.pid} was asked: {what}", as_json=as_json)
    with _progress(f"waiting for process {holder.pid} to end"):
        while running_daemon(call.layout) is not None:
            time.sleep(_POLL_SECONDS)
    return _say(call, verb, holder, "stopped", f"process {holder.pid} has ended", as_json=as_json)


def _progress(text: str) -> Any:
    """A sign of life on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console  # noqa: PLC0415 - 80 ms and 2 MB that only a terminal needs

    return Console(stderr=True).status(text)


def _say(call: Call, verb: str, holder: Holder | None, state: str, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "asked": verb,
                "state": state,
                "pid": None if holder is None else holder.pid,
                "brain": call.brain_root,
                "said": text,
            }
        )
    else:
        click.echo(text)
