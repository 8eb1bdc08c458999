"""`brain batch` on a real brain: forecast, independent failures, the account, and going on where it stopped."""

import asyncio
import json
import time

import pytest

from brain_daemon.model.parsing import ParseLimits
from brain_daemon.record.wording import utc
from brain_daemon.service.batch_run import BatchRun
from brain_daemon.service.batching import read_file


@pytest.fixture
def queue(brain, tmp_path):
    """`queue(rows)` writes a batch file of these rows."""
    brain.echo()
    brain.program("fails", "sh", "-c", "echo no >&2; exit 64", more="cost: {tier: free}\ngood_at: {default: 0}\n")

    def write(*rows, name="night.json"):
        path = tmp_path / name
        path.write_text(json.dumps(rows))
        return str(path)

    return write


def test_all_rows_run_and_the_account_says_what_each_came_to(brain, cli, queue, tmp_path):
    """Failures are independent; counts, totals and results agree with the ledger, under the mode batch."""
    path = queue(
        {"prompt": "One."}, {"prompt": "Two.", "interface": "fails", "attempts": 1}, {"id": "c", "prompt": "Three."}
    )
    said = cli("batch", path, "--yes", "--json")
    assert said.code == 1
    facts = said.json
    assert (facts["tasks"], facts["completed"], facts["failed"]) == (3, 2, 1)
    assert facts["success_rate"] == 0.6667
    assert {one["interface"]: one["completed"] for one in facts["by_interface"]} == {"echo": 2, "fails": 0}
    assert facts["total"]["attempts"] == len(brain.rows()) == 3
    assert {row.mode.value for row in brain.rows()} == {"batch"}
    assert [one["status"] for one in facts["results"]] == ["completed", "failed", "completed"]
    assert facts["results"][2]["name"] == "c"
    assert "Three." in facts["results"][2]["text"]
    assert json.loads((tmp_path / "night.results.json").read_text()) == facts


def test_the_same_file_again_redoes_nothing(brain, cli, queue):
    """What has ended is counted as done; exit 0 since all of it is completed."""
    path = queue({"prompt": "One."}, {"prompt": "Two."})
    assert cli("batch", path, "--yes").code == 0
    rows = brain.rows()
    said = cli("batch", path, "--yes", "--json")
    assert said.code == 0
    assert said.json["done_earlier"] == 2
    assert "not done again" in said.complaint
    assert brain.rows() == rows


def test_the_forecast_comes_first_and_without_a_yes_nothing_starts(brain, cli, queue):
    """Where nobody can be asked, starting is an error that says how."""
    brain.program(
        "dear", "cat", more="type: llm\ncost: {tier: paid, input_per_million: 1000, output_per_million: 1000}\n"
    )
    path = queue(
        {"prompt": "One.", "interface": "dear"},
        {"prompt": "Two.", "interface": "dear"},
        {"prompt": "Three.", "requires": "vision"},
    )
    said = cli("batch", path)
    assert said.code == 2
    assert "3 tasks: 2 to dear; 1 task will wait." in said.complaint
    assert "They take about $2.00." in said.complaint
    assert "1 task will wait: nobody offers vision" in said.complaint
    assert "--yes starts it" in said.complaint
    assert brain.names(brain.pending) == []


