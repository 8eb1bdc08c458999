"""Nothing changes the disk but through the seam, so that the crash lab strikes at everything that is written tomorrow."""

import ast
from collections.abc import Iterator
from pathlib import Path

import brain_daemon

PACKAGE = Path(brain_daemon.__file__).parent
SEAM = "store/files.py"

# Who changes the disk elsewhere, and why that is right.
ELSEWHERE = {
    "adapters/cgroups.py": "the kernel's control groups; a file beside the attempt's lock says where, and without it there is one witness less",
    "adapters/echo.py": "the witness stands outside the brain and must not die with it",
    "adapters/process.py": "the lock and the output of a program: its descendants write there, whoever dies",
    "adapters/checking.py": "an unnamed temporary file for what an interface's `check` prints",
    "memory/vector_child.py": "Chroma's own folder is derived from the index and thrown away whole",
    "record/committing.py": "a count that may be lost, and what git leaves when it fails",
    "record/tree_reader.py": "questions into the pipe of a git that reads",
    "record/user_index.py": "the five steps in the git folder, which have crash tests of their own in tests/record",
    "service/machine.py": "`brain doctor` opens a file twice to try its locks; nothing is written",
    "surfaces/commands/beginning.py": "`brain demo` makes itself a folder before there is any brain",
    "store/locks.py": "lock files, which are empty and never removed",
    "workspace/scratch.py": "an agent's scratch folder, whose attempt is on record",
}

_OS = frozenset(
    [
        "chmod",
        "ftruncate",
        "link",
        "makedirs",
        "mkdir",
        "mknod",
        "remove",
        "removedirs",
        "rename",
        "renames",
        "replace",
        "rmdir",
        "symlink",
        "truncate",
        "unlink",
        "utime",
        "write",
    ]
)
_SHUTIL = frozenset(["copy", "copy2", "copyfile", "copyfileobj", "copytree", "move", "rmtree"])
_PATHLIB = frozenset(["hardlink_to", "symlink_to", "touch", "write_bytes", "write_text"])
_FLAGS = frozenset(["O_APPEND", "O_CREAT", "O_RDWR", "O_TRUNC", "O_WRONLY"])


def _changes(tree: ast.AST) -> Iterator[str]:
    """Every expression that changes the disk, as far as its own words tell."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in _OS | _FLAGS:
                yield f"os.{name}"
            case ast.Attribute(value=ast.Name(id="shutil"), attr=name) if name in _SHUTIL:
                yield f"shutil.{name}"
            case ast.Attribute(value=ast.Name(id="tempfile")):
                yield "tempfile"
            case ast.Attribute(attr=name) if name in _PATHLIB:
                yield name
            case ast.Call(func=ast.Name(id="open")) if _writes(node):
                yield "open to write"


def _writes(call: ast.Call) -> bool:
    modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
    return any(not isinstance(mode, ast.Constant) or set(str(mode.value)) & set("wax+") for mode in modes)


def test_only_the_seam_changes_the_disk():
    """Each module that writes past the seam is in the table above with its reason, and nothing in the table is stale."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        changes = sorted(set(_changes(ast.parse(path.read_text("utf-8")))))
        if changes and name != SEAM:
            found[name] = changes
    assert found.keys() == ELSEWHERE.keys(), {name: found.get(name) for name in found.keys() ^ ELSEWHERE.keys()}


def test_the_seam_itself_is_seen():
    """The search finds what it looks for where it must be."""
    assert {"os.replace", "os.unlink", "os.O_CREAT"} <= set(_changes(ast.parse((PACKAGE / SEAM).read_text("utf-8"))))
