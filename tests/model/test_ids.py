"""Names: what may be an id, how a file's name becomes one, and that ids never collide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model import ids

NAMES = st.text(min_size=0, max_size=300)


@pytest.mark.parametrize("text", ["a", "task-001", "Report_2026.v2", "0123", "x" * 120])
def test_these_are_ids(text):
    """Letters, digits, dots, dashes and underscores, beginning with a letter or digit, at most 120 long."""
    assert ids.is_task_id(text)


@pytest.mark.parametrize(
    "text", ["", "-a", ".a", "_a", "a b", "a/b", "a..b", "a.", "ä", "a\n", "x" * 121, "con", "NUL.txt", "lpt9", "a\0"]
)
def test_these_are_not(text):
    """Paths, hidden names, what Windows reserves, and what is no ASCII."""
    assert not ids.is_task_id(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("daily", "daily"),
        ("Weekly report (draft)", "Weekly-report-draft"),
        ("Größe & Gewicht", "Groe-Gewicht"),
        ("a..b", "a.b"),
        ("--x--", "x"),
        ("../../etc/passwd", "etc-passwd"),
    ],
)
def test_a_name_becomes_an_id_people_can_type(name, expected):
    """Letters are folded to ASCII, everything else becomes a dash."""
    assert ids.slug(name) == expected


@pytest.mark.parametrize("name", ["日本語", "", "...", "con", "\udcff"])
def test_a_name_with_nothing_to_fold_gives_a_stable_hash(name):
    """Equal names give equal ids, others give others."""
    assert ids.slug(name) == ids.slug(name)
    assert ids.slug(name).startswith("task-")
    assert ids.slug(name) != ids.slug(name + "本")


@given(NAMES)
def test_every_name_becomes_an_id_that_stays_itself(name):
    """The slug of any text is an id, and the slug of that id is the same."""
    made = ids.slug(name)
    assert ids.is_task_id(made)
    assert ids.slug(made) == made


@given(st.lists(st.sampled_from(["a", "A", "a-2", "b"]), max_size=12))
def test_numbered_ids_never_collide(wanted):
    """Whatever is asked for, in whatever case, no id is given twice."""
    taken: set[str] = set()
    for base in wanted:
        given_id = ids.numbered(base, taken)
        assert given_id.casefold() not in taken
        assert given_id == base or given_id.startswith(f"{base}-")
        taken.add(given_id.casefold())


def test_ids_that_differ_only_by_case_are_one():
    """Some file systems cannot hold both."""
    assert ids.same_id("Task-A", "task-a")
    assert not ids.same_id("task-a", "task-b")


def test_an_attempt_id_names_task_number_and_token():
    """It can be found again by its grammar."""
    made = ids.attempt_id("task.a1.x", 12, "0123abcd")
    assert made == "task.a1.x.a12.0123abcd"
    assert ids.ATTEMPT_ID.fullmatch(made)


@pytest.mark.parametrize("text", ["Claude Code", "claude-code", " claude_code ", "CLAUDE  code"])
def test_interface_names_are_compared_in_one_form(text):
    """Case, spaces and hyphens make no difference."""
    assert ids.normal_name(text) == "claude_code"
