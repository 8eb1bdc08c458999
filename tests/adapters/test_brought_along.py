"""What a workspace brings along that a program would run: found before the start, and nothing is started."""

import os
from pathlib import Path

import pytest

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.brought_along import brought_along
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.command import CommandAdapter
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import Failed, FailureKind, Succeeded
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import Permissions
from brain_daemon.store.files import Files

NAMES = (".agent/plugins", "agent.json")
SHIPPED = Path(__file__).parents[2] / "tools" / "interfaces"


def put(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return str(path)


def test_it_is_found_in_the_workspace_in_a_repository_or_not(tmp_path):
    """Files and folders alike; the first of the list is named."""
    assert brought_along(str(tmp_path), NAMES, "") is None
    there = put(tmp_path / "agent.json")
    assert brought_along(str(tmp_path), NAMES, "") == there
    put(tmp_path / ".agent" / "plugins" / "x.js")
    assert brought_along(str(tmp_path), NAMES, "") == str(tmp_path / ".agent" / "plugins")
    assert brought_along(str(tmp_path), (), "") is None


def test_in_a_repository_the_folders_above_count_up_to_its_top(tmp_path):
    """Above the outermost repository nothing counts; an empty `.git` on the way hides nothing."""
    inner = tmp_path / "top" / "a" / "b"
    inner.mkdir(parents=True)
    put(tmp_path / "agent.json")
    there = put(tmp_path / "top" / "agent.json")
    assert brought_along(str(inner), NAMES, "") is None
    (tmp_path / "top" / ".git").mkdir()
    assert brought_along(str(inner), NAMES, "") == there
    (tmp_path / "top" / "a" / ".git").write_text("gitdir: elsewhere\n")
    assert brought_along(str(inner), NAMES, "") == there
    os.unlink(there)
    assert brought_along(str(inner), NAMES, "") is None


def test_a_link_is_followed_to_the_workspace_and_one_that_leads_nowhere_counts(tmp_path):
    """A program is started in the folder a link leads to."""
    there = put(tmp_path / "real" / "agent.json")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert brought_along(str(tmp_path / "link"), NAMES, "") == there
    (tmp_path / "other" / ".agent").mkdir(parents=True)
    (tmp_path / "other" / ".agent" / "plugins").symlink_to("nowhere")
    assert brought_along(str(tmp_path / "other"), NAMES, "") == str(tmp_path / "other" / ".agent" / "plugins")


def test_a_persons_own_home_is_not_looked_at(tmp_path):
    """Its repository of settings does not keep the scratch folders below it from being worked in."""
    (tmp_path / ".git").mkdir()
    put(tmp_path / "agent.json")
    (tmp_path / "work").mkdir()
    assert brought_along(str(tmp_path / "work"), NAMES, str(tmp_path)) is None
    assert brought_along(str(tmp_path / "work"), NAMES, "") == str(tmp_path / "agent.json")


@pytest.fixture
def invoke(tmp_path):
    """Runs an interface in the workspace `work` with a level of permission, and returns how it ended."""

    async def run(spec, profile):
        invocation = Invocation(
            attempt_id="t.a1.00000000",
            task=parse_task("t.md", b"# Title\n"),
            interface=spec,
            prompt="hello",
            root=str(tmp_path),
            folder=str(tmp_path / "attempt"),
            workspace=str(tmp_path / "work"),
            environment={"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")},
            timeout_seconds=20.0,
            profile=profile,
        )
        return await CommandAdapter(Files()).invoke(invocation, Cancel())

    return run


async def test_nothing_is_started_beside_it_but_for_a_task_that_may_do_everything(invoke, tmp_path):
    """The reason names it and what to do; another interface may take the task."""
    text = (
        "---\nname: mine\ninvoke:\n  command: [sh, -c, touch started; cat]\n"
        "  refuse_workspace_with: [agent.json]\n  permissions: {read: [], full: []}\n---\n# Mine\n"
    )
    spec = parse_interface("mine.md", text.encode())
    assert isinstance(spec, InterfaceSpec), spec
    there = put(tmp_path / "work" / "agent.json")
    for profile in (None, Permissions.READ):
        ended = await invoke(spec, profile)
        assert isinstance(ended.outcome, Failed)
        assert ended.outcome.kind is FailureKind.PERMANENT
        assert there in ended.outcome.message
        assert "it was not started" in ended.outcome.message
        assert (ended.cost.usd, os.listdir(tmp_path / "work")) == (0, ["agent.json"])
    assert (await invoke(spec, Permissions.FULL)).outcome == Succeeded(text="hello")


@pytest.mark.parametrize(
    ("name", "brings"),
    [("opencode", ".opencode/plugin/x.js"), ("opencode", "opencode.jsonc"), ("aider", ".env"), ("aider", ".aider.conf.yml")],
)  # fmt: skip
async def test_a_shipped_client_is_not_started_beside_what_it_would_run(invoke, tmp_path, name, brings):
    """Nothing turns it off in these clients, and they need not be installed to be refused."""
    spec = parse_interface(f"{name}.md", (SHIPPED / f"{name}.md").read_bytes())
    assert isinstance(spec, InterfaceSpec), spec
    put(tmp_path / "work" / brings)
    outcome = (await invoke(spec, Permissions.WRITE)).outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.PERMANENT
    assert "which the workspace brings along" in outcome.message
