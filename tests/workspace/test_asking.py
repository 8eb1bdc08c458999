"""Questions in a workspace: found once, cleaned, bounded, and never anything else than a plain file."""

import os

import pytest

from brain_daemon.model.errors import StorageError
from brain_daemon.store.files import Files
from brain_daemon.workspace.asking import (
    MAX_QUESTION_BYTES,
    MAX_QUESTIONS,
    MAX_TOGETHER_CHARACTERS,
    collect_questions,
    put_question,
)

ATTEMPT = "t.a1.0123abcd"


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "questions"
    place.mkdir()
    return place


def test_what_was_put_is_collected_once(tmp_path):
    """Both ways of asking are one; the text stays beside."""
    put_question(Files(), str(tmp_path), ATTEMPT, "Which colour?")
    put_question(Files(), str(tmp_path), ATTEMPT, "Which size?")
    (tmp_path / "questions" / "own.md").write_text("\ufeffWhich \x1b[2Jdate?\r\n")
    assert collect_questions(Files(), str(tmp_path)) == (
        "Which \\x1b[2Jdate?\n\n---\n\nWhich colour?\n\n---\n\nWhich size?"
    )
    assert collect_questions(Files(), str(tmp_path)) == ""
    assert sorted(os.listdir(tmp_path / "questions")) == [
        "own.md.1.asked", f"{ATTEMPT}.1.md.1.asked", f"{ATTEMPT}.2.md.1.asked",
    ]  # fmt: skip
    put_question(Files(), str(tmp_path), ATTEMPT, "And now?")
    assert collect_questions(Files(), str(tmp_path)) == "And now?"


def test_in_a_folder_that_is_not_ours_only_the_attempts_own_files_are_questions(folder, tmp_path):
    """A repository may have a folder of that name."""
    (folder / "faq.md").write_text("What is this?")
    (folder / f"{ATTEMPT}.md").write_text("Mine?")
    assert collect_questions(Files(), str(tmp_path), ATTEMPT) == "Mine?"
    assert (folder / "faq.md").read_text() == "What is this?"


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "huge", "hidden", "other"])
def test_what_is_no_plain_question_is_left_alone(folder, tmp_path, kind):
    """It is neither read nor moved."""
    secret = tmp_path / "secret.md"
    secret.write_text("secret")
    place = folder / {"hidden": ".q.md", "other": "q.txt"}.get(kind, "q.md")
    match kind:
        case "link":
            place.symlink_to(secret)
        case "fifo":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case "huge":
            place.write_bytes(b"x" * (MAX_QUESTION_BYTES + 1))
        case _:
            place.write_text("x")
    assert collect_questions(Files(), str(tmp_path)) == ""
    assert os.listdir(folder) == [place.name]


def test_a_folder_that_is_a_link_is_no_place_for_questions(tmp_path):
    """What it leads to may be anybody's."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.md").write_text("x")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "questions").symlink_to(tmp_path / "notes")
    assert collect_questions(Files(), str(tmp_path / "work")) == ""
    assert os.listdir(tmp_path / "notes") == ["mine.md"]


def test_no_folder_is_no_question(tmp_path):
    """Nor is an empty file one."""
    assert collect_questions(Files(), str(tmp_path)) == ""
    (tmp_path / "questions").mkdir()
    (tmp_path / "questions" / "q.md").write_text(" \n")
    assert collect_questions(Files(), str(tmp_path)) == ""


def test_questions_have_a_limit(tmp_path):
    """Together they fit into what an outcome may say, and no run leaves files without end."""
    for number in range(MAX_QUESTIONS):
        put_question(Files(), str(tmp_path), ATTEMPT, f"{number} " + "word " * 200)
    with pytest.raises(StorageError, match="End the run"):
        put_question(Files(), str(tmp_path), ATTEMPT, "one more")
    text = collect_questions(Files(), str(tmp_path))
    assert len(text) <= MAX_TOGETHER_CHARACTERS
    assert text.endswith("… This is not all of it.")
