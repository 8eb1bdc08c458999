"""Settings: defaults, then the user's own file, brain.toml, BRAIN_* variables and flags, into one frozen `Config`.

Nobody else reads the environment. The table below is the single list: docs/configuration.md is checked against it.
brain.toml travels with the repository, so it may only narrow what `user_only` settings grant (permissions).

Failures: a setting that cannot be read is a `UserError` that names the file, the key, what was found and what is allowed.
"""

import json
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

import platformdirs

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import UserError
from brain_daemon.model.quantities import parse_duration, parse_money
from brain_daemon.policy.budgets import Budget, Scope

APPLICATION = "brain-daemon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One value each; durations are seconds, sizes bytes."""

    enabled: bool
    parallel: int
    commit: bool
    timeout_seconds: float
    inactivity_seconds: float | None
    grace_seconds: float
    drain_seconds: float
    attempts: int
    transient_retries: int
    settle_seconds: float
    scan_seconds: float
    check_interval_seconds: float
    group_seconds: float
    group_size: int
    task_bytes: int
    output_bytes: int
    result_bytes: int
    files_bytes: int
    log_bytes: int
    keep_output_seconds: float
    reserve_bytes: int
    crash_pause_seconds: float
    on_no_interface: str
    on_limit: str
    quota_question_at: float
    quota_silence_seconds: float | None
    quota_default: str
    quota_reserve: float
    quota_reserve_away: float
    quota_reserve_hours: str
    harvest: bool
    harvest_before_seconds: float
    budgets: tuple[Budget, ...]
    unknown_price: str
    estimate_tokens: int
    client_memory_bytes: int
    learn: str
    prefer: str
    alerts: tuple[str, ...]
    tasks_from_git: str
    never: tuple[str, ...]
    local_only: bool
    permissions: str
    full_permissions: tuple[str, ...]
    secret_files: tuple[str, ...]
    request_mode: str
    session_gap_seconds: float
    keep_sessions_seconds: float
    memory_embedding: str
    memory_model: str
    memory_key: str
    memory_tokens: int
    handoff_tokens: int
    spawn_depth: int
    spawn_children: int
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table: how its text is read, its default and what it means."""

    name: str
    read: Callable[[Any], Any]
    default: Any
    meaning: str
    user_only: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """A setting's value and where it came from, for `brain config --origin`."""

    name: str
    value: Any
    source: str


_SHORTEST_SECONDS = 0.05
_MAX_SETTINGS_BYTES = 256 << 10


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0"}:
        return False
    raise ValueError("true or false")


def _count(value: Any) -> int:
    return _whole(value, 1)


def _tally(value: Any) -> int:
    return _whole(value, 0)


def _whole(value: Any, least: int) -> int:
    text = str(value).strip()
    if not text.isdecimal() or len(text) > 9 or int(text) < least:
        raise ValueError(f"a whole number from {least}")
    return int(text)


def _duration(value: Any) -> float:
    return float(parse_duration(str(value)))


def _interval(value: Any) -> float:
    seconds = _duration(value)
    if seconds < _SHORTEST_SECONDS:
        raise ValueError(f"a duration of at least {_SHORTEST_SECONDS:g} s")
    return seconds


def _optional_duration(value: Any) -> float | None:
    return None if str(value).strip().lower() in {"none", "off"} else _duration(value)


_UNITS = {
    "": 1,
    "b": 1,
    "k": 1024,
    "kb": 1000,
    "kib": 1024,
    "m": 1 << 20,
    "mb": 10**6,
    "mib": 1 << 20,
    "g": 1 << 30,
    "gb": 10**9,
    "gib": 1 << 30,
}


_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([a-z]*)")


def _size(value: Any) -> int:
    match = _SIZE.fullmatch(str(value).strip().lower())
    if match is None or match[2] not in _UNITS:
        raise ValueError("a size such as 500000, 256KiB, 20MB")
    return int(float(match[1]) * _UNITS[match[2]])


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        word = str(value).strip().lower()
        if word not in words:
            raise ValueError("one of " + ", ".join(words))
        return word

    return read


def _share(value: Any) -> float:
    share = _part(value)
    if share == 0:
        raise ValueError("a share such as 90% or 0.9")
    return share


def _part(value: Any) -> float:
    text = str(value).strip()
    try:
        part = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        part = -1.0
    if not 0 <= part <= 1:
        raise ValueError("a share such as 90% or 0.9")
    return part


