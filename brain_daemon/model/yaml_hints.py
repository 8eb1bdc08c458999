"""What to change in a line of front matter that is not YAML: libyaml's complaint in the words of the person who wrote it.

Both readers (libyaml and PyYAML's own) phrase their complaints differently, so a hint is chosen mostly by the look of the
line and falls back to the reader's own words.
"""

import re

import yaml

# In these the complaint stands where the reader gave up; the fault is where the thing began.
_BEGAN_EARLIER = ("quoted scalar", "flow sequence", "flow mapping", "simple key")
_KEY = r"^\s*(?:- )?(?P<key>[^\s:#\"'\[\]{}][^:#]*):"

_HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^ *\t"), "indent with spaces, a tab is not allowed here"),
    (
        re.compile(_KEY + r"\s+(?P<value>\".*\\.*)$"),
        "a backslash in double quotes begins an escape: use single quotes, {key}: '…'",
    ),
    (re.compile(_KEY + r"\s+(?P<value>[\"'].*)$"), "close the quote, and let nothing follow it"),
    (re.compile(r"[\[,]\s*#"), '# begins a comment: quote the word, as in ["#urgent"]'),
    (
        re.compile(_KEY + r"\s+(?P<value>[\[{].*)$"),
        "an unquoted [ or {{ begins a list or a map: close it, or quote the whole value",
    ),
    (
        re.compile(_KEY + r"\s+(?P<value>[@`%,\]}}*&!|>].*)$"),
        'a value cannot begin like this unquoted: write {key}: "{value}"',
    ),
    (re.compile(_KEY + r"\s+(?P<value>- .*)$"), "begin the list on a line of its own, or write {key}: [a, b]"),
    (re.compile(_KEY + r"\s+(?P<value>.*:(?:\s.*)?)$"), 'a value with a colon needs quotes: write {key}: "{value}"'),
    (re.compile(r"^[^:]*(?::\S.*)?$"), "write `key: value`, with a colon and a space"),
)


def explain(error: yaml.MarkedYAMLError, lines: list[str]) -> tuple[str, int]:
    """What is wrong and what to change, and the line of the fault, counted from 0 in `lines`."""
    at = _fault_line(error, lines)
    return f"this line is not YAML: {_hint(lines, at) or error.problem}", at


def _fault_line(error: yaml.MarkedYAMLError, lines: list[str]) -> int:
    began = any(part in (error.context or "") for part in _BEGAN_EARLIER)
    mark = error.context_mark if began and error.context_mark else error.problem_mark
    at = min(mark.line if mark else 0, len(lines) - 1)
    while at > 0 and not lines[at].strip():
        at -= 1
    return at


def _hint(lines: list[str], at: int) -> str | None:
    above = lines[at - 1] if at > 0 else "first:"
    if above.startswith("..."):
        return "a second YAML document begins here: keep one"
    for pattern, hint in _HINTS:
        match = pattern.search(lines[at].rstrip())
        if match is not None:
            named = {name: (text or "").strip()[:60].replace('"', "'") for name, text in match.groupdict().items()}
            return hint.format(**named)
    if ":" not in above:
        return "the line above needs a colon: write `key: value`"
    if lines[at].startswith(" "):
        return "the line is indented as if it belonged to the one above: begin it below the other keys"
    return None
