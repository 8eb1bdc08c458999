"""A limit that passes within the minute: its worker waits, and every page says so and until when."""

import re
import time

import pytest

from brain_daemon.record.wording import until_words

LIMITED = """type: llm
output: {format: json, ok: "out.answer", text: out.answer}
errors:
  - {kind: rate_limit, message: out.error, retry_after: out.after}
"""
SAYS = """echo '{"error": "too many requests", "after": "50s"}'; exit 1"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Accounts of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))


async def test_a_task_between_two_attempts_waits_until_a_time(brain, cli):
    """In `status`, `list`, `show` and on the board; it is not `active, ended, being recorded`."""
    brain.program("limited", "sh", "-c", SAYS, more=LIMITED)
    async with brain.running() as daemon:
        brain.drop("a.md", "---\ninterface: limited\n---\n# A\n\nSay it.\n")
        await daemon.until(lambda: "tried again then" in brain.board.read_text(), "the board to say so")
        assert "## Active (0)" in brain.board.read_text()
        status, facts = cli("status").out, cli("status", "--json").json
        listed, shown = cli("list").out, cli("show", "a").out
    assert "being recorded" not in status + listed + shown
    assert facts["active"] == []
    assert facts["held"][0]["task_id"] == "a"
    assert facts["held"][0]["until"] is not None
    for said in (status, listed, shown):
        assert re.search(r"tried again then, until \S+Z, in \d+ s", said)


def test_a_short_wait_reads_as_one():
    """In seconds, and never as none at all."""
    now = time.time()
    assert until_words(None, now) == ""
    assert until_words(now + 12, now).endswith(", in 12 s")
    assert until_words(now + 0.2, now).endswith(", in 1 s")
    assert until_words(now + 90, now).endswith(", in 1 min 30 s")
    assert until_words(now - 5, now).endswith("Z")
