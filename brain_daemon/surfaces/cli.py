"""The command line: `brain`. It finds the brain, loads the module of the one command that was asked for, and turns errors
into a sentence and an exit code: 0 done, 1 the work failed or was refused, 2 usage or bad input.

Nothing heavy is imported here: `brain --help` and `brain status` must feel instant.
"""

import importlib
import os
import sqlite3
import sys
from dataclasses import dataclass
from typing import NoReturn

import click

from brain_daemon import __version__
from brain_daemon.model.errors import BrainError
from brain_daemon.service.collector import resting
from brain_daemon.surfaces.calls import Call

_COMMANDS = "brain_daemon.surfaces.commands."


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: the module that has it (as a click command of the same name, dashes as underscores), its group, its help line."""

    module: str
    group: str
    help: str


_START, _TASKS, _AGENTS, _FACTS, _CARE = (
    "Start here",
    "Tasks",
    "Agents that pull their work",
    "Who, what, how much",
    "Care",
)
ENTRIES: dict[str, Entry] = {
    "init": Entry("beginning", _START, "Make a brain in a folder."),
    "demo": Entry("beginning", _START, "Make a brain, run a few tasks in it and show what came out."),
    "run": Entry("daemon", _START, "Run the daemon (or one pass with --once)."),
    "request": Entry("requests", _TASKS, "Say who should do a request, or do it."),
    "submit": Entry("tasks", _TASKS, "Drop a task."),
    "new": Entry("tasks", _TASKS, "Write a task file to fill in."),
    "lint": Entry("tasks", _TASKS, "Say what is wrong with a task or interface file."),
    "list": Entry("listing", _TASKS, "List tasks."),
    "show": Entry("listing", _TASKS, "Show one task."),
    "logs": Entry("listing", _TASKS, "Show what a task's program prints."),
    "rate": Entry("rating", _TASKS, "Say whether a result was good."),
    "batch": Entry("batching", _TASKS, "Run a file of tasks, with a forecast before and an account after."),
    "cancel": Entry("tasks", _TASKS, "End a task that has not ended."),
    "retry": Entry("tasks", _TASKS, "Run an ended task again."),
    "release": Entry("tasks", _TASKS, "Let a held, interrupted or claimed task run."),
    "workflow": Entry("workflows", _TASKS, "Run workflows: steps that become the tasks of one chain."),
    "status": Entry("status", _FACTS, "Show the daemon and the queue."),
    "watch": Entry("status", _FACTS, "Show the queue, live."),
    "pause": Entry("daemon", _CARE, "Start nothing new until `brain resume`."),
    "resume": Entry("daemon", _CARE, "Start tasks again after `brain pause`."),
    "drain": Entry("daemon", _CARE, "Let the daemon finish what runs, then end."),
    "stop": Entry("daemon", _CARE, "End the daemon now; what runs is interrupted."),
    "claim": Entry("agents", _AGENTS, "Take a task to work on it."),
    "renew": Entry("agents", _AGENTS, "Keep a claimed task for longer."),
    "acquire": Entry("acquiring", _AGENTS, "Ask whether so much may be sent to an interface now."),
    "complete": Entry("agents", _AGENTS, "Hand in the result of a claimed task."),
    "ask": Entry("asking", _AGENTS, "Ask a person about the task you work on."),
    "fail": Entry("agents", _AGENTS, "Say that a claimed task could not be done."),
    "hook": Entry("hooking", _AGENTS, "Tell a coding agent, before each prompt, who should do it."),
    "interfaces": Entry("interfaces", _FACTS, "List, check and approve who can do work."),
    "route": Entry("interfaces", _FACTS, "Say who would do a task, and why."),
    "simulate": Entry("simulating", _FACTS, "Work through a queue on paper: cost and waiting, policy by policy."),
    "session": Entry("sessions", _FACTS, "Show and resume the runs of work that requests belong to."),
    "costs": Entry("costs", _FACTS, "Sum up the ledger."),
    "chain": Entry("chains", _FACTS, "Show a chain of tasks as a tree with its true total."),
    "graph": Entry("chains", _FACTS, "Show which tasks wait for which."),
    "report": Entry("reporting", _FACTS, "Show how well a day went, against the targets."),
    "usage": Entry("usage", _FACTS, "Show today's use of each interface."),
    "memory": Entry("memory", _FACTS, "Search what the brain knows, and add to it."),
    "questions": Entry("questions", _FACTS, "Show what waits for your answer."),
    "answer": Entry("questions", _FACTS, "Answer a question."),
    "doctor": Entry("care", _CARE, "Find the usual trouble and say how to mend it."),
    "verify": Entry("care", _CARE, "Check that nothing is lost and all figures agree."),
    "reindex": Entry("care", _CARE, "Build the index anew from the text."),
    "config": Entry("settings", _CARE, "Show the settings."),
    "completion": Entry("settings", _CARE, "Print the completion script for a shell."),
}


class Brain(click.Group):
    """Loads a command's module only when that command is used; help comes from the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(ENTRIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = ENTRIES.get(cmd_name)
        if entry is None:
            return None
        with resting():
            module = importlib.import_module(_COMMANDS + entry.module)
        command: click.Command = getattr(module, cmd_name.replace("-", "_") + "_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group in dict.fromkeys(entry.group for entry in ENTRIES.values()):
            rows = [(name, entry.help) for name, entry in ENTRIES.items() if entry.group == group]
            with formatter.section(group):
                formatter.write_dl(rows)


@click.command(cls=Brain, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--brain", "root", metavar="DIR", help="The brain to work on; else BRAIN_ROOT, else the one around this folder."
)
@click.version_option(__version__, prog_name="brain")
@click.pass_context
def brain(ctx: click.Context, root: str | None) -> None:
    """A queue of markdown tasks, done by the AI that can do them for the least money, with every outcome in git.

    Drop a file into brain/tasks/pending/, or use `brain submit`.
    """
    ctx.obj = Call(root, dict(os.environ))


def main() -> NoReturn:
    """Run `brain` with the process's arguments and exit."""
    try:
        # click hands back the code of `Context.exit` here, and else what the command returned.
        code = brain.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrainError as error:
        click.echo(f"brain: {error}", err=True)
        sys.exit(error.exit_code)
    except sqlite3.DatabaseError as error:
        click.echo(f"brain: reading the journal: {error}. `brain doctor` says more.", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(code if type(code) is int else 0)