def _hours(value: Any) -> str:
    from brain_daemon.policy.harvest import hours_of  # noqa: PLC0415 - slow to import, and seldom set

    try:
        hours_of(str(value))
    except ValueError as error:
        raise ValueError(f"hours of the day such as 8-22, or 22-6 Europe/Berlin ({error})") from None
    return str(value).strip()


_BUDGET_KEYS = {"scope", "name", "usd", "tokens", "hard"}
_BUDGET_FORM = (
    'tables such as {scope = "day", usd = 5, hard = true}; scope is one of '
    + ", ".join(Scope)
    + ", and one of usd and tokens is needed"
)


def _budgets(value: Any) -> tuple[Budget, ...]:
    try:
        told = json.loads(value) if isinstance(value, str) else value
        return tuple(map(_budget, told))
    except (TypeError, ValueError, KeyError, AttributeError):
        raise ValueError(_BUDGET_FORM) from None


def _budget(told: Mapping[str, Any]) -> Budget:
    usd, tokens, name = told.get("usd"), told.get("tokens"), told.get("name")
    if told.keys() - _BUDGET_KEYS or (usd is None and tokens is None):
        raise ValueError(_BUDGET_FORM)
    return Budget(
        scope=Scope(str(told["scope"])),
        name=None if name is None else str(name),
        usd=None if usd is None else parse_money(_plain(usd)),
        tokens=None if tokens is None else _whole(tokens, 1),
        hard=_truth(told.get("hard", False)),
    )


def _plain(amount: Any) -> str:
    """A figure as a person writes it: TOML's 0.00001 is 1e-05 to Python."""
    return format(Decimal(str(amount)), "f") if isinstance(amount, float) else str(amount)