def test_the_forecast_says_what_a_window_has_left(brain, cli, queue):
    """The share of the window that goes, how many wait, until when, and for what: the question near its end included."""
    brain.program("few", "cat", more="limits: {messages_per_day: 4}\n")
    brain.drop("used.md", "---\ninterface: few\n---\n# Used\n")
    brain.run_once()
    path = queue(*({"prompt": f"Number {number}.", "interface": "few"} for number in range(5)))
    said = cli("batch", path)
    assert "5 tasks: 2 to few; 3 tasks will wait." in said.complaint
    assert "50 % of 4 messages per day of few" in said.complaint
    midnight = (time.time() // 86_400 + 1) * 86_400
    assert f"3 tasks will wait until {utc(midnight)}: few: 100% of 4 messages per day would be used" in said.complaint


def test_a_misspelt_key_is_said_before_anything_starts(brain, cli, queue):
    """Once, with the rows and the key that was meant; as of a task file it stops nothing."""
    path = queue(
        {"prompt": "One.", "prioritty": "high"},
        {"prompt": "Two.", "prioritty": "low"},
        {"prompt": "3.", "timeoutt": "5m"},
    )
    said = cli("batch", path)
    assert (
        "note: 2 rows, the first is 1: the key `prioritty` is unknown and has no effect: did you mean `priority`?\n"
        in said.complaint
    )
    assert "note: row 3: the key `timeoutt` is unknown" in said.complaint
    assert brain.names(brain.pending) == []


def test_what_several_wait_for_is_said_once(brain, cli, queue):
    """With how many they are, not a line for each."""
    path = queue({"prompt": "Two."}, *({"prompt": f"See {n}.", "requires": "vision"} for n in range(5)))
    said = cli("batch", path, "--yes")
    told = [line for line in said.complaint.splitlines() if "nobody offers vision" in line]
    assert told[0].startswith("5 tasks will wait: ")
    assert told[-1].startswith("5 tasks wait (the first is batch-")
    assert len(told) == 3


def test_one_bad_row_starts_nothing(brain, cli, queue):
    """All are checked before the first is dropped."""
    said = cli("batch", queue({"prompt": "One."}, {"prompt": "Two.", "priority": "soon"}), "--yes")
    assert said.code == 2
    assert "row 2:" in said.complaint
    assert brain.names(brain.pending) == []


def test_after_the_first_failure_fail_fast_starts_no_more(brain, cli, queue):
    """What has not started is taken back, and the next run of the file goes on with it."""
    path = queue(
        {"prompt": "One.", "interface": "fails", "attempts": 1}, *({"prompt": f"Later {n}."} for n in range(6))
    )
    facts = cli("batch", path, "--yes", "--fail-fast", "--parallel", "1", "--json").json
    assert facts["failed"] == 1
    assert facts["not_started"] > 0
    assert brain.names(brain.pending) == []
    again = cli("batch", path, "--yes", "--json").json
    assert (again["completed"], again["failed"], again["not_started"]) == (6, 1, 0)


def test_what_only_waits_is_said_and_left_to_the_daemon(brain, cli, queue):
    """A row nobody can do holds up no other."""
    path = queue({"prompt": "See.", "requires": "vision"}, {"prompt": "Two."})
    said = cli("batch", path, "--yes", "--json")
    assert said.code == 1
    assert (said.json["completed"], said.json["waiting"]) == (1, 1)
    assert "vision" in said.json["results"][0]["why"]


async def test_beside_a_daemon_it_only_drops_and_watches(brain, queue):
    """No second daemon; at most so many of its tasks are in the queue at a time."""
    path = queue(*({"prompt": f"Number {number}."} for number in range(9)))
    async with brain.running() as running:
        opened = brain.open()
        batch = read_file(path, _limits(opened))
        standings: list[int] = []
        run = BatchRun(opened, batch, parallel=2, fail_fast=False, note=lambda one: standings.append(one.under_way))
        standing = await asyncio.to_thread(run.run)
        opened.close()
        assert running.state == "running"
    assert standing.completed == 9
    assert max(standings) <= 2


async def test_interrupted_it_takes_back_what_has_not_started(brain, queue):
    """The rest of the file is done by the next run."""
    brain.echo("slow", "delay_seconds: 30")
    path = queue({"prompt": "Long.", "interface": "slow"}, *({"prompt": f"{n}."} for n in range(3)))
    opened = brain.open()
    batch = read_file(path, _limits(opened))
    run = BatchRun(opened, batch, parallel=1, fail_fast=False, note=lambda _: None)
    run._step()
    assert brain.names(brain.pending) == [f"{batch.id}-1.md"]
    run.standing.interrupted = True
    standing = run.run()
    opened.close()
    assert brain.names(brain.pending) == []
    assert (len(standing.sent), len(standing.ended)) == (0, 0)


def _limits(opened):

    return ParseLimits(file_bytes=opened.config.task_bytes)
