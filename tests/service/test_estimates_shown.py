"""A long prompt that was dropped: what it may cost is said before it starts, while it waits and runs, and in its result."""

import contextlib
import json
from datetime import UTC, datetime, timedelta

LONG = "# Long\n\n" + "one two three four " * 5_000
WAITS = 'cat >/dev/null; while [ ! -e "{place}" ]; do sleep 0.05; done'


async def test_it_is_on_the_board_in_the_journal_and_in_the_result(brain, tmp_path):
    """The interface, the tokens, the cost and the part of its windows."""
    go = tmp_path / "go"
    brain.program("slow", "sh", "-c", WAITS.format(place=go), more="limits: {messages_per_day: 50}\n")
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    brain.drop("later.md", f"---\nnot_before: {later}\ninterface: slow\n---\n{LONG}")
    brain.drop("now.md", f"---\ninterface: slow\n---\n{LONG}")
    async with brain.running() as daemon:
        await daemon.started("now")
        await daemon.until(lambda: brain.board.read_text().count("on slow it may need 20,") == 2, "both on the board")
        (attempt,) = daemon.brain.journal.attempts_of("now")
        go.write_text("")
        await daemon.ended("now")
    assert "on slow it may need 20," in (attempt.routing or {})["estimate"]
    said = [one for one in brain.recorded("now").values["warnings"] if "it may need" in one]
    assert len(said) == 1
    assert "2.0% of 50 messages per day" in said[0]


def test_a_short_one_says_nothing(brain):
    """Nobody is told of what is usual."""
    brain.echo()
    brain.drop("short.md")
    brain.run_once()
    assert "may need" not in json.dumps(brain.recorded("short").values, default=str)
    with contextlib.closing(brain.journal()) as journal:
        assert "estimate" not in (journal.attempts_of("short")[0].routing or {})
