"""Who can do work now: real files in a real folder, and each reason why one cannot."""

import os
import subprocess

import pytest

from brain_daemon.adapters.checking import run_check
from brain_daemon.adapters.registry import MAX_INTERFACE_BYTES, UNCHECKED, Approval, CameBy, Registry
from brain_daemon.model.interface import InvokeKind
from brain_daemon.store.layout import Layout
from brain_daemon.store.template import shipped_interfaces

PROGRAM = "---\nname: {name}\n{more}invoke:\n  kind: command\n  command: [{program}]\n{inside}---\n# {name}\n"


class Place:
    """A folder of interfaces and what this host has approved."""

    def __init__(self, root, environment, *, await_checks=False) -> None:
        self.folder = root / "tools" / "interfaces"
        self.folder.mkdir(parents=True)
        self.approved: dict[str, tuple[str, float]] = {}
        self.came = CameBy.HERE
        self.registry = Registry(
            Layout(str(root), str(root / "state"), str(root / "work")),
            environment,
            approvals=lambda: self.approved,
            approve=lambda sha256, _name, how: self.approved.update({sha256: (how, 1.0)}),
            came_by=lambda _path, _data: self.came,
            kinds=frozenset(InvokeKind) - {InvokeKind.MCP},
            await_checks=await_checks,
        )

    def put(self, name, program="/bin/cat", more="", inside="", file=None):
        path = self.folder / (file or f"{name}.md")
        path.write_text(PROGRAM.format(name=name, program=program, more=more, inside=inside))
        return path

    def told(self, name):
        entry = self.registry.entries[name]
        return entry.approval, entry.approved_at

    def why_not(self, name) -> str:
        self.registry.scan()
        return self.registry.entries[name].why_not


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")})


def test_a_file_that_is_added_changed_or_removed_takes_effect_on_the_next_scan(place):
    """And a scan that finds nothing new says so."""
    path = place.put("one")
    assert place.registry.scan()
    assert not place.registry.scan()
    assert place.registry.entries["one"].usable
    place.put("one", "/bin/tac")
    assert place.registry.scan()
    assert place.registry.entries["one"].spec.invoke.command == ("/bin/tac",)
    path.unlink()
    assert place.registry.scan()
    assert place.registry.entries == {}


def test_it_is_found_by_name_or_alias_in_any_spelling(place):
    """`Claude Code` is `claude_code`."""
    place.put("claude_code", more="aliases: [my claude]\n")
    place.registry.scan()
    for name in ("claude_code", "Claude Code", "CLAUDE-CODE", "My-Claude"):
        assert place.registry.find(name) is place.registry.entries["claude_code"]
    assert place.registry.find("gemini") is None


def test_what_it_cannot_do_is_said(place, tmp_path):
    """Each reason is a sentence; each is gone when its cause is."""
    place.put("offline", more="status: offline\n")
    assert "status: offline" in place.why_not("offline")
    place.put("missing", "no-such-program")
    assert place.why_not("missing") == "the program no-such-program is not on PATH"
    place.put("secret", more="auth:\n  method: api_key\n  config_location: ~/key\n  env: MY_KEY\ncost:\n  tier: free\n")
    assert "neither ~/key nor the variable MY_KEY" in place.why_not("secret")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").write_text("k")
    (tmp_path / "home" / "key").chmod(0o644)
    assert "others may read or change it; `chmod 600 " in place.why_not("secret")
    (tmp_path / "home" / "key").chmod(0o600)
    assert place.why_not("secret") == ""
    (place.folder / "tool.md").write_text(
        "---\nname: tool\ntype: tool\ninvoke:\n  kind: tool\n  function: nothing\n---\n# T\n"
    )
    assert "no tool function is called 'nothing'" in place.why_not("tool")
    (place.folder / "later.md").write_text(
        "---\nname: later\ninvoke:\n  kind: mcp\n  url: https://example.org\n---\n# T\n"
    )
    assert "cannot call interfaces of the kind mcp yet" in place.why_not("later")


def test_a_shared_folder_must_be_there(place, tmp_path):
    """Of a file drop: named, and a folder, from the brain or from the home."""
    text = "---\nname: desk\ninvoke:\n  kind: file_drop\n{}---\n# T\n"
    (place.folder / "desk.md").write_text(text.format("  folder: drop\n"))
    assert "the folder drop is not there" in place.why_not("desk")
    (tmp_path / "drop").mkdir()
    assert place.why_not("desk") == ""


