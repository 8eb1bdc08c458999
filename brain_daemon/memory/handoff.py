"""What one task hands to the next: a summary for its prompt, a pointer, the whole text and the files as files, the state of checks.

A task that failed hands over its error, to those alone who run after a failure. Failures: HandoffMissing where the id resolves to no
completed task or note; the one who asked has then spent nothing.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from brain_daemon.memory.pool import Pool
from brain_daemon.memory.texts import Text, result_text
from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.document import restore
from brain_daemon.model.errors import StorageError, UserError
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.store.layout import Layout
from brain_daemon.store.reading import read_regular

FOLDER = "context"
MAX_FILES_BYTES = 4 << 20
_MAX_HEADINGS = 30
_MAX_LISTED = 30
_SUMMARY = re.compile(
    r"^(#{1,6})[ \t]+(?:executive[ \t]+)?(?:summary|tl;?dr)[ \t]*:?[ \t]*#*[ \t]*$", re.IGNORECASE | re.MULTILINE
)
_HEADING = re.compile(r"^#{1,6}[ \t]+\S.*$", re.MULTILINE)


class HandoffMissing(UserError):
    """The id of a handoff resolves to nothing in the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """`summary` is markdown within the limit asked for; `files` go into the workspace, by their path there.

    `failed` says that it is the error of a task that failed, which the pool does not know.
    """

    id: str
    path: str
    title: str
    summary: str
    whole: bool
    facts: tuple[str, ...]
    files: dict[str, bytes]
    failed: bool = False


def handoff(pool: Pool, wanted: str, limit_tokens: int, count: Callable[[str], int]) -> Handoff:
    """What the completed task or the note of this id hands over. Raises HandoffMissing."""
    text = pool.resolve(wanted)
    if text is None:
        raise HandoffMissing(
            f"taking the handoff from {wanted}: the pool has nothing under this id. It names a task that has completed, or a note; "
            f"`brain memory get {wanted}` looks it up."
        )
    full, values = pool.full_text(text)
    summary = summarised(full, limit_tokens, count)
    beside, listed = _files_beside(pool.layout, text)
    name = f"{FOLDER}/{_file_name(wanted)}"
    return Handoff(
        id=wanted,
        path=text.path,
        title=text.title,
        summary=summary,
        whole=summary == full.strip(),
        facts=(*_facts(values), *_checks(pool.layout, text), *_changed(beside), *_said_of(listed, name)),
        files={f"{name}.md": full.encode("utf-8", "replace"), **{f"{name}.files/{k}": v for k, v in beside.items()}},
    )


def failure(pool: Pool, wanted: str, limit_tokens: int, count: Callable[[str], int]) -> Handoff | None:
    """What is known of a task that failed: its error, and who tried; None if it has not failed."""
    text = pool.failure(wanted)
    if text is None:
        return None
    error, values = result_text(pool.layout, text)
    reason = f": {clean_line(str(values['reason']), 60)}" if values.get("reason") else ""
    summary = summarised(error, limit_tokens, count)
    return Handoff(
        id=wanted,
        path=text.path,
        title=text.title,
        summary=summary,
        whole=summary == error.strip(),
        facts=(f"it failed{reason}; what follows is its error", *_facts(values)),
        files={f"{FOLDER}/{_file_name(wanted)}.md": error.encode("utf-8", "replace")},
        failed=True,
    )


def summarised(text: str, limit_tokens: int, count: Callable[[str], int]) -> str:
    """All of a short text; else its own summary; else its headings and its beginning; never more than the limit."""
    whole = text.strip()
    if count(whole) <= limit_tokens:
        return whole
    own = _own_summary(whole)
    if own:
        return cut_to(own, limit_tokens, count)
    headings = [match[0].strip() for match in _HEADING.finditer(whole)][:_MAX_HEADINGS]
    outline = "\n".join(f"- {clean_line(one.lstrip('#'), 100)}" for one in headings)
    if not outline or count(outline) * 2 > limit_tokens:
        return cut_to(whole, limit_tokens, count)
    beginning = cut_to(whole, limit_tokens - count(outline) - 12, count)
    return f"Its headings:\n\n{outline}\n\nIts beginning:\n\n{beginning}"


