"""Asking one expression of one run: JMESPath with some functions of ours, where every error is null.

Null in, null out: a function of ours given nothing of its kind answers null and does not throw away the rest of the
expression, so `match(err.error.message, 'x') || match(stderr, 'y')` works for a program that printed no JSON.

Time is bounded: one regular expression may run MATCH_SECONDS (the `regex` package stops itself, Python's `re` cannot), and
after MAX_TIMED_OUT_MATCHES that ran out no further one is tried for that run. All expressions of a run together may work
WORK_SECONDS; after that, only those that are done in a few steps still get an answer, which error rules are. All of this is
said in the warnings.
"""

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self, TypeGuard

import jmespath
import regex
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature
from jmespath.parser import ParsedResult
from jmespath.visitor import TreeInterpreter

MATCH_SECONDS = 0.25
MAX_TIMED_OUT_MATCHES = 4
WORK_SECONDS = 20.0
MAX_MATCHES = 10_000

_NUMBER = regex.compile(r"\s*\$?\s*(-?[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?)\s*([kKmMbB]?)(?![\w.])")
_SCALE = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_STEPS_BETWEEN_LOOKS = 1_024
_ANY: Any = {"types": []}
_NO_ANSWER = (
    JMESPathError, regex.error, ArithmeticError, AttributeError, RecursionError, TimeoutError, TypeError, ValueError,
)  # fmt: skip
# NaN and Infinity are not JSON, and no sum survives them.
_DECODER = json.JSONDecoder(parse_constant=lambda _name: None)


class RunFunctions(Functions):
    """Our functions for one run; `warnings` grows where a pattern ran out of time."""

    def __init__(self, warnings: list[str]) -> None:
        self._warnings = warnings
        self._timed_out = 0

    @signature(_ANY, {"types": ["string"]})
    def _func_match(self, text: object, pattern: str) -> list[str | None] | None:
        """The groups of the last match of `pattern` in `text`, the whole match where it has no groups."""
        matches = self._matches(text, pattern, lambda found: deque(found, maxlen=1))
        return _groups_of(matches[0]) if matches else None

    @signature(_ANY, {"types": ["string"]})
    def _func_match_all(self, text: object, pattern: str) -> list[list[str | None]] | None:
        """The same of each match, in order, up to MAX_MATCHES."""
        matches = self._matches(text, pattern, lambda found: list(islice(found, MAX_MATCHES)))
        return [_groups_of(one) for one in matches] or None

    def _matches(
        self, text: object, pattern: str, kept: Callable[[Iterator[regex.Match[str]]], Sequence[regex.Match[str]]]
    ) -> Sequence[regex.Match[str]]:
        """The matches, of which `kept` keeps some; none where the search ran out of time."""
        if not isinstance(text, str) or self._timed_out >= MAX_TIMED_OUT_MATCHES:
            return ()
        try:
            return kept(regex.finditer(pattern, text, timeout=MATCH_SECONDS))
        except TimeoutError:
            self._timed_out += 1
            self._warnings.append(
                f"the pattern `{pattern}` was given up after {MATCH_SECONDS} s; write it without nested repeats"
            )
            return ()

    @signature(_ANY)
    def _func_parse_json(self, text: object) -> Any:
        """The JSON value that `text` is."""
        return decoded_json(text) if isinstance(text, str) else None

    @signature(_ANY, {"types": ["expref"]})
    def _func_after_last(self, items: object, expression: Any) -> list[Any] | None:
        """What follows the last item for which the expression is true; all of it where none is."""
        if not isinstance(items, list):
            return None
        found = (
            index
            for index in range(len(items) - 1, -1, -1)
            if is_true(expression.visit(expression.expression, items[index]))
        )
        return items[next(found, -1) + 1 :]

    @signature(_ANY, {"types": ["expref"]})
    def _func_last_of_each(self, items: object, expression: Any) -> list[Any] | None:
        """Of the items for which the expression finds the same the last, in the order of the first; what has none is left out."""
        if not isinstance(items, list):
            return None
        found = {
            json.dumps(key): item
            for item in items
            if (key := expression.visit(expression.expression, item)) is not None
        }
        return list(found.values())

    @signature(_ANY)
    def _func_total(self, items: object) -> float | None:
        """The sum of the numbers in a list, whatever else is in it; null where there is none."""
        numbers = [item for item in items if is_number(item)] if isinstance(items, list) else []
        return sum(numbers) if numbers else None

    @signature(_ANY)
    def _func_num(self, text: object) -> float | None:
        """The number a text begins with, as people print it: `9,312`, `1.2k`, `$0.03`."""
        if not isinstance(text, str):
            return text if is_number(text) else None
        found = _NUMBER.match(text)
        value = float(found[1].replace(",", "")) * _SCALE[found[2].lower()] if found else math.inf
        return None if math.isinf(value) else int(value) if value.is_integer() else value

    @signature(_ANY, _ANY)
    def _func_minus(self, one: object, other: object) -> float | None:
        """The difference of two numbers."""
        return one - other if is_number(one) and is_number(other) else None

    @signature(_ANY, _ANY)
    def _func_mod(self, one: object, other: object) -> float | None:
        """What is left of a number that is divided by another: an exit code is a number modulo 256."""
        return one % other if is_number(one) and is_number(other) and other != 0 else None


