"""The tool functions there are: those of this package, and those that installed packages offer as entry points."""

from functools import lru_cache
from importlib import import_module
from typing import cast

from brain_daemon.adapters.tool_api import ToolFunction, is_quick
from brain_daemon.model.errors import UserError
from brain_daemon.model.interface import InterfaceSpec, InvokeKind

ENTRY_POINT_GROUP = "brain_daemon.tools"
# Each is the function of its own name in there, loaded when it is first called: to know that they are there takes nothing.
_OWN = {name: f"brain_daemon.adapters.{name}" for name in ("echo", "librarian", "shell")}


@lru_cache(maxsize=64)
def find_tool(name: str) -> ToolFunction:
    """The function an interface names: one of ours, else an installed package's entry point. UserError if there is none.

    It is asked for at each call and each end: what was found stays, what was not is looked for again.
    """
    if name in _OWN:
        return cast("ToolFunction", getattr(import_module(_OWN[name]), name))
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, and only asked for what others offer

    for entry in entry_points(group=ENTRY_POINT_GROUP, name=name):
        try:
            function: ToolFunction = entry.load()
        except Exception as error:
            raise UserError(f"the tool function {name} cannot be loaded from {entry.value}: {error}") from error
        return function
    raise UserError(
        f"no tool function is called {name!r}: this package has {', '.join(sorted(_OWN))}, "
        f"and no installed package offers it as an entry point of the group {ENTRY_POINT_GROUP}."
    )


def is_quick_tool(spec: InterfaceSpec) -> bool:
    """Whether its calls are over at once and touch nothing (adapters/tool_api.py)."""
    if spec.invoke.kind is not InvokeKind.TOOL:
        return False
    try:
        return is_quick(find_tool(spec.invoke.function or spec.name), dict(spec.invoke.options))
    except UserError:
        return False


def is_repeatable(spec: InterfaceSpec) -> bool:
    """Whether a call that was interrupted may be made again unasked: its file says so, or it touches nothing."""
    return spec.idempotent or is_quick_tool(spec)


def tool_fault(name: str) -> str:
    """Why there is no such function, or empty."""
    try:
        if name not in _OWN:
            find_tool(name)
    except UserError as error:
        return str(error)
    return ""
