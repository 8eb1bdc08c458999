"""`brain simulate`: a queue worked through on paper, policies side by side."""

import pytest

QUEUE = """\
slots: 2
tasks:
  - {type: code, count: 6, every: 1m, input_tokens: 1000, output_tokens: 1000}
interfaces:
  - name: free
    cost: {tier: free}
    limits: {messages_per_day: 4}
    success: 1
    seconds: 1m
    spread: 0
  - name: dear
    cost: {tier: paid, input_per_million: 100, output_per_million: 100}
    success: 1
    seconds: 1m
    spread: 0
"""


@pytest.fixture
def queue(tmp_path) -> str:
    path = tmp_path / "queue.yaml"
    path.write_text(QUEUE)
    return str(path)


def test_policies_stand_side_by_side(cli, queue) -> None:
    """What each costs and who waits, then who did how much of what was offered."""
    said = cli("simulate", queue, "--policy", "ladder", "--policy", "always:dear")
    ladder, always = said.out.splitlines()[1:3]
    assert ladder.split()[:5] == ["ladder", "6", "0", "0", "$0"]
    assert always.split()[:5] == ["always:dear", "6", "0", "0", "$1.20"]
    assert said.out.splitlines()[5].split() == ["free", "6", "(75%)", "0", "(0%)"]
    assert said.code == 0


def test_the_facts_are_exact(cli, queue) -> None:
    """As JSON: every task in one place, dollars with every digit."""
    found = cli("simulate", queue, "--policy", "ladder_fallback", "--json").json
    assert (found["tasks"], found["slots"], found["seed"]) == (6, 2, 1)
    (policy,) = found["policies"]
    assert (policy["completed"], policy["cost_usd"], policy["wait_p95_seconds"]) == (6, "0.600000", 0.0)
    free = policy["interfaces"][0]
    assert free["windows"] == [{"per": "day", "unit": "messages", "used": "3", "offered": "4", "fullest": "3"}]


def test_nothing_starts_after_the_end_of_the_night(cli, queue) -> None:
    """`--until` counts from the first task."""
    found = cli("simulate", queue, "--policy", "ladder", "--until", "2h", "--json").json["policies"][0]
    assert (found["completed"], found["waiting"]) == (3, 3)


def test_what_you_would_answer_near_a_limit_decides_who_goes_on(cli, tmp_path) -> None:
    """Without an answer the last tenth of the day waits for the next one; the settings hold for the rest."""
    path = tmp_path / "q.yaml"
    path.write_text(
        "tasks: [{count: 40, every: 1s}]\ninterfaces:\n"
        "  - {name: free, cost: {tier: free}, limits: {messages_per_day: 20}, good_at: {default: 0.9}, success: 1.0}\n"
        "  - {name: dear, cost: {tier: paid, input_per_million: 1, output_per_million: 1}, good_at: {default: 0.9}, success: 1.0}\n"
    )

    def sent(*options: str) -> dict[str, int]:
        found = cli("simulate", str(path), "--policy", "ladder", "--until", "12h", *options, "--json").json
        return {one["interface"]: one["attempts"] for one in found["policies"][0]["interfaces"]}

    assert sent() == {"free": 17, "dear": 0}
    assert sent("--answer", "go_on") == {"free": 20, "dear": 0}
    assert sent("--answer", "paid") == {"free": 17, "dear": 23}


def test_slots_on_the_command_line_go_before_the_files(cli, queue) -> None:
    """And before the setting."""
    assert cli("simulate", queue, "--slots", "7", "--policy", "ladder", "--json").json["slots"] == 7


def test_past_days_are_worked_through_again(brain, cli) -> None:
    """The ledger's tasks, with interfaces as they behaved."""
    brain.echo()
    brain.drop("one.md")
    brain.drop("two.md")
    brain.run_once()
    found = cli("simulate", "--since", "today", "--policy", "ladder", "--json").json
    assert found["tasks"] == 2
    assert found["policies"][0]["completed"] + found["policies"][0]["failed"] == 2
    assert cli("simulate", "--since", "2999-01-01").out == "There is no task to simulate.\n"


def test_what_nobody_can_do_and_what_nobody_can_price_is_said(cli, tmp_path) -> None:
    """Below the tables; a key nobody knows goes to the complaints."""
    path = tmp_path / "q.yaml"
    path.write_text("tasks: [{requires: vision}, {tipe: x}]\ninterfaces: [{name: new, cost: {tier: paid}}]\n")
    said = cli("simulate", str(path), "--policy", "ladder")
    assert "ladder: nobody could take 1 of the tasks" in said.out
    assert "ladder: the cost of " in said.out
    assert "tipe" in said.complaint


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("{queue}", "--since", "today"),
        ("{queue}", "--until", "soon"),
        ("{queue}", "--policy", "best"),
        ("gone.yaml",),
    ],
)
def test_what_cannot_be_simulated_is_a_usage_error(cli, queue, arguments) -> None:
    """One source, a duration, a policy that exists, a file that exists."""
    said = cli("simulate", *(one.format(queue=queue) for one in arguments))
    assert said.code == 2
    assert said.complaint.startswith("brain: simulating")
