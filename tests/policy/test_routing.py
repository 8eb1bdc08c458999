"""Who could do a task and in which order: tables for each rule, properties for what holds whatever the files say."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import (
    Availability,
    CostSpec,
    InterfaceSpec,
    InterfaceType,
    Invoke,
    InvokeKind,
    Limits,
    Profile,
    Tier,
)
from brain_daemon.model.routing_table import Agent, RoutingTable, Strategy, TypeRule
from brain_daemon.model.task import Permissions, TaskSpec
from brain_daemon.policy.routing import Candidate, Choice, Nobody, RoutingPolicy, route

TABLE = RoutingTable(floor=(("default", 0.5), ("code", 0.6)))


def task(**fields) -> TaskSpec:
    base = {
        "id": "t",
        "explicit_id": False,
        "title": "T",
        "text": "do it",
        "sha256": "0" * 64,
        "size_bytes": 5,
        "name": "t.md",
    }
    return TaskSpec(**(base | fields))


def interface(
    name: str, *, tier: Tier = Tier.FREE, usable: bool = True, why_not: str = "", running: int = 0, **fields
) -> Candidate:
    kind = InterfaceType(fields.pop("type", "llm"))
    cost = CostSpec(tier=tier, model=fields.pop("default_model", None))
    invoke = Invoke(kind=InvokeKind.COMMAND, command=(name,), permissions=fields.pop("permissions", ()))
    spec = InterfaceSpec(name=name, type=kind, sha256="0" * 64, invoke=invoke, cost=cost, **fields)
    return Candidate(spec=spec, usable=usable, why_not=why_not, running=running)


def decide(
    spec: TaskSpec,
    candidates: Sequence[Candidate],
    table: RoutingTable = TABLE,
    *,
    prompt_tokens: int | None = None,
    turn: int = 0,
    **policy,
) -> Choice | Nobody:
    return route(spec, candidates, table, prompt_tokens=prompt_tokens, policy=RoutingPolicy(**policy), turn=turn)


def names(decision: Choice | Nobody) -> list[str]:
    assert isinstance(decision, Choice), decision
    return [one.name for one in decision.ranked]


def nobody(decision: Choice | Nobody) -> Nobody:
    assert isinstance(decision, Nobody), decision
    return decision


def librarian() -> Candidate:
    return interface("librarian", type="tool", capabilities=("memory_search",), local=True)


def shipped() -> list[Candidate]:
    """A new brain on a machine where no client is installed."""
    missing = [
        interface(
            name, tier=tier, usable=False, why_not=f"the program {name} is not on PATH", capabilities=("reasoning",)
        )
        for name, tier in (("claude_code", Tier.SUBSCRIPTION), ("codex", Tier.SUBSCRIPTION), ("ollama", Tier.FREE))
    ]
    shell = interface("shell", type="tool", capabilities=("shell",), status=Availability.OFFLINE)
    return [librarian(), shell, *missing]


# The stories


@pytest.mark.parametrize("kind", ["tool", "llm", "service"])
def test_a_program_registered_without_capabilities_takes_plain_tasks_before_the_librarian(kind: str) -> None:
    """`upper` in a new brain: it takes the dropped files, the librarian stands by as the last resort."""
    decision = decide(task(), [*shipped(), interface("upper", type=kind)])
    assert names(decision) == ["upper", "librarian"]
    assert "takes any text" in decision.ranked[0].reason
    assert not decision.ranked[0].last_resort
    assert decision.ranked[1].last_resort
    assert "made for memory_search" in decision.ranked[1].reason


def test_the_librarian_answers_a_plain_question_when_nobody_else_can() -> None:
    """In the demo it is the only usable one, so it is chosen, and the reason says that it is a last resort."""
    decision = decide(task(), shipped())
    assert names(decision) == ["librarian"]
    assert decision.ranked[0].reason.startswith("a last resort")
    assert dict(decision.rejected) == {
        "shell": "its file says `status: offline`",
        "claude_code": "the program claude_code is not on PATH",
        "codex": "the program codex is not on PATH",
        "ollama": "the program ollama is not on PATH",
    }


def test_a_tool_does_not_swallow_what_a_model_should_do() -> None:
    """A free tool made for something else stands behind a model that costs money."""
    linter = interface("linter", type="tool", capabilities=("lint",))
    decision = decide(task(), [linter, interface("claude_code", tier=Tier.PAID, capabilities=("reasoning",))])
    assert names(decision) == ["claude_code", "linter"]


@pytest.mark.parametrize("fields", [{"requires": ("Memory Search",)}, {"type": "memory-search"}])
def test_a_tool_takes_a_task_that_names_its_capability(fields: dict) -> None:
    """By `requires` or by the task's type, in any spelling, a tool is as good as anyone and cheaper."""
    decision = decide(
        task(**fields), [librarian(), interface("claude_code", tier=Tier.PAID, capabilities=("memory_search",))]
    )
    assert names(decision) == ["librarian", "claude_code"]
    assert not decision.ranked[0].last_resort


