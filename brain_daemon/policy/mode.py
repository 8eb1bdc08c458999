"""How a request is met: the one at hand is told who should do it (directive), or it is run here (orchestrated).

Pure: what is seen of the moment comes in as a `Situation`. The first rule that has something to say decides, the surest first:
what the person said for this call, for this brain, for this run, for this session; then what the moment tells. Nobody watches
where there is no terminal, and few do at night. Where an agent is at hand with the request before it (a hook), the want of a
terminal alone does not take it away from that agent: only at night.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

NIGHT_BEGINS_HOUR = 22
NIGHT_ENDS_HOUR = 6
VARIABLES = ("BATCH_MODE", "CLAUDE_BATCH_MODE", "CLAUDE_OVERNIGHT", "API_REQUEST")
"""Variables that say of a run that nobody attends it."""
_OFF = frozenset({"", "0", "false", "no", "off", "none"})


class RequestMode(StrEnum):
    DIRECTIVE = "directive"
    ORCHESTRATED = "orchestrated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The moment a request is made. `hour` is the hour of the local day, 0 to 23.

    `flag`, `setting` and `preference` are what the person said for this call, this brain and this session. `variables` are
    those of `VARIABLES` that are on, `workflow` the workflow file that is there, `task_id` the task it is made from within.
    `agent_at_hand`: an agent has the request before it and waits for a word.
    """

    terminal: bool
    hour: int
    flag: RequestMode | None = None
    setting: RequestMode | None = None
    preference: RequestMode | None = None
    variables: tuple[str, ...] = ()
    workflow: str | None = None
    task_id: str | None = None
    agent_at_hand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChoice:
    """The mode and the one reason for it, in words."""

    mode: RequestMode
    why: str


def choose_mode(seen: Situation) -> ModeChoice:
    """The mode for a request."""
    return next(_answers(seen))


def variables_on(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Those of `VARIABLES` that an environment turns on: anything but 0, false, no, off, none and nothing."""
    return tuple(name for name in VARIABLES if environment.get(name, "").strip().lower() not in _OFF)


def is_night(hour: int) -> bool:
    """Whether an hour of the local day is between 22 and 6."""
    return hour >= NIGHT_BEGINS_HOUR or hour < NIGHT_ENDS_HOUR


def _answers(seen: Situation) -> Iterator[ModeChoice]:
    """What each rule says, the surest first; the last one always says something."""
    if seen.flag is not None:
        yield ModeChoice(mode=seen.flag, why="asked for with this call")
    if seen.task_id is not None:
        yield _directive(f"asked from within the task {seen.task_id}, which is being done already")
    if seen.setting is not None:
        yield ModeChoice(mode=seen.setting, why="the setting request_mode says so")
    if seen.variables:
        yield _orchestrated(f"{' and '.join(seen.variables)} is set")
    if seen.preference is not None:
        yield ModeChoice(mode=seen.preference, why="preferred in this session")
    if seen.workflow is not None:
        yield _orchestrated(f"there is the workflow file {seen.workflow}")
    yield _of_the_moment(seen)


def _of_the_moment(seen: Situation) -> ModeChoice:
    night = is_night(seen.hour)
    if seen.agent_at_hand:
        if night and not seen.terminal:
            return _orchestrated("it is night and nobody is at a terminal")
        return _directive("an agent is at hand")
    if not seen.terminal:
        return _orchestrated("nobody is at a terminal")
    if night:
        return _orchestrated("it is night")
    return _directive("a person is at the terminal, by day")


def _directive(why: str) -> ModeChoice:
    return ModeChoice(mode=RequestMode.DIRECTIVE, why=why)


def _orchestrated(why: str) -> ModeChoice:
    return ModeChoice(mode=RequestMode.ORCHESTRATED, why=why)
