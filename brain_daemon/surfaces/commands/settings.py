"""`brain config` and `brain completion`: the settings in force, and the script that completes commands in a shell."""

import os

import click
from click.shell_completion import get_completion_class

from brain_daemon.model.errors import UserError
from brain_daemon.service.config import Origin, load
from brain_daemon.service.settings import SETTINGS
from brain_daemon.store.locate import find_root
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import Column, show

_CONFIG = (Column("SETTING", whole=True), Column("VALUE"))


@click.command("config")
@click.option("--origin", is_flag=True, help="Also say where each value comes from and what it means.")
@json_option
@click.pass_obj
def config_command(call: Call, origin: bool, as_json: bool) -> None:
    """Show the settings as they are in force here. Durations are seconds, sizes bytes.

    Example: brain config --origin
    """
    _, origins = load(_root(call), call.environment)
    meanings = {setting.name: setting.meaning for setting in SETTINGS}
    if as_json:
        print_json(
            {
                "settings": [
                    {"name": one.name, "value": one.value, "source": one.source, "meaning": meanings[one.name]}
                    for one in origins
                ]
            }
        )
    elif origin:
        columns = (*_CONFIG, Column("FROM"), Column("MEANING"))
        show(columns, [(one.name, _value(one), one.source, meanings[one.name]) for one in origins])
    else:
        show(_CONFIG, [(one.name, _value(one)) for one in origins])


def _root(call: Call) -> str | None:
    """The brain that was named, or the one around this folder; outside of any, the user's own settings are shown."""
    if call.root or call.environment.get("BRAIN_ROOT"):
        return call.brain_root
    try:
        return find_root(os.getcwd())
    except UserError:
        return None


def _value(one: Origin) -> str:
    value = one.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    Example: eval "$(brain completion bash)"
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "brain", "_BRAIN_COMPLETE").source())