@pytest.mark.parametrize(
    ("fields", "table"),
    [
        ({"requires": ("shell",)}, TABLE),
        ({"type": "shell"}, TABLE),
        ({"interface": "shell"}, TABLE),
        ({"preferred_interface": "Shell"}, TABLE),
        ({"type": "chores"}, RoutingTable(types=(("chores", TypeRule(best=("shell",))),))),
    ],
)
def test_an_interface_that_scores_itself_zero_works_only_when_called_for(fields: dict, table: RoutingTable) -> None:
    """A shell must not run a plain note as a script, not even when it is alone; called by name, capability or table it works."""
    shell = interface("shell", type="tool", capabilities=("shell",), good_at=(("default", 0.0),))
    assert names(decide(task(**fields), [shell], table)) == ["shell"]
    refused = nobody(decide(task(), [shell]))
    assert "no good at general" in dict(refused.rejected)["shell"]


# Who is refused


@pytest.mark.parametrize(
    ("spec", "candidate", "policy", "words"),
    [
        (task(requires=("web_search",)), interface("x"), {}, "does not offer web_search"),
        (task(requires=("web_search", "a")), interface("x", capabilities=("a",)), {}, "does not offer web_search"),
        (task(never=("The-X",)), interface("x", aliases=("the_x",)), {}, "named under `never`"),
        (task(), interface("x"), {"never": ("x",)}, "named under `never`"),
        (task(local_only=True), interface("x"), {}, "local_only"),
        (task(), interface("x"), {"local_only": True}, "local_only"),
        (task(), interface("x", status=Availability.OFFLINE), {}, "`status: offline`"),
        (
            task(),
            interface("x", usable=False, why_not="needs approval: brain interfaces approve x"),
            {},
            "needs approval",
        ),
        (task(), interface("x", usable=False), {}, "cannot be used now"),
        (task(), interface("x", limits=Limits(tokens_per_request=99)), {}, "the prompt has 100 tokens and it takes 99"),
        (task(permissions=Permissions.FULL), interface("x"), {}, "asks for `permissions: full` and may have write"),
        (
            task(permissions=Permissions.FULL),
            interface("x", permissions=(Profile(name="write"),)),
            {"granted": Permissions.FULL},
            "no profile for `permissions: full`",
        ),
        (
            task(),
            interface("x", permissions=(Profile(name="full"),)),
            {"granted": Permissions.FULL},
            "no profile for `permissions: write`",
        ),
        (
            task(),
            interface("x", permissions=(Profile(name="write"),)),
            {"granted": Permissions.READ},
            "no profile for `permissions: read`",
        ),
    ],
)
def test_each_refusal_says_why(spec: TaskSpec, candidate: Candidate, policy: dict, words: str) -> None:
    """What stands in the way is said of the interface and of the task as a whole."""
    refused = nobody(decide(spec, [candidate], prompt_tokens=100, **policy))
    assert words in dict(refused.rejected)["x"]
    assert refused.reason


@pytest.mark.parametrize(
    ("spec", "candidate", "policy"),
    [
        (task(local_only=True), interface("x", local=True), {}),
        (task(), interface("x", limits=Limits(tokens_per_request=100)), {}),
        (task(permissions=Permissions.READ), interface("x"), {}),
        (task(requires=("Web Search", "web-search")), interface("x", capabilities=("web_search", "b")), {}),
        (task(interface="any", preferred_interface="Any"), interface("x"), {}),
    ],
)
def test_what_meets_the_conditions_is_taken(spec: TaskSpec, candidate: Candidate, policy: dict) -> None:
    """At the limit is within it, names are compared in one form, `any` is nobody's name."""
    assert names(decide(spec, [candidate], prompt_tokens=100, **policy)) == ["x"]