def _texts(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else str(value).split(",")
    return tuple(str(item).strip() for item in items if str(item).strip())


def _word(value: Any) -> str:
    return str(value).strip()


def _embedding(value: Any) -> str:
    word = str(value).strip()
    if word not in ("auto", "words", "local", "chroma") and not word.startswith(("http://", "https://")):
        raise ValueError("auto, words, local, chroma, or an address such as http://localhost:11434/api/embed")
    return word


def _conditions(value: Any) -> tuple[str, ...]:
    found = _texts(value)
    for text in found:
        from brain_daemon.record.report import condition  # noqa: PLC0415 - slow to import, and hardly ever set

        condition(text)
    return found


SETTINGS: tuple[Setting, ...] = (
    Setting("enabled", _truth, True, "false stops all starts; dropped tasks stay in pending/"),
    Setting("parallel", _count, 8, "attempts that run at the same time, all interfaces together"),
    Setting("commit", _truth, True, "false leaves the commits to you (as `brain run --no-commit`)"),
    Setting("timeout", _duration, 1800.0, "longest time for one attempt where neither task nor interface says"),
    Setting(
        "inactivity",
        _optional_duration,
        None,
        "longest silence of a command before it is ended; none for no such limit",
    ),
    Setting("grace", _duration, 5.0, "time between the steps that end a process: interrupt, terminate, kill"),
    Setting("drain", _duration, 60.0, "how long a stopping daemon waits for running attempts"),
    Setting("attempts", _count, 2, "tries of a task, where the task does not say"),
    Setting("transient_retries", _tally, 3, "further tries after a transient failure or a rate limit"),
    Setting("settle", _duration, 2.0, "quiet time after which a file still open or edited again counts as complete"),
    Setting("scan", _interval, 10.0, "time between two full looks at the folders, with or without file events"),
    Setting("check_interval", _interval, 900.0, "time between two looks at whether an interface is still logged in"),
    Setting("group", _duration, 0.2, "outcomes that end within this time are committed together"),
    Setting("group_size", _count, 500, "most outcomes of one group"),
    Setting("task_size", _size, 1_000_000, "largest task file"),
    Setting("output_size", _size, 64 << 20, "most a command may print before it is ended"),
    Setting("result_size", _size, 256 << 10, "longest result text inside the task file; longer ones go to ID.files/"),
    Setting("files_size", _size, 20 << 20, "most bytes of files collected from an attempt's out/ folder"),
    Setting("log_size", _size, 5 << 20, "size at which the daemon's own log is rolled; one older log is kept"),
    Setting(
        "keep_output", _duration, 1_209_600.0, "how long the raw output of an ended attempt is kept for `brain logs`"
    ),
    Setting("reserve", _size, 200 << 20, "free disk space below which nothing new is claimed"),
    Setting(
        "crash_pause",
        _duration,
        300.0,
        "longest wait before work begins, where the daemon has died again and again soon after its start",
    ),
    Setting("on_no_interface", _one_of("hold", "fail"), "hold", "what happens to a task that nobody can do"),
    Setting(
        "on_limit", _one_of("wait", "fallback", "ask"), "wait", "what a task does at a limit where it does not say"
    ),
    Setting("quota_question_at", _share, 0.9, "share of a quota from which you are asked before the next task"),
    Setting(
        "quota_silence",
        _optional_duration,
        None,
        "how long that question waits for you before `quota_default` answers it; none for as long as it takes",
    ),
    Setting(
        "quota_default",
        _one_of("wait", "go_on", "paid"),
        "wait",
        "the answer after that time, where you set one",
    ),
    Setting(
        "quota_reserve",
        _part,
        0.2,
        "share of each quota of a free or subscription interface that low-priority tasks leave to you in your hours",
    ),
    Setting("quota_reserve_away", _part, 0.0, "the same outside your hours"),
    Setting("quota_reserve_hours", _hours, "8-22", "your hours, local time of this machine or of a zone named behind"),
    Setting(
        "harvest",
        _truth,
        True,
        "draw low-priority tasks forward where a free or subscription window is about to end with quota left",
    ),
    Setting("harvest_before", _duration, 3600.0, "how long before its end a window is harvested"),
    Setting(
        "budgets",
        _budgets,
        (),
        "what you set aside, warned about from 80 % on: tables of scope, name, usd, tokens, hard",
    ),
    Setting(
        "unknown_price",
        _one_of("ask", "allow", "refuse"),
        "ask",
        "what happens under a budget in dollars where nobody knows the price",
    ),
    Setting(
        "estimate_tokens", _count, 10_000, "size of a prompt from which it is said before a start what it may cost"
    ),
    Setting(
        "client_memory",
        _size,
        650_000_000,
        "memory that one command-line client of a model may need; no more are started than fit",
    ),
    Setting(
        "learn",
        _one_of("off", "order", "reorder"),
        "order",
        "what history may do: nothing, order what routing.md leaves open, also go before it where they disagree",
    ),
    Setting(
        "prefer",
        _one_of("cost", "quality", "speed"),
        "cost",
        "what counts besides success among equals, where the task does not say",
    ),
    Setting(
        "alerts", _conditions, (), "conditions on today's report that are said in prompts/pending.md while they hold"
    ),
    Setting(
        "tasks_from_git",
        _one_of("run", "hold"),
        "run",
        "whether tasks that came by git run or wait for `brain release`",
    ),
    Setting("never", _texts, (), "interfaces that may not be used in this brain"),
    Setting("local_only", _truth, False, "only interfaces marked `local: true` may be used in this brain"),
    Setting(
        "permissions",
        _one_of("read", "write", "full"),
        "write",
        "most that a task may be granted on this machine",
        True,
    ),
    Setting(
        "full_permissions", _texts, (), "interfaces that a task may use with full permissions on this machine", True
    ),
    Setting("secret_files", _texts, (), "files whose text is a secret: it is kept out of everything written", True),
    Setting(
        "request_mode",
        _one_of("auto", "directive", "orchestrated"),
        "auto",
        "how `brain request` and `brain hook` meet a request; auto decides from the moment",
    ),
    Setting("session_gap", _duration, 1800.0, "quiet time after which a request begins a new session"),
    Setting("keep_sessions", _duration, 2_592_000.0, "how long a session is kept after its last request"),
    Setting(
        "memory_embedding",
        _embedding,
        "auto",
        "what makes vectors of texts: auto, words, local, chroma, or the address of an endpoint",
        True,
    ),
    Setting("memory_model", _word, "", "the model that an endpoint in `memory_embedding` is asked for", True),
    Setting("memory_key", _word, "", "the variable that holds the key of that endpoint", True),
    Setting(
        "memory_tokens",
        _tally,
        1500,
        "most tokens of what the pool finds in one prompt; 0 looks for nothing and keeps no index",
    ),
    Setting("handoff_tokens", _tally, 1000, "most tokens of the summary of one handoff in a prompt"),
    Setting("spawn_depth", _tally, 2, "generations of tasks that tasks may spawn; 0 lets none spawn any"),
    Setting("spawn_children", _tally, 20, "most tasks that one task may spawn"),
)
_FIELDS = {
    "timeout": "timeout_seconds",
    "inactivity": "inactivity_seconds",
    "grace": "grace_seconds",
    "drain": "drain_seconds",
    "settle": "settle_seconds",
    "scan": "scan_seconds",
    "check_interval": "check_interval_seconds",
    "group": "group_seconds",
    "task_size": "task_bytes",
    "output_size": "output_bytes",
    "result_size": "result_bytes",
    "files_size": "files_bytes",
    "log_size": "log_bytes",
    "reserve": "reserve_bytes",
    "crash_pause": "crash_pause_seconds",
    "keep_output": "keep_output_seconds",
    "quota_silence": "quota_silence_seconds",
    "harvest_before": "harvest_before_seconds",
    "client_memory": "client_memory_bytes",
    "session_gap": "session_gap_seconds",
    "keep_sessions": "keep_sessions_seconds",
}
_GRANTS = ("read", "write", "full")


def user_config_path() -> str:
    """The user's own settings file, outside every brain."""
    return os.path.join(platformdirs.user_config_dir(APPLICATION), "config.toml")


def user_state_path() -> str:
    """The folder for what is this user's and no brain's: the workspaces of agents."""
    return platformdirs.user_state_dir(APPLICATION)


def process_environment() -> Mapping[str, str]:
    """The environment this process was started with: the only place it is read."""
    return dict(os.environ)


def load(
    root: str | None, environment: Mapping[str, str], flags: Mapping[str, Any] | None = None
) -> tuple[Config, tuple[Origin, ...]]:
    """Build the Config of the brain at `root` (None for none) and say where each value came from."""
    sources: list[tuple[str, Mapping[str, Any], bool]] = [(user_config_path(), _read_toml(user_config_path()), True)]
    if root is not None:
        path = os.path.join(root, "brain.toml")
        sources.append((path, _read_toml(path), False))
    sources.append(("environment", _from_environment(environment), True))
    sources.append(("command line", {k: v for k, v in (flags or {}).items() if v is not None}, True))
    origins = tuple(_resolve(setting, sources) for setting in SETTINGS)
    values = {_FIELDS.get(origin.name, origin.name): origin.value for origin in origins}
    assert set(values) | {"environment"} == {field.name for field in fields(Config)}
    return Config(environment=environment, **values), origins


def _resolve(setting: Setting, sources: list[tuple[str, Mapping[str, Any], bool]]) -> Origin:
    found = Origin(setting.name, setting.default, "default")
    for source, values, trusted in sources:
        if setting.name not in values:
            continue
        try:
            value = setting.read(values[setting.name])
        except ValueError as error:
            raise UserError(
                f"reading the setting {setting.name} from {source}: found {clean_line(repr(values[setting.name]), 200)}, allowed is {error}."
            ) from None
        if trusted or not setting.user_only or _narrows(setting, value, found.value):
            found = Origin(setting.name, value, source)
    return found


def _narrows(setting: Setting, value: Any, current: Any) -> bool:
    return setting.name == "permissions" and _GRANTS.index(value) < _GRANTS.index(current)


def _read_toml(path: str) -> Mapping[str, Any]:
    try:
        data = tomllib.loads(_settings_in(path).decode())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"reading the settings in {path}: {error}. Correct the line or remove the file.") from error
    _refuse_unknown(path, data)
    return data


def _settings_in(path: str) -> bytes:
    """The bytes of a settings file, which may be a link to where the person keeps it; nothing that would be waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as handle:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > _MAX_SETTINGS_BYTES:
            raise ValueError(f"it has {status.st_size:,} bytes, at most {_MAX_SETTINGS_BYTES:,} are settings")
        return handle.read()


def _refuse_unknown(path: str, data: Mapping[str, Any]) -> None:
    known = [setting.name for setting in SETTINGS]
    for key in data:
        if key not in known:
            raise UserError(
                f"reading the settings in {path}: no setting is called {key!r}. There are: {', '.join(known)}."
            )


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for setting in SETTINGS:
        value = environment.get(f"BRAIN_{setting.name.upper()}")
        if value is not None:
            found[setting.name] = value
    return found
