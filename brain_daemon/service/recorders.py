"""Who records for a daemon: the process that was forked for it, else threads of its own."""

from collections.abc import Callable

from brain_daemon.adapters.registry import Registry
from brain_daemon.adapters.secrets import remembered
from brain_daemon.service.brain import Brain, interface_states
from brain_daemon.service.recorder_process import Forked, Known, RecorderProcess
from brain_daemon.service.recording import RecorderThread


def recorder_for(
    brain: Brain,
    registry: Registry,
    state: Callable[[], str],
    forked: Forked | None,
    wake_soon: Callable[[], None],
    on_recorded: Callable[[], None],
) -> RecorderThread | RecorderProcess:
    """`state` is how the daemon stands. After a pass a thread calls `wake_soon` itself, and the process has `on_recorded` called in the loop."""

    def thread() -> RecorderThread:
        return RecorderThread(
            brain.layout,
            lambda: brain.recorder(registry, state),
            brain.config.group_seconds,
            brain.config.group_size,
            wake_soon,
        )

    def known() -> Known:
        return Known(
            interfaces=interface_states(registry),
            secrets=(*brain.secrets(registry), *remembered()),
            state=state(),
        )

    return thread() if forked is None else RecorderProcess(forked, brain, known, thread, on_recorded)
