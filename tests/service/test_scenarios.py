"""What is simulated: queue files in three forms, the ledger of past days, and interfaces as history knows them."""

import contextlib
import json
from decimal import Decimal

import pytest

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import UserError
from brain_daemon.model.interface import Availability, CostSpec, InterfaceSpec, InterfaceType, Invoke, InvokeKind, Tier
from brain_daemon.model.outcome import CostBasis, Status
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import Priority
from brain_daemon.policy.asking import Answer
from brain_daemon.policy.evidence import NO_HISTORY, Tally, summed
from brain_daemon.policy.scenario import CONTENDERS
from brain_daemon.service.scenarios import Known, Scenario, contenders, of_ledger, read_file, rules_of


def spec(name: str, **fields) -> InterfaceSpec:
    base = {
        "name": name,
        "type": InterfaceType.LLM,
        "sha256": "",
        "invoke": Invoke(kind=InvokeKind.COMMAND, command=(name,)),
        "cost": CostSpec(tier=Tier.PAID),
    }
    return InterfaceSpec(**(base | fields))


KNOWN = Known(
    specs={"claude": spec("claude"), "asleep": spec("asleep", status=Availability.OFFLINE)},
    table=RoutingTable(aliases=(("coding", "code"),)),
    history=NO_HISTORY,
)


@pytest.fixture
def read(tmp_path):
    """`read("queue.yaml", text)` writes the file and gives what is in it."""

    def reading(name: str, text: str | bytes, known: Known = KNOWN) -> Scenario:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_file(str(path), known)

    return reading


YAML = """\
start: 2026-11-20T22:00:00Z
slots: 4
tasks:
  - {type: Coding, requires: "File Ops, code", priority: HIGH, at: 30m, prompt: "12345678"}
  - {count: 3, every: 10m, input_tokens: 2k, output_tokens: 300, interface: Claude}
  - {id: late, at: 2026-11-21T06:00:00Z, preferred_interface: claude}
"""
START = 1795212000.0


def test_a_queue_file_says_what_comes_when(read) -> None:
    """Ages count from the start, instants are instants; a counted task comes again and again under ids of its own."""
    found = read("night.yaml", YAML)
    assert found.slots == 4
    assert [(one.id, one.at_seconds - START) for one in found.arrivals] == [
        ("task-1", 1800.0),
        ("task-2", 0.0),
        ("task-2.2", 600.0),
        ("task-2.3", 1200.0),
        ("late", 28800.0),
    ]
    first = found.arrivals[0]
    assert (first.type, first.requires, first.priority) == ("code", ("file_ops", "code"), Priority.HIGH)
    assert (first.input_tokens, first.output_tokens) == (2, 500)
    assert (found.arrivals[1].input_tokens, found.arrivals[1].interface) == (2000, "claude")


def test_json_says_the_same(read) -> None:
    """A map as in YAML, or only the list of tasks; null is nothing."""
    tasks = [{"type": "code", "count": 2, "every": 5, "input_tokens": 7, "id": None}]
    whole = read("q.json", json.dumps({"slots": 2, "tasks": tasks, "interfaces": [{"name": "claude", "success": 0.5}]}))
    assert whole.slots == 2
    assert [one.at_seconds for one in whole.arrivals] == [0.0, 5.0]
    assert whole.worlds[0].rate("code") == 0.5
    assert read("q.json", json.dumps(tasks)).arrivals == whole.arrivals