def test_an_uncounted_prompt_is_not_refused_for_its_length() -> None:
    """A limit is judged on a count, never on a guess."""
    assert names(decide(task(), [interface("x", limits=Limits(tokens_per_request=1))], prompt_tokens=None)) == ["x"]


@pytest.mark.parametrize(
    ("asked", "declared", "granted", "profile"),
    [
        (None, ("read", "write", "full"), Permissions.WRITE, Permissions.WRITE),
        (None, ("read", "write", "full"), Permissions.FULL, Permissions.WRITE),
        (None, ("read", "write"), Permissions.READ, Permissions.READ),
        (None, ("read",), Permissions.WRITE, Permissions.READ),
        (Permissions.FULL, ("write", "full"), Permissions.FULL, Permissions.FULL),
        (Permissions.READ, ("read", "write"), Permissions.WRITE, Permissions.READ),
        (Permissions.WRITE, (), Permissions.WRITE, None),
    ],
)
def test_the_profile_is_what_was_asked_or_the_widest_allowed(asked, declared, granted, profile) -> None:
    """A task that asks for nothing never gets `full`; an interface without profiles runs as it is."""
    candidate = interface("x", permissions=tuple(Profile(name=name) for name in declared))
    decision = decide(task(permissions=asked), [candidate], granted=granted)
    assert decision.ranked[0].profile == profile


# When nobody can


def test_what_nobody_offers_is_named_with_the_next_step() -> None:
    """The missing capability stands in the reason and on its own for the board."""
    refused = nobody(decide(task(requires=("web_search", "reasoning")), [interface("x", capabilities=("reasoning",))]))
    assert refused.missing_capabilities == ("web_search",)
    assert refused.reason == "nobody offers web_search; register an interface for it in tools/interfaces/"


def test_who_would_offer_it_is_named_with_what_stops_them() -> None:
    """A registered client that is not installed counts as missing, and the reason says it is that."""
    refused = nobody(decide(task(requires=("reasoning",)), shipped()))
    assert refused.missing_capabilities == ("reasoning",)
    assert "claude_code: the program claude_code is not on PATH" in refused.reason


def test_capabilities_that_no_single_interface_has_together_are_all_missing() -> None:
    """Two interfaces with half of it each do not make one that can."""
    halves = [interface("x", capabilities=("a",)), interface("y", capabilities=("b",))]
    refused = nobody(decide(task(requires=("a", "b")), halves))
    assert refused.missing_capabilities == ("a", "b")
    assert "x: does not offer b" in refused.reason


def test_an_empty_registry_says_where_to_begin() -> None:
    """Nothing to choose from is a reason of its own."""
    assert nobody(decide(task(), [])).reason == "no interface is registered; add one to tools/interfaces/"


def test_without_a_missing_capability_every_obstacle_is_told() -> None:
    """Each reason once, with everybody it holds for, the rarest first."""
    off = [interface(name, status=Availability.OFFLINE) for name in ("a", "b")]
    refused = nobody(decide(task(), [*off, interface("x", usable=False, why_not="no key")]))
    assert refused.reason == "no interface can take it: x: no key; a, b: its file says `status: offline`"
    assert refused.missing_capabilities == ()


# Binding and preferred


@pytest.mark.parametrize("wanted", ["claude_code", "Claude Code", "CLAUDE", "claude-code"])
def test_a_binding_interface_is_the_only_one(wanted: str) -> None:
    """By name or alias in any spelling, also against the floor, the table and the tiers."""
    claude = interface("claude_code", tier=Tier.FALLBACK, aliases=("claude",), good_at=(("code", 0.1),))
    table = RoutingTable(order=(Tier.FREE,), types=(("code", TypeRule(best=("upper",), strict=True)),))
    decision = decide(task(interface=wanted, type="code"), [interface("upper"), claude], table)
    assert names(decision) == ["claude_code"]
    assert decision.ranked[0].reason == "the task is bound to it"
    assert decision.rejected == (("upper", "the task is bound to claude_code"),)
    assert not decision.ranked[0].last_resort


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("claude_cod", "no interface is called claude_cod; did you mean claude_code?"),
        ("zzz", "no interface is called zzz"),
    ],
)
def test_an_unknown_binding_interface_is_said_with_the_nearest_name(wanted: str, reason: str) -> None:
    """A misspelled binding holds the task; nobody else gets it."""
    refused = nobody(decide(task(interface=wanted), [interface("claude_code")]))
    assert refused.reason == reason
    assert refused.rejected == (("claude_code", f"the task is bound to {wanted}"),)


