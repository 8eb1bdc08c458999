"""`brain hook`: what a coding agent calls before it takes up a prompt (the UserPromptSubmit hook of Claude Code; Codex has the same).

The agent gives one JSON object on standard input (`prompt`, `session_id`, `cwd`, `hook_event_name`) and takes what stands in
`hookSpecificOutput.additionalContext` of the one it gets back into the conversation; plain text would do too, but an exit code of
2 would throw the prompt away, and any other is shown as an error. So: exit 0, and nothing printed, whatever is wrong here;
`requests.log` in the state folder says what it was.

Its own part has its time: `_DIRECTIVE_SECONDS` for a directive, --within for a request that is run. A task that takes longer goes on
in the daemon, or in a `brain run --once` that is left behind, and the agent is told so. A hook the user has already (--wrap) runs beside
it with the same input: what it says comes first, and where it blocks, fails or says something of another form, only that is said.
"""

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.quantities import parse_duration
from brain_daemon.surfaces.calls import Call

if TYPE_CHECKING:
    from brain_daemon.policy.mode import ModeChoice
    from brain_daemon.service.requests import Asked, Directive
    from brain_daemon.service.sessions import Answer, Glance, Sitting

EVENT = "UserPromptSubmit"
MAX_CONTEXT_CHARACTERS = 9_000
"""Claude Code passes on 10,000 characters whole and only the beginning of more."""

_DIRECTIVE_SECONDS = 10.0
_REMEMBERED_SECONDS = 600.0
_WITHIN_SECONDS = 25.0
_LOOK_SECONDS = 0.05
_RESERVE_SECONDS = 0.5
_MAX_INPUT_BYTES = 8 << 20


@dataclass(slots=True)
class _Ours:
    """What our part has to say, and whether it is running the request; written by its thread, read when its time is over."""

    until: float
    context: str = ""
    runs: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Theirs:
    """What the user's own hook printed, and how it ended."""

    out: bytes = b""
    err: bytes = b""
    code: int = 0


