"""What a new brain starts from."""

import hashlib

from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.routing_file import parse_routing
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.store.template import shipped_hashes, shipped_interfaces, template_files


def test_a_new_brain_has_the_four_folders_and_what_keeps_git_right():
    """Folders survive a clone, working state is ignored, and task bytes are never converted."""
    files = template_files()
    for folder in ("pending", "active", "completed", "failed"):
        assert files[f"brain/tasks/{folder}/.gitkeep"] == b""
    assert b"brain/tasks/active/*" in files[".gitignore"]
    assert b"context/board.md" in files[".gitignore"]
    assert b"brain/tasks/** -text" in files[".gitattributes"]


def test_every_shipped_interface_is_valid_and_in_the_template():
    """And approved by its hash."""
    shipped = shipped_interfaces()
    assert {
        "librarian.md",
        "shell.md",
        "claude_code.md",
        "codex.md",
        "gemini_cli.md",
        "opencode.md",
        "ollama.md",
    } <= set(shipped)
    for name, data in shipped.items():
        assert isinstance(parse_interface(name, data), InterfaceSpec)
        assert template_files()[f"tools/interfaces/{name}"] == data
        assert hashlib.sha256(data).hexdigest() in shipped_hashes()


def test_the_shipped_routing_table_is_valid():
    """It parses as it stands."""
    assert isinstance(parse_routing(template_files()["context/routing.md"]), RoutingTable)


def test_nothing_of_this_projects_own_work_gets_into_a_new_brain():
    """Only tasks' folders, interfaces, the table, notes and git's two files."""
    tops = {path.split("/")[0] for path in template_files()}
    assert tops <= {"brain", "tools", "context", "knowledge", ".gitignore", ".gitattributes"}
    assert not [path for path in template_files() if path.startswith("brain/") and not path.endswith(".gitkeep")]
