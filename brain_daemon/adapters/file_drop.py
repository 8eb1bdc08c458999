"""The adapter for desktop applications: the prompt is a file in a shared folder, the answer the file that appears there.

    FOLDER/TASK.md           the request, written as a whole, with a line that says where the answer goes
    FOLDER/TASK.answer.md    the answer (`invoke.answer_file`, `invoke.answer_folder`), taken once it has been quiet for a while

What was answered, and a request that is taken back by a timeout or a cancel, is moved into the attempt's folder: nothing
is deleted. An attempt that follows one whose request still lies there, or was taken up by the application, does not ask
again, and an answer that has come meanwhile counts; one that nobody here has asked for is moved aside.

The answer is looked for about once a second, without file events: such folders are often synchronised, mounted or shared
with another system, where events do not come, and one `stat` costs less than a watch that must be watched itself.

Failures: a folder that is gone, or another file in the place of the request, is the outcome `Failed(unavailable)`; an
answer above the limit of output `Failed(output_limit)`. What cannot be read (a link, a FIFO) is no answer and is said.
"""

import asyncio
import copy
import hashlib
import os
import re
import time
from dataclasses import dataclass

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.prices import cost_of
from brain_daemon.adapters.secrets import expanded
from brain_daemon.adapters.tokens import count
from brain_daemon.model.errors import StorageError
from brain_daemon.model.interface import InterfaceType
from brain_daemon.model.outcome import (
    FREE,
    Cancelled,
    Ended,
    Failed,
    FailureKind,
    Outcome,
    Succeeded,
    TimedOut,
    Usage,
)
from brain_daemon.store.files import Files
from brain_daemon.store.queue import Seen, Signature, Unreadable, look, peek
from brain_daemon.store.reading import read_regular

ANSWER_NAME = "{task_id}.answer.md"
_POLL_SECONDS = 1.0
_MARK = "asked.sha256"
_DROPPED = "dropped"
_TAKEN_BACK = "request.md"


@dataclass(frozen=True, slots=True)
class _Places:
    """Where one request and its answer stand, and the attempt's own folder.

    There `asked.sha256` says what was asked, `dropped` that the request was in its place, `request.md` that it is taken back.
    """

    request: str
    answer: str
    folder: str

    def own(self, name: str) -> str:
        return os.path.join(self.folder, name)


class FileDropAdapter:
    """Asks through folders. `settle_seconds` is how long an answer must be left alone before it counts as whole."""

    def __init__(self, files: Files, *, settle_seconds: float, poll_seconds: float = _POLL_SECONDS) -> None:
        self._files = files
        # The shared folder may be on another file system than the folder for files under construction.
        self._shared = copy.copy(files)
        self._shared.aside = None
        self._settle_seconds = settle_seconds
        self._poll_seconds = poll_seconds

    def argv(self, invocation: Invocation) -> tuple[str, ...]:
        """The file that is written, for the journal."""
        return (f"file_drop:{_places(invocation).request}",)

    async def invoke(self, invocation: Invocation, cancel: Cancel) -> Ended:
        started_at, clock = time.time(), time.monotonic()
        places = _places(invocation)
        self._files.make_folder(places.folder)
        refusal = _missing_folder(places) or await asyncio.to_thread(self._ask, invocation, places)
        warnings: tuple[str, ...] = ()
        if refusal:
            outcome: Outcome = Failed(kind=FailureKind.UNAVAILABLE, message=refusal)
        else:
            outcome, warnings = await self._answered(invocation, places, clock + invocation.timeout_seconds, cancel)
        text = outcome.text if isinstance(outcome, Succeeded) else ""
        usage = await asyncio.to_thread(_estimated, invocation, text) if text else Usage()
        return Ended(
            outcome=outcome,
            started_at=started_at,
            finished_at=time.time(),
            duration_seconds=time.monotonic() - clock,
            usage=usage,
            cost=cost_of(invocation.interface, usage, None, invocation.model) if text else FREE,
            model=invocation.model,
            text=text,
            warnings=warnings,
        )

    def _ask(self, invocation: Invocation, places: _Places) -> str:
        """See that the request stands, or was taken up; why it cannot be put there, in words."""
        digest = hashlib.sha256(_encoded(invocation.task.text)).hexdigest()
        earlier = _earlier(places, invocation.task.id, digest)
        lies_there = os.path.lexists(places.request)
        if lies_there and earlier is None:
            return (
                f"{places.request} is there already and nobody here wrote it: move it away, then `brain retry` the task"
            )
        self._files.put(places.own("prompt.md"), _encoded(invocation.prompt), sync=False)
        try:
            if earlier is None:
                self._move_aside(places.answer, places.own("unasked.md"))
            self._files.put(places.own(_MARK), digest.encode())
            if not (lies_there or os.path.lexists(places.answer) or _was_taken_up(earlier)):
                self._shared.put_new(places.request, _encoded(_request(invocation, places)))
        except (StorageError, FileExistsError) as error:
            return f"the request could not be put into the shared folder: {error}"
        self._files.put(places.own(_DROPPED), b"", sync=False)
        return ""

    async def _answered(
        self, invocation: Invocation, places: _Places, deadline: float, cancel: Cancel
    ) -> tuple[Outcome, tuple[str, ...]]:
        """Wait for the answer, the deadline or a cancel, whatever comes first, and clear the folder."""
        quiet: tuple[Signature, float] | None = None
        said = ""
        while not cancel.is_set():
            found = await asyncio.to_thread(peek, *os.path.split(places.answer))
            now = time.monotonic()
            said = f"{places.answer} {found.reason}" if isinstance(found, Unreadable) else ""
            if not isinstance(found, Signature) or not found.size_bytes:
                quiet = None
            elif quiet is None or quiet[0] != found:
                quiet = (found, now)
            elif now - quiet[1] >= self._settle_seconds and not cancel.is_set():
                taken = await asyncio.to_thread(self._take, invocation, places, found)
                if taken is not None:
                    return taken
            if now >= deadline:
                break
            await self._pause(cancel, deadline - now, settling=quiet is not None)
        told = await asyncio.to_thread(self._take_back, places)
        outcome = Cancelled() if cancel.is_set() else TimedOut(after_seconds=invocation.timeout_seconds)
        return outcome, tuple(filter(None, (said, told)))

    async def _pause(self, cancel: Cancel, left_seconds: float, *, settling: bool) -> None:
        poll = min(self._poll_seconds, max(self._settle_seconds, 0.01)) if settling else self._poll_seconds
        try:
            await asyncio.wait_for(cancel.wait(), max(0.0, min(poll, left_seconds)))
        except TimeoutError:
            return

    def _take(self, invocation: Invocation, places: _Places, seen: Signature) -> tuple[Outcome, tuple[str, ...]] | None:
        """The answer, both files then being in the attempt's folder; None if it is being written after all."""
        limit = invocation.output_bytes
        match look(*os.path.split(places.answer), limit):
            case Seen(signature=signature, data=None) if signature == seen:
                told = self._take_back(places)
                message = f"{places.answer} is larger than {limit} bytes (setting output_size); it was left where it is"
                return Failed(kind=FailureKind.OUTPUT_LIMIT, message=message), tuple(filter(None, (told,)))
            case Seen(signature=signature, data=bytes() as data) if signature == seen:
                self._files.put(places.own("answer.md"), data)
                told = self._take_back(places)
                if peek(*os.path.split(places.answer)) == seen:
                    told = told or self._removed(places.answer)
                text = data.decode("utf-8-sig", "replace").replace("\r\n", "\n")
                return Succeeded(text=text), tuple(filter(None, (told,)))
            case _:
                return None

    def _take_back(self, places: _Places) -> str:
        """Move the request, if the application has left it there, into the attempt's folder; what could not be moved."""
        kept, told = places.own(_TAKEN_BACK), ""
        try:
            self._move_aside(places.request, kept)
        except StorageError as error:
            told = f"the request was not taken back: {error}"
        if not os.path.exists(kept):
            self._files.put(kept, b"", sync=False)
        return told

    def _removed(self, path: str) -> str:
        """Take away what has been copied; why that could not be done."""
        try:
            self._shared.remove(path)
        except StorageError as error:
            return str(error)
        return ""

    def _move_aside(self, path: str, kept: str) -> None:
        """Copy, then remove: the shared folder may be on another disk. What is not there is no error."""
        if os.path.lexists(path):
            self._files.put(kept, read_regular(path))
            self._shared.remove(path)