@click.command("hook", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("--wrap", metavar="COMMAND", help="Your own hook, run beside this one with the same input.")
@click.option("--within", metavar="TIME", default="", help="Longest time it may take: 25s by default.")
@click.option("--mode", "flag", metavar="MODE", default="", help="directive or orchestrated, whatever the moment says.")
@click.pass_obj
def hook_command(call: Call, wrap: str | None, within: str, flag: str) -> None:
    """Tell a coding agent, before it takes up a prompt, who should do it; or do it. JSON in, JSON out; silent if anything is wrong.

    Example: brain hook --wrap ~/.claude/hooks/mine.sh
    """
    if sys.stdin.isatty():
        click.echo("brain hook is called by a coding agent, with JSON on standard input: docs/requests.md", err=True)
        return
    began = time.monotonic()
    said = sys.stdin.buffer.read(_MAX_INPUT_BYTES)
    wrapped = _start(wrap) if wrap else None
    ours = _Ours(until=began + _seconds(within))
    threading.Thread(target=_think, args=(call, said, flag, ours), daemon=True).start()
    theirs = _end(wrapped, said)
    ours.done.wait(max(0.0, min(began + _DIRECTIVE_SECONDS, ours.until) - time.monotonic()))
    if ours.runs.is_set():
        ours.done.wait(max(0.0, ours.until - time.monotonic()))
    code = _say(theirs, ours.context if ours.done.is_set() else "")
    if not ours.done.is_set():
        # A thread that is late, in a lock or on a slow disk, must not hold the agent up at the interpreter's end.
        os._exit(code)
    sys.exit(code)


def _seconds(within: str) -> float:
    try:
        return float(parse_duration(within)) if within else _WITHIN_SECONDS
    except ValueError:
        return _WITHIN_SECONDS


# the user's own hook


def _start(command: str) -> "subprocess.Popen[bytes] | None":
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError:
        return None


def _end(wrapped: "subprocess.Popen[bytes] | None", said: bytes) -> _Theirs:
    if wrapped is None:
        return _Theirs()
    out, err = wrapped.communicate(said)
    return _Theirs(out=out, err=err, code=wrapped.returncode if wrapped.returncode >= 0 else 1)


def _say(theirs: _Theirs, ours: str) -> int:
    """Print what both have to say, in one write; the exit code."""
    joined = _joined(theirs, ours) if ours and theirs.code == 0 else None
    out = theirs.out if joined is None else json.dumps(joined, ensure_ascii=True).encode() + b"\n"
    for stream, data in ((sys.stderr, theirs.err), (sys.stdout, out)):
        try:
            stream.buffer.write(data)
            stream.flush()
        except OSError:
            return theirs.code
    return theirs.code


def _joined(theirs: _Theirs, ours: str) -> dict[str, Any] | None:
    """One answer of both; None where theirs must stand alone."""
    text = theirs.out.decode("utf-8", "replace").strip()
    if not text.startswith("{"):
        return _answer({}, f"{text}\n\n{ours}" if text else ours)
    try:
        said = json.loads(text)
        specific = said.get("hookSpecificOutput", {})
        if (
            said.get("decision") == "block"
            or said.get("continue") is False
            or specific.get("hookEventName", EVENT) != EVENT
        ):
            return None
        earlier = specific.get("additionalContext", "")
        return _answer(said, f"{earlier}\n\n{ours}" if earlier else ours)
    except (ValueError, AttributeError, RecursionError):
        return None


def _answer(said: Mapping[str, Any], context: str) -> dict[str, Any]:
    specific = dict(said.get("hookSpecificOutput", {})) | {"hookEventName": EVENT, "additionalContext": context}
    return dict(said) | {"hookSpecificOutput": specific}


# our part, in a thread of its own


def _think(call: Call, said: bytes, flag: str, ours: _Ours) -> None:
    try:
        ours.context = _context(call, said, flag, ours)
    except BaseException as error:  # noqa: BLE001 - the agent's prompt goes on, whatever is wrong here
        _note(call, error)
    finally:
        ours.done.set()


def _context(call: Call, said: bytes, flag: str, ours: _Ours) -> str:
    """What to tell the agent; nothing where this is no prompt for us."""
    told = json.loads(said)
    prompt = told.get("prompt")
    ours_to_say = told.get("hook_event_name", EVENT) == EVENT and not call.environment.get("BRAIN_TASK_ID")
    if not ours_to_say or not isinstance(prompt, str) or not prompt.strip() or prompt.lstrip().startswith("/"):
        return ""
    return _met(call, prompt, told, flag, ours)


def _met(call: Call, prompt: str, told: Mapping[str, Any], flag: str, ours: _Ours) -> str:
    from brain_daemon.policy.mode import RequestMode  # noqa: PLC0415 - a broken part must not keep the hook from starting
    from brain_daemon.service.requests import Asked, log_decision, mode_for  # noqa: PLC0415 - as above
    from brain_daemon.service.sessions import Glance, Sitting, id_of_client, project_root  # noqa: PLC0415 - as above

    folder = str(told.get("cwd") or os.getcwd())
    glance = Glance.at(call.brain_root, call.environment)
    sitting = Sitting.open(glance, project_root(folder), id_of_client(str(told.get("session_id") or "")))
    preferred = sitting.preference("interface")
    fields = {"preferred_interface": preferred} if preferred else {}
    asked = Asked(text=f"{prompt.strip()}\n", folder=folder, fields=fields)
    mode = RequestMode(flag) if flag in list(RequestMode) else None
    choice = mode_for(glance, asked, sitting, terminal=_has_terminal(), flag=mode, agent_at_hand=True)
    log_decision(glance, asked, sitting.id, choice)
    sitting.asked(asked.text, folder)
    if choice.mode is RequestMode.ORCHESTRATED:
        ours.runs.set()
        return _cut(_run(call, sitting, asked, choice, ours.until))
    directive = _directive(call, glance, asked)
    sitting.directed(asked.hash, directive.agent, choice)
    return _cut(_directive_text(call.brain_root, directive))


def _directive(call: Call, glance: "Glance", asked: "Asked") -> "Directive":
    from brain_daemon.service.requests import remembered  # noqa: PLC0415 - as above

    known = remembered(glance, asked, _REMEMBERED_SECONDS)
    if known is not None:
        return known
    from brain_daemon.service.brain import Brain  # noqa: PLC0415 - a third of a second that a remembered one does not need
    from brain_daemon.service.directing import directive_for  # noqa: PLC0415 - as above

    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        return directive_for(brain, asked)


def _has_terminal() -> bool:
    """Whether this process has a terminal to control it: a person started the agent, and not a timer or a server."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _cut(text: str) -> str:
    cleaned = clean_text(text)
    return cleaned if len(cleaned) <= MAX_CONTEXT_CHARACTERS else f"{cleaned[:MAX_CONTEXT_CHARACTERS]}\n[cut]"


def _directive_text(root: str, directive: "Directive") -> str:
    name = directive.interface
    if name is None or directive.last_resort:
        why = clean_line(directive.reason, 500)
        return f"Routing directive of brain-daemon: nobody else is good for this request ({why}). Do it yourself."
    model = f" with the model {directive.model}" if directive.model else ""
    hand_over = f"{_command(root)} submit --prefer {name} --wait -"
    lines = [
        f"Routing directive of brain-daemon for this request ({directive.task_type}):",
        f"- Who: {name}{model} ({directive.tier}).",
        f"- Why: {clean_line(directive.reason, 500)}.",
        f"- If that is you, do it yourself. Else hand it over: `{hand_over}` with the request on standard input prints the answer.",
    ]
    if directive.others:
        lines.insert(3, f"- If it cannot: {', '.join(directive.others[:5])}.")
    return "\n".join(lines)


def _run(call: Call, sitting: "Sitting", asked: "Asked", choice: "ModeChoice", until: float) -> str:
    """Hand the request in as a task and wait for it; what the agent is to do with what came of it."""
    from brain_daemon.service import collecting  # noqa: PLC0415 - what runs tasks is not needed for a directive
    from brain_daemon.service.brain import Brain  # noqa: PLC0415 - as above
    from brain_daemon.store.locks import running_daemon  # noqa: PLC0415 - as above

    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        handed = collecting.hand_in(brain, asked, sitting.id)
        sitting.handed_in(asked.hash, handed.place.task_id)
        passing = _leave_behind(brain.layout.root) if running_daemon(brain.layout) is None else None
        answer, over = None, False
        while answer is None and not over and time.monotonic() < until - _RESERVE_SECONDS:
            time.sleep(_LOOK_SECONDS)
            # Asked before the look: what the pass did until its end is seen by it.
            over = passing is not None and passing.poll() is not None
            answer = collecting.answer_now(brain, handed)
    if answer is None:
        return _not_yet(call.brain_root, handed.place.task_id)
    sitting.answered(asked.hash, answer, choice.why)
    return _answer_text(call.brain_root, answer)


def _command(root: str) -> str:
    """`brain` for this brain, as a shell takes it."""
    return f"brain --brain {shlex.quote(root)}"


def _leave_behind(root: str) -> "subprocess.Popen[bytes]":
    """A pass over the queue that outlives this process."""
    return subprocess.Popen(
        [sys.executable, "-m", "brain_daemon", "--brain", root, "run", "--once"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _not_yet(root: str, task_id: str) -> str:
    return (
        f"brain-daemon has taken this request as {task_id}, and has not finished it yet. Do not do it again: tell the person that "
        f"`{_command(root)} show {task_id}` shows where it stands."
    )


def _answer_text(root: str, answer: "Answer") -> str:
    if answer.result != "completed":
        return (
            f"brain-daemon ran this request as {answer.task_id}, and it {clean_line(answer.result)}. Do it yourself, and say that "
            f"`{_command(root)} show {answer.task_id}` has the details."
        )
    whole = f"the whole of it: `{_command(root)} show {answer.task_id}`"
    return (
        f"brain-daemon has done this request already ({answer.task_id}, by {answer.agent}; {whole}). Do not do it again: give this "
        f"answer back.\n\n{answer.text}"
    )


def _note(call: Call, error: BaseException) -> None:
    """Say in requests.log why nothing was said; where not even that works, nothing is."""
    try:
        from brain_daemon.store.files import Files  # noqa: PLC0415 - as above

        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "hook": "silent",
            "why": clean_line(f"{type(error).__name__}: {error}", 500),
        }
        files = Files()
        files.make_folder(call.layout.state)
        files.append(os.path.join(call.layout.state, "requests.log"), json.dumps(line).encode() + b"\n")
    except BaseException:  # noqa: BLE001, S110 - as above
        pass
