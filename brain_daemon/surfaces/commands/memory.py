"""`brain memory`: what the brain knows, searched, read, listed and added to."""

from contextlib import closing
from typing import Any

import click

from brain_daemon.memory.index import Row
from brain_daemon.memory.notes import AREAS
from brain_daemon.memory.pool import Hit
from brain_daemon.memory.texts import Text
from brain_daemon.memory.vectors import Told
from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.errors import UserError
from brain_daemon.record.wording import utc
from brain_daemon.service import remembering
from brain_daemon.service.brain import Brain
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import Column, say, show
from brain_daemon.surfaces.texts import text_of

_KINDS = ("knowledge", "context", "result")
_SHOWN_LINES = 8
_COLUMNS = (Column("ID"), Column("KIND", whole=True), Column("CHANGED", whole=True), Column("TITLE"))
_kind_option = click.option("--kind", type=click.Choice(_KINDS), help="Only of this kind.")


@click.group("memory")
def memory_command() -> None:
    """Search notes and results, read one by its id, add a note.

    Example: brain memory search "how do we roll back a release"
    """


@memory_command.command("search")
@click.argument("question")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, metavar="N", help="Most passages.")
@_kind_option
@click.option("--words", is_flag=True, help="By words alone: quicker, and blind to other words for the same.")
@json_option
@click.pass_obj
def search(call: Call, /, question: str, limit: int, kind: str | None, words: bool, as_json: bool) -> None:
    """Find passages by their words and by what they mean, best first. Exit 0 also where nothing is found.

    Example: brain memory search "undo a bad deployment" --limit 3
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        hits, told = remembering.search(brain, question, limit, kind, words_only=words)
    if as_json:
        print_json({"question": question, "embedding": told.embedding, "hits": [_hit_facts(hit) for hit in hits]})
    else:
        _print(hits, told, words=words)


def _hit_facts(hit: Hit) -> dict[str, Any]:
    return {
        "id": hit.id,
        "path": hit.path,
        "kind": hit.kind,
        "title": hit.title,
        "heading": hit.heading,
        "line": hit.line,
        "last_line": hit.last_line,
        "score": hit.score,
        "by": hit.by,
        "text": hit.text,
    }


def _print(hits: list[Hit], told: Told, *, words: bool) -> None:
    for hit in hits:
        say(f"{hit.score:.2f}  {clean_line(hit.path, 300)}:{hit.line}-{hit.last_line}  {hit.title}")
        lines = [line for line in hit.text.split("\n") if line.strip()]
        for line in lines[:_SHOWN_LINES]:
            say(f"      {line}")
        if len(lines) > _SHOWN_LINES:
            say(f"      ({len(lines) - _SHOWN_LINES} more lines)")
    if not hits:
        say("nothing found")
    if not told.embedding and not words:
        say(f"searched by words alone: {told.fault or told.why}", err=True)


@memory_command.command("get")
@click.argument("wanted", metavar="ID")
@json_option
@click.pass_obj
def get(call: Call, /, wanted: str, as_json: bool) -> None:
    """Print the whole text of an id: a completed task's result, a note, or the path of one.

    Example: brain memory get task-001
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        pool = remembering.open_pool(brain)
        text = pool.resolve(wanted)
        if text is None:
            raise UserError(
                f"looking up {wanted}: no completed task, note or file of knowledge/ and context/ is called so. `brain memory list` shows what there is."
            )
        whole, _ = pool.full_text(text)
    if as_json:
        print_json({**_text_facts(text), "text": whole})
    else:
        say(clean_text(whole))


def _text_facts(text: Text | Row) -> dict[str, Any]:
    return {
        "id": text.id,
        "path": text.path,
        "kind": text.kind,
        "title": text.title,
        "sha256": text.sha256,
        "changed": utc(text.modified_at),
    }


@memory_command.command("add")
@click.argument("text", required=False)
@click.option("-f", "--file", "source", metavar="FILE", help="The note; `-` is standard input.")
@click.option("--title", default="", metavar="TITLE")
@click.option("--area", type=click.Choice(AREAS), default="knowledge", show_default=True, help="Where the file goes.")
@json_option
@click.pass_obj
def add(call: Call, /, text: str | None, source: str | None, title: str, area: str, as_json: bool) -> None:
    """Write a note into knowledge/pool/ or context/pool/: others find it at once. Inside a task the note says which.

    Example: brain memory add "The staging host is called walnut." --title "Staging host"
    """
    said = text_of(text, source, "note")
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        author = remembering.author_of(brain.layout, call.environment)
        redacted = brain.redactor(brain.registry()).text
        note = remembering.add(brain, said, title=title, area=area, author=author, redacted=redacted)
    if as_json:
        print_json(_text_facts(note))
    else:
        say(f"{note.id}  {note.path}")


@memory_command.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, metavar="N")
@_kind_option
@json_option
@click.pass_obj
def list_(call: Call, /, limit: int, kind: str | None, as_json: bool) -> None:
    """List what changed last.

    Example: brain memory list --kind result
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        pool = remembering.open_pool(brain)
        pool.refresh()
        rows = pool.newest(limit, kind)
        files, passages, vectors = pool.counts()
    if as_json:
        print_json(
            {
                "files": files,
                "passages": passages,
                "with_vectors": vectors,
                "newest": [_text_facts(row) for row in rows],
            }
        )
        return
    show(_COLUMNS, [[row.id, row.kind, utc(row.modified_at), row.title] for row in rows], "Newest in the pool")
    say(f"{files} files, {passages} passages, {vectors} of them with vectors")


@memory_command.command("rebuild")
@json_option
@click.pass_obj
def rebuild(call: Call, /, as_json: bool) -> None:
    """Throw the index away and build it anew from the files. Vectors follow by themselves.

    Example: brain memory rebuild
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        pool = remembering.open_pool(brain)
        pool.rebuild()
        files, passages, _ = pool.counts()
    if as_json:
        print_json({"files": files, "passages": passages})
    else:
        say(f"{files} files, {passages} passages")