def test_csv_has_a_line_for_each_task(read) -> None:
    """Empty cells are not said."""
    found = read("q.csv", 'id,type,at,input_tokens,requires\na,code,1h,900,\nb,,,,"x, y"\n')
    assert [(one.id, one.type, one.at_seconds, one.input_tokens, one.requires) for one in found.arrivals] == [
        ("a", "code", 3600.0, 900, ()),
        ("b", "general", 0.0, 1000, ("x", "y")),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("q.yaml", "tasks:\n  - {type: code}\n  - {count: soon}\n", "q.yaml, line 3: `tasks[1].count` is `soon`"),
        ("q.yaml", "tasks:\n  - {at: soon}\n", "`at` is `soon`, but must be an age after the start"),
        ("q.yaml", "slots: 3\n", "`tasks` is missing"),
        ("q.yaml", "tasks: [{count: none}]\n", "`tasks[0].count` is `none`"),
        ("q.yaml", "tasks: [{count: 6M}]\n", "at most 5,000,000 are simulated"),
        ("q.yaml", "tasks: []\ninterfaces: [{name: nobody}]\n", "no interface is called nobody here (asleep, claude)"),
        ("q.yaml", "tasks: []\ninterfaces: [{name: new, cost: {tier: cheap}}]\n", "the interface new: "),
        ("q.json", "{", "it is not JSON"),
        ("q.csv", "id,count\na,soon\n", "q.csv, line 2: `count` is `soon`"),
        ("q.csv", 'id\n"a\n', "q.csv, line"),
        ("q.csv", b"\xff\xfe", "it cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(read, name: str, text, said: str) -> None:
    """The line, what was found, what is allowed."""
    with pytest.raises(UserError) as fault:
        read(name, text)
    assert said in str(fault.value)


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path) -> None:
    """With its path."""
    with pytest.raises(UserError, match=r"gone\.yaml"):
        read_file(str(tmp_path / "gone.yaml"), KNOWN)


def test_keys_nobody_knows_are_warnings_and_those_of_an_interface_are_not(read) -> None:
    """A misspelt key of a task is said; those of an interface file are read as such."""
    found = read(
        "q.yaml", "tasks: [{tipe: code}]\ninterfaces: [{name: new, cost: {tier: free}, limits: {concurrent: 2}}]\n"
    )
    assert len(found.warnings) == 1
    assert "tipe" in found.warnings[0]
    (world,) = found.worlds
    assert (world.spec.cost.tier, world.spec.limits.concurrent) == (Tier.FREE, 2)


def test_without_interfaces_the_registered_ones_work(read) -> None:
    """Those that are not offline, as their files and history say they behave."""
    history = summed({("code", "claude"): Tally(good=26, bad=0, judged=26, usd=2.6, priced=26, seconds=520, timed=26)})
    known = Known(specs=KNOWN.specs, table=KNOWN.table, history=history)
    (world,) = read("q.yaml", "tasks: [{type: code}, {type: quick}]\n", known).worlds
    assert world.spec.name == "claude"
    assert world.rate("code") == pytest.approx(28 / 30)
    assert world.mean_seconds("code") == pytest.approx(20.0)
    assert world.usd == Decimal("0.100000")
    (fresh,) = read("q.yaml", "tasks: [{type: code}]\n").worlds
    assert (fresh.rate("code"), fresh.mean_seconds("code"), fresh.usd) == (0.5, 30.0, None)


def test_what_the_file_says_of_an_interface_goes_before_history(read) -> None:
    """For one type, or for all."""
    history = summed({("code", "claude"): Tally(good=26, judged=26)})
    known = Known(specs=KNOWN.specs, table=KNOWN.table, history=history)
    tasks = "tasks: [{type: code}, {type: quick}]\n"
    (one,) = read(
        "q.yaml",
        tasks + "interfaces: [{name: claude, success: {quick: 0.1}, seconds: {code: 2m}, usd: 0.5, spread: 0}]\n",
        known,
    ).worlds
    assert (one.rate("quick"), one.rate("code")) == (0.1, pytest.approx(28 / 30))
    assert (one.mean_seconds("code"), one.usd, one.spread) == (120.0, Decimal("0.5"), 0.0)
    (every,) = read("q.yaml", tasks + "interfaces: [{name: claude, success: 0.3}]\n", known).worlds
    assert (every.rate("code"), every.rate("quick")) == (0.3, 0.3)


# The ledger


def row(task: str, number: int, **fields) -> CostRow:
    base = {
        "timestamp": f"2026-11-20T12:0{number}:00Z",
        "task_id": task,
        "attempt_id": f"{task}.a{number}.00000000",
        "attempt": number,
        "status": Status.COMPLETED,
        "interface": "claude",
        "cost_basis": CostBasis.UNKNOWN,
        "duration_seconds": 30.0,
    }
    return CostRow(**(base | fields))


def test_a_past_day_is_its_tasks_as_they_came() -> None:
    """Each once, when its first attempt was claimed; tokens that were not told are taken as usual."""
    rows = [
        row("b", 2),
        row("a", 1, task_type="code", input_tokens=70, output_tokens=7, overhead_seconds=5.0),
        row("a", 2),
    ]
    found = of_ledger(rows, KNOWN)
    assert [(one.id, one.type, one.input_tokens, one.output_tokens) for one in found.arrivals] == [
        ("a", "code", 70, 7),
        ("b", "general", 1000, 500),
    ]
    assert found.arrivals[1].at_seconds - found.arrivals[0].at_seconds == 65.0
    assert [one.spec.name for one in found.worlds] == ["claude"]


# Policies


def test_the_usual_policies_have_the_best_single_interface_beside_them(read) -> None:
    """Best by what is expected of it on these tasks."""
    text = "tasks: [{type: code, count: 9}, {type: quick}]\ninterfaces:\n"
    text += "".join(
        f"  - {{name: {n}, cost: {{tier: free}}, success: {{code: {c}, quick: {q}}}}}\n"
        for n, c, q in (("a", 0.9, 0.1), ("b", 0.5, 0.9))
    )
    found = read("q.yaml", text)
    assert [one.name for one in contenders((), found)] == [
        "ladder",
        "ladder_fallback",
        "round_robin",
        "least_loaded",
        "always:a",
    ]
    assert contenders(("always:B", "capability"), found)[0].always == "b"


def test_a_policy_nobody_knows_is_a_usage_error(read) -> None:
    """With those there are; `always` wants an interface of the scenario."""
    found = read("q.yaml", "tasks: []\n")
    for name in ("laddder", "always:nobody", "always"):
        with pytest.raises(UserError, match="round_robin"):
            contenders((name,), found)


def test_without_any_interface_there_is_no_best_one() -> None:
    """The other policies remain, to say that nobody can do anything."""
    assert [one.name for one in contenders((), Scenario(arrivals=(), worlds=()))][-1] == "least_loaded"
    assert {one.name for one in CONTENDERS} >= {one.name for one in contenders((), Scenario(arrivals=(), worlds=()))}


def test_the_rules_near_a_limit_are_those_of_the_settings(brain) -> None:
    """And an answer, where one is given, goes before silence."""
    flags = {
        "quota_question_at": 0.7,
        "quota_silence": "2h",
        "quota_default": "paid",
        "quota_reserve": 0.4,
        "harvest": False,
    }
    with contextlib.closing(brain.open(**flags)) as opened:
        rules, told = rules_of(opened.config), rules_of(opened.config, "wait")
    assert (rules.threshold, rules.reserve.share, rules.harvest, rules.may_pay) == (0.7, 0.4, False, True)
    assert rules.silence.after_seconds == 7_200
    assert (told.answer, told.may_pay) == (Answer.WAIT, False)
