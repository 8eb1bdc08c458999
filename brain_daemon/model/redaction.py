r"""Secrets taken out of text before it reaches a disk, a commit, a log or a terminal.

Two ways to know a secret: its exact value, told to the `Redactor` by whoever read a key file or a variable, and its
shape, one of the published token formats in `SHAPES`. A value is also found base64-encoded (at all three alignments,
both alphabets, padded or not, itself URL-encoded), in hex, URL-encoded and JSON-escaped; broken into lines in any of
these (`base64` does so after 76 characters), also where the line breaks are escaped as in JSON; and a value of several
lines is found line by line as well. What is found becomes `[redacted: KIND]`; of a header, an assignment or a URL only
the secret part goes.

Pure and total: nothing here fails, and no value stands in a message, a repr or a `Finding`. Redacting twice equals
redacting once. Clean text is searched for plain substrings only, so it costs microseconds a kilobyte.

Not promised: values shorter than eight characters, a part of a value, any other spelling that somebody thinks of
(encoded twice, reversed, spelt out, every letter as %XX or \u00XX, compressed, encrypted, drawn), and a secret that the
caller cut in two (give whole texts or whole lines). Who must agree: `model/cleaning.py` for the order.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass, field
from functools import lru_cache
from urllib.parse import quote, quote_plus

MIN_VALUE_LENGTH = 8
MIN_LINE_LENGTH = 16
KNOWN = "known_value"
_MAX_PASSES = 8
_PERCENT = re.compile(r"%[0-9A-F]{2}")
_URL_SAFE = str.maketrans("+/", "-_")
_BREAK = r"(?:\r|\\r)?(?:\n|\\n)[ \t]{0,16}"
_BREAKS = re.compile(_BREAK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One token format. A text without any of `literals` cannot match; a group called `secret` is the part that goes."""

    kind: str
    literals: tuple[str, ...]
    regex: re.Pattern[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Where a secret stands: its kind and its line, counted from 1. Never the value."""

    kind: str
    line: int


def _token(kind: str, literals: str, pattern: str) -> Shape:
    """A token that begins with one of `literals` (a blank between them) and does not stand in the middle of a word."""
    return Shape(kind=kind, literals=tuple(literals.split()), regex=re.compile(rf"(?<![A-Za-z0-9_]){pattern}"))


def _context(kind: str, literals: tuple[str, ...], pattern: str) -> Shape:
    """A secret that only its surroundings give away."""
    return Shape(kind=kind, literals=literals, regex=re.compile(pattern))


_NAMES = "password passwd passphrase secret api[_-]?key access[_-]?key account[_-]?key auth[_-]?token access[_-]?token"
# Each name with its first letter in both cases: `re` skips to a set of first letters, but not under (?i).
_CREDENTIAL = (
    "(?:" + "|".join(f"{first}(?i:{name[1:]})" for name in _NAMES.split() for first in (name[0], name[0].upper())) + ")"
)
_PEM = r"[A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_ASSIGN = r"[\"']?\s{0,4}[:=]{1,2}\s{0,4}"
# A value, not a word or a placeholder: a digit and a letter are in it, and no sign of a template.
_VALUE = r"(?=[^\s\"']{0,200}\d)(?=[^\s\"']{0,200}[A-Za-z])[^\s\"'${}<>*()\[\]]"

# Every repetition is bounded, or ends where the next match may begin, so that a hostile text costs linear time.
SHAPES: tuple[Shape, ...] = (
    _context(
        "private_key",
        ("PRIVATE KEY",),
        rf"-----BEGIN {_PEM}(?:(?:(?!-----BEGIN )[\s\S]){{1,20000}}?-----END {_PEM}"
        r"|(?:(?:\s|\\n|\\r)+[A-Za-z0-9+/=]{16,})+)",
    ),
    _token("aws_access_key", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _token("aws_bedrock_key", "ABSK", r"ABSK[A-Za-z0-9+/]{100,}={0,2}"),
    _token("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{20,}"),
    _token("github_token", "github_pat_", r"github_pat_[A-Za-z0-9_]{20,}"),
    _token("gitlab_token", "glpat- gldt- glrt- glcbt- glptt-", r"gl(?:pat|dt|rt|cbt|ptt)-[\w-]{20,}(?:\.\w{2,})*"),
    _token("anthropic_key", "sk-ant-", r"sk-ant-[\w-]{16,}"),
    _token("openai_key", "sk-proj- sk-svcacct- sk-admin-", r"sk-(?:proj|svcacct|admin)-[\w-]{16,}"),
    _token("api_key", "sk-", r"sk-(?:[a-z]{2,10}-(?:v\d-)?)?(?:[A-Za-z0-9]{20,}|[a-f0-9]{8}-[a-f0-9-]{27})[\w-]*"),
    _token("google_api_key", "AIza", r"AIza[\w-]{30,}"),
    _token("google_oauth", "ya29. GOCSPX- 1//0", r"(?:ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}|1//0[\w-]{30,})"),
    _token("slack_token", "xox xapp-", r"(?:xox[abeoprs][.-]|xapp-)[A-Za-z0-9][\w.-]{9,}"),
    _context("slack_webhook", ("hooks.slack.com/",), r"hooks\.slack\.com/[a-z]{5,12}/(?P<secret>[\w/+-]{20,})"),
    _token("pypi_token", "pypi-", r"pypi-(?:AgE[\w-]{16,}|[\w-]{60,})"),
    _token("npm_token", "npm_", r"npm_[A-Za-z0-9]{30,}"),
    _token("huggingface_token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z0-9]{30,}"),
    _token("stripe_key", "k_live_ k_test_", r"[sr]k_(?:live|test)_[A-Za-z0-9]{10,}"),
    _token("webhook_secret", "whsec_", r"whsec_[A-Za-z0-9+/]{20,}={0,2}"),
    _token("jwt", "eyJ", r"(?<!-)eyJ[\w-]{10,}\.(?:eyJ[\w-]{6,}\.[\w-]{8,}|[\w-]{10,}\.[\w-]{10,}(?:\.[\w-]+){0,2})"),
    _token("telegram_token", ":A", r"\d{6,12}:A[\w-]{32,36}(?![\w-])"),
    _token("sendgrid_key", "SG.", r"(?<!-)SG\.[\w-]{16,}\.[\w-]{16,}"),
    _token("groq_key", "gsk_", r"gsk_[A-Za-z0-9]{30,}"),
    _token("xai_key", "xai-", r"xai-[A-Za-z0-9]{40,}"),
    _token("perplexity_key", "pplx-", r"pplx-[A-Za-z0-9]{30,}"),
    _token("replicate_token", "r8_", r"r8_[A-Za-z0-9]{30,}"),
    _token("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[a-f0-9]{40,}"),
    _token("docker_token", "dckr_", r"dckr_[po]at_[\w-]{20,}"),
    _token("vault_token", "hvs. hvb.", r"hv[sb]\.[\w-]{24,}"),
    _token("linear_key", "lin_api_", r"lin_api_[A-Za-z0-9]{30,}"),
    _token("notion_token", "ntn_", r"ntn_[A-Za-z0-9]{30,}"),
    _token("databricks_token", "dapi", r"dapi[a-f0-9]{32}(?:-\d)?(?![A-Za-z0-9])"),
    _token("shopify_token", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}"),
    _token("age_key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    _context("azure_key", ("AccountKey=", "AccessKey="), r"A(?:ccount|ccess)Key=(?P<secret>[A-Za-z0-9+/]{40,}={0,2})"),
    _context(
        "aws_secret_key",
        ("secret_access_key", "SECRET_ACCESS_KEY", "ecretAccessKey"),
        rf"(?i:secret_?access_?key){_ASSIGN}[\"']?(?P<secret>[A-Za-z0-9+/]{{40}})(?![A-Za-z0-9+/])",
    ),
    _context(
        "bearer_token",
        ("Bearer ", "bearer ", "BEARER "),
        r"\b(?i:bearer) {1,4}(?P<secret>(?=[A-Za-z._~+/-]{0,200}\d)[\w.~+/-]{16,}={0,2}|[A-Za-z]{24,})",
    ),
    _context(
        "basic_auth",
        ("Basic ", "basic ", "BASIC "),
        rf"(?i:authorization){_ASSIGN}[\"']?(?i:basic) {{1,4}}(?P<secret>[A-Za-z0-9+/]{{8,}}={{0,2}})",
    ),
    _context(
        "url_password",
        ("://",),
        r"(?<=[A-Za-z0-9])://[^\s/:@?#'\"<>`]{0,100}:(?P<secret>[^\s/@'\"<>`${}\[\]*]{3,200})@(?=[\w\[])",
    ),
    _context(
        "password",
        ('="', "='", '= "', "= '", '":"', '": "', ': "', ": '"),
        rf"{_CREDENTIAL}{_ASSIGN}(?P<quote>[\"'])(?P<secret>{_VALUE}{{8,200}})(?P=quote)",
    ),
    _context(
        "password",
        ("KEY=", "SECRET=", "TOKEN=", "PASSWORD="),
        rf"(?m:^)(?:export )?[A-Z0-9_]{{0,40}}(?:KEY|SECRET|TOKEN|PASSWORD)=(?P<secret>{_VALUE}{{16,}})",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hint:
    """All literals that hold one character, as one expression led by it: `re` skips to a leading character fastest.

    Group number n of a match says that `shapes[n - 1]` are worth a look.
    """

    regex: re.Pattern[str]
    shapes: tuple[tuple[Shape, ...], ...]


_ANCHORS = "_-=/:.JBbAKxp"  # one of these is in each literal; the earlier, the rarer in prose


def _hints() -> Iterator[_Hint]:
    owners = [(_anchored(literal), shape) for shape in SHAPES for literal in shape.literals]
    for anchor in sorted({anchor for (_, anchor, _), _ in owners}):
        literals = sorted({literal for literal, _ in owners if literal[1] == anchor})
        yield _Hint(
            regex=re.compile(re.escape(anchor) + "(?:" + "|".join(_around(*literal) for literal in literals) + ")"),
            shapes=tuple(
                tuple(shape for other, shape in owners if _may_coincide(literal, other)) for literal in literals
            ),
        )


def _anchored(literal: str) -> tuple[str, str, str]:
    return literal.partition(next(anchor for anchor in _ANCHORS if anchor in literal))


def _around(before: str, anchor: str, after: str) -> str:
    return f"(?<={re.escape(before + anchor)})(?={re.escape(after)})()"


def _may_coincide(one: tuple[str, str, str], other: tuple[str, str, str]) -> bool:
    """Whether both can stand at one place: the expression reports only the first of them."""
    (before, anchor, after), (before_other, anchor_other, after_other) = one, other
    return (
        anchor == anchor_other
        and (before.endswith(before_other) or before_other.endswith(before))
        and (after.startswith(after_other) or after_other.startswith(after))
    )


_HINTS = tuple(_hints())


def _nothing() -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Redactor:
    """Knows the secrets of one daemon. `values` are their exact texts, white space at the ends not counted.

    `later` tells of the values that were learnt after it was built; it is asked for every text, so it must be quick and
    give an equal tuple as long as there is nothing new. Safe in any thread if `later` is. Its repr tells nothing.
    """

    values: InitVar[Iterable[str]] = ()
    later: Callable[[], tuple[str, ...]] = field(default=_nothing, repr=False)
    _forms: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self, values: Iterable[str]) -> None:
        object.__setattr__(self, "_forms", _forms_of(tuple(dict.fromkeys(values))))

    def text(self, text: str) -> str:
        """`text` without its secrets."""
        # What a removal bares may match in its turn (a token that stood right behind another), hence more than one look.
        for _ in range(_MAX_PASSES):
            spans = self._spans(text)
            if not spans:
                break
            text = _replaced(text, spans)
        return text

    def bytes(self, data: bytes) -> bytes:
        """`data` without its secrets; all other bytes stay what they were, whether they are UTF-8 or not."""
        text = data.decode("utf-8", "surrogateescape")
        redacted = self.text(text)
        return data if redacted is text else redacted.encode("utf-8", "surrogateescape")

    def find(self, text: str) -> tuple[Finding, ...]:
        """The secrets in `text` in the order they stand there."""
        return tuple(Finding(kind=kind, line=text.count("\n", 0, start) + 1) for start, _, kind in self._spans(text))

    def _spans(self, text: str) -> list[tuple[int, int, str]]:
        forms = (*self._forms, *_forms_of(self.later()))
        found = [(start, start + len(form), KNOWN) for form in forms if form in text for start in _places(form, text)]
        if forms and ("\n" in text or "\\n" in text):
            found += _broken(forms, text)
        likely = {shape for hint in _HINTS for match in hint.regex.finditer(text) for shape in _told(hint, match)}
        if likely:
            found += (span for shape in SHAPES if shape in likely for span in _matches(shape, text))
        return _merged(found) if found else found


def _told(hint: _Hint, match: re.Match[str]) -> tuple[Shape, ...]:
    assert match.lastindex is not None  # every alternative ends in a group
    return hint.shapes[match.lastindex - 1]


@lru_cache(maxsize=16)
def _forms_of(values: tuple[str, ...]) -> tuple[str, ...]:
    """Every spelling of these values. What our own mark holds cannot be told from it, and is no secret."""
    forms = {
        form for value in values for part in _parts(value) for form in _spellings(part) if form not in _mark(KNOWN)
    }
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _broken(forms: Iterable[str], text: str) -> Iterator[tuple[int, int, str]]:
    """The places of forms that line breaks run through."""
    joined = _BREAKS.sub("", text)
    for form in forms:
        if form in joined:
            yield from ((*match.span(), KNOWN) for match in _across_lines(form).finditer(text))


@lru_cache(maxsize=64)
def _across_lines(form: str) -> re.Pattern[str]:
    return re.compile(f"(?:{_BREAK})?".join(map(re.escape, form)))


def _parts(value: str) -> Iterator[str]:
    """The value, and its lines where it has several: a log or a table may hold them one by one."""
    value = value.strip()
    if len(value) >= MIN_VALUE_LENGTH:
        yield value
        if "\n" in value:
            yield value.replace("\r\n", "\n")
            yield from (line for line in map(str.strip, value.splitlines()) if len(line) >= MIN_LINE_LENGTH)


def _spellings(value: str) -> Iterator[str]:
    """The ways a value is written down in logs, URLs, headers and JSON."""
    data = _encoded(value)
    yield value
    for quoted in (quote(data, safe=""), quote(data), quote_plus(data)):
        yield quoted
        yield _PERCENT.sub(lambda match: match[0].lower(), quoted)
    for escaped in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        yield escaped
        yield escaped.replace("/", "\\/")
    for alignment in range(3):
        inner = _inner_base64(data, alignment)
        yield inner
        yield inner.translate(_URL_SAFE)
        yield quote(inner, safe="")
        yield _PERCENT.sub(lambda match: match[0].lower(), quote(inner, safe=""))
    yield data.hex()
    yield data.hex().upper()


def _encoded(value: str) -> bytes:
    """The bytes a value came from: what is not UTF-8 arrives from the environment as low surrogates."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def _inner_base64(data: bytes, alignment: int) -> str:
    """The base64 characters that `data` alone decides when `alignment` other bytes (0 to 2) stand before it."""
    whole = base64.b64encode(b"\0" * alignment + data).decode("ascii")
    first = (0, 2, 3)[alignment]
    return whole[first : (alignment + len(data)) * 8 // 6]


def _places(form: str, text: str) -> Iterator[int]:
    start = text.find(form)
    while start >= 0:
        yield start
        start = text.find(form, start + len(form))


def _matches(shape: Shape, text: str) -> Iterator[tuple[int, int, str]]:
    group = "secret" if "secret" in shape.regex.groupindex else 0
    for match in shape.regex.finditer(text):
        yield (*match.span(group), shape.kind)


def _merged(found: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Spans in order; those that overlap are one, of the kind that begins first, is longest or comes first in the table."""
    merged: list[tuple[int, int, str]] = []
    for start, stop, kind in sorted(found, key=lambda span: (span[0], -span[1])):
        if merged and start < merged[-1][1]:
            first, last, name = merged[-1]
            merged[-1] = (first, max(last, stop), name)
        else:
            merged.append((start, stop, kind))
    return merged


def _mark(kind: str) -> str:
    return f"[redacted: {kind}]"


def _replaced(text: str, spans: list[tuple[int, int, str]]) -> str:
    pieces: list[str] = []
    end = 0
    for start, stop, kind in spans:
        pieces += (text[end:start], _mark(kind))
        end = stop
    return "".join((*pieces, text[end:]))
