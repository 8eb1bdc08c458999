"""`brain show` says of a long prompt that waits what it may cost."""

LONG = "one two three four " * 5_000


def test_a_task_that_waits_shows_its_estimate(cli, brain):
    """As a line, and as a value; null for a short one."""
    brain.echo()
    brain.drop("long.md", f"---\ninterface: echo\n---\n{LONG}")
    brain.drop("short.md")
    assert "  estimate  on echo it may need 20," in cli("show", "long").out
    assert cli("show", "long", "--json").json["estimate"].startswith("on echo it may need")
    assert cli("show", "short", "--json").json["estimate"] is None
