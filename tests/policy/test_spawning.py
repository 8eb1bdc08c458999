"""What a task may spawn, and what its children get from it."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import OnLimit, Permissions, TaskSpec
from brain_daemon.policy.eligibility import WIDTH
from brain_daemon.policy.spawning import Bounds, Parent, inherited, refusal, shares

BOUNDS = Bounds(depth=2, children=3)


def task(name: str = "child", front: str = "") -> TaskSpec:
    found = parse_task(f"{name}.md", f"---\n{front}\n---\n# Do it\n".encode())
    assert isinstance(found, TaskSpec), found
    return found


def parent(front: str = "", **fields: object) -> Parent:
    values: dict[str, object] = {
        "task": task("boss", front),
        "chain": "night",
        "session": None,
        "generation": 0,
        "above": frozenset({"boss"}),
        "may": Permissions.WRITE,
        "on_limit": OnLimit.WAIT,
    }
    return Parent(**(values | fields))  # type: ignore[arg-type]


def asked(front: str, above: Parent | None = None, *, spawned: int = 0, waits: dict[str, list[str]] | None = None):
    return refusal(above or parent(), task("child", front), BOUNDS, spawned=spawned, waits=waits or {})


def test_a_plain_child_is_let_be() -> None:
    """Nothing is asked of it but that it is a task."""
    assert asked("") is None
    assert asked("parent: boss\nchain: night\npermissions: write\nworkspace: scratch\non_limit: ask") is None


@pytest.mark.parametrize(
    ("front", "why"),
    [
        ("parent: somebody", "its `parent` is somebody, and may only be boss"),
        ("chain: other", "its `chain` is other, and may only be night"),
        ("session: s-1", "its `session` is s-1, and may only be left away"),
        ("status: draft", "it is a draft, and nobody would ever say that it is ready"),
        ("workflow: nightly", "it asks for the run of a workflow, which only a person begins"),
        ("permissions: full", "it asks for `permissions: full`, and its parent may only write"),
        ("workspace: /home/ann/work", "it asks to work in /home/ann/work, where its parent does not"),
        ("verify: make", "its `verify` would run a command that its parent may not run"),
        (
            "on_limit: fallback",
            "it says `on_limit: fallback`, and its parent may not go to dearer interfaces (`on_limit: wait`)",
        ),
        ("depends_on: [boss]", "it waits for boss, which is its own parent or above it"),
        ("handoff_from: [Boss]", "it waits for Boss, which is its own parent or above it"),
        ("conflicts_with: [boss]", "it conflicts with boss, its own parent or one above it"),
    ],
)
def test_each_thing_a_child_may_not_ask_for_is_refused_in_words(front: str, why: str) -> None:
    """The record of its parent says so."""
    assert asked(front) == why


def test_what_the_parent_has_the_child_may_ask_for() -> None:
    """Its folder, its proof, its permissions, its way at a limit."""
    wide = parent("workspace: /srv/x\nverify: make", may=Permissions.FULL, on_limit=OnLimit.FALLBACK)
    assert asked("workspace: /srv/x\nverify: make\npermissions: full\non_limit: fallback", wide) is None
    assert asked("verify: rm -r .", wide) is None
    assert asked("verify: make", parent("verify: make")) is None


def test_an_interface_that_runs_any_command_is_named_in_vain() -> None:
    """Unless the parent has it itself."""
    assert asked("interface: shell", parent(shells=("shell",))) == (
        "it asks for shell, which runs any command, and its parent may not"
    )
    assert asked("interface: shell") is None


def test_depth_and_count_have_their_bounds() -> None:
    """The settings are named."""
    assert asked("", parent(generation=1)) is None
    deep = asked("", parent(generation=2))
    assert deep == "boss was spawned itself, and the setting spawn_depth allows 2 generations"
    none = refusal(parent(), task(), Bounds(depth=0, children=3), spawned=0, waits={})
    assert none == "the setting spawn_depth allows 0 generations"
    assert asked("", spawned=2) is None
    assert asked("", spawned=3) == "boss has 3 children already, as many as the setting spawn_children allows"


def test_nobody_waits_for_whom_waits_for_his_parent() -> None:
    """Also through others, and where a circle among them has no end."""
    waits = {"middle": ["Far"], "far": ["BOSS", "middle"], "free": ["middle-2"]}
    why = "it waits for middle, which waits for its own parent or one above it"
    assert asked("depends_on: [middle]", waits=waits) == why
    assert asked("depends_on: [free]", waits=waits) is None


def test_a_parent_that_conflicts_with_its_child_has_none() -> None:
    """Parked it still stands in active/."""
    assert asked("", parent("conflicts_with: [CHILD]")) == "its parent conflicts with it"


def test_a_child_asks_for_no_more_than_its_parent_has_left() -> None:
    """Without a budget of the parent there is nothing to exceed."""
    rich = parent("budget_usd: 2", left_usd=Decimal("1.50"))
    assert asked("budget_usd: 1.50", rich) is None
    assert asked("budget_usd: 1.51", rich) == "it asks for $1.51, and its parent has $1.50 left"
    assert asked("", replace(rich, left_usd=Decimal(0))) == "its parent has nothing left of its budget"
    assert asked("budget_usd: 1000") is None


def test_what_is_left_is_shared_with_the_parent_as_one_more() -> None:
    """Who asks for a sum gets it, the others get equal parts."""
    assert list(shares(Decimal(4), [None, Decimal(1), None])) == [Decimal(1), Decimal(1), Decimal(1)]
    assert list(shares(None, [None, Decimal(1)])) == [None, Decimal(1)]
    assert list(shares(Decimal(1), [Decimal(5), None])) == [Decimal(5), Decimal(0)]


@given(st.decimals(0, 100, places=2), st.lists(st.none() | st.decimals(0, 10, places=2), max_size=8))
def test_shares_never_exceed_what_is_left(left: Decimal, wishes: list[Decimal | None]) -> None:
    """As long as what is asked for does not."""
    given_ = list(shares(left, wishes))
    if sum(wish for wish in wishes if wish is not None) <= left:
        assert sum(given_, Decimal(0)) <= left  # type: ignore[arg-type]


def test_a_child_takes_from_its_parent_what_it_does_not_say() -> None:
    """And cannot take off what binds its parent."""
    bound = parent(
        "never: [codex]\nlocal_only: true\non_limit: ask", may=Permissions.READ, session="s-1", shells=("shell",)
    )
    assert inherited(bound, task("child", "never: [aider, codex]"), Decimal("0.50")) == {
        "id": "child",
        "parent": "boss",
        "chain": "night",
        "session": "s-1",
        "permissions": "read",
        "budget_usd": "0.50",
        "on_limit": "ask",
        "local_only": "true",
        "never": ["aider", "codex", "shell"],
        "mode": None,
    }
    plain = inherited(parent(), task("child", "permissions: read\non_limit: wait"), None)
    assert {key for key, value in plain.items() if value is None} == {
        "session", "budget_usd", "local_only", "never", "mode",
    }  # fmt: skip
    assert (plain["permissions"], plain["on_limit"]) == ("read", "wait")
    assert inherited(parent(), task("child", "local_only: true"), None)["local_only"] == "true"


@pytest.mark.parametrize("may", list(Permissions))
@pytest.mark.parametrize("wanted", [None, *Permissions])
def test_no_child_ends_up_with_more_than_its_parent(may: Permissions, wanted: Permissions | None) -> None:
    """Whatever it says; one that says nothing gets `write` at most."""
    child = task("child", f"permissions: {wanted}" if wanted else "")
    if refusal(parent(may=may), child, BOUNDS, spawned=0, waits={}) is None:
        got = inherited(parent(may=may), child, None)["permissions"]
        assert WIDTH[Permissions(str(got)) if got else Permissions.WRITE] <= max(WIDTH[may], 0)