def _places(invocation: Invocation) -> _Places:
    options, task_id = dict(invocation.interface.invoke.options), invocation.task.id
    home = invocation.environment.get("HOME", "")

    def folder(option: str) -> str:
        return os.path.join(invocation.root, expanded(str(options[option]), home))

    requests = folder("folder")
    answers = folder("answer_folder") if options.get("answer_folder") else requests
    name = str(options.get("answer_file") or ANSWER_NAME).replace("{task_id}", task_id)
    return _Places(
        request=os.path.join(requests, f"{task_id}.md"), answer=os.path.join(answers, name), folder=invocation.folder
    )


def _missing_folder(places: _Places) -> str:
    for path in (places.request, places.answer):
        if not os.path.isdir(os.path.dirname(path)):
            return f"the folder {os.path.dirname(path)} is not there: create it, or correct `invoke.folder`"
    return ""


def _earlier(places: _Places, task_id: str, digest: str) -> str | None:
    """The folder of the newest earlier attempt that has asked the same; None if none has."""
    own_id = re.compile(rf"{re.escape(task_id)}\.a[0-9]+\.[0-9a-f]{{8}}", re.IGNORECASE)
    attempts = os.path.dirname(places.folder)
    marks = [os.path.join(attempts, name, _MARK) for name in os.listdir(attempts) if own_id.fullmatch(name)]
    same = [mark for mark in marks if os.path.dirname(mark) != places.folder and read_regular(mark) == digest.encode()]
    return os.path.dirname(max(same, key=os.path.getmtime)) if same else None


def _was_taken_up(earlier: str | None) -> bool:
    """Whether the application has taken the request of that attempt away to work on it."""
    if earlier is None or os.path.exists(os.path.join(earlier, _TAKEN_BACK)):
        return False
    return os.path.exists(os.path.join(earlier, _DROPPED))


def _request(invocation: Invocation, places: _Places) -> str:
    """The prompt, and what a program that knows nothing of us must know."""
    same = os.path.dirname(places.answer) == os.path.dirname(places.request)
    where = "this folder" if same else os.path.dirname(places.answer)
    prompt = invocation.prompt.rstrip("\n")
    return f"{prompt}\n\n---\nWrite the complete answer to `{os.path.basename(places.answer)}` in {where}, in one go.\n"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _estimated(invocation: Invocation, text: str) -> Usage:
    """What a desktop application does not tell, counted here for a model and marked as estimated."""
    if invocation.interface.type is not InterfaceType.LLM:
        return Usage()
    return Usage(
        input_tokens=count(invocation.prompt).tokens, output_tokens=count(text).tokens, requests=1, estimated=True
    )
