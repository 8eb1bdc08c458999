"""The pool: ids, searches, and an index that may be lost at any time."""

import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brain_daemon.memory.index import Place
from brain_daemon.memory.notes import Author, Inbox, collect_notes, put_note
from brain_daemon.memory.pool import Pool, Refreshed, united
from brain_daemon.memory.vectors import index_path
from brain_daemon.model.errors import UserError
from brain_daemon.store.files import Files


def paths(hits):
    return [hit.path for hit in hits]


@pytest.mark.parametrize("wanted", ["knowledge/deploy.md", "knowledge/deploy", "deploy.md", "deploy"])
def test_a_note_resolves_by_its_path_and_shorter_forms_of_it(brain, pool, wanted):
    """With or without area and ending, before anything was indexed."""
    brain.write("knowledge/deploy.md", "# Deploy\n\nOn Tuesdays.\n")
    assert pool.resolve(wanted).path == "knowledge/deploy.md"


def test_a_task_resolves_the_moment_its_file_is_recorded(pool, complete):
    """No index and no journal is needed for it."""
    complete("task-a", "It is done.")
    text = pool.resolve("task-a")
    assert pool.full_text(text)[0] == "It is done."
    assert not os.path.exists(index_path(pool.layout))


def test_a_task_that_was_filed_away_resolves_by_its_name(pool, complete):
    """Also where journal and index know nothing of it."""
    complete("task-old", "Long ago.", folder="archive/2026/01/02/")
    assert pool.full_text(pool.resolve("task-old"))[0] == "Long ago."


def test_a_record_of_another_name_resolves_by_the_journal(brain, complete):
    """The one who knows where it stands is asked."""
    complete("task-b.a1.0123abcd", "Under the attempt's name.")
    told = Pool(brain.layout, Files(), None, lambda _id: "brain/tasks/completed/task-b.a1.0123abcd.md")
    assert told.full_text(told.resolve("task-b"))[0] == "Under the attempt's name."


def test_a_long_result_is_read_whole_from_the_file_beside(pool, complete):
    """What the task's file had no room for is not lost."""
    complete("task-long", "line\n" * 500, limit=100)
    assert pool.full_text(pool.resolve("task-long"))[0] == "line\n" * 500


@pytest.mark.parametrize(
    "wanted", ["../secret", "/etc/passwd", "knowledge/../../secret.md", "", ".git/config", "context/board.md", "x\0y"]
)
def test_nothing_outside_resolves(brain, pool, wanted):
    """Neither a way out of the brain nor a file that the pool does not know."""
    (brain.root.parent / "secret.md").write_text("no")
    brain.write("context/board.md", "the board")
    assert pool.resolve(wanted) is None


def test_a_link_out_of_the_brain_is_not_followed(brain, pool):
    """Neither a linked file nor a linked folder."""
    outside = brain.root.parent / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("hidden zebra")
    (brain.root / "knowledge" / "out").symlink_to(outside)
    (brain.root / "knowledge" / "link.md").symlink_to(outside / "secret.md")
    pool.refresh()
    assert [pool.resolve(one) for one in ("knowledge/out/secret.md", "knowledge/link.md")] == [None, None]
    assert pool.search("zebra") == []


def test_a_hit_says_where_it_stands(brain, pool):
    """Path, line and the very lines of the file."""
    brain.write("knowledge/zoo.md", "---\na: b\n---\n# Zoo\n\nNothing here.\n\n## Stripes\n\nThe zebra has stripes.\n")
    pool.refresh()
    (hit, *_) = pool.search("zebra stripes")
    assert (hit.path, hit.id, hit.kind, hit.title, hit.heading) == (
        "knowledge/zoo.md",
        "knowledge/zoo.md",
        "knowledge",
        "Zoo",
        "Zoo > Stripes",
    )
    assert (hit.line, hit.last_line, hit.text.split("\n")[-1]) == (8, 10, "The zebra has stripes.")


def test_what_a_terminal_must_not_see_is_not_in_an_excerpt(brain, pool):
    """Control characters of a file become visible text."""
    brain.write("knowledge/bad.md", "zebra \x1b]0;title\x07 end\n")
    pool.refresh()
    assert "\x1b" not in pool.search("zebra")[0].text