def _groups_of(match: regex.Match[str]) -> list[str | None]:
    return list(match.groups() or (match[0],))


class Work:
    """The time that the expressions of one run may take together; `warnings` grows by one when it is over."""

    def __init__(self, warnings: list[str], seconds: float = WORK_SECONDS) -> None:
        self._warnings = warnings
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._said = False

    def is_over(self) -> bool:
        if time.monotonic() < self._ends_at:
            return False
        if not self._said:
            self._warnings.append(f"reading the output was given up after {self._seconds:g} s; some values are missing")
            self._said = True
        return True


class BoundedInterpreter(TreeInterpreter):
    """JMESPath's own interpreter, which looks at the time now and then; raises TimeoutError when it is over."""

    def __init__(self, options: jmespath.Options, work: Work) -> None:
        super().__init__(options)
        self._work = work
        self._steps = 0

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._steps += 1
        if self._steps % _STEPS_BETWEEN_LOOKS == 0 and self._work.is_over():
            raise TimeoutError
        return super().visit(node, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class Run:
    """One ended run, to be asked. `root` is what expressions see; all else is shared by all its views."""

    root: Mapping[str, Any]
    compiled: Mapping[str, ParsedResult]
    options: jmespath.Options
    work: Work
    warnings: list[str]

    def over(self, root: Mapping[str, Any]) -> Self:
        """The same run with another view of what was printed."""
        return replace(self, root=root)

    def ask(self, expression: str | None) -> Any:
        """What the expression finds; None for no expression, for nothing found and for an error in it."""
        if expression is None:
            return None
        try:
            return BoundedInterpreter(self.options, self.work).visit(self.compiled[expression].parsed, self.root)
        except _NO_ANSWER:
            # jmespath checks the arguments of its functions only so far: a sort of mixed values raises what Python raises.
            return None


def run_of(root: Mapping[str, Any], expressions: Mapping[str, ParsedResult], warnings: list[str]) -> Run:
    """A run that can be asked each of `expressions`; what goes wrong on the way is added to `warnings`."""
    options = jmespath.Options(custom_functions=RunFunctions(warnings))
    return Run(root, expressions, options, Work(warnings), warnings)


def compiled(expressions: Iterable[str]) -> Mapping[str, ParsedResult]:
    """Each expression once, ready to be asked; raises jmespath's ParseError for one that model/expression.py would refuse."""
    return {text: jmespath.compile(text) for text in expressions}


def decoded_json(text: str) -> Any:
    """The JSON value that `text` is; None where it is none, is nested too deeply or holds a number too long to convert."""
    try:
        return _DECODER.decode(text.strip())
    except (ValueError, RecursionError):
        return None


def json_object_at(text: str, start: int) -> tuple[Any, int] | None:
    """The JSON object that begins at `start` and where it ends; None where none does."""
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None


def is_true(value: object) -> bool:
    """JMESPath's truth: everything but null, false and what is empty. Zero is true."""
    return value is not None and value is not False and value not in ("", [], {})


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether `value` is a finite number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
