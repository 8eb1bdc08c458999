"""docs/schema/ is what editors read: equal to what the program makes, and satisfied by the files that ship."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from brain_daemon.model import schema
from brain_daemon.model.frontmatter import split

ROOT = Path(__file__).resolve().parents[2]
MADE = {
    "task": schema.task_schema,
    "interface": schema.interface_schema,
    "routing": schema.routing_schema,
    "workflow": schema.workflow_schema,
}
SHIPPED = [("interface", path) for path in sorted((ROOT / "tools" / "interfaces").glob("*.md"))]
SHIPPED += [("routing", ROOT / "context" / "routing.md")]


def written(name: str) -> dict[str, object]:
    return json.loads((ROOT / "docs" / "schema" / f"{name}.schema.json").read_text("utf-8"))


@pytest.mark.parametrize("name", MADE)
def test_the_schema_in_docs_is_the_one_the_program_makes(name):
    """To write it anew: `json.dumps(task_schema(), indent=2, ensure_ascii=False)` and a line feed."""
    path = ROOT / "docs" / "schema" / f"{name}.schema.json"
    assert path.read_text("utf-8") == json.dumps(MADE[name](), indent=2, ensure_ascii=False) + "\n"


def test_each_schema_file_belongs_to_a_schema():
    """There is no other file in the folder."""
    assert sorted(path.name for path in (ROOT / "docs" / "schema").iterdir()) == sorted(
        f"{name}.schema.json" for name in MADE
    )


@pytest.mark.parametrize(("name", "path"), SHIPPED, ids=lambda value: getattr(value, "name", value))
def test_a_shipped_file_satisfies_its_schema(name, path):
    """An editor that goes by the schema marks nothing in it."""
    head = split(path.read_bytes()).head
    assert head is not None
    jsonschema.validate(yaml.safe_load(head), written(name))
