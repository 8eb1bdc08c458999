"""Settings: defaults, then the user's own file, brain.toml, BRAIN_* variables and flags, into one frozen `Config`.

Nobody else reads the environment. Which settings there are: service/settings.py.
brain.toml travels with the repository, so it may only narrow what `user_only` settings grant (permissions).

Failures: a setting that cannot be read is a `UserError` that names the file, the key, what was found and what is allowed.
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import platformdirs

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import UserError
from brain_daemon.policy.budgets import Budget
from brain_daemon.service.settings import SETTINGS, Setting

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
class Origin:
    """A setting's value and where it came from, for `brain config --origin`."""

    name: str
    value: Any
    source: str


_MAX_SETTINGS_BYTES = 256 << 10
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