def cut_to(text: str, limit_tokens: int, count: Callable[[str], int]) -> str:
    """The longest beginning of whole lines, or of words, that is within the limit, with a mark where something is missing."""
    if count(text) <= limit_tokens:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) < limit_tokens else (low, middle - 1)
    kept = text[:low]
    at = max(kept.rfind("\n"), kept.rfind(" ") if kept.rfind("\n") < low // 2 else -1)
    kept = kept[:at] if at > 0 else kept
    return f"{kept.rstrip()} …" if kept.strip() else ""


def _own_summary(text: str) -> str:
    heading = _SUMMARY.search(text)
    if heading is None:
        return ""
    rest = text[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}}[ \t]+\S", rest, re.MULTILINE)
    return (rest[: end.start()] if end else rest).strip()


def _facts(values: dict[str, object]) -> Iterator[str]:
    """Who did it, as its record says."""
    if values.get("interface"):
        model = f" ({clean_line(str(values['model']), 60)})" if values.get("model") else ""
        yield f"done by {clean_line(str(values['interface']), 60)}{model}"


def _checks(layout: Layout, text: Text) -> Iterator[str]:
    """What was proved: a completed task with a `verify` line has passed it."""
    if text.kind != "result":
        return
    try:
        task = parse_task(os.path.basename(text.path), restore(read_regular(layout.inside(text.path))))
    except StorageError:
        return  # an edited record, or one with its result beside it: nothing is claimed of it
    if isinstance(task, TaskSpec) and task.verify:
        yield f"checks: `{clean_line(task.verify, 200)}` passed"
    else:
        yield "checks: none were asked for"


def _changed(beside: dict[str, bytes]) -> Iterator[str]:
    """What it changed in the repository it worked in: where, and the paths with git's letter for each (record/changes.py)."""
    said = beside.get("changes.diff", b"").partition(b"diff --git ")[0].decode("utf-8", "replace").splitlines()
    where = next((line.removeprefix("# on ") for line in said if line.startswith("# on ")), None)
    if where is None:
        return
    paths = [line.removeprefix("# changed: ") for line in said if line.startswith("# changed: ")]
    shown = ", ".join(f"`{clean_line(one, 200)}`" for one in paths[:_MAX_LISTED])
    more = f" and {len(paths) - _MAX_LISTED} more" if len(paths) > _MAX_LISTED else ""
    yield f"changed in its repository ({clean_line(where, 200)}; the diff is `changes.diff`): {shown or 'no file'}{more}"


def _files_beside(layout: Layout, text: Text) -> tuple[dict[str, bytes], list[str]]:
    """The files that the task left, as far as they fit together, and the names of all of them."""
    top = layout.inside(text.path).removesuffix(".md") + ".files"
    kept: dict[str, bytes] = {}
    listed: list[str] = []
    if text.kind != "result" or os.path.islink(top):
        return kept, listed
    left = MAX_FILES_BYTES
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            below = os.path.relpath(path, top).replace(os.sep, "/")
            listed.append(below)
            try:
                data = read_regular(path, left)
            except StorageError:
                continue
            kept[below] = data
            left -= len(data)
    return kept, listed


def _said_of(listed: list[str], name: str) -> Iterator[str]:
    if listed:
        shown = ", ".join(f"`{clean_line(one, 100)}`" for one in listed[:_MAX_LISTED])
        more = f" and {len(listed) - _MAX_LISTED} more" if len(listed) > _MAX_LISTED else ""
        yield f"files, in `{name}.files/`: {shown}{more}"


def _file_name(wanted: str) -> str:
    """An id as the name of one file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", clean_text(wanted)).strip(".-") or "handoff"