def test_a_binding_interface_that_cannot_take_the_task_holds_it() -> None:
    """What it lacks is said, and counts as the missing capability."""
    bound = task(interface="x", requires=("a", "b"))
    refused = nobody(decide(bound, [interface("x", capabilities=("a",)), interface("y", capabilities=("a", "b"))]))
    assert refused.reason == "the task is bound to x, which cannot take it: does not offer b"
    assert refused.missing_capabilities == ("b",)


def test_a_preferred_interface_goes_first_and_the_others_stay() -> None:
    """Advice moves one interface up, even a limited or a dear one; it shuts nobody out."""
    dear = interface("dear", tier=Tier.PAID, status=Availability.LIMITED)
    decision = decide(task(preferred_interface="dear"), [interface("cheap"), dear])
    assert names(decision) == ["dear", "cheap"]
    assert decision.ranked[0].reason == "the task prefers it although its status is limited"


def test_a_preference_that_cannot_be_followed_is_said_and_not_refused() -> None:
    """Unknown: a warning with the nearest name. Known but shut: the winner's reason says what stops it."""
    unknown = decide(task(preferred_interface="uper"), [interface("upper")])
    assert unknown.warnings == ("the preference is left aside: no interface is called uper; did you mean upper?",)
    assert unknown.warnings[0] in unknown.ranked[0].reason
    shut = decide(task(preferred_interface="x"), [interface("upper"), interface("x", usable=False, why_not="no key")])
    assert shut.ranked[0].reason.endswith("the preferred x cannot take it: no key")


def test_an_unknown_name_under_never_is_said() -> None:
    """A ban that bans nobody is a warning, since the person meant somebody."""
    decision = decide(task(never=("uper",)), [interface("upper")])
    assert decision.warnings == ("never: no interface is called uper; did you mean upper?",)


def test_a_name_wins_over_the_alias_of_another() -> None:
    """An alias that is also somebody's name means that somebody."""
    assert names(decide(task(interface="b"), [interface("a", aliases=("b",)), interface("b")])) == ["b"]


# The table, tiers, floors, strategies


def test_the_table_comes_before_the_tiers() -> None:
    """Best in its order, then fallbacks in theirs, then the rest by rung; unknown names in the table fall away."""
    rule = TypeRule(best=("paid_b", "gone", "Paid A"), fallback=("sub",))
    table = RoutingTable(types=(("code", rule),), aliases=(("code_generation", "code"),))
    everyone = [
        interface("free"),
        interface("sub", tier=Tier.SUBSCRIPTION),
        interface("paid_a", tier=Tier.PAID),
        interface("paid_b", tier=Tier.PAID),
    ]
    decision = decide(task(type="Code Generation"), everyone, table)
    assert names(decision) == ["paid_b", "paid_a", "sub", "free"]
    assert [one.reason for one in decision.ranked[:3]] == [
        "routing.md lists it as best for code",
        "routing.md lists it as best for code",
        "routing.md lists it as a fallback for code",
    ]
    assert [one.rung for one in decision.ranked] == [2, 2, 1, 0]


def test_a_strict_table_allows_only_its_own() -> None:
    """A preference does not open a strict table; with nobody of it here the task waits."""
    table = RoutingTable(
        types=(("code", TypeRule(best=("a",), fallback=("b",), strict=True)), ("odd", TypeRule(strict=True)))
    )
    everyone = [interface("a"), interface("b"), interface("c")]
    decision = decide(task(type="code", preferred_interface="c"), everyone, table)
    assert names(decision) == ["a", "b"]
    assert dict(decision.rejected)["c"] == "routing.md is strict for code and names only a, b"
    assert "nobody that exists here" in nobody(decide(task(type="odd"), everyone, table)).reason


def test_the_ladder_goes_by_rung_then_expected_success_then_name() -> None:
    """Free before subscription before paid before fallback; a declared score decides within a rung."""
    everyone = [
        interface("z_fallback", tier=Tier.FALLBACK),
        interface("paid", tier=Tier.PAID),
        interface("sub", tier=Tier.SUBSCRIPTION),
        interface("free_b"),
        interface("free_a"),
        interface("free_good", good_at=(("general", 0.9),)),
    ]
    decision = decide(task(), everyone)
    assert names(decision) == ["free_good", "free_a", "free_b", "sub", "paid", "z_fallback"]
    assert decision.ranked[0].reason == "free, 0.90 expected on general"