def test_the_index_follows_the_files(brain, pool):
    """New, changed, moved and deleted files, in one look each."""
    note = brain.write("knowledge/a.md", "first zebra\n")
    pool.refresh()
    assert paths(pool.search("zebra")) == ["knowledge/a.md"]
    note.write_text("now a giraffe stands here\n")
    assert pool.refresh().changed == ("knowledge/a.md",)
    assert (paths(pool.search("zebra")), paths(pool.search("giraffe"))) == ([], ["knowledge/a.md"])
    note.rename(note.with_name("b.md"))
    pool.refresh()
    assert paths(pool.search("giraffe")) == ["knowledge/b.md"]
    note.with_name("b.md").unlink()
    assert pool.refresh().gone == ("knowledge/b.md",)
    assert pool.search("giraffe") == []
    assert pool.refresh().changed == ()


def test_the_index_follows_tasks_that_are_filed_away_and_folders_that_go(brain, pool, complete):
    """What has moved is found where it is, what is gone is not found, and a folder that stays as it was is not listed again."""
    complete("task-a", "Bees dance.")
    complete("task-b", "Bees sleep.", folder="archive/2026/01/02/")
    brain.write("knowledge/old/hive.md", "# Hive\n\nBees live here.\n")
    day = brain.completed / "archive/2026/01/02"
    os.utime(day, (1, 1))
    pool.refresh()
    assert pool.has_new_results()
    os.rename(brain.completed / "task-a.md", day / "task-a.md")
    shutil.rmtree(brain.root / "knowledge/old")
    os.utime(day, (2, 2))
    found = pool.refresh()
    assert found.changed == ("brain/tasks/completed/archive/2026/01/02/task-a.md",)
    assert set(found.gone) == {"brain/tasks/completed/task-a.md", "knowledge/old/hive.md"}
    assert {hit.id for hit in pool.search("bees")} == {"task-a", "task-b"}
    for folder in (brain.completed, *(day, *day.parents)[:4]):
        os.utime(folder, (3, 3))
    assert pool.refresh() == pool.refresh() == Refreshed()
    assert not pool.has_new_results()
    listed: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "scandir", lambda path, scan=os.scandir: listed.append(str(path)) or scan(path))
        pool.refresh()
    assert not [path for path in listed if "completed" in path]
    assert len([path for path in pool.rebuild().changed if "completed" in path]) == 2
    assert {hit.id for hit in pool.search("bees")} == {"task-a", "task-b"}


def test_an_answer_is_never_older_than_the_file(brain, pool):
    """A file that changed since it was indexed is read again before the answer is given."""
    note = brain.write("knowledge/a.md", "zebra\n")
    pool.refresh()
    note.write_text("# Another\n\nline\n\nzebra crossing\n")
    assert pool.search("zebra")[0].text.endswith("zebra crossing")
    note.unlink()
    assert pool.search("zebra") == []


def test_kinds_are_told_apart(brain, pool, complete):
    """A search may be for results alone."""
    brain.write("knowledge/zebra.md", "zebra\n")
    brain.write("context/zebra.md", "zebra\n")
    complete("task-z", "zebra")
    pool.refresh()
    assert {hit.kind: hit.id for hit in pool.search("zebra")} == {
        "knowledge": "knowledge/zebra.md",
        "context": "context/zebra.md",
        "result": "task-z",
    }
    assert paths(pool.search("zebra", kind="result")) == ["brain/tasks/completed/task-z.md"]


def test_a_note_is_a_file_and_is_found_at_once(brain, pool):
    """It says which task wrote it, and front matter that came with the text is not believed."""
    author = Author(task_id="task-a", attempt_id="task-a.a1.0123abcd", chain="nightly")
    path = put_note(brain.layout, Files(), "---\nid: other\n---\nThe zebra\x1b[31m sleeps.", title="Zoo", author=author)
    pool.refresh([path])
    text = (brain.root / path).read_text()
    assert text.splitlines()[0] == "---"
    assert {"task: task-a", "chain: nightly", "# Zoo", "The zebra sleeps."} <= set(text.splitlines())
    assert "other" not in text
    (hit,) = pool.search("zebra")
    assert (hit.path, pool.resolve(hit.id).path) == (path, path)


