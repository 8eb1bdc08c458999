"""YAML as this program writes it: block maps, one-line strings, nothing a reader could take for something else.

What is written here is read back equal by `frontmatter.load` (as text) and by PyYAML's `safe_load` (with types). A string
stands plain only where no YAML reader resolves it to anything else; every other one is quoted in the manner of JSON, with
control characters, marks that turn the reading direction and line ends escaped. A lone surrogate, which no encoding can
hold, becomes U+FFFD. A value of a type not listed here is a TypeError, a fault of the caller.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TypeGuard

from brain_daemon.model.frontmatter import UNSEEN

_PLAIN = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_./ -]{0,200}[A-Za-z0-9_./-])?")
# What YAML 1.1 and 1.2 readers take for a truth value or for nothing.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_SURROGATE = re.compile("[\ud800-\udfff]")
# Longer ones would not be found again: YAML readers look for the colon in the first 1,024 characters only.
_MAX_KEY = 160
_SHORT = 100


def emit(values: Mapping[str, object], *, newline: str = "\n") -> str:
    """`values` as lines of YAML, each with its line end; empty where there are none."""
    return "".join(f"{line}{newline}" for line in _map(values, ""))


def _map(values: Mapping[str, object], pad: str) -> list[str]:
    lines: list[str] = []
    for key, value in values.items():
        if len(key) > _MAX_KEY:
            raise ValueError(f"a key of {len(key)} characters cannot be written, at most {_MAX_KEY} are allowed")
        _entry(lines, f"{pad}{scalar(key)}:", value, pad)
    return lines


def _entry(lines: list[str], start: str, value: object, pad: str) -> None:
    if type(value) is str:  # most are, and asking for a mapping is dear
        lines.append(f"{start} {_string(value)}")
    elif isinstance(value, Mapping) and value:
        lines.append(start)
        lines += _map(value, f"{pad}  ")
    elif _is_list(value) and any(isinstance(item, Mapping) or _is_list(item) for item in value):
        lines.append(start)
        lines += _list(value, f"{pad}  ")
    else:
        lines.append(f"{start} {_flow(value)}")


def _list(values: Sequence[object], pad: str) -> list[str]:
    lines: list[str] = []
    for item in values:
        if isinstance(item, Mapping) and item:
            block = _map(item, f"{pad}  ")
            lines.append(f"{pad}- {block[0][len(pad) + 2 :]}")
            lines += block[1:]
        else:
            _entry(lines, f"{pad}-", item, pad)
    return lines


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (list, tuple))


def _flow(value: object) -> str:
    if _is_list(value):
        return f"[{', '.join(scalar(item) for item in value)}]"
    return "{}" if isinstance(value, Mapping) else scalar(value)


def scalar(value: object) -> str:
    """One value on one line."""
    if isinstance(value, str):
        return _string(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, (float, Decimal)):
        return _number(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as YAML")


def _string(value: str) -> str:
    return _known(value) if len(value) <= _SHORT else _spelt(value)


def _spelt(value: str) -> str:
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return str(value)
    quoted = json.dumps(_SURROGATE.sub("\ufffd", value), ensure_ascii=False)
    return UNSEEN.sub(lambda unseen: f"\\u{ord(unseen[0]):04x}", quoted)


# One task's keys, names and reasons are the next one's.
_known = lru_cache(maxsize=2048)(_spelt)


def _number(value: float | Decimal) -> str:
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - the one test that fits both types
        return ".nan" if value != value else f"{'-' if value < 0 else ''}.inf"  # noqa: PLR0124
    if isinstance(value, Decimal):
        return format(value, "f") if value != value.to_integral_value() else str(int(value))
    text = repr(float(value))
    mantissa, exponent, power = text.partition("e")
    return text if not exponent or "." in mantissa else f"{mantissa}.0e{power}"
