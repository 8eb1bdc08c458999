"""`brain rate` as a person uses it."""

import pytest


def test_a_result_is_rated_and_the_next_route_knows(brain, cli):
    """Said in a sentence, kept with its reason."""
    brain.echo()
    brain.drop("a.md", "---\ntype: code\ninterface: echo\n---\n# A\n")
    brain.run_once()
    said = cli("rate", "a", "bad", "--why", "the second table is made up")
    assert said.code == 0
    assert said.out.startswith("a: echo did badly")
    facts = cli("rate", "a", "bad", "--json").json
    assert (facts["task_id"], facts["interface"], facts["good"]) == ("a", "echo", False)
    brain.drop("b.md", "---\ntype: code\ninterface: echo\n---\n# B\n")
    assert "history: 0 of 1 good on code" in cli("route", "b").out


@pytest.mark.parametrize(
    ("task", "word"), [("b", "has not ended"), ("nobody", "there is no task"), ("bad", "nothing to rate")]
)
def test_what_cannot_be_rated_is_refused_with_its_reason(brain, cli, task, word):
    """Not ended, not there, or never worked on."""
    brain.echo()
    brain.drop("bad.md", "---\npriority: soon\n---\n# Bad\n")
    brain.run_once()
    brain.drop("b.md", "# B\n")
    said = cli("rate", task, "good")
    assert said.code != 0
    assert word in said.complaint


def test_secrets_stay_out_of_ratings(brain, cli, monkeypatch):
    """The reason is committed, so what the daemon knows for a secret leaves it."""
    monkeypatch.setenv("GEMINI_API_KEY", "canary-value-12345")
    brain.echo()
    brain.drop("a.md", "---\ninterface: echo\n---\n# A\n")
    brain.run_once()
    assert cli("rate", "a", "good", "--why", "with canary-value-12345 it works").code == 0
    assert "canary-value" not in brain.all_of_git()
