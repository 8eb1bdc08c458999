"""A person in the middle of something, and the daemon at work beside them: a sample of the matrix (`make git-matrix` has all)."""

import os
import random

import pytest

from tests.git.cells import ACTIONS, Bench
from tests.git.facts import facts_of, git
from tests.git.states import KIN, SETTINGS, SITUATIONS, STATES, Templates

SEED = os.environ.get("GIT_MATRIX_SEED") or str(random.SystemRandom().randrange(2**32))
OTHERS = 4


@pytest.fixture(scope="module")
def templates(_home, tmp_path_factory):
    """The states, made as they are asked for."""
    return Templates(tmp_path_factory.mktemp("states"))


@pytest.fixture(scope="module")
def bench(templates):
    """Where cells are made."""
    return Bench(templates)


def _action(name: str) -> str:
    """One action, drawn for this state."""
    action = random.Random(f"{SEED} {name}").choice(list(ACTIONS))
    print(f"GIT_MATRIX_SEED={SEED}: {name}, {action}")
    return action


@pytest.mark.parametrize("state", [state.name for state in SITUATIONS])
def test_what_is_the_persons_is_equal_before_and_after(bench, state):
    """And the outcome is committed, or owed and committed once the person has come out of it, as they would without a daemon."""
    cell = bench.cell(STATES[state], _action(state))
    assert not cell.wrong


@pytest.mark.parametrize("turn", range(OTHERS))
def test_a_repository_set_up_in_an_odd_way_is_no_less_the_persons(bench, turn):
    """Hooks, signing, filters of line ends, indexes of other kinds, another hash, a brain in a folder."""
    state = random.Random(SEED).sample((*KIN, *SETTINGS), OTHERS)[turn]
    cell = bench.cell(state, _action(state.name))
    assert not cell.wrong


HARMS = (
    ("index b.txt 0", "add", "b.txt"),
    ("index d.txt 0", "update-index", "--skip-worktree", "d.txt"),
    ("index meant.txt 0", "reset", "-q", "--", "meant.txt"),
    ("stash", "stash", "drop", "-q"),
    ("git refs/tags/another", "tag", "another"),
    ("git config", "config", "core.editor", "true"),
    ("file a.txt", "checkout", "-q", "--", "a.txt"),
    ("status loose.txt", "clean", "-fq", "loose.txt"),
    ("git HEAD", "checkout", "-q", "--detach"),
    ("git MERGE_HEAD", "update-ref", "MERGE_HEAD", "side"),
)


def test_the_comparison_sees_each_kind_of_harm(templates):
    """What the matrix rests on can fail: one entry, flag, ref, file or setting changed by any other hand is told."""
    desk = templates.desk(STATES["everything at once"])
    before = facts_of(desk.top)
    for fact, *harm in HARMS:
        git(desk.top, *harm)
        after = facts_of(desk.top)
        assert any(said.startswith(f"{fact}:") for said in before.differences(after)), harm
        before = after