def test_a_secret_from_a_command_is_not_asked_for_by_a_look(place, tmp_path):
    """It is run with the checks, which are apart."""
    place.put(
        "one",
        more=f"auth:\n  method: api_key\n  env: K\n  secret_command: [touch, {tmp_path}/asked]\ncost: free\n",
    )
    assert place.why_not("one") == ""
    assert [spec.name for spec in place.registry.unchecked()] == ["one"]
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("where", ["its own variable", "a listed variable"])
def test_a_secret_in_the_environment_is_enough(tmp_path, where):
    """By `auth.env`, or by any listed variable that ends like a key."""
    name = "MY_KEY" if where == "its own variable" else "OTHER_TOKEN"
    place = Place(tmp_path, {"PATH": os.environ["PATH"], name: "x"})
    place.put(
        "a", more="auth:\n  method: api_key\n  env: MY_KEY\ncost:\n  tier: free\n", inside="  env: [OTHER_TOKEN]\n"
    )
    assert place.why_not("a") == ""


def test_one_bad_file_stops_nothing_else(place):
    """Faulty, oversized and no plain file at all: each is named, the good one works."""
    place.put("good")
    (place.folder / "bad.md").write_text("---\nname: [\n---\n")
    (place.folder / "big.md").write_bytes(b"x" * (MAX_INTERFACE_BYTES + 1))
    (place.folder / "link.md").symlink_to("good.md")
    place.registry.scan()
    assert list(place.registry.entries) == ["good"]
    assert sorted(fault.file_name for fault in place.registry.faults) == ["bad.md", "big.md", "link.md"]
    assert {one.spec.name: one.usable for one in place.registry.candidates({"good": 2})} == {"good": True}
    assert place.registry.candidates({"good": 2})[0].running == 2


def test_two_files_with_one_name_are_both_left_out(place):
    """By name or alias; the fault names both."""
    place.put("one", more="aliases: [two]\n")
    place.put("two")
    place.put("three")
    place.registry.scan()
    assert list(place.registry.entries) == ["three"]
    assert len(place.registry.faults) == 2
    assert all("one.md and two.md" in fault.message for fault in place.registry.faults)


def test_content_that_came_with_git_waits_for_a_person(place):
    """B24: approved it stays approved, changed it waits again; what was made here or ships runs at once."""
    place.came = CameBy.GIT
    place.put("stranger")
    assert "brain interfaces approve stranger" in place.why_not("stranger")
    place.approved[place.registry.entries["stranger"].spec.sha256] = ("approved by a person", 7.0)
    assert place.why_not("stranger") == ""
    assert place.told("stranger") == (Approval.PERSON, 7.0)
    place.put("stranger", "/bin/tac")
    assert "approve stranger" in place.why_not("stranger")
    assert place.told("stranger") == (Approval.WAITS, None)
    (place.folder / "librarian.md").write_bytes(shipped_interfaces()["librarian.md"])
    assert place.why_not("librarian") == ""
    assert place.told("librarian") == (Approval.SHIPPED, None)
    place.came = CameBy.HERE
    place.put("mine")
    assert place.why_not("mine") == ""
    assert place.told("mine") == (Approval.HERE, None)
    assert place.approved[place.registry.entries["mine"].spec.sha256] == ("made here", 1.0)


def test_while_git_is_at_work_nothing_is_decided(place):
    """It is neither approved nor refused for good: the registry says to look again."""
    place.came = CameBy.UNDECIDED
    place.put("one")
    assert place.why_not("one") != ""
    assert place.registry.undecided
    assert place.approved == {}


def test_a_check_that_fails_is_the_reason(place):
    """It is run once for each content."""
    place.put("one", inside="  check: [/bin/sh, -c, 'echo broken >&2; exit 3']\n")
    place.registry.scan()
    (spec,) = place.registry.unchecked()
    fault = run_check(spec, os.environ)
    assert "exited 3: broken" in fault
    place.registry.note_check(spec, fault)
    assert place.registry.scan()
    assert place.registry.unchecked() == []
    assert "exited 3" in place.registry.entries["one"].why_not


def test_an_interface_joins_after_its_check_where_that_is_wanted(tmp_path):
    """One that has no check joins at once."""
    place = Place(tmp_path, dict(os.environ), await_checks=True)
    place.put("plain")
    place.put("one", inside="  check: ['true']\n")
    assert place.why_not("plain") == ""
    assert place.why_not("one") == UNCHECKED
    (spec,) = place.registry.unchecked()
    place.registry.note_check(spec, "")
    assert place.why_not("one") == ""


def test_the_shipped_interfaces_say_why_they_cannot_work_here(place):
    """No program, no keys: each is listed with its reason, and the librarian works."""
    for name, data in shipped_interfaces().items():
        (place.folder / name).write_bytes(data)
    place.registry.scan()
    assert place.registry.faults == ()
    reasons = {name: entry.why_not for name, entry in place.registry.entries.items()}
    assert reasons["librarian"] == ""
    for name in ("claude_code", "codex", "gemini_cli", "opencode"):
        program = place.registry.entries[name].spec.invoke.command[0]
        installed = (
            subprocess.run(["/bin/sh", "-c", f"command -v {program}"], capture_output=True, check=False).returncode == 0
        )
        assert installed or f"the program {program} is not on PATH" in reasons[name]
