"""The session: what one run of work asked for, who did it and what came of it. One JSON document, checked as a whole.

Instants are text in UTC to the microsecond, so that their order is the order of the text. A prompt is kept only as its hash;
an answer as text, for the one who asks the same again. Keys this release does not know are not kept.

Two runs that worked on one session at the same time are merged: everything is a set of entries with a key, the union of both
is taken, and of two entries with one key the later (then the greater) stays. A request waits in the queue until any of the runs
has its end in the history. So `merge` does not mind who comes first, how often, or in which groups.

Failures: bytes that are no session are Damaged; the store recovers the last good copy. A document over its size loses its
oldest history and cached results first; whatever else is in it is bounded by the limits below.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct, structs

from brain_daemon.model.errors import Damaged
from brain_daemon.model.ids import is_task_id

MAX_BYTES = 10_000_000
MAX_ANSWER_CHARACTERS = 200_000
MAX_WAITING = 1_000
MAX_FILES = 50
MAX_PREFERENCES = 50
_AT_LEAST_SHARE = 20
"""One part in so many goes at a time, so that a full session is not cut at every request."""


SessionId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+$")]
Instant = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$")]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, Meta(max_length=1_000)]
Path = Annotated[str, Meta(max_length=4_096)]


class _Part(Struct, frozen=True, kw_only=True):
    """What is read is checked; what is made here is not, but for the id of a session."""


class Routed(_Part, frozen=True, kw_only=True):
    """A request that was decided. `result` is completed, failed (with its reason), or directed where an agent was told."""

    timestamp: Instant
    request_hash: Hash
    agent: Line
    result: Line
    mode: Line = ""
    why: Line = ""
    task_id: Line | None = None


class Kept(_Part, frozen=True, kw_only=True):
    """The answer to a request, cut to `MAX_ANSWER_CHARACTERS`; `task_id` has all of it."""

    timestamp: Instant
    agent: Line
    task_id: Line
    text: Annotated[str, Meta(max_length=MAX_ANSWER_CHARACTERS)]


class Waiting(_Part, frozen=True, kw_only=True):
    """A request that was handed in as a task and whose end nobody has seen."""

    timestamp: Instant
    request_hash: Hash
    task_id: Line


class Touched(_Part, frozen=True, kw_only=True):
    """A file, and when it was last named or changed."""

    path: Path
    timestamp: Instant


class Preference(_Part, frozen=True, kw_only=True):
    """What the person said they want."""

    value: Line
    timestamp: Instant


class Context(_Part, frozen=True, kw_only=True):
    """What the requests were about: files they named, files their tasks left behind, and what the person prefers."""

    active_files: tuple[Touched, ...] = ()
    recent_edits: tuple[Touched, ...] = ()
    user_preferences: dict[str, Preference] = {}


class Session(_Part, frozen=True, kw_only=True):
    """One run of work. `project_root` is the folder it was about; lists are in the order of their instants."""

    session_id: SessionId
    created_at: Instant
    updated_at: Instant
    project_root: Path
    routing_history: tuple[Routed, ...] = ()
    cached_results: dict[Hash, Kept] = {}
    work_queue: tuple[Waiting, ...] = ()
    context: Context = Context()

    def __post_init__(self) -> None:
        if not is_task_id(self.session_id):
            raise ValueError(
                f"session_id: {self.session_id[:80]!r} is none: letters, digits, dots, dashes and underscores"
            )


P = TypeVar("P", bound=_Part)


def instant(epoch_seconds: float) -> str:
    """Epoch seconds as sessions write them: `2026-11-20T20:15:04.000000Z`."""
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def request_hash(text: str, fields: Mapping[str, object]) -> str:
    """What makes two requests the same: the text but for white space at its ends, and the options that were given with it."""
    told = json.dumps([text.strip(), dict(fields)], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def new_session(session_id: str, project_root: str, now: float) -> Session:
    """A session that has asked for nothing yet; `now` in epoch seconds. ValueError where the id is none."""
    at = instant(now)
    return Session(session_id=session_id, created_at=at, updated_at=at, project_root=project_root)


def read_session(data: bytes, name: str) -> Session:
    """The document in a file called `name`; Damaged where it is none."""
    if len(data) > MAX_BYTES:
        raise Damaged(f"reading the session {name}: it has {len(data):,} bytes, at most {MAX_BYTES:,} are one.")
    try:
        return msgspec.json.decode(data, type=Session)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Damaged(f"reading the session {name}: {str(error) or type(error).__name__}.") from None


def write_session(session: Session) -> bytes:
    """The document as bytes; `read_session` gives back an equal value."""
    return msgspec.json.encode(session) + b"\n"


def merge(one: Session, other: Session) -> Session:
    """What both runs know. ValueError where they are not of one session."""
    if one.session_id != other.session_id:
        raise ValueError(f"{one.session_id} and {other.session_id} are two sessions")
    history = _union(_decided, one.routing_history, other.routing_history)
    first = min((one, other), key=lambda session: (session.created_at, session.project_root))
    return Session(
        session_id=one.session_id,
        created_at=first.created_at,
        updated_at=max(one.updated_at, other.updated_at),
        project_root=first.project_root,
        routing_history=history,
        cached_results=_joined(one.cached_results, other.cached_results),
        work_queue=_still_waiting(_union(_task, one.work_queue, other.work_queue), history),
        context=_merged_context(one.context, other.context),
    )


def with_waiting(session: Session, waiting: Waiting) -> Session:
    """The session with a request handed in."""
    return _with(session, waiting.timestamp, work_queue=(waiting,))


def with_routed(session: Session, routed: Routed, kept: Kept | None = None) -> Session:
    """The session with a request decided, and its answer where there is one."""
    answers = {} if kept is None else {routed.request_hash: kept}
    return _with(session, routed.timestamp, routing_history=(routed,), cached_results=answers)


def with_context(
    session: Session,
    at: str,
    *,
    active_files: Iterable[str] = (),
    recent_edits: Iterable[str] = (),
    preferences: Mapping[str, str] | None = None,
) -> Session:
    """The session with files it has to do with and what the person prefers, as of `at`."""
    said = preferences or {}
    context = Context(
        active_files=tuple(Touched(path=path, timestamp=at) for path in active_files),
        recent_edits=tuple(Touched(path=path, timestamp=at) for path in recent_edits),
        user_preferences={key: Preference(value=value, timestamp=at) for key, value in said.items()},
    )
    return _with(session, at, context=context)


def trimmed(session: Session, limit_bytes: int = MAX_BYTES) -> Session:
    """The session within its size: the oldest of its history and cached results go first."""
    while (excess := len(write_session(session)) - limit_bytes) > 0:
        if not session.routing_history and not session.cached_results:
            break
        session = _without_oldest(session, max(excess, limit_bytes // _AT_LEAST_SHARE))
    return session


def _with(session: Session, at: str, **parts: Any) -> Session:
    news = Session(
        session_id=session.session_id,
        created_at=session.created_at,
        updated_at=at,
        project_root=session.project_root,
        **parts,
    )
    return merge(session, news)


def _decided(entry: Routed) -> tuple[str, str, str]:
    """The task is part of the key: an entry that gave way to another's would leave its task waiting for ever."""
    return entry.timestamp, entry.request_hash, entry.task_id or ""


