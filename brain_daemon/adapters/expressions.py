"""Asking one expression of one run: JMESPath with five functions of ours, where every error is null.

Null in, null out: a function of ours given nothing of its kind answers null and does not throw away the rest of the
expression, so `match(err.error.message, 'x') || match(stderr, 'y')` works for a program that printed no JSON.

Time is bounded: one regular expression may run MATCH_SECONDS (the `regex` package stops itself, Python's `re` cannot), and
after MAX_TIMED_OUT_MATCHES that ran out no further one is tried for that run; both are said in the warnings.
"""

import json
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, TypeGuard

import jmespath
import regex
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature
from jmespath.parser import ParsedResult

MATCH_SECONDS = 0.25
MAX_TIMED_OUT_MATCHES = 4

_NUMBER = regex.compile(r"\s*\$?\s*(-?[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?)\s*([kKmMbB]?)(?![\w.])")
_SCALE = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_ANY: Any = {"types": []}
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
        if not isinstance(text, str) or self._timed_out >= MAX_TIMED_OUT_MATCHES:
            return None
        try:
            matches = deque(regex.finditer(pattern, text, timeout=MATCH_SECONDS), maxlen=1)
        except TimeoutError:
            self._timed_out += 1
            self._warnings.append(
                f"the pattern `{pattern}` was given up after {MATCH_SECONDS} s; write it without nested repeats"
            )
            return None
        return list(matches[0].groups() or (matches[0][0],)) if matches else None

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


@dataclass(frozen=True, slots=True)
class Run:
    """One ended run, to be asked. `root` is what expressions see; the functions and `warnings` are shared by all its views."""

    root: Mapping[str, Any]
    compiled: Mapping[str, ParsedResult]
    options: jmespath.Options
    warnings: list[str]

    def over(self, root: Mapping[str, Any]) -> Self:
        """The same run with another view of what was printed."""
        return replace(self, root=root)

    def ask(self, expression: str | None) -> Any:
        """What the expression finds; None for no expression, for nothing found and for an error in it."""
        if expression is None:
            return None
        try:
            return self.compiled[expression].search(self.root, options=self.options)
        except (JMESPathError, regex.error, ArithmeticError, AttributeError, RecursionError, TypeError, ValueError):
            # jmespath checks the arguments of its functions only so far: a sort of mixed values raises what Python raises.
            return None


def run_of(root: Mapping[str, Any], expressions: Mapping[str, ParsedResult], warnings: list[str]) -> Run:
    """A run that can be asked each of `expressions`; what goes wrong on the way is added to `warnings`."""
    return Run(root, expressions, jmespath.Options(custom_functions=RunFunctions(warnings)), warnings)


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
