"""`brain questions` and `brain answer`."""

import pytest

SECRET = "the key is ghp_" + "a1B2" * 10


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setenv("BRAIN_SETTLE", "0s")


@pytest.fixture
def asked(brain):
    """A brain with two questions about held tasks."""
    brain.echo()
    brain.drop("far.md", "---\nrequires: teleport\n---\nx\n")
    brain.drop("key.md", SECRET)
    brain.run_once()
    return brain


def test_a_brain_that_never_ran_has_no_questions(cli):
    """And says so; for programs it is an empty list."""
    assert cli("questions").out == "There is nothing to answer.\n"
    assert cli("questions", "--json").json == {"questions": []}


def test_questions_show_their_choices_and_commands(cli, asked):
    """Oldest first, with the command that answers; the shape for programs."""
    said = cli("questions")
    assert said.code == 0
    assert "nobody offers teleport" in said.out
    assert "brain answer secret-key release|cancel" in said.out
    facts = {one["about"]: one for one in cli("questions", "--json").json["questions"]}
    assert list(facts["key"]) == ["id", "kind", "about", "asked", "text", "choices"]
    assert [choice["key"] for choice in facts["key"]["choices"]] == ["release", "cancel"]


def test_an_answer_is_carried_out(cli, asked):
    """By the id of the question, or of the task it is about."""
    assert cli("answer", "secret-key", "release").code == 0
    facts = cli("answer", "far", "cancel", "--json").json
    assert facts == {"question": facts["question"], "about": "far", "choice": "cancel", "label": "Give this task up"}
    assert asked.where("far") == ["failed"]
    assert cli("questions", "--json").json == {"questions": []}
    asked.run_once()
    assert asked.where("key") == ["completed"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("secret-key", "perhaps"), "There are: release, cancel"),
        (("nothing", "release"), "it is no open question. Open are: no-interface-teleport, secret-key"),
    ],
)
def test_an_answer_to_nothing_is_bad_input(cli, asked, arguments, said):
    """Exit code 2, and what would be possible."""
    found = cli("answer", *arguments)
    assert (found.code, said in found.complaint) == (2, True)
    assert asked.where("key") == ["pending"]
