"""Each runtime dependency is used, and nothing else from outside is."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import brain_daemon

PACKAGE = Path(brain_daemon.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]

PARTS = {"pydantic-core": "pydantic"}
"""Distributions that are the inside of another one, which pins them."""


DATA = {"tzdata"}
"""Read by the standard library, where the machine has no time zones of its own."""


def normal(name: str) -> str:
    """A distribution's name in the one form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {normal(re.match(r"[A-Za-z0-9._-]+", line)[0]) for line in requirements}


def imported() -> set[str]:
    """The distributions whose modules brain_daemon imports."""
    known = packages_distributions()
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            tops = {name.split(".")[0] for name in names} - {"brain_daemon", ""} - sys.stdlib_module_names
            found |= {normal(one) for top in tops for one in known.get(top, [f"{top} (not installed)"])}
    return {PARTS.get(one, one) for one in found}


def test_each_runtime_dependency_is_imported_and_nothing_else_is():
    """A dependency nobody imports is a promise to install something for nothing; one that is not declared breaks a fresh install."""
    optional = {one for extra in PROJECT["optional-dependencies"].values() for one in declared(extra)}
    runtime = declared(PROJECT["dependencies"])
    found = imported()
    assert runtime - found == DATA
    assert found - runtime - optional == set()