def _task(entry: Waiting) -> str:
    return entry.task_id


def _rank(entry: Any) -> tuple[str, str]:
    """Which of two entries with one key stays: the later, then the greater text."""
    return entry.timestamp, msgspec.json.encode(entry).decode()


def _union(key: Callable[[P], Any], *lists: Iterable[P]) -> tuple[P, ...]:
    found: dict[Any, P] = {}
    for entry in (entry for entries in lists for entry in entries):
        known = found.get(key(entry))
        if known is None or _rank(entry) > _rank(known):
            found[key(entry)] = entry
    return tuple(sorted(found.values(), key=_rank))


def _joined(one: Mapping[str, P], other: Mapping[str, P]) -> dict[str, P]:
    keys = sorted({*one, *other})
    return {key: max((side[key] for side in (one, other) if key in side), key=_rank) for key in keys}


def _still_waiting(queue: Iterable[Waiting], history: Iterable[Routed]) -> tuple[Waiting, ...]:
    ended = {entry.task_id for entry in history}
    return tuple(entry for entry in queue if entry.task_id not in ended)[-MAX_WAITING:]


def _merged_context(one: Context, other: Context) -> Context:
    preferences = _joined(one.user_preferences, other.user_preferences)
    newest = sorted(preferences, key=lambda key: (_rank(preferences[key]), key))[-MAX_PREFERENCES:]
    return Context(
        active_files=_files(one.active_files, other.active_files),
        recent_edits=_files(one.recent_edits, other.recent_edits),
        user_preferences={key: preferences[key] for key in sorted(newest)},
    )


def _files(*lists: tuple[Touched, ...]) -> tuple[Touched, ...]:
    return _union(lambda entry: entry.path, *lists)[-MAX_FILES:]


def _without_oldest(session: Session, spare_bytes: int) -> Session:
    """The session without its oldest entries of at least so many bytes together."""
    entries: list[Routed | Kept] = [*session.routing_history, *session.cached_results.values()]
    gone: set[int] = set()
    spared = 0
    for entry in sorted(entries, key=_rank):
        if spared >= spare_bytes:
            break
        gone.add(id(entry))
        spared += len(msgspec.json.encode(entry))
    return structs.replace(
        session,
        routing_history=tuple(one for one in session.routing_history if id(one) not in gone),
        cached_results={key: one for key, one in session.cached_results.items() if id(one) not in gone},
    )
