"""`brain questions` and `brain answer`."""

import pytest

from brain_daemon.store.files import Files
from brain_daemon.store.tokens import Tokens
from brain_daemon.workspace.asking import collect_questions

SECRET = "the key is ghp_" + "a1B2" * 10


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


# Answers in one's own words, and questions from those who work.


@pytest.fixture
def claim(cli, brain):
    """A task that ann has claimed; its claim's id."""
    brain.echo()
    brain.drop("one.md", "# Task: one\n\nx\n")
    return cli("claim", "--as", "ann", "--json").json["attempt_id"]


def test_an_agent_asks_and_finds_the_answer(cli, claim):
    """The exit code says whether there is one yet."""
    facts = cli("ask", "one", "Which \x1b[2Jcolour?", "--as", "ann", "--json").json
    assert facts["task_id"] == "one"
    found = cli("questions", "--answered", facts["question"])
    assert (found.code, found.out, "nothing was answered yet" in found.complaint) == (1, "", True)
    said = cli("questions").out
    assert "Which \\x1b[2Jcolour?" in said
    assert f'brain answer {facts["question"]} "TEXT"|cancel' in said
    assert cli("answer", "one", "Blue, and no other.").out == "one: answered\n"
    assert cli("questions", "--answered", "one").out.endswith("Blue, and no other.\n\n")
    (given,) = cli("questions", "--answered", facts["question"], "--json").json["answered"]
    assert (given["about"], given["choice"], given["answer"]) == ("one", "answer", "Blue, and no other.")
    assert list(given) == ["id", "about", "text", "answered", "choice", "answer", "effect"]


@pytest.mark.parametrize("way", ["text", "key", "file", "key and file", "stdin", "key and stdin"])
def test_words_are_given_in_any_way(cli, claim, tmp_path, monkeypatch, way):
    """As an argument, a file or standard input, with the key or without."""
    source = tmp_path / "answer.md"
    source.write_text("# Blue\n\nonly\n")
    arguments = {
        "text": ["# Blue\n\nonly"], "key": ["answer", "# Blue\n\nonly"], "file": ["-f", str(source)],
        "key and file": ["answer", "-f", str(source)], "stdin": ["-"], "key and stdin": ["answer", "-"],
    }[way]  # fmt: skip
    cli("ask", "one", "Which?")
    with source.open() as handle:
        monkeypatch.setattr("sys.stdin", handle)
        assert cli("answer", "one", *arguments).code == 0
    assert cli("questions", "--answered", "one", "--json").json["answered"][0]["answer"] == "# Blue\n\nonly"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one"], "there is no answer"),
        (["one", "answer"], "there is no answer"),
        (["one", "blue", "green"], "in quotes"),
        (["one", "cancel", "why"], "takes no text"),
        (["one", "blue", "-f", "x"], "given twice"),
        (["one", "-f", "/nowhere/x"], "cannot be read"),
        (["one", " "], "the answer is empty"),
    ],
)
def test_an_answer_that_says_nothing_is_bad_input(cli, claim, arguments, said):
    """The question stays open."""
    cli("ask", "one", "Which?")
    found = cli("answer", *arguments)
    assert (found.code, said in found.complaint) == (2, True), found
    assert len(cli("questions", "--json").json["questions"]) == 1


def test_a_choice_must_be_said(cli, asked):
    """Where the question takes no words."""
    found = cli("answer", "secret-key")
    assert (found.code, "say which choice: release, cancel" in found.complaint) == (2, True)


@pytest.fixture
def inside(brain, tmp_path, monkeypatch):
    """The environment of a task's program."""
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("BRAIN_TASK_ID", "one")
    monkeypatch.setenv("BRAIN_ATTEMPT_ID", "one.a1.0123abcd")
    monkeypatch.setenv("BRAIN_WORKSPACE", str(tmp_path / "work"))
    monkeypatch.setenv("BRAIN_PROOF", Tokens(brain.layout, Files()).of("one.a1.0123abcd"))
    return tmp_path / "work"


@pytest.mark.parametrize("token", ["its own", "none"])
def test_a_task_asks_by_a_file_in_its_workspace(cli, inside, monkeypatch, token):
    """And is told what happens next."""
    if token == "none":
        monkeypatch.delenv("BRAIN_PROOF")
    said = cli("ask", "Which colour?")
    assert said.out == "one: your question is kept: end your run now, you are resumed with the answer\n"
    assert collect_questions(Files(), str(inside), "one.a1.0123abcd") == "Which colour?"
    assert cli("ask", "Which size?", "--json").json["question"] is None


def test_a_token_of_somebody_else_is_refused(cli, inside, monkeypatch):
    """Nothing is asked then."""
    monkeypatch.setenv("BRAIN_ATTEMPT_ID", "two.a1.0123abcd")
    assert cli("ask", "Which colour?").code == 1
    assert list(inside.iterdir()) == []


def test_outside_of_a_task_an_id_is_wanted(cli):
    """The sentence says how."""
    found = cli("ask", "Which colour?")
    assert (found.code, "brain ask ID QUESTION" in found.complaint) == (2, True)
