"""`brain submit` says before a start what a long prompt may cost, where the options really send it."""

LONG = "one two three four " * 8_000
PAID = "type: llm\ncost: {tier: paid, input_per_million: 5, output_per_million: 25}\n"
SMALL = "type: llm\ncost: {tier: subscription}\nlimits: {tokens_per_request: 15000}\n"


def test_the_options_count(cli, brain):
    """A binding on the command line is one: refused there, it names no other interface and no price."""
    brain.program("paid1", "cat", more=PAID)
    brain.program("sub1", "cat", more=SMALL)
    said = cli("submit", LONG, "--id", "long", "--interface", "sub1")
    assert said.out == "long\n"
    assert "long: its prompt has 32," in said.complaint
    assert "nobody can take it now: the task is bound to sub1, which cannot take it" in said.complaint
    assert "paid1" not in said.complaint


def test_it_names_the_interface_the_tokens_and_the_cost(cli, brain):
    """With nobody else for it, and a short one without a word."""
    brain.program("paid1", "cat", more=PAID)
    said = cli("submit", LONG, "--id", "long", "--interface", "paid1")
    assert "long: on paid1 it may need 32," in said.complaint
    assert "about $0.1" in said.complaint
    assert "may need" not in cli("submit", "short", "--interface", "paid1").complaint
