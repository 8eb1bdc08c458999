"""Names: task ids, attempt ids, interface and capability names.

A task id is what people type and what stands in file names, commit subjects and links, so its grammar is the
portable one: ASCII letters, digits, dot, dash and underscore, beginning with a letter or digit, at most 120 long.
Two ids that differ only by case are the same id (some file systems cannot hold both).
"""

import hashlib
import re
import unicodedata
from collections.abc import Container

MAX_ID_LENGTH = 120
TASK_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_ID_LENGTH - 1}}}")
INTERFACE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
ATTEMPT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.a[1-9][0-9]*\.[0-9a-f]{8}")
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))}
)


def is_task_id(text: str) -> bool:
    """Whether `text` may be a task id: in the grammar, no trailing dot, not a name Windows reserves."""
    if not TASK_ID.fullmatch(text) or text.endswith(".") or ".." in text:
        return False
    return text.split(".", 1)[0].lower() not in _RESERVED


def slug(name: str) -> str:
    """The task id for a file called `name` without its `.md`: letters are folded to ASCII, the rest becomes dashes.

    A name with nothing to fold (all of it in another script) gives `task-` and eight hex digits of its hash,
    so that equal names give equal ids.
    """
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    text = re.sub(r"[^A-Za-z0-9._]+", "-", folded)
    text = re.sub(r"\.{2,}", ".", text).strip("-._")[: MAX_ID_LENGTH - 10].strip("-._")
    if is_task_id(text):
        return text
    return f"task-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def same_id(first: str, second: str) -> bool:
    """Whether two ids name one task."""
    return first.casefold() == second.casefold()


def numbered(base: str, taken: Container[str]) -> str:
    """`base`, or the first of `base-2`, `base-3`, … whose casefolded form is not in `taken`."""
    if base.casefold() not in taken:
        return base
    number = 2
    while f"{base}-{number}".casefold() in taken:
        number += 1
    return f"{base}-{number}"


def attempt_id(task_id: str, number: int, token: str) -> str:
    """The id of one try: `<task>.a<number>.<token>`; `token` is eight hex digits that make it unique for ever."""
    return f"{task_id}.a{number}.{token}"


def normal_name(text: str) -> str:
    """An interface or capability name as people write it, in the one form we compare: `Claude Code` -> `claude_code`."""
    return re.sub(r"[\s\-]+", "_", text.strip()).lower()
