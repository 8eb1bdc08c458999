"""Text from outside, made safe to show: control characters, escape sequences and invisible characters made visible.

Three places, three functions: `clean_line` for a terminal line, a commit subject or a log line; `clean_text` for a text
of several lines; `cell` for a cell of a markdown table. Pure and total: nothing here fails.

What comes out holds no character that moves a cursor, rings, sets a title, reorders or hides its neighbours. Colour
codes are dropped, since a program's colours carry no words; everything else is shown as `\\x1b`, `\\u202e` and the like.
The escapes are for eyes: a text that already held the six characters `\\u202e` looks the same, so the raw bytes are
kept by whoever needs them. Not promised: look-alike letters, the width of a line on screen, the markup of rich or HTML.

Who must agree: secrets are redacted (`model/redaction.py`) after `clean_text` and before `clean_line` or `cell`, since
a colour code in the middle of a key hides it from the redactor, and a joined line hides a value of several lines.
"""

import re

ELLIPSIS = "…"

# Unicode's Default_Ignorable_Code_Point (nothing is drawn for them) without what the next three lines judge by company.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
# Joiners shape letters from Arabic to Mongolian and bind emoji; selectors choose the look of the one sign before them.
_JOINED = "\u0600-\u1fff\u2600-\u27bf\u2b50\ufe0f\U0001f000-\U0001faff"
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff"
_SUSPECT = re.compile(rf"[{_CONTROLS}{_INVISIBLE}\u200c\u200d{_SELECTORS}]")
_COLOUR = re.compile(r"(?:\x1b\[|\x9b)[0-9;:]{0,64}m")
_UNSAFE = re.compile(
    rf"[{_CONTROLS}{_INVISIBLE}]"
    rf"|(?<![{_JOINED}])[\u200c\u200d]|[\u200c\u200d](?![{_JOINED}])"
    rf"|(?<=[{_SELECTORS}])[{_SELECTORS}]|\A[{_SELECTORS}]"
)
_LINE_ENDS = re.compile(r"\r+\n|\r")
_BREAKS = re.compile(r"[\s\u2028\u2029]+")
_MARKUP = re.compile(r"(\\*)(\||<|(?<=!)\[|\Z)")


def clean_text(text: str) -> str:
    r"""`text` with newlines and tabs kept and every other control or invisible character shown as an escape.

    CRLF becomes LF, and so does a lone CR, which would let a line overwrite the one before it.
    """
    if "\r" in text:
        text = _LINE_ENDS.sub("\n", text)
    return _escaped(text)


def clean_line(text: str, limit: int = 200) -> str:
    """`text` as one line of at most `limit` (1 or more) characters: runs of white space are one blank, a cut ends in an ellipsis."""
    if not (text.isascii() and text.isprintable()):
        text = _escaped(_BREAKS.sub(" ", text))
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip(" \u200c\u200d") + ELLIPSIS


def cell(text: str, limit: int = 120) -> str:
    """`text` as the content of one markdown table cell: one line that ends no cell, opens no tag and loads no image.

    `limit` counts the characters before the backslashes that markdown needs are added.
    """
    return _MARKUP.sub(_escape_markup, clean_line(text, limit))


def _escaped(text: str) -> str:
    if not _SUSPECT.search(text):
        return text
    # Colours first and alone: what their removal joins is judged again, so a second cleaning changes nothing.
    return _UNSAFE.sub(_visible, _COLOUR.sub("", text))


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _escape_markup(match: re.Match[str]) -> str:
    # A backslash before an escaped sign would escape our backslash instead, so those are doubled and no others.
    slashes, sign = match.groups()
    return slashes * 2 + ("\\" + sign if sign else "")
