"""One-shot requests: how one is met, and what is remembered of who should do it.

A coding agent waits for this before each prompt, so nothing is imported here that deciding does not need: who should do a
request is found in directing.py, and its task is handed in by collecting.py. A directive is kept for some minutes and for as long
as interfaces, routing table and settings are the same files; a program that was installed or a login that ended meanwhile is not seen.

Failures: what is remembered and cannot be read is forgotten; StorageError where the log or the memory cannot be written.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from brain_daemon.model.errors import StorageError
from brain_daemon.model.session import instant, request_hash
from brain_daemon.policy.kind import kind_of
from brain_daemon.policy.mode import ModeChoice, RequestMode, Situation, choose_mode, variables_on
from brain_daemon.service.config import user_config_path
from brain_daemon.service.sessions import Place, Sitting
from brain_daemon.store.layout import Layout
from brain_daemon.store.reading import read_regular

LOG_NAME = "requests.log"
INSIDE = "BRAIN_TASK_ID"
"""The variable that a running task's agent has: whoever has it is being routed already."""

MAX_TALK_CHARACTERS = 24_000
_MOST_REMEMBERED = 50
_MAX_MEMORY_BYTES = 4 << 20
_TELLING = frozenset({"type", "requires", "interface", "preferred_interface"})
_AROUND = "`'\"()<>[],;:!?"
_WORKFLOW_ENDINGS = (".yaml", ".yml", ".json")
_WORKFLOW_NAMES = tuple(f"workflow{ending}" for ending in _WORKFLOW_ENDINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: its text, the front matter it was given (`fields`), and the folder it is made in."""

    text: str
    folder: str
    fields: Mapping[str, object] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        return request_hash(self.text, self.fields)

    @property
    def guess(self) -> str | None:
        """The kind of work, where neither the text nor the options say who does it or what kind it is."""
        silent = not _TELLING & self.fields.keys() and not self.text.lstrip("\ufeff").startswith("---")
        return kind_of(self.text) if silent else None

    @property
    def front_matter(self) -> Mapping[str, object]:
        """`fields`, with the kind that was guessed."""
        return {"type": self.guess, **self.fields} if self.guess else self.fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """Who should do a request: `interface` None where nobody can, for the `reason`. `others` could, in this order."""

    task_type: str
    interface: str | None
    reason: str
    tier: str | None = None
    model: str | None = None
    last_resort: bool = False
    others: tuple[str, ...] = ()
    rejected: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def agent(self) -> str:
        return self.interface or "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What was said and answered in a conversation."""

    said: str
    answer: str


def mode_for(
    place: Place, asked: Asked, sitting: Sitting, *, terminal: bool, flag: RequestMode | None, agent_at_hand: bool
) -> ModeChoice:
    """How to meet a request now."""
    environment = place.config.environment
    preferred = sitting.preference("mode")
    setting = place.config.request_mode
    return choose_mode(
        Situation(
            terminal=terminal,
            hour=time.localtime().tm_hour,
            flag=flag,
            setting=None if setting == "auto" else RequestMode(setting),
            preference=None if preferred is None else RequestMode(preferred),
            variables=variables_on(environment),
            workflow=workflow_there(place.layout, asked),
            task_id=environment.get(INSIDE) or None,
            agent_at_hand=agent_at_hand,
        )
    )


def workflow_there(layout: Layout, asked: Asked) -> str | None:
    """The workflow file that a request is about: one it names, else one called `workflow` in the folder it is made in."""
    folders = (asked.folder, layout.root, layout.inside("brain", "workflows"))
    words = [word.lstrip(_AROUND).rstrip(f"{_AROUND}.") for word in asked.text[:20_000].split()]
    for name in dict.fromkeys(word for word in words if word.lower().endswith(_WORKFLOW_ENDINGS)):
        if any(_is_workflow(os.path.join(folder, name)) for folder in folders):
            return name
    return next((name for name in _WORKFLOW_NAMES if os.path.isfile(os.path.join(asked.folder, name))), None)


def log_decision(place: Place, asked: Asked, session_id: str, choice: ModeChoice) -> None:
    """One line in the state folder's requests.log: when, which request, how it is met and why; never its text."""
    place.files.make_folder(place.layout.state)
    path = os.path.join(place.layout.state, LOG_NAME)
    line = {
        "time": instant(time.time()),
        "session": session_id,
        "request": asked.hash,
        "mode": choice.mode.value,
        "why": choice.why,
    }
    if _size_of(path) > place.config.log_bytes:
        place.files.remove(f"{path}.1")
        place.files.move(path, f"{path}.1")
    place.files.append(path, json.dumps(line).encode() + b"\n")


def remembered(place: Place, asked: Asked, most_seconds: float) -> Directive | None:
    """The directive that a request like this got in the last `most_seconds`, if nothing has changed since."""
    memory = _memory(place)
    try:
        kept = memory[_like(asked)]
        if not 0 <= time.time() - kept["at"] <= most_seconds:
            return None
        told = kept["directive"]
        pairs = tuple((str(name), str(why)) for name, why in told["rejected"])
        texts = {key: tuple(map(str, told[key])) for key in ("others", "warnings")}
        return Directive(**{**told, **texts, "rejected": pairs})
    except (KeyError, TypeError, ValueError):
        return None


def remember(place: Place, asked: Asked, directive: Directive) -> None:
    """Keep a directive for requests like this one. What a text says of itself in front matter is never like another."""
    if asked.text.lstrip("\ufeff").startswith("---"):
        return
    memory = _memory(place) | {_like(asked): {"at": time.time(), "directive": asdict(directive)}}
    newest = dict(list(memory.items())[-_MOST_REMEMBERED:])
    document = {"of": _made_of(place), "directives": newest}
    place.files.put(_memory_path(place), json.dumps(document).encode(), sync=False)


def with_talk(text: str, turns: Sequence[Turn]) -> str:
    """A request with what was said before it, the oldest left out where it is long."""
    told: list[str] = []
    left = MAX_TALK_CHARACTERS
    for turn in reversed(turns):
        part = f"**Request:** {turn.said.strip()}\n\n**Answer:** {turn.answer.strip()}\n"
        if len(part) > left:
            if not told:
                told.append(f"{part[:left]}\n[cut]\n")
            break
        told.append(part)
        left -= len(part)
    if not told:
        return text
    earlier = "\n".join(reversed(told))
    return f"{text.strip()}\n\n## Earlier in this conversation\n\n{earlier}"


def _memory(place: Place) -> dict[str, Any]:
    """What is remembered of the brain as it is now."""
    try:
        document = json.loads(read_regular(_memory_path(place), _MAX_MEMORY_BYTES))
        return dict(document["directives"]) if document["of"] == _made_of(place) else {}
    except (StorageError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _memory_path(place: Place) -> str:
    return os.path.join(place.layout.state, "directives.json")


def _like(asked: Asked) -> str:
    """Requests of one likeness get the same directive: the text itself has no say in it."""
    return asked.hash if asked.text.lstrip("\ufeff").startswith("---") else request_hash("", asked.front_matter)


def _made_of(place: Place) -> str:
    """Changes with the files that a directive is made of, and with the settings it goes by."""
    config = place.config
    settings = [config.never, config.local_only, config.permissions, config.learn, config.environment.get("PATH", "")]
    files = [place.layout.inside("context", "routing.md"), user_config_path(), *_interface_files(place.layout)]
    told = json.dumps([settings, [(path, _stamp(path)) for path in files]], sort_keys=True)
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()


def _interface_files(layout: Layout) -> Iterator[str]:
    try:
        names = sorted(os.listdir(layout.interfaces))
    except OSError:
        names = []
    return (os.path.join(layout.interfaces, name) for name in names)


def _stamp(path: str) -> list[int]:
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_ino, status.st_mtime_ns, status.st_size]


def _is_workflow(path: str) -> bool:
    """Whether a YAML or JSON file seems to be a workflow: it has `steps:` or `workflow:` at its beginning."""
    try:
        with open(path, "rb") as handle:
            head = handle.read(4096).replace(b'"', b"")
    except OSError:
        return False
    return any(line.lstrip(b"{ ").startswith((b"steps:", b"workflow:")) for line in head.splitlines())


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