@pytest.mark.parametrize(("text", "why"), [("", "empty"), ("---\na: b\n---\n", "empty"), ("x" * 300_000, "longer")])
def test_a_note_must_hold_something_and_not_too_much(brain, text, why):
    """Both are said."""
    with pytest.raises(UserError, match=why):
        put_note(brain.layout, Files(), text)


def test_notes_of_a_workspace_are_taken_in_once_and_again_when_they_change(brain, tmp_path):
    """The note keeps its id; links and empty files are none."""
    work = tmp_path / "work"
    (work / "memory").mkdir(parents=True)
    (work / "memory" / "found.md").write_text("the zebra lives at 12 Elm Street")
    (work / "memory" / "empty.md").write_text(" \n")
    (work / "memory" / "link.md").symlink_to("/etc/passwd")
    inbox = Inbox(workspace=str(work), author=Author(task_id="t", attempt_id="t.a1.0123abcd"))
    (path,) = collect_notes(brain.layout, Files(), inbox, lambda text: text.replace("Elm", "***"))
    assert "12 *** Street" in (brain.root / path).read_text()
    assert collect_notes(brain.layout, Files(), inbox, lambda text: text.replace("Elm", "***")) == []
    (work / "memory" / "found.md").write_text("it moved")
    assert collect_notes(brain.layout, Files(), inbox) == [path]


@pytest.mark.parametrize("seed", range(12))
def test_an_index_that_was_damaged_is_built_anew(brain, pool, seed):
    """Whatever was done to its file, ids resolve and the search finds what is there."""
    draw = random.Random(seed)
    for number in range(60):
        brain.write(f"knowledge/n{number}.md", f"# Note {number}\n\nword{number} " + "filler " * 60 + "\n")
    pool.refresh()
    path = index_path(pool.layout)
    data = bytearray(Path(path).read_bytes())
    match seed % 4:
        case 0:
            data = data[: draw.randrange(len(data))]
        case 1:
            for _ in range(200):
                data[draw.randrange(len(data))] = draw.randrange(256)
        case 2:
            data = bytearray(draw.randbytes(5_000))
        case _:
            start = draw.randrange(len(data) - 4096)
            data[start : start + 4096] = bytes(4096)
    Path(path).write_bytes(data)
    pool.check()
    pool.refresh()
    for number in draw.sample(range(60), 5):
        assert pool.resolve(f"knowledge/n{number}").path == f"knowledge/n{number}.md"
        assert f"knowledge/n{number}.md" in paths(pool.search(f"word{number}"))


def test_an_index_of_another_format_is_built_anew(brain, pool):
    """A newer program's cache is thrown away like a damaged one."""
    brain.write("knowledge/a.md", "zebra\n")
    pool.refresh()
    connection = sqlite3.connect(index_path(pool.layout))
    connection.execute("pragma user_version = 99")
    connection.close()
    assert pool.search("zebra") != []


def test_rebuilding_gives_the_same_answers(brain, pool):
    """The index holds nothing that the files do not."""
    for number in range(30):
        brain.write(f"knowledge/n{number}.md", f"# N{number}\n\nzebra {'x ' * number}\n")
    pool.refresh()
    before = pool.search("zebra", 30)
    pool.rebuild()
    assert pool.search("zebra", 30) == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(question=st.text(max_size=200))
def test_any_question_can_be_asked(pool, question):
    """No text is a fault of the query language."""
    assert isinstance(pool.search(question), list)


places = st.lists(
    st.builds(
        lambda chunk, share: Place(chunk=chunk, path=f"{chunk}.md", line=1, last_line=1, heading="", share=share),
        st.integers(1, 40),
        st.floats(0, 1),
    ),
    unique_by=lambda place: place.chunk,
    max_size=20,
)


@given(places, places)
def test_uniting_loses_nothing_and_scores_at_most_one(by_words, by_vectors):
    """Every place is there once, in the order of the scores."""
    found = united(by_words, by_vectors)
    assert {place.chunk for place, _, _ in found} == {place.chunk for place in (*by_words, *by_vectors)}
    scores = [score for _, score, _ in found]
    assert len(found) == len({place.chunk for place, _, _ in found})
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
