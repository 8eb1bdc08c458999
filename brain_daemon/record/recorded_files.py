"""The recorded file of a task: the task with its result in completed/ or failed/, and what stands beside it.

Every write may be done twice: what an earlier pass has left is known by its bytes, or by the attempt's id in it. No file of somebody
else's is ever written over; where one stands in the way, ours has a name of its own.

Failures: a disk error leaves as StorageError, and what was written stays for the next pass.
"""

import os
from collections.abc import Iterator, Mapping, Sequence

from brain_daemon.model import document
from brain_daemon.model.attempt import Attempt
from brain_daemon.model.errors import Damaged, StorageError
from brain_daemon.model.outcome import Status
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.task import TaskSpec
from brain_daemon.record.archive import day_folder
from brain_daemon.record.plan import Change
from brain_daemon.record.result import KEPT_OUT, Part, part
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
from brain_daemon.store.layout import Layout
from brain_daemon.store.offspring import offspring_of
from brain_daemon.store.reading import read_regular

_MAX_EDIT_BYTES = 4 << 20
_WHOLE_TEXT = "result.md"


class RecordedFiles:
    """Those of one brain. For one thread, whose connection `journal` is; a text longer than `result_bytes` has a file of its own."""

    def __init__(
        self, layout: Layout, files: Files, journal: Journal, redactor: Redactor, *, result_bytes: int
    ) -> None:
        self._layout = layout
        self._files = files
        self._journal = journal
        self._redactor = redactor
        self._result_bytes = result_bytes

    def write(self, attempt: Attempt, task: TaskSpec | None) -> tuple[str, tuple[Change, ...]]:
        """The recorded file and what stands beside it; the path of the task's file and the changes for its commit."""
        folder = self._layout.ended(attempt.status or Status.FAILED)
        earlier = self._journal.attempts_of(attempt.task_id) if attempt.number > 1 else []
        kept = self._kept_files(attempt)
        warnings = self._keep_edit(attempt, folder, kept)
        beside = self._beside(attempt, folder, kept)
        kept = {f"{beside}/{name}": data for name, data in kept.items()}
        secret = self._is_secret(attempt)
        if secret:
            warnings.append(KEPT_OUT)
        spawned = offspring_of(self._journal, attempt.task_id)
        children = [str(one.task_id) for one in spawned.accepted] if spawned else []
        before = [one for one in earlier if one.number < attempt.number]
        what = part(attempt, task, before, list(kept), warnings, children)
        if not attempt.sha256:
            return self._move_unread(attempt, what, folder)
        documents = self._documents(attempt, what, beside, kept)
        for name, data in kept.items():
            self._put_beside(os.path.join(folder, name), data)
        # The first one, the task's own file, is synced with those of its group.
        put = [
            self._put_document(os.path.join(folder, name), data, attempt, sync=number > 0)
            for number, (name, data) in enumerate(documents.items())
        ]
        changes = [Change(path=self._layout.relative(path), content=data) for path, data in put if not secret]
        changes += [
            Change(path=self._layout.relative(os.path.join(folder, n)), content=data) for n, data in kept.items()
        ]
        changes += self._departures(attempt, earlier)
        return put[0][0], tuple(changes)

    def _is_secret(self, attempt: Attempt) -> bool:
        """Whether a task that was given up before any start, and that no person released, holds what must not get into git."""
        return attempt.started_at is None and self._redactor.bytes(attempt.spec) != attempt.spec

    def title(self, attempt: Attempt, task: TaskSpec | None) -> str:
        title = task.title if task else attempt.name
        return title if attempt.started_at is not None else self._redactor.text(title)

    def _documents(self, attempt: Attempt, what: Part, beside: str, kept: dict[str, bytes]) -> dict[str, bytes]:
        """The task with its result, or the untouched task and the result beside it; a long text joins `kept`."""
        spec, stem = attempt.spec, attempt.task_id
        if not document.can_hold(spec):
            result = document.render_beside({**what.values, "spec_sha256": attempt.sha256}, what.heading, what.text)
            return {f"{stem}.md": spec, f"{stem}.{what.heading.lower()}.md": result}
        limit = self._result_bytes
        rendered = document.render(spec, what.values, what.heading, what.text, text_limit_bytes=limit)
        if rendered.cut:
            kept[f"{beside}/{_WHOLE_TEXT}"] = what.text.encode("utf-8", "replace")
        return {f"{stem}.md": rendered.data}

    def _move_unread(self, attempt: Attempt, what: Part, folder: str) -> tuple[str, tuple[Change, ...]]:
        """A file too large to read is moved as it is, and stays out of git."""
        path = os.path.join(folder, f"{attempt.task_id}.md")
        active = os.path.join(self._layout.active, f"{attempt.task_id}.md")
        if os.path.lexists(active):
            if os.path.lexists(path):
                path = os.path.join(folder, f"{attempt.attempt_id}.md")
            self._files.move(active, path)
        name = f"{attempt.task_id}.{what.heading.lower()}.md"
        data = document.render_beside(what.values, what.heading, what.text)
        self._put_document(os.path.join(folder, name), data, attempt, sync=True)
        return path, (Change(path=self._layout.relative(os.path.join(folder, name)), content=data),)

    def _departures(self, attempt: Attempt, earlier: Sequence[Attempt]) -> Iterator[Change]:
        """Names under which git may still know the task: its place in pending/, and its earlier endings, filed away or not."""
        pending = os.path.join(self._layout.pending, attempt.name)
        if not os.path.lexists(pending):
            yield Change(path=self._layout.relative(pending), content=None, only_if=attempt.spec)
        if attempt.number > 1:
            ended = {one.ended.finished_at for one in earlier if one.ended and one.attempt_id != attempt.attempt_id}
            for top, heading in ((self._layout.completed, "result"), (self._layout.failed, "error")):
                for place in dict.fromkeys((top, *(day_folder(top, at) for at in ended))):
                    for path in (os.path.join(place, name) for name in _names_of(attempt, heading)):
                        if not os.path.lexists(path):
                            yield Change(path=self._layout.relative(path), content=None)

    def _put_document(self, path: str, data: bytes, attempt: Attempt, *, sync: bool) -> tuple[str, bytes]:
        """Write a recorded file without ever overwriting another one; where it stands in the end, and what it says."""
        try:
            self._files.put_new(path, data, sync=sync)
        except FileExistsError:
            found = _read(path)
            if found == data or _is_of(attempt, found):
                return path, found
            # What a power cut leaves of a file of ours: its beginning, zeros, or the one and then the other.
            if not data.startswith(found.rstrip(b"\0")):
                path = os.path.join(os.path.dirname(path), f"{attempt.attempt_id}.md")
            self._files.put(path, data, sync=sync)
        return path, data

    def _beside(self, attempt: Attempt, folder: str, kept: Mapping[str, bytes]) -> str:
        """The folder beside the recorded file: ID.files, or one of the attempt's own name where something else stands there."""
        usual = f"{attempt.task_id}.files"
        if not os.path.lexists(os.path.join(folder, usual)):
            return usual
        names = {f"{usual}/{name}": data for name, data in {**kept, _WHOLE_TEXT: b""}.items()}
        if any(_leads_elsewhere(folder, name) for name in names):
            return f"{attempt.attempt_id}.files"
        taken = any(_is_other(os.path.join(folder, f"{usual}/{name}"), data) for name, data in kept.items())
        return f"{attempt.attempt_id}.files" if taken else usual

    def _put_beside(self, path: str, data: bytes) -> None:
        self._files.make_folder(os.path.dirname(path))
        self._files.put(path, data)

    def _kept_files(self, attempt: Attempt) -> dict[str, bytes]:
        """What the agent left in its out/ folder: name -> bytes."""
        out = os.path.join(self._layout.workspace(attempt.workspace_of), "out")
        names = attempt.ended.files if attempt.ended else ()
        return {name: _read(os.path.join(out, name)) for name in names}

    def _keep_edit(self, attempt: Attempt, folder: str, kept: dict[str, bytes]) -> list[str]:
        """An active file that was edited while it ran joins `kept`, without secrets; what is to be said of it."""
        if attempt.started_at is None:
            return []
        name = "edited-while-active.md"
        path = os.path.join(self._layout.active, f"{attempt.task_id}.md")
        try:
            now = read_regular(path, max(_MAX_EDIT_BYTES, len(attempt.spec)))
        except StorageError as error:
            return [f"the file in active/ was replaced while the task ran: {error}"]
        if not now and not os.path.lexists(path):
            if os.path.exists(os.path.join(folder, f"{attempt.task_id}.md")):
                if earlier := _read(os.path.join(folder, f"{attempt.task_id}.files", name)):
                    kept[name] = earlier
                return []
            return ["the file in active/ was deleted while the task ran; `brain cancel` stops a task"]
        if now == attempt.spec or document.is_recorded(now):
            return []
        kept[name] = self._redactor.bytes(now)
        return [f"the file in active/ was edited while the task ran; the edit is kept as {name}"]

    def remove_active(self, attempt: Attempt) -> None:
        active = os.path.join(self._layout.active, f"{attempt.task_id}.md")
        try:
            self._files.remove(active)
        except StorageError:
            if not os.path.isdir(active):  # a folder of this name is somebody else's
                raise


def _is_other(path: str, data: bytes) -> bool:
    """Whether something else than `data` stands at `path`."""
    try:
        return os.path.lexists(path) and read_regular(path) != data
    except StorageError:
        return True


def _leads_elsewhere(folder: str, name: str) -> bool:
    """Whether a link on the way to `name` below `folder` leads out of its place."""
    place = os.path.dirname(os.path.join(folder, name))
    return os.path.realpath(place) != os.path.join(os.path.realpath(folder), os.path.dirname(name))


def _names_of(attempt: Attempt, heading: str) -> tuple[str, str]:
    """The names of a recorded task: its own, and what stands beside a file that cannot hold its result."""
    return f"{attempt.task_id}.md", f"{attempt.task_id}.{heading}.md"


def _read(path: str) -> bytes:
    return read_regular(path)


def _is_of(attempt: Attempt, found: bytes) -> bool:
    """Whether this is the whole recorded file of this attempt, as an earlier pass has written it."""
    try:
        result = document.read_result(found)
    except Damaged:
        return False
    return result.intact and result.values.get("attempt_id") == attempt.attempt_id
