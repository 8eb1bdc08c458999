"""List prices by model: the package's data, its cached and long-context prices, and an honest unknown."""

import sys
from decimal import Decimal
from pathlib import Path

import pytest

from brain_daemon.adapters.prices import cost_of, listed_usd
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import FREE, UNKNOWN_COST, Cost, CostBasis, Usage

MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


def interface(cost: str, base_url: str = "") -> InterfaceSpec:
    invoke = f"{{protocol: openai, base_url: '{base_url}'}}" if base_url else "{command: [x]}"
    made = parse_interface("mine.md", f"---\nname: mine\ntype: llm\ncost: {cost}\ninvoke: {invoke}\n---\n".encode())
    assert isinstance(made, InterfaceSpec), made
    return made


@pytest.mark.parametrize(
    ("model", "where", "usd"),
    [
        ("gpt-5", {}, "11.25"),
        ("gpt-5-2025-08-07", {}, "11.25"),
        ("claude-haiku-4-5", {}, "6"),
        ("anthropic/claude-haiku-4-5", {}, "6"),
        ("claude-haiku-4-5", {"provider": "anthropic"}, "6"),
        ("gemini-2.5-flash", {"base_url": "https://generativelanguage.googleapis.com/v1beta/openai"}, "2.8"),
        ("models/gemini-2.5-flash", {}, "2.8"),
        ("gpt-5", {"base_url": "http://127.0.0.1:8000/v1"}, "11.25"),
        ("claude-haiku-4-5", {"provider": "nobody"}, None),
        ("nobody-knows-1", {}, None),
        ("gpt-99-made-up", {}, None),
        ("", {}, None),
    ],
)
def test_a_model_is_found_by_its_name_and_whoever_sells_it(model, where, usd):
    """In each spelling that providers and resellers use; a model that no list knows has no price."""
    assert listed_usd(MILLION, (model,), **where) == (None if usd is None else Decimal(usd))


def test_cached_input_has_its_own_price():
    """GPT-5 takes a tenth for it; more cached than there was is all of it."""
    cached = Usage(input_tokens=1_000_000, cached_input_tokens=1_000_000, output_tokens=0)
    assert listed_usd(cached, ("gpt-5",)) == Decimal("0.125")
    assert listed_usd(Usage(input_tokens=100, cached_input_tokens=900, output_tokens=0), ("gpt-5",)) is not None


def test_a_long_prompt_costs_more_and_many_short_ones_do_not():
    """Gemini's mark of 200,000 tokens counts for a request, not for the sum of a run."""
    one = Usage(input_tokens=400_000, output_tokens=0, requests=1)
    many = Usage(input_tokens=400_000, output_tokens=0, requests=40)
    assert listed_usd(one, ("gemini-2.5-pro",)) == Decimal("1.0")
    assert listed_usd(many, ("gemini-2.5-pro",)) == Decimal("0.5")


def test_the_model_that_answered_goes_before_the_one_asked_for():
    """An alias says nothing; where the answer names no known model, the request's does."""
    spec = interface("{tier: paid, model: fast}")
    assert cost_of(spec, MILLION, None, "claude-haiku-4-5", "gpt-5").usd == 6
    assert cost_of(spec, MILLION, None, "accounts/x/y", "gpt-5").usd == Decimal("11.25")
    assert cost_of(spec, MILLION, None, None, None) == UNKNOWN_COST


@pytest.mark.parametrize(
    ("cost", "reported", "found"),
    [
        ("{tier: paid, model: gpt-5}", None, Cost(usd=Decimal("11.25"), basis=CostBasis.PRICED)),
        ("{tier: paid, model: gpt-5, provider: nobody}", None, UNKNOWN_COST),
        ("{tier: paid, model: gpt-5, input_per_million: 1, output_per_million: 2}", None, Cost(usd=Decimal(3), basis=CostBasis.PRICED)),
        ("{tier: paid, model: gpt-5}", Decimal("0.2"), Cost(usd=Decimal("0.2"), basis=CostBasis.REPORTED)),
        ("{tier: subscription, model: gpt-5}", None, Cost(usd=Decimal(0), basis=CostBasis.SUBSCRIPTION)),
        ("{tier: free, model: gpt-5}", None, FREE),
        ("{tier: paid, model: nobody-knows-1}", None, UNKNOWN_COST),
    ],
)  # fmt: skip
def test_the_order_of_prices(cost, reported, found):
    """The client's own figure, the file's, the list's; free and subscription cost nothing more; else unknown."""
    assert cost_of(interface(cost), MILLION, reported) == found


def test_the_lists_are_not_loaded_for_what_needs_none(tmp_path):
    """They take 0.2 s and 37 MB: a free interface, a stated price or a reported cost never loads them."""
    import subprocess

    script = (
        "import sys\nfrom brain_daemon.adapters.prices import cost_of\n"
        "from brain_daemon.model.interface_file import parse_interface\n"
        "from brain_daemon.model.outcome import Usage\nfrom decimal import Decimal\n"
        "def spec(cost): return parse_interface('x.md', f'---\\nname: x\\ncommand: x\\ncost: {cost}\\n---\\n'.encode())\n"
        "use = Usage(input_tokens=5, output_tokens=5)\n"
        "cost_of(spec('free'), use, None)\n"
        "cost_of(spec('{tier: paid, input_per_million: 1, output_per_million: 1}'), use, None)\n"
        "cost_of(spec('{tier: paid, model: gpt-5}'), use, Decimal(1))\n"
        "cost_of(spec('{tier: paid, model: gpt-5}'), Usage(), None)\n"
        "print('genai_prices' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "False"


SHIPPED = Path(__file__).parents[2] / "tools" / "interfaces"


@pytest.mark.parametrize("name", ["openai_api", "anthropic_api", "gemini_api"])
def test_every_model_of_a_shipped_api_has_a_list_price(name):
    """A budget can stop it in the middle, and its cost is never unknown."""
    spec = parse_interface(f"{name}.md", (SHIPPED / f"{name}.md").read_bytes())
    assert isinstance(spec, InterfaceSpec), spec
    assert spec.cost.model in dict(spec.models).values()
    for _, model in spec.models:
        assert cost_of(spec, MILLION, None, model).basis is CostBasis.PRICED
