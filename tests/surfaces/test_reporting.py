"""`brain report` on a real brain."""

from datetime import UTC, datetime

import pytest


@pytest.fixture
def worked(brain):
    brain.echo()
    brain.drop("a.md", "# A\n")
    brain.drop("b.md", "---\npriority: soon\n---\n# B\n")
    brain.run_once()
    return brain


def test_today_so_far_is_shown_written_and_committed(worked, cli):
    """The page is the one in context/reports/, and git has it."""
    today = datetime.now(UTC).date().isoformat()
    said = cli("report")
    assert said.code == 0
    assert said.out.startswith(f"# Report {today}")
    assert (worked.root / f"context/reports/{today}.md").read_text() == said.out
    assert worked.git("show", f"HEAD:context/reports/{today}.md") == said.out
    assert worked.dirty() == ""


def test_a_report_for_programs_has_every_measure(worked, cli):
    """Completion counts tasks; both of them have ended by themselves."""
    facts = cli("report", "--json").json
    measures = {one["key"]: one for one in facts["measures"]}
    assert measures["completion_rate"]["value"] == 0.5
    assert measures["completion_rate"]["met"] is False
    assert facts["total"]["attempts"] == 2
    assert [one["mode"] for one in facts["modes"]] == ["daemon"]


def test_a_span_is_shown_and_not_written(worked, cli):
    """It has no page of its own."""
    said = cli("report", "--since", "7d")
    assert said.code == 0
    assert " to " in said.out.splitlines()[0]
    assert "the 8 days before" in said.out
    assert not (worked.root / "context/reports").exists()


@pytest.mark.parametrize("arguments", [("--day", "soon"), ("--day", "2999-01-01"), ("--day", "today", "--since", "7d")])
def test_a_day_that_cannot_be_is_a_usage_error(worked, cli, arguments):
    """Exit 2."""
    assert cli("report", *arguments).code == 2
