"""Which session a request belongs to, and what is noted in it: asked, handed in, decided, answered.

A request goes on in the session it names, else in the one its surroundings name (BRAIN_SESSION_ID), else in the newest of the
same project root that was used within `session_gap`, else in a new one. Sessions unused for `keep_sessions` are taken away
when a new one begins.

Failures: StorageError and Occupied of the store, UserError for a session that is not there. A damaged session is recovered, and
`Sitting.notes` says so.
"""

import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import UserError
from brain_daemon.model.ids import is_task_id, slug
from brain_daemon.model.session import (
    MAX_ANSWER_CHARACTERS,
    Kept,
    Routed,
    Session,
    Waiting,
    instant,
    new_session,
    with_context,
    with_routed,
    with_waiting,
)
from brain_daemon.policy.mode import ModeChoice, RequestMode
from brain_daemon.service.config import Config, load, user_state_path
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.locate import layout_of
from brain_daemon.store.sessions import Found, Sessions

VARIABLE = "BRAIN_SESSION_ID"
PREFERENCES: Mapping[str, tuple[str, ...]] = {"mode": ("auto", *RequestMode), "interface": ()}
"""What a person may prefer in a session, and which words are allowed; none listed: any one word."""

_MOST_LOOKED_AT = 20
_MOST_FILES = 20
_FILE = re.compile(r"[\w./~-]*[\w-]\.[A-Za-z][A-Za-z0-9]{0,7}\b")


class Place(Protocol):
    """What sessions need of a brain: an opened one has it, and a `Glance`."""

    @property
    def layout(self) -> Layout: ...
    @property
    def config(self) -> Config: ...
    @property
    def files(self) -> Files: ...


@dataclass(frozen=True, slots=True)
class Glance:
    """A brain that is not opened: no journal, no git, no interfaces. Opening one takes a third of a second, most of it imports."""

    layout: Layout
    config: Config
    files: Files

    @classmethod
    def at(cls, root: str, environment: Mapping[str, str]) -> "Glance":
        """The brain at `root`. UserError where its settings cannot be read."""
        config, _ = load(root, environment)
        return cls(layout_of(root, user_state_path()), config, Files())


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a request that ran as a task ended: `result` is completed, or failed with its reason."""

    task_id: str
    agent: str
    result: str
    text: str
    files: tuple[str, ...] = ()


def project_root(folder: str) -> str:
    """The top of the repository around a folder, else the folder itself."""
    place = os.path.realpath(folder)
    while not os.path.lexists(os.path.join(place, ".git")):
        above = os.path.dirname(place)
        if above == place:
            return os.path.realpath(folder)
        place = above
    return place


def sessions_of(place: Place) -> Sessions:
    """The sessions of a brain."""
    return Sessions(place.layout, place.files)


def found_session(place: Place, session_id: str) -> Found:
    """A session that must be there. UserError where it is not."""
    found = sessions_of(place).read(session_id)
    if found.session is None:
        raise UserError(f"there is no session {session_id!r}. `brain session list` shows them. {found.note}".rstrip())
    return found


class Sitting:
    """One session while requests are made in it. `notes` say what was damaged on the way."""

    def __init__(self, place: Place, session: Session, note: str = "") -> None:
        self._store = sessions_of(place)
        self.session = session
        self.notes: list[str] = [note] if note else []

    @classmethod
    def open(cls, place: Place, root: str, session_id: str | None = None) -> "Sitting":
        """The session a request made now in the project `root` belongs to; a new one is not written before it has something."""
        named = session_id or _named(place.config.environment)
        now = time.time()
        if named is not None:
            found = sessions_of(place).read(named)
            return cls(place, found.session or new_session(named, _sound(root), now), found.note)
        recent = _recent(place, root, now)
        if recent is not None:
            return cls(place, recent)
        sessions_of(place).prune(now - place.config.keep_sessions_seconds)
        return cls(place, new_session(new_id(now), _sound(root), now))

    @property
    def id(self) -> str:
        return self.session.session_id

    def preference(self, key: str) -> str | None:
        """What the person prefers in this session."""
        said = self.session.context.user_preferences.get(key)
        return None if said is None or said.value == "auto" else said.value

    def asked(self, text: str, folder: str) -> None:
        """A request names these files."""
        named = _files_in(text, folder)
        if named:
            self._keep(with_context(self.session, _now(), active_files=map(_sound, named)))

    def handed_in(self, request: str, task_id: str) -> None:
        """A request waits as a task."""
        self._keep(with_waiting(self.session, Waiting(timestamp=_now(), request_hash=request, task_id=task_id)))

    def directed(self, request: str, agent: str, choice: ModeChoice) -> None:
        """An agent, or the person, was told who should do it."""
        self._keep(with_routed(self.session, _routed(request, agent, "directed", choice.mode, choice.why)))

    def answered(self, request: str, answer: Answer, why: str) -> None:
        """A request that ran has ended; a completed one's answer is kept."""
        routed = _routed(request, answer.agent, answer.result, RequestMode.ORCHESTRATED, why, answer.task_id)
        kept = None
        if answer.result == "completed":
            text = _sound(answer.text)[:MAX_ANSWER_CHARACTERS]
            kept = Kept(timestamp=routed.timestamp, agent=routed.agent, task_id=answer.task_id, text=text)
        edits = map(_sound, answer.files[:_MOST_FILES])
        self._keep(with_context(with_routed(self.session, routed, kept), routed.timestamp, recent_edits=edits))

    def prefer(self, key: str, value: str) -> None:
        """The person prefers something from now on. UserError where there is no such preference."""
        allowed = PREFERENCES.get(key)
        if allowed is None or (allowed and value not in allowed):
            words = {name: " or ".join(given) or "a name" for name, given in PREFERENCES.items()}
            raise UserError(
                f"preferring {key} {value} in {self.id}: possible are "
                + "; ".join(f"{name} with {given}" for name, given in words.items())
                + "."
            )
        self._keep(with_context(self.session, _now(), preferences={key: clean_line(value)}))

    def used(self) -> None:
        """The session is gone on with: the next request of its project belongs to it."""
        self._keep(replace(self.session, updated_at=_now()))

    def _keep(self, session: Session) -> None:
        found = self._store.save(session)
        self.session = found.session or session
        if found.note:
            self.notes.append(found.note)


