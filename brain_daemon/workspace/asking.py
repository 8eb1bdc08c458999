"""The questions an agent leaves for the person: markdown files in `questions/` of the folder it works in.

`brain ask` writes one there, and an agent without a shell writes it itself. In a folder that is not ours, a repository
with a `questions/` of its own, only files named after the attempt are questions.

A question that was collected is renamed, so that it is asked once. Failures: links, FIFOs, folders and what cannot be read
are no questions; StorageError where a rename fails.
"""

import itertools
import os

from brain_daemon.model.cleaning import clean_text
from brain_daemon.model.errors import StorageError
from brain_daemon.store.files import Files
from brain_daemon.store.reading import read_regular

FOLDER = "questions"
MAX_QUESTION_BYTES = 64 << 10
MAX_TOGETHER_CHARACTERS = 3_900
MAX_QUESTIONS = 20
_ASKED = ".asked"
_CUT = "\n\n… This is not all of it."


def put_question(files: Files, workspace: str, attempt_id: str, text: str) -> str:
    """Write a question of an attempt into its folder; the path."""
    folder = os.path.join(workspace, FOLDER)
    files.make_folder(folder)
    for number in range(1, MAX_QUESTIONS + 1):
        path = os.path.join(folder, f"{attempt_id}.{number}.md")
        try:
            files.put_new(path, text.encode("utf-8", "replace"))
        except FileExistsError:
            continue
        return path
    raise StorageError(f"asking a question: {folder} holds {MAX_QUESTIONS} questions already. End the run.")


def collect_questions(files: Files, workspace: str, attempt_id: str | None = None) -> str:
    """What was asked, in one text without control characters, "" for nothing; it is not found a second time.

    With `attempt_id` only files of that name are looked at, as in a folder that is not ours.
    """
    folder = os.path.join(workspace, FOLDER)
    if os.path.islink(folder) or not os.path.isdir(folder):
        return ""
    names = [name for name in sorted(os.listdir(folder)) if _is_question(name, attempt_id)]
    texts = [_taken(files, os.path.join(folder, name)) for name in names[:MAX_QUESTIONS]]
    together = "\n\n---\n\n".join(filter(None, texts))
    if len(together) <= MAX_TOGETHER_CHARACTERS:
        return together
    return together[: MAX_TOGETHER_CHARACTERS - len(_CUT)].rstrip() + _CUT


def _is_question(name: str, attempt_id: str | None) -> bool:
    return name.endswith(".md") and not name.startswith(".") and (attempt_id is None or name.startswith(attempt_id))


def _taken(files: Files, path: str) -> str:
    """The text of one question, which is then out of the way; "" if it is none."""
    try:
        data = read_regular(path, MAX_QUESTION_BYTES)
    except StorageError:
        return ""
    _set_aside(files, path)
    return clean_text(data.decode("utf-8-sig", "replace")).strip()


def _set_aside(files: Files, path: str) -> None:
    for number in itertools.count(1):
        try:
            files.move(path, f"{path}.{number}{_ASKED}")
        except FileExistsError:
            continue
        except FileNotFoundError:
            return
        return
