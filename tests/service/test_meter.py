"""What is used of declared limits, with a clock of our own."""

from decimal import Decimal

import pytest

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import CostBasis, Status
from brain_daemon.service.meter import Meter

DAY = 86_400.0


def interface(name: str, *, limits: str = "messages_per_day: 5", account: str = ""):
    more = f"account: {account}\n" if account else ""
    text = f"---\nname: {name}\n{more}limits: {{{limits}}}\ninvoke:\n  kind: command\n  command: [cat]\n---\n"
    return parse_interface(f"{name}.md", text.encode())


class Clock:
    def __init__(self) -> None:
        self.now = 10 * DAY + 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def meter(clock):
    return Meter(clock=clock)


def test_messages_requests_and_tokens_are_counted(meter, clock):
    """A message from its start, tokens from its end; a minute later the rates are free again."""
    one = interface("one")
    meter.started(one)
    clock.now += 30
    meter.started(one)
    meter.ended(one, 500)
    used = meter.used([one])["one"]
    assert (used.messages_today, used.requests_last_minute, used.tokens_last_minute) == (2, 2, 500)
    assert used.minute_resets_at == 10 * DAY + 160.0
    assert used.day_resets_at == 11 * DAY
    clock.now += 31
    used = meter.used([one])["one"]
    assert (used.messages_today, used.requests_last_minute, used.tokens_last_minute) == (2, 1, 500)
    clock.now += 30
    used = meter.used([one])["one"]
    assert (used.requests_last_minute, used.tokens_last_minute, used.minute_resets_at) == (0, 0, None)


def test_a_new_day_begins_at_zero(meter, clock):
    """At midnight UTC, seen on the first look after it."""
    one = interface("one")
    meter.started(one)
    clock.now = 11 * DAY
    assert meter.used([one])["one"].messages_today == 0
    assert meter.used([one])["one"].day_resets_at == 12 * DAY


def test_interfaces_of_one_account_share_their_use(meter):
    """What one has sent the other cannot."""
    one, two, other = interface("one", account="max"), interface("two", account="max"), interface("other")
    meter.started(one)
    used = meter.used([one, two, other])
    assert (used["one"].messages_today, used["two"].messages_today, used["other"].messages_today) == (1, 1, 0)


def test_the_ledger_of_today_counts_at_the_start(clock):
    """By account where the row has one; a row without an interface is nobody's."""
    rows = [
        CostRow(timestamp="2026-11-20T10:00:00Z", task_id="t", attempt_id=f"t.a{n}.00000000", attempt=n, status=Status.FAILED, interface=name, account=account, cost_usd=Decimal(0), cost_basis=CostBasis.FREE)
        for n, (name, account) in enumerate([("one", None), ("one", None), ("two", "max"), (None, None)], 1)
    ]  # fmt: skip
    meter = Meter(rows, clock)
    used = meter.used([interface("one"), interface("two", account="max")])
    assert (used["one"].messages_today, used["two"].messages_today) == (2, 1)


def test_only_what_declares_a_limit_is_reported(meter):
    """Nobody asks for the others."""
    free = interface("free", limits="")
    meter.started(free)
    meter.ended(free, 0)
    assert meter.used([free]) == {}
