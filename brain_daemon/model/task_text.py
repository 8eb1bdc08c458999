"""The text of a task below its front matter: its title, and whether a person has written anything into it yet.

Both look at the beginning of the text only, so their time is bounded. A fault is `Malformed`, reported with its line.
"""

import re

from brain_daemon.model.frontmatter import Malformed
from brain_daemon.model.task_fields import is_placeholder

MAX_TITLE_LENGTH = 200
_TITLE_WINDOW = 65_536
_TEMPLATE_WINDOW = 4_096

_FENCE_OR_HEADING = re.compile(r"^ {0,3}(?:(?P<fence>`{3,}|~{3,})|#[ \t]+(?P<title>[^\r\n]{1,400}))", re.MULTILINE)
_TASK_PREFIX = re.compile(r"task\s*:\s*", re.IGNORECASE)
_CLOSING_HASHES = re.compile(r"[ \t]+#+[ \t]*$")
_TEMPLATE_TITLES = frozenset({"title", "task title", "name", "task name"})


def one_line(text: str) -> str:
    """Text as a title: one line, at most 200 characters."""
    return " ".join(text.split())[:MAX_TITLE_LENGTH]


def title_of(text: str, first_line: int) -> str:
    """The first heading of the first level outside of code, without `Task:`; empty where there is none.

    `first_line` is the line of the file on which the text begins.
    """
    fence = ""
    for match in _FENCE_OR_HEADING.finditer(text, 0, _TITLE_WINDOW):
        if match["fence"]:
            fence = _after_fence(fence, match["fence"])
        elif not fence:
            heading = _CLOSING_HASHES.sub("", match["title"]).strip()
            prefix = _TASK_PREFIX.match(heading)
            return _own_words(
                heading[prefix.end() :] if prefix else heading, first_line + text.count("\n", 0, match.start())
            )
    return ""


def _after_fence(fence: str, mark: str) -> str:
    """The code fence that is open after the line `mark` begins: a fence is closed by one as long and of its kind."""
    if not fence:
        return mark
    return "" if mark.startswith(fence) else fence


def _own_words(title: str, line: int) -> str:
    if is_placeholder(title):
        raise Malformed(
            f"fill in the placeholder: the title is {title}, but must say what is to be done",
            line=line,
            field="title",
            found=title,
            allowed="a title of your own",
        )
    return one_line(title)


def check_filled(text: str, title: str, first_line: int) -> None:
    """Refuse a file that says nothing, and a template nobody has filled in. `title` is empty where none was given."""
    if not text.strip():
        if not title:
            raise Malformed("the task is empty: write what is to be done", found="no text", allowed="text")
        return
    if len(text) > _TEMPLATE_WINDOW:
        return
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), first_line) if line.strip()]
    told = [(number, line) for number, line in lines if not line.startswith(("#", "<!--"))]
    unfilled = [(number, line) for number, line in told if is_placeholder(line.removeprefix("- "))]
    if len(told) == len(unfilled) and (unfilled or not title or title.lower() in _TEMPLATE_TITLES):
        number, line = (unfilled or lines)[0]
        raise Malformed(
            "fill in the placeholder: the text is still the template's",
            line=number,
            field="text",
            found=line[:120],
            allowed="what is to be done, in words of your own",
        )