def test_the_users_own_order_of_tiers_is_followed_and_what_it_leaves_out_is_refused() -> None:
    """A tier not in the order is used only where somebody names the interface."""
    table = RoutingTable(order=(Tier.PAID, Tier.FREE))
    everyone = [interface("free"), interface("paid", tier=Tier.PAID), interface("sub", tier=Tier.SUBSCRIPTION)]
    decision = decide(task(), everyone, table)
    assert names(decision) == ["paid", "free"]
    assert dict(decision.rejected) == {"sub": "routing.md leaves the tier subscription out of its order"}
    named = decide(task(preferred_interface="sub"), everyone, table)
    assert names(named) == ["sub", "paid", "free"]
    assert named.ranked[0].rung == 2


def test_below_the_floor_is_a_last_resort() -> None:
    """A weak free model does not win what a paid one does well, and still works when it is alone."""
    weak = interface("weak", good_at=(("code", 0.5),))
    strong = interface("strong", tier=Tier.PAID, good_at=(("code", 0.6),))
    decision = decide(task(type="code"), [weak, strong])
    assert names(decision) == ["strong", "weak"]
    assert "below the floor of 0.60" in decision.ranked[1].reason
    assert [one.last_resort for one in decision.ranked] == [False, True]
    alone = decide(task(type="code"), [weak])
    assert alone.ranked[0].last_resort


def test_whom_the_table_names_is_not_judged_by_the_floor() -> None:
    """The person's own line outranks a score."""
    table = RoutingTable(types=(("code", TypeRule(best=("weak",))),), floor=(("default", 0.9),))
    decision = decide(task(type="code"), [interface("weak", good_at=(("code", 0.1),)), interface("other")], table)
    assert names(decision) == ["weak", "other"]
    assert [one.last_resort for one in decision.ranked] == [False, True]


def test_limited_ranks_behind_the_others_but_before_last_resorts() -> None:
    """Also when the table lists it; a limited one below the floor stays a last resort."""
    limited = interface("limited", status=Availability.LIMITED)
    table = RoutingTable(types=(("general", TypeRule(best=("limited",))),), floor=(("default", 0.5),))
    weak = interface("weak", status=Availability.LIMITED, good_at=(("default", 0.4),))
    decision = decide(task(), [weak, librarian(), limited, interface("paid", tier=Tier.PAID)], table)
    assert names(decision) == ["paid", "limited", "librarian", "weak"]
    assert "its status is limited" in decision.ranked[1].reason
    assert [one.last_resort for one in decision.ranked] == [False, False, True, True]


def test_a_default_score_stands_for_the_types_not_named() -> None:
    """Spellings and aliases of a type reach its score; `default` reaches the rest."""
    table = RoutingTable(aliases=(("code_generation", "code"),))
    one = interface("one", good_at=(("code-generation", 0.9), ("default", 0.6)))
    assert "0.90 expected on code" in decide(task(type="code"), [one], table).ranked[0].reason
    assert "0.60 expected on poems" in decide(task(type="poems"), [one], table).ranked[0].reason


def test_an_interface_without_a_score_says_so() -> None:
    """The neutral expectation is not passed off as knowledge."""
    decision = decide(task(), [interface("x", capabilities=("reasoning",))])
    assert decision.ranked[0].reason == "free, 0.50 expected on general, it declares no score"


def strategy_pool() -> list[Candidate]:
    return [
        interface("a", running=3, good_at=(("general", 0.6),)),
        interface("b", running=1, good_at=(("general", 0.8),)),
        interface("c", running=2, good_at=(("general", 0.7),)),
        interface("d", tier=Tier.PAID, good_at=(("general", 0.9),)),
    ]


@pytest.mark.parametrize(
    ("strategy", "turn", "expected", "words"),
    [
        (Strategy.LADDER, 1, ["b", "c", "a", "d"], "free, 0.80 expected on general"),
        (Strategy.CAPABILITY, 0, ["d", "b", "c", "a"], "the best score goes first"),
        (Strategy.LEAST_LOADED, 0, ["b", "c", "a", "d"], "the least loaded of the rung"),
        (Strategy.ROUND_ROBIN, 0, ["a", "b", "c", "d"], "takes turns"),
        (Strategy.ROUND_ROBIN, 1, ["b", "c", "a", "d"], "takes turns"),
        (Strategy.ROUND_ROBIN, 5, ["c", "a", "b", "d"], "takes turns"),
    ],
)
def test_a_strategy_orders_what_the_table_leaves_open(
    strategy: Strategy, turn: int, expected: list[str], words: str
) -> None:
    """Only `capability` lets a dearer rung go first; turns are taken within the cheapest rung."""
    decision = decide(task(), strategy_pool(), RoutingTable(strategy=strategy), turn=turn)
    assert names(decision) == expected
    assert words in decision.ranked[0].reason


