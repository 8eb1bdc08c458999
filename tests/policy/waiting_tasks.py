"""Tasks as what decides on waiting sees them."""

from brain_daemon.model.task import TaskSpec


def task(name: str = "t", **fields) -> TaskSpec:
    """A task of this id with an empty text; `fields` are what it asks for."""
    base = {
        "id": name,
        "explicit_id": True,
        "title": "T",
        "text": "",
        "sha256": "0" * 64,
        "size_bytes": 0,
        "name": f"{name}.md",
    }
    return TaskSpec(**(base | fields))
