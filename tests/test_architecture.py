"""The house: who may import whom, who may write to the disk, and what the pure floors may not know."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import brain_daemon

PACKAGE = Path(brain_daemon.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
LEVELS = {
    "model": 0,
    "policy": 1,
    "store": 2,
    "adapters": 3,
    "record": 3,
    "memory": 3,
    "workspace": 3,
    "service": 4,
    "surfaces": 5,
}
IMPURE = {
    "os",
    "sys",
    "time",
    "random",
    "logging",
    "subprocess",
    "threading",
    "asyncio",
    "pathlib",
    "shutil",
    "socket",
    "uuid",
    "secrets",
}
WRITERS = {
    "store/files.py": "the seam for writes",
    "store/locks.py": "empty files that are locked and never removed",
    "record/committing.py": "the input of git fast-import, in the state folder",
    "record/user_index.py": "git's own index and lock, by git's rules",
    "workspace/scratch.py": "an agent's folder, outside every brain",
    "memory/vector_child.py": "Chroma's folder, derived from the index, is thrown away whole",
    "service/machine.py": "brain doctor tries a lock on a file of its own",
    "adapters/process.py": "a program's raw output and the lock its descendants hold, in the state folder",
    "adapters/cgroups.py": "the kernel's control groups, and where one is, beside the attempt's lock",
    "adapters/echo.py": "the witness of the crash lab must not pass the seam it watches",
}  # fmt: skip
WRITING_CALLS = {
    "os.rename", "os.replace", "os.unlink", "os.remove", "os.mkdir", "os.makedirs", "os.rmdir", "os.link", "os.symlink",
    "os.truncate", "os.ftruncate", "shutil.rmtree", "shutil.move", "shutil.copy", "shutil.copyfile", "shutil.copytree",
}  # fmt: skip
WRITING_METHODS = {"write_text", "write_bytes", "touch", "unlink", "symlink_to", "hardlink_to"}
WRITING_FLAGS = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC")


def name_of(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


@cache
def tree_of(module: Path) -> ast.Module:
    """Parsed once for all tests."""
    return ast.parse(module.read_text())


def floor_of(dotted: str) -> str:
    """The floor a dotted name of ours belongs to."""
    return dotted.split(".")[1]


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def writes(call: ast.Call) -> bool:
    """Whether a call changes what is on the disk, as far as its text tells."""
    name = ast.unparse(call.func)
    if name == "os.open":
        text = ast.unparse(call)
        return any(flag in text for flag in WRITING_FLAGS)
    if name == "open":
        mode = [ast.unparse(one) for one in (*call.args[1:2], *(k.value for k in call.keywords if k.arg == "mode"))]
        return any(letter in text for text in mode for letter in "wax+")
    return name in WRITING_CALLS or name.rpartition(".")[2] in WRITING_METHODS


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_imports_go_down_only(module):
    """A floor knows what is below it and itself: never a sibling, never what is above."""
    own = module.relative_to(PACKAGE).parts[0]
    for name in imported(tree_of(module)):
        floor = floor_of(name) if name.startswith("brain_daemon.") else ""
        if own in LEVELS and floor in LEVELS and floor != own:
            assert LEVELS[floor] < LEVELS[own], f"{own} imports {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if name_of(m).split("/")[0] in ("model", "policy")], ids=name_of)
def test_the_pure_floors_know_no_clock_no_chance_and_no_machine(module):
    """model and policy get times and draws as values and touch nothing."""
    assert not {name.split(".")[0] for name in imported(tree_of(module))} & IMPURE
    assert not [
        node
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("open", "print", "input")
    ]


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_imports_stand_at_the_top(module):
    """An import inside a function hides a dependency; the few that save start-up time say so."""
    lines = module.read_text().splitlines()
    for function in ast.walk(tree_of(module)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
            unexplained = [
                lines[node.lineno - 1].strip() for node in inside if "# noqa: PLC0415 - " not in lines[node.lineno - 1]
            ]
            assert not unexplained


def test_only_the_seam_and_a_few_with_a_reason_write_to_the_disk():
    """The crash lab strikes at every step of store/files.py: whoever writes past it is not tested for crashes."""
    found = {
        name_of(m) for m in MODULES for node in ast.walk(tree_of(m)) if isinstance(node, ast.Call) and writes(node)
    }
    assert found == set(WRITERS)
