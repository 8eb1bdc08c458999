"""What a run came to, as text: the outputs it was for, then how each of its steps ended."""

from brain_daemon.policy.workflow import Stand
from brain_daemon.service.workflow_progress import Output, Progress

MAX_OUTPUT_CHARACTERS = 200_000


def summary(progress: Progress) -> str:
    """The result of a run as markdown. Damaged where an output cannot be read."""
    parts = [_output(name, found) for name, found in progress.final_outputs()]
    return "\n\n".join((*parts, _steps(progress))) + "\n"


def _output(name: str, found: list[Output]) -> str:
    text = "\n\n".join(one.text for one in found)
    if len(text) > MAX_OUTPUT_CHARACTERS:
        places = ", ".join(one.path for one in found[:20])
        text = f"{text[:MAX_OUTPUT_CHARACTERS]}\n[...] (the whole output stands in {places})"
    return f"## {name}\n\n{text}"


def _steps(progress: Progress) -> str:
    lines = ["## Steps", "", "| step | state | tasks |", "|---|---|---|"]
    for step in progress.workflow.in_order:
        state = progress.states()[step.id]
        begun = progress.begun(step.id)
        tasks = list(begun.task_ids) if begun is not None and state.stand is not Stand.SKIPPED else []
        shown = ", ".join(tasks[:5]) + (f" and {len(tasks) - 5} more" if len(tasks) > 5 else "")
        why = f": {state.why}" if state.why else ""
        lines.append(f"| {step.id} | {(state.stand + why).replace('|', '/')} | {shown} |")
    return "\n".join(lines)