def new_id(now: float) -> str:
    """An id for a new session: `session-20261120T201500-7f3a`."""
    return f"session-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}-{secrets.token_hex(2)}"


def id_of_client(text: str) -> str | None:
    """The session that an agent's own session is noted in: of the same id; None where it has none."""
    return (text if is_task_id(text) else slug(text)) if text else None


def _named(environment: Mapping[str, str]) -> str | None:
    name = environment.get(VARIABLE, "")
    return name if is_task_id(name) else None


def _recent(place: Place, root: str, now: float) -> Session | None:
    store = sessions_of(place)
    since = now - place.config.session_gap_seconds
    for one in [one for one in store.listed() if one.written_at >= since][:_MOST_LOOKED_AT]:
        session = store.read(one.session_id).session
        if session is not None and session.project_root == _sound(root):
            return session
    return None


def _routed(request: str, agent: str, result: str, mode: RequestMode, why: str, task_id: str | None = None) -> Routed:
    return Routed(
        timestamp=_now(),
        request_hash=request,
        agent=clean_line(agent) or "nobody",
        result=clean_line(result),
        mode=mode.value,
        why=clean_line(why, 500),
        task_id=task_id,
    )


def _files_in(text: str, folder: str) -> Iterable[str]:
    """Files that a text names and that are there, each once, in order; paths as seen from `folder`."""
    names = dict.fromkeys(match[0] for match in _FILE.finditer(text[:100_000]))
    there = (name for name in names if os.path.isfile(os.path.join(folder, os.path.expanduser(name))))
    return [name for _, name in zip(range(_MOST_FILES), there, strict=False)]


def _sound(text: str) -> str:
    """Text that UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode()


def _now() -> str:
    return instant(time.time())
