"""Reading what a program left behind: the text, the tokens, the cost, or which kind of no it was.

An interface file says where things are, in JMESPath over {out, err, stdout, stderr, exit_code, signal}; this module looks.
Nothing here is fatal: an expression that fails is null, a line that does not parse is counted, and what was declared but
not found in a good run is a warning. Only rules that do not compile raise UserError, and model/interface_file.py lets none
of those through. Reading takes as long as the output is long, so it belongs off the event loop.

A reset told as a clock time or a duration is counted from `now`, the end of the run (model/reset_time.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any

import regex
from jmespath.parser import ParsedResult

from brain_daemon.adapters.expressions import Run, compiled, decoded_json, is_number, is_true, json_object_at, run_of
from brain_daemon.model.cleaning import clean_text
from brain_daemon.model.errors import UserError
from brain_daemon.model.expression import fault_in
from brain_daemon.model.interface import ErrorRule, OutputFormat, OutputRules
from brain_daemon.model.outcome import Failed, FailureKind, QuotaReport, Usage
from brain_daemon.model.reset_time import number_in, reset_instant, wait_seconds

TAIL_CHARACTERS = 16 * 1024
"""Error rules see the end of what was printed: the sign of a failure is there, and a pattern must not meet a whole answer."""
MAX_MESSAGE_CHARACTERS = 2_000
NOT_TOLD = "none"
"""A figure of this word is unknown without a warning: some programs tell it only where there is one."""

_ERR_CHARACTERS = 64 * 1024
_MAX_FALSE_STARTS = 2_000
_MAX_MESSAGE_LINES = 20
_OBJECT_START = regex.compile(r"^[^{\n]*\{", regex.MULTILINE)
_NANO_USD = Decimal("1e-9")  # floats carry noise far below any price, and a ledger adds them up
_COST, _TEXT = "cost_usd", "text"
_EX_TEMPFAIL, _NOT_EXECUTABLE, _NOT_FOUND = 75, 126, 127  # sysexits.h; the shell


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was found. `failure` is set if and only if not `ok`; `text` then is what the program had said so far."""

    ok: bool
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal | None = None
    model: str | None = None
    client_session: str | None = None
    failure: Failed | None = None
    warnings: tuple[str, ...] = ()
    reports: tuple[QuotaReport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SoFar:
    """What a run that has not ended by itself has told of itself; empty and unknown where nothing was declared or found."""

    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """The compiled rules of one interface, made by `compile_rules`; safe to use from any thread."""

    rules: OutputRules
    expressions: Mapping[str, ParsedResult]

    def read(
        self,
        stdout: bytes,
        stderr: bytes,
        exit_code: int | None,
        signal: int | None = None,
        *,
        now: float = 0.0,
        zone: tzinfo = UTC,
    ) -> Reading:
        """Judge one ended run. `exit_code` is None where a signal ended it; `signal` is that signal's number.

        `now` is the epoch second at which it ended, `zone` the one of clock times that name none.
        """
        warnings: list[str] = []
        root = _root(self.rules.format, stdout, stderr, warnings) | {"exit_code": exit_code, "signal": signal}
        run = run_of(root, self.expressions, warnings)
        text = self._text(run)
        ok = text is not None and self._is_ok(run)
        found = self._found(run, said_all=ok)
        return Reading(
            ok=ok,
            text=text or "",
            usage=_usage(found, warnings),
            cost_usd=_usd(found.get(_COST), warnings),
            failure=None if ok else self._failure(run, now, zone),
            model=_words(run.ask(self.rules.model)),
            client_session=_words(run.ask(self.rules.client_session)),
            reports=tuple(self._reports(run, now, zone)),
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def so_far(self, stdout: bytes) -> SoFar:
        """What is told in the whole lines of a run that goes on. Figures that are none are left out; nothing is warned of."""
        if not self.rules.so_far:
            return SoFar()
        unheard: list[str] = []
        whole_lines = stdout[: stdout.rfind(b"\n") + 1]
        root = _root(self.rules.format, whole_lines, b"", unheard) | {"exit_code": None, "signal": None}
        run = run_of(root, self.expressions, unheard)
        found = {name: run.ask(expression) for name, expression in self.rules.so_far}
        text = _words(found.pop(_TEXT, None)) or ""
        return SoFar(usage=_usage(found, unheard), cost_usd=_usd(found.get(_COST), unheard), text=text)

    def _is_ok(self, run: Run) -> bool:
        return run.root["exit_code"] == 0 if self.rules.ok is None else is_true(run.ask(self.rules.ok))

    def _text(self, run: Run) -> str | None:
        """The answer: what the expression finds, or everything printed where none is declared; None is no answer."""
        return _words(run.ask(self.rules.text)) if self.rules.text else _sound(run.root["stdout"])

    def _found(self, run: Run, *, said_all: bool) -> Mapping[str, Any]:
        """The declared figures; one that a good run does not tell is said, since clients change their fields."""
        wanted = dict(self.rules.usage) | ({_COST: self.rules.cost_usd} if self.rules.cost_usd else {})
        found = {name: run.ask(expression) for name, expression in wanted.items()}
        if said_all:
            missing = (name for name, value in found.items() if value is None)
            run.warnings.extend(f"`{wanted[name]}` ({name}) found nothing in the output" for name in missing)
        return found

    def _reports(self, run: Run, now: float, zone: tzinfo) -> Iterator[QuotaReport]:
        """What the program says of its own quotas; one that it does not speak of this time is left out."""
        for rule in self.rules.limits:
            report = QuotaReport(
                name=rule.name,
                utilisation=number_in(run.ask(rule.utilisation)),
                used=_amount(run.ask(rule.used)),
                limit=_amount(run.ask(rule.limit)),
                resets_at=reset_instant(run.ask(rule.resets_at), now=now, zone=zone),
            )
            if report.utilisation is not None or report.used is not None:
                yield report

    def _failure(self, run: Run, now: float, zone: tzinfo) -> Failed:
        tail = run.over(_tail_of(run.root))
        undeclared = ErrorRule(kind=_kind_of_exit(run.root["exit_code"]))
        rule = next(
            (rule for rule in self.rules.errors if rule.when is None or is_true(tail.ask(rule.when))), undeclared
        )
        return Failed(
            kind=FailureKind(rule.kind),
            message=self._message(tail, rule),
            retry_after_seconds=_wait(tail.ask(rule.retry_after), now),
            resets_at=reset_instant(tail.ask(rule.resets_at), now=now, zone=zone),
        )

    def _message(self, tail: Run, rule: ErrorRule) -> str:
        """What the rule's own expression finds, else the default rule's, else the end of what was printed."""
        defaults = [default.message for default in self.rules.errors if default.when is None]
        for expression in (rule.message, *defaults):
            said = clean_text(_words(tail.ask(expression)) or "").strip()
            if said:
                return said[:MAX_MESSAGE_CHARACTERS]
        return _last_words(tail.root)


def compile_rules(rules: OutputRules) -> Reader:
    """The reader for one interface's rules; raises UserError naming the first expression that does not compile."""
    expressions = [text for text in _expressions(rules) if text is not None]
    for text in expressions:
        fault = fault_in(text)
        if fault:
            raise UserError(f"Cannot read output with `{text}`: {fault}.")
    return Reader(rules, compiled(expressions))


def _expressions(rules: OutputRules) -> Iterator[str | None]:
    yield from (rules.ok, rules.text, rules.cost_usd, rules.model, rules.client_session)
    yield from (expression for _name, expression in (*rules.usage, *rules.so_far))
    for one in rules.limits:
        yield from (one.utilisation, one.used, one.limit, one.resets_at)
    for rule in rules.errors:
        yield from (rule.when, rule.message, rule.resets_at, rule.retry_after)


def _root(form: OutputFormat, stdout: bytes, stderr: bytes, warnings: list[str]) -> dict[str, Any]:
    out_text, err_text = _decoded(stdout), _decoded(stderr)
    parse = {OutputFormat.JSON: _parsed_json, OutputFormat.JSONL: _parsed_lines, OutputFormat.TEXT: _as_text}[form]
    return {
        "out": parse(out_text, warnings),
        "err": _last_object(err_text[-_ERR_CHARACTERS:]),
        "stdout": out_text,
        "stderr": err_text,
    }


def _tail_of(root: Mapping[str, Any]) -> dict[str, Any]:
    return {**root, "stdout": root["stdout"][-TAIL_CHARACTERS:], "stderr": root["stderr"][-TAIL_CHARACTERS:]}


def _as_text(text: str, _warnings: list[str]) -> str:
    return text


def _parsed_json(text: str, warnings: list[str]) -> Any:
    """The JSON value printed; where something stands around it, the last object among the rest."""
    value = decoded_json(text)
    if value is None and text.strip():
        value = _last_object(text)
        warnings.append("the output is not one JSON value" + ("; its last JSON object was read" if value else ""))
    return value


def _parsed_lines(text: str, warnings: list[str]) -> list[Any]:
    """The JSON objects and lists among the lines, in order; anything else is noise and counted."""
    lines = [line for line in text.split("\n") if line.strip()]
    values = [value for value in map(decoded_json, lines) if isinstance(value, dict | list)]
    if len(values) < len(lines):
        warnings.append(f"{len(lines) - len(values)} of {len(lines)} output lines were not JSON and were skipped")
    return values


def _last_object(text: str) -> Any:
    """The last JSON object in `text` that begins as the first brace of a line, however many lines it takes."""
    last, position, false_starts = None, 0, 0
    while false_starts < _MAX_FALSE_STARTS and (start := _OBJECT_START.search(text, position)):
        found = json_object_at(text, start.end() - 1)
        last, position = found or (last, start.end())
        false_starts += found is None
    return last


def _decoded(data: bytes) -> str:
    return data.decode("utf-8-sig", "replace")


def _sound(text: str) -> str:
    """`text` without the lone surrogates that JSON escapes can spell and no file can hold."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _words(value: object) -> str | None:
    """A found value as text: a number is written out, null and everything that is not text or a number is nothing."""
    if isinstance(value, str):
        return _sound(value)
    return str(value) if is_number(value) else None


def _usage(found: Mapping[str, Any], warnings: list[str]) -> Usage:
    count = {name: _count(name, value, warnings) for name, value in found.items() if name != _COST}
    return Usage(
        input_tokens=count.get("input_tokens"),
        cached_input_tokens=count.get("cached_input_tokens"),
        output_tokens=count.get("output_tokens"),
        reasoning_tokens=count.get("reasoning_tokens"),
        requests=count.get("requests"),
    )


def _count(name: str, value: object, warnings: list[str]) -> int | None:
    if is_number(value) and value >= 0:
        return round(value)
    if value not in (None, NOT_TOLD):
        warnings.append(f"{name} is not a count: {str(value)[:80]}")
    return None


def _usd(value: object, warnings: list[str]) -> Decimal | None:
    try:
        usd = Decimal(str(value)).quantize(_NANO_USD).normalize() if value not in (None, NOT_TOLD) else None
    except InvalidOperation:
        usd = Decimal(-1)
    if usd is not None and usd < 0:
        warnings.append(f"cost_usd is not a price: {str(value)[:80]}")
        return None
    return usd


def _amount(value: object) -> Decimal | None:
    number = number_in(value)
    return None if number is None else Decimal(str(number))


def _wait(value: object, now: float) -> float | None:
    """Seconds to wait, from a number, a duration, or the date that HTTP allows in `Retry-After`."""
    wait = wait_seconds(value if number_in(value) is None else number_in(value))
    if wait is not None or not isinstance(value, str):
        return wait
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (OverflowError, ValueError):
        return None


def _kind_of_exit(exit_code: int | None) -> FailureKind:
    """What a plain exit means where no rule says it: a program that fails will fail again, one that was killed may not."""
    if exit_code in (_NOT_EXECUTABLE, _NOT_FOUND):
        return FailureKind.UNAVAILABLE
    return FailureKind.TRANSIENT if exit_code in (None, 0, _EX_TEMPFAIL) else FailureKind.PERMANENT


def _last_words(root: Mapping[str, Any]) -> str:
    """How it ended, and the last lines it said: standard error, or output that is text and so was meant for people."""
    for text in (root["stderr"], root["stdout"] if root["out"] == root["stdout"] else ""):
        lines = [line.rstrip() for line in clean_text(text).splitlines() if line.strip()]
        if lines:
            return f"{_ending(root)}: " + "\n".join(lines[-_MAX_MESSAGE_LINES:])[-MAX_MESSAGE_CHARACTERS:]
    return _ending(root)


def _ending(root: Mapping[str, Any]) -> str:
    if root["exit_code"] is None:
        return f"signal {root['signal']} ended it"
    return f"exit code {root['exit_code']}" if root["exit_code"] else "it exited with 0 but gave no result"