def test_turns_leave_named_interfaces_and_last_resorts_where_they_are() -> None:
    """With nobody in the open there is nothing to rotate."""
    table = RoutingTable(strategy=Strategy.ROUND_ROBIN)
    preferred = decide(task(preferred_interface="d"), strategy_pool(), table, turn=2)
    assert names(preferred) == ["d", "c", "a", "b"]
    assert names(decide(task(), [librarian()], table, turn=3)) == ["librarian"]


# The model


@pytest.mark.parametrize(
    ("hint", "model", "noted"),
    [
        (None, "claude-sonnet-4-5", False),
        ("Haiku", "claude-haiku-4-5", False),
        ("claude-haiku-4-5", "claude-haiku-4-5", False),
        ("gpt-5", "claude-sonnet-4-5", True),
    ],
)
def test_a_model_hint_is_mapped_where_it_means_something(hint: str | None, model: str, *, noted: bool) -> None:
    """A short name, a full name, or the interface's own choice with a word about it."""
    candidate = interface("claude", default_model="claude-sonnet-4-5", models=(("haiku", "claude-haiku-4-5"),))
    first = decide(task(model=hint), [candidate]).ranked[0]
    assert first.model == model
    assert ("is not known to it" in first.reason) is noted


@pytest.mark.parametrize(
    ("fields", "first", "model"),
    [
        ({"preferred_interface": "Haiku General"}, "claude", "claude-haiku-4-5"),
        ({"interface": "haiku-general"}, "claude", "claude-haiku-4-5"),
        ({"interface": "haiku-general", "model": "sonnet"}, "claude", "claude-sonnet-4-5"),
        ({"interface": "claude"}, "claude", None),
        ({"preferred_interface": "lost"}, "upper", None),
        ({"interface": "upper"}, "upper", None),
    ],
)
def test_an_agent_of_the_table_is_another_name_for_an_interface_and_its_model(
    fields: dict, first: str, model: str | None
) -> None:
    """The task's own model goes before the agent's; an interface's name goes before an agent's; a lost agent is a lost name."""
    agents = (
        ("haiku_general", Agent(interface="claude", model="haiku")),
        ("lost", Agent(interface="gone")),
        ("upper", Agent(interface="claude", model="haiku")),
    )
    models = (("haiku", "claude-haiku-4-5"), ("sonnet", "claude-sonnet-4-5"))
    pool = [interface("claude", tier=Tier.SUBSCRIPTION, models=models), interface("upper")]
    decision = decide(task(**fields), pool, RoutingTable(agents=agents))
    assert (names(decision)[0], decision.ranked[0].model) == (first, model)


# Whatever the files say

NAMES = ["a", "b", "c", "d", "e"]
CAPABILITIES = ["web", "code", "search"]


@st.composite
def any_interface(draw: st.DrawFn, name: str) -> Candidate:
    return interface(
        name,
        tier=draw(st.sampled_from(Tier)),
        usable=draw(st.booleans()),
        running=draw(st.integers(0, 3)),
        type=draw(st.sampled_from(["llm", "tool", "service"])),
        status=draw(st.sampled_from(Availability)),
        capabilities=tuple(draw(st.sets(st.sampled_from(CAPABILITIES)))),
        good_at=tuple(
            (kind, draw(st.floats(0, 1))) for kind in draw(st.sets(st.sampled_from(["code", "general", "default"])))
        ),
        local=draw(st.booleans()),
    )


@st.composite
def any_task(draw: st.DrawFn) -> TaskSpec:
    return task(
        type=draw(st.sampled_from(["general", "code"])),
        requires=tuple(draw(st.sets(st.sampled_from(CAPABILITIES), max_size=2))),
        interface=draw(st.one_of(st.none(), st.sampled_from([*NAMES, "zz"]))),
        preferred_interface=draw(st.one_of(st.none(), st.sampled_from([*NAMES, "zz"]))),
        never=tuple(draw(st.sets(st.sampled_from(NAMES), max_size=2))),
        local_only=draw(st.booleans()),
    )


