"""`brain acquire` on an interface alone, as a command."""

API = """---
name: api
type: llm
cost: {tier: paid, input_per_million: 5, output_per_million: 25}
invoke: {command: [cat]}
---
# Api
"""


def test_a_spent_budget_of_the_day_stops_it(cli, brain, monkeypatch, tmp_path):
    """Exit code 4, `stopped`, and the reason; a small one is granted."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    brain.write("brain.toml", "budgets = [{scope = 'day', usd = 0.001, hard = true}]\n")
    brain.write("tools/interfaces/api.md", API)
    said = cli("acquire", "--interface", "api", "--tokens", "300000", "--json")
    assert said.code == 4
    told = said.json
    assert (told["outcome"], told["task_id"]) == ("stopped", None)
    assert "the day budget" in told["why"]
    assert told["until"] is not None
    assert cli("acquire", "--interface", "api", "--tokens", "100").code == 0
