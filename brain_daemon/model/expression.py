"""JMESPath expressions of an interface file, judged before they ever run.

An expression is evaluated over one object with the keys of ROOT, by the built-in functions and ours; where it fails, it is
null, so a misspelled name would stay unseen for ever. That is why names are checked here. Nothing in this module is fatal:
a fault is a sentence. Who must agree: adapters/expressions.py defines exactly the functions of OWN_FUNCTIONS.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jmespath
import regex
from jmespath.exceptions import JMESPathError, LexerError, ParseError
from jmespath.functions import Functions

MAX_CHARACTERS = 4_096
"""The longest expression: what is longer belongs into a program of one's own."""

ROOT = ("out", "err", "stdout", "stderr", "exit_code", "signal")
"""`out` is the parsed standard output, `err` the last JSON object on standard error, the next two their text."""

OWN_FUNCTIONS: Mapping[str, int] = {
    "match": 2,
    "match_all": 2,
    "parse_json": 1,
    "after_last": 2,
    "last_of_each": 2,
    "total": 1,
    "num": 1,
    "minus": 2,
    "mod": 2,
}
"""Our functions and how many arguments each takes."""

_READS_FIRST_CHILD = frozenset(
    {"subexpression", "index_expression", "projection", "filter_projection", "value_projection", "flatten", "pipe"}
)
_HOLDS_ITEMS = _READS_FIRST_CHILD - {"subexpression", "pipe"}
_ALONG = _HOLDS_ITEMS | {"subexpression"}
_READS_NOTHING = frozenset({"literal", "identity", "current", "expref", "index", "slice"})


def fault_in(expression: str, roots: Collection[str] | None = ROOT) -> str | None:
    """What is wrong with an expression, with the place and the next step; None where nothing is.

    `roots` are the names of the root object; with None the caller judges names itself, by `paths_in`.
    """
    if len(expression) > MAX_CHARACTERS:
        return f"it has {len(expression):,} characters, and {MAX_CHARACTERS:,} are allowed; write it shorter"
    try:
        tree = jmespath.compile(expression).parsed
        return next(_misuse(tree), None) or (_unknown_root(tree, roots) if roots is not None else None)
    except JMESPathError as error:
        return _syntax(expression, error)
    except RecursionError:
        return "it is nested too deeply; write it shorter"


def _syntax(expression: str, error: JMESPathError) -> str:
    if isinstance(error, LexerError):
        return f"not JMESPath at character {error.lexer_position + 1}: {error.message}"
    if isinstance(error, ParseError):
        rest = expression[error.lex_position :][:20]
        number = f" (a number is written between backticks: `{rest.split()[0]}`)" if rest[:1].isdigit() else ""
        return f"not JMESPath at character {error.lex_position + 1}: " + (
            f"`{rest}` is not expected{number}" if rest else "it ends too early"
        )
    return f"not JMESPath: {error}"


def _misuse(tree: Mapping[str, Any]) -> Iterator[str]:
    """Each use that JMESPath accepts and that can only be a mistake: a bad call, and a `!` that binds too soon."""
    if tree["type"] == "function_expression":
        yield from _bad_call(tree["value"], tree["children"])
    if tree["type"] in _READS_FIRST_CHILD and tree["children"][0]["type"] == "not_expression":
        yield "`!` takes only the name beside it: write `!(a.b)` for what is meant by `!a.b`"
    for child in tree["children"] if tree["type"] != "slice" else ():
        yield from _misuse(child)


def _bad_call(name: str, arguments: list[Mapping[str, Any]]) -> Iterator[str]:
    wanted = _arity(name)
    if wanted is None:
        yield f"there is no function `{name}`; ours are {', '.join(OWN_FUNCTIONS)}, the others are JMESPath's own"
    elif not wanted[0] <= len(arguments) <= wanted[1]:
        yield f"`{name}` takes {wanted[0]} arguments, {len(arguments)} were given"
    elif name in ("match", "match_all") and arguments[1]["type"] == "literal":
        yield from _bad_pattern(arguments[1]["value"])


def _arity(name: str) -> tuple[int, float] | None:
    if name in OWN_FUNCTIONS:
        return OWN_FUNCTIONS[name], OWN_FUNCTIONS[name]
    if name not in Functions.FUNCTION_TABLE:
        return None
    signature = Functions.FUNCTION_TABLE[name]["signature"]
    variadic = bool(signature) and bool(signature[-1].get("variadic"))
    return len(signature), float("inf") if variadic else len(signature)


def _bad_pattern(pattern: object) -> Iterator[str]:
    try:
        regex.compile(str(pattern))
    except regex.error as error:
        yield f"the regular expression `{pattern}` does not compile: {error}"


def paths_in(expression: str) -> tuple[tuple[str, ...], ...]:
    """The names an expression looks up in the root object, each with the plain names it looks up in them; () for no JMESPath."""
    try:
        return tuple(dict.fromkeys(_paths(jmespath.compile(expression).parsed)))
    except (JMESPathError, RecursionError):
        return ()


def looked_into(expression: str) -> frozenset[tuple[str, ...]]:
    """The plain names, as `paths_in` gives them, in which an expression looks for items or values: `a` of `a[0]`, `a[*].b` or `a.*`."""
    try:
        return frozenset(_containers(jmespath.compile(expression).parsed))
    except (JMESPathError, RecursionError):
        return frozenset()


def _containers(tree: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    names = list(_names_along(tree))
    if names[0] and "" in names:
        yield tuple(names[: names.index("")])
    while tree["type"] in _ALONG and tree["children"]:
        tree = tree["children"][0]
    children = tree["children"][:1] if tree["type"] == "pipe" else tree["children"]
    for child in children if tree["type"] not in _READS_NOTHING else ():
        yield from _containers(child)


def _names_along(tree: Mapping[str, Any]) -> Iterator[str]:
    """The names in `a.b[0].c` from its left, with an empty one where items or values are looked for, or where it is no name."""
    if tree["type"] == "subexpression":
        yield from (name for child in tree["children"] for name in _names_along(child))
        return
    if tree["type"] in _HOLDS_ITEMS:
        yield from _names_along(tree["children"][0])
    yield str(tree["value"]) if tree["type"] == "field" else ""


def _unknown_root(tree: Mapping[str, Any], roots: Collection[str]) -> str | None:
    unknown = next((path[0] for path in _paths(tree) if path[0] not in roots), None)
    return unknown and f"`{unknown}` is not one of {', '.join(roots)}; what the program printed is under `out`"


def _paths(tree: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """What an expression looks up in the root object; what it looks up below depends on what is found there."""
    plain = _plain_path(tree)
    if plain:
        yield plain
    elif tree["type"] not in _READS_NOTHING:
        children = tree["children"][:1] if tree["type"] in _READS_FIRST_CHILD else tree["children"]
        for child in children:
            yield from _paths(child)


def _plain_path(tree: Mapping[str, Any]) -> tuple[str, ...]:
    """The plain names that `a.b.c` begins with; () for anything that begins otherwise."""
    if tree["type"] == "field":
        return (tree["value"],)
    if tree["type"] != "subexpression":
        return ()
    path = _plain_path(tree["children"][0])
    for child in tree["children"][1:] if path else ():
        if child["type"] != "field":
            break
        path += (child["value"],)
    return path