@st.composite
def any_table(draw: st.DrawFn) -> RoutingTable:
    rule = TypeRule(
        best=tuple(draw(st.lists(st.sampled_from(NAMES), max_size=2))),
        fallback=tuple(draw(st.lists(st.sampled_from(NAMES), max_size=2))),
        strict=draw(st.booleans()),
    )
    return RoutingTable(
        order=tuple(draw(st.permutations(list(Tier)))[draw(st.integers(0, 1)) :]),
        types=(("code", rule),),
        floor=(("default", draw(st.floats(0, 1))),),
        strategy=draw(st.sampled_from(Strategy)),
    )


@st.composite
def any_case(draw: st.DrawFn) -> tuple[TaskSpec, list[Candidate], RoutingTable, int]:
    pool = [draw(any_interface(name)) for name in draw(st.lists(st.sampled_from(NAMES), unique=True))]
    return draw(any_task()), pool, draw(any_table()), draw(st.integers(0, 9))


@given(any_case())
def test_everyone_is_ranked_or_rejected_and_never_both(case) -> None:
    """The ranking and the refusals split the interfaces, each with words."""
    spec, pool, table, turn = case
    decision = decide(spec, pool, table, turn=turn)
    ranked = names(decision) if isinstance(decision, Choice) else []
    rejected = [name for name, _ in decision.rejected]
    assert sorted([*ranked, *rejected]) == sorted(one.spec.name for one in pool)
    assert all(why for _, why in decision.rejected)
    assert all(one.reason for one in decision.ranked) if ranked else decision.reason


@given(any_case())
def test_what_is_binding_is_obeyed(case) -> None:
    """never, local_only, requires, status, usability and a binding interface hold in every ranking."""
    spec, pool, table, turn = case
    decision = decide(spec, pool, table, turn=turn)
    by_name = {one.spec.name: one for one in pool}
    for name in names(decision) if isinstance(decision, Choice) else []:
        chosen = by_name[name]
        assert spec.interface in (None, name)
        assert name not in spec.never
        assert chosen.spec.local or not spec.local_only
        assert set(spec.requires) <= set(chosen.spec.capabilities)
        assert chosen.usable
        assert chosen.spec.status is not Availability.OFFLINE


@given(any_case(), st.randoms(use_true_random=False))
def test_the_order_of_the_files_decides_nothing(case, random) -> None:
    """The same interfaces in another order give the same decision."""
    spec, pool, table, turn = case
    shuffled = random.sample(pool, len(pool))
    assert isinstance(decide(spec, pool, table), Nobody) or decide(spec, pool, table, turn=turn) == decide(
        spec, shuffled, table, turn=turn
    )


@given(any_case())
def test_a_last_resort_never_stands_before_one_who_meets_the_floor(case) -> None:
    """Once a last resort is reached, only last resorts follow."""
    spec, pool, table, turn = case
    decision = decide(spec, pool, table, turn=turn)
    flags = [one.last_resort for one in decision.ranked] if isinstance(decision, Choice) else []
    assert flags == sorted(flags)


@given(any_case())
def test_the_ladder_never_steps_down_among_those_in_the_open(case) -> None:
    """Without a preference or a table, and all available, the rungs of the ranking only rise up to the last resorts."""
    spec, pool, table, _ = case
    if spec.preferred_interface or spec.type == "code" or table.strategy is Strategy.CAPABILITY:
        return
    decision = decide(spec, [one for one in pool if one.spec.status is Availability.AVAILABLE], table)
    rungs = [one.rung for one in decision.ranked if not one.last_resort] if isinstance(decision, Choice) else []
    assert rungs == sorted(rungs)


def test_full_permissions_are_granted_to_the_interfaces_the_person_names_and_to_no_other() -> None:
    """`full` is a matter of trust in one client, not in all of them."""
    profiles = tuple(Profile(name=name) for name in ("read", "write", "full"))
    able = [interface(name, permissions=profiles) for name in "ab"]
    asking = task(permissions=Permissions.FULL)
    choice = decide(asking, able, full_for=frozenset("b"))
    assert isinstance(choice, Choice)
    assert [(one.name, one.profile) for one in choice.ranked] == [("b", Permissions.FULL)]
    assert "do not grant it" in dict(choice.rejected)["a"]
    nobody(decide(asking, able))
