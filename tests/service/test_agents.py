"""Agents that pull their work: they get what the daemon would start, each task once, and what they hand in counts or is kept."""

import json
import os
import time
from dataclasses import replace

import pytest

from brain_daemon.model.attempt import AttemptState
from brain_daemon.model.errors import Refused, StorageError, UserError
from brain_daemon.model.outcome import FailureKind, Usage
from brain_daemon.service import actions, agents, handing_in, leases
from brain_daemon.service.agents import Agent, Claimed, Nothing
from brain_daemon.service.handing_in import Report
from brain_daemon.store.files import Files

ANN = Agent(name="ann", lease_seconds=3600.0)
BOB = Agent(name="bob", lease_seconds=3600.0)
LAPSED = replace(ANN, lease_seconds=-1.0)


def task(body: str = "Say it.", **fields: str) -> str:
    """A task file with front matter."""
    return "---\n" + "".join(f"{key}: {value}\n" for key, value in fields.items()) + f"---\n# Task: one\n\n{body}\n"


@pytest.fixture
def open_brain(brain):
    """Opens the test's brain; everything opened is closed at the end."""
    opened = []

    def start(files: Files | None = None, **flags):
        opened.append(brain.open(files, **flags))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def here(open_brain):
    """The test's brain, opened."""
    return open_brain()


def claimed(here, agent: Agent = ANN) -> Claimed:
    found = agents.claim(here, agent)
    assert isinstance(found, Claimed), found
    return found


def nothing(here, agent: Agent = ANN) -> Nothing:
    found = agents.claim(here, agent)
    assert isinstance(found, Nothing), found
    return found


def complete(here, wanted: str, text: str = "done", agent: str | None = None) -> str:
    return handing_in.complete(here, wanted, Report(text=text), folder=here.layout.root, agent=agent)


# claiming


def test_priority_goes_first_and_then_age(brain, here):
    """High before medium before low; within a priority the file that has lain there longest."""
    for age, (name, fields) in enumerate(
        {"low": {"priority": "low"}, "new": {}, "old": {}, "high": {"priority": "high"}}.items()
    ):
        path = brain.drop(f"{name}.md", task(**fields))
        os.utime(path, (1e9 - age, 1e9 - age))
    assert [claimed(here).task.id for _ in range(4)] == ["high", "old", "new", "low"]


def test_a_claim_is_durable_before_the_agent_hears_of_it(brain, here, open_brain):
    """The file is in active/ and another process reads claimant, lease and the exact bytes from the journal."""
    brain.drop("one.md", "Say ü.\r\n")
    before = time.time()
    found = claimed(here)
    kept = open_brain().journal.attempt(found.attempt.attempt_id)
    assert brain.where("one") == ["active"]
    assert (kept.state, kept.claimant, kept.spec) == (AttemptState.CLAIMED, "ann", "Say ü.\r\n".encode())
    assert before + 3599 < kept.lease_until < time.time() + 3601


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("draft.md", task(status="draft"), "draft"),
        ("empty.md", "\n", "empty"),
        ("broken.md", task(priority="whenever"), "brain lint broken.md"),
        ("later.md", task(not_before="2100-01-01"), "not before its time"),
        ("waits.md", task(depends_on="nobody"), "no task is called that"),
        ("secret.md", task("the key is ghp_" + "a1B2" * 10), "seems to contain a secret"),
        ("skilled.md", task(requires="[code_execution, web]"), "--requires code_execution,web"),
        ("bound.md", task(interface="codex"), "bound to codex"),
        ("never.md", task(never="[Ann]"), "never to be done by ann"),
        ("local.md", task(local_only="true"), "only be done on this machine"),
        ("mighty.md", task(permissions="full"), "permissions: full"),
    ],
)
def test_what_the_daemon_would_hold_or_the_agent_cannot_do_stays_where_it_is(brain, here, name, content, why):
    """No claim takes it, and the answer says what would free it."""
    brain.drop(name, content)
    found = nothing(here)
    assert [why in hold.reason for hold in found.held] == [True], found
    assert brain.names(brain.pending) == [name]


def test_an_agent_gets_the_types_and_capabilities_it_names(brain, here):
    """Names are compared as people write them; a registered interface brings its own capabilities along."""
    brain.program("painter", "cat", more="capabilities: [drawing]\nlocal: true\n")
    brain.drop("code.md", task(type="code", requires="[Code Execution]"))
    brain.drop("picture.md", task(requires="[drawing]", interface="Painter", local_only="true"))
    assert (
        "of the type code"
        in nothing(here, replace(ANN, types=("research",), offers=("code-execution",))).held[0].reason
    )
    assert claimed(here, replace(ANN, types=("Code",), offers=("code-execution",))).task.id == "code"
    assert claimed(here, replace(ANN, name="painter")).attempt.interface == "painter"


def test_a_task_waits_for_its_dependency_and_for_its_rivals(brain, here):
    """What is claimed by somebody counts as active for dependencies and for conflicts, whichever side names the other."""
    brain.drop("first.md", task(priority="high", conflicts_with="[rival]"))
    brain.drop("second.md", task(depends_on="first"))
    brain.drop("rival.md", task())
    assert claimed(here).task.id == "first"
    reasons = {hold.task_id: hold.reason for hold in nothing(here, BOB).held}
    assert "first (active)" in reasons["second"]
    assert "conflicts with first" in reasons["rival"]
    complete(here, "first")
    assert {claimed(here, BOB).task.id, claimed(here, BOB).task.id} == {"second", "rival"}


def test_a_task_whose_dependency_failed_is_left_to_the_daemon(brain, here):
    """No agent starts it; the daemon is the one who fails it."""
    brain.drop("first.md", task())
    brain.drop("second.md", task(depends_on="first"))
    claimed(here)
    handing_in.fail(here, "first", "no")
    assert "first, which failed" in nothing(here).held[0].reason


def test_tasks_that_came_with_git_are_held_where_the_settings_say_so(brain, open_brain):
    """`tasks_from_git = hold` holds them until a person releases them."""
    brain.drop("one.md", task())
    brain.commit()
    here = open_brain(tasks_from_git="hold")
    assert "came with git" in nothing(here).held[0].reason
    actions.release(here, "one")
    assert claimed(here).attempt.origin == "git"


def test_nothing_is_claimed_while_starts_are_off(brain, here, open_brain):
    """A paused brain, `enabled = false`, a full disk and `never` in the settings refuse every claim with their reason."""
    brain.drop("one.md", task())
    assert "enabled" in nothing(open_brain(enabled="false")).reason
    assert "bytes are free" in nothing(open_brain(reserve="999999g")).reason
    assert "never" in nothing(open_brain(never="ANN")).reason
    here.journal.set("paused", "yes")
    assert "brain resume" in nothing(here).reason
    assert brain.where("one") == ["pending"]


def test_a_file_that_is_just_being_written_is_waited_for(brain, open_brain):
    """A fresh file is taken once it has been quiet, without a second call."""
    here = open_brain(settle="200ms")
    (brain.pending / "one.md").write_text(task())
    began = time.monotonic()
    assert claimed(here).task.id == "one"
    assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize("error", [StorageError("no space"), RuntimeError("what nobody thought of")])
def test_a_claim_that_does_not_get_on_record_gives_its_file_back(brain, here, monkeypatch, error):
    """The agent hears of the error, and has nothing; its next claim gets the same task."""
    brain.drop("one.md", task())

    def refuse(_attempts: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(here.journal, "add", refuse)
        with pytest.raises(type(error)):
            agents.claim(here, ANN)
    assert brain.where("one") == ["pending"]
    assert claimed(here).task.id == "one"


def test_names_of_our_own_cannot_be_taken_by_an_agent(here):
    """`daemon` and `person` say who else claims."""
    with pytest.raises(UserError, match="--as"):
        agents.claim(here, replace(ANN, name="Daemon"))


def test_an_ended_name_dropped_again_is_claimed_under_a_number(brain, here):
    """The gestures are the daemon's: `daily` again is `daily-2`."""
    brain.drop("daily.md", task())
    claimed(here)
    complete(here, "daily")
    brain.drop("daily.md", task("again"))
    assert claimed(here).task.id == "daily-2"


def test_a_claim_that_the_journal_cannot_hold_is_given_back(brain, open_brain):
    """The disk refuses the row: the agent gets an error and the task is pending again."""

    class Full(Files):
        refuse = False

        def step(self, action: str, path: str) -> None:
            if self.refuse and action == "commit journal":
                raise StorageError("no space left")

    files = Full()
    here = open_brain(files)
    brain.echo()
    brain.drop("one.md", task())
    here.registry()
    files.refuse = True
    with pytest.raises(StorageError):
        agents.claim(here, ANN)
    assert brain.where("one") == ["pending"]


def test_somebody_faster_leaves_the_next_task(brain, here, open_brain, monkeypatch):
    """A task that goes between looking and claiming is passed over."""
    brain.drop("one.md", task(priority="high"))
    brain.drop("two.md", task())
    other = open_brain()
    looked = agents._Desk.first

    def robbed(desk, held):
        monkeypatch.setattr(agents._Desk, "first", looked)
        assert claimed(other, BOB).task.id == "one"
        return looked(desk, held)

    monkeypatch.setattr(agents._Desk, "first", robbed)
    assert claimed(here).task.id == "two"


# handing in


def test_a_result_is_recorded_like_any_other(brain, here):
    """Result file, ledger row and commit hold the agent's words, tokens and dollars; git is clean and nothing is left in active/."""
    brain.drop("one.md", task("Say it."))
    found = claimed(here)
    report = Report(
        text="said\x1b[31m it",
        model="sonnet",
        usage=Usage(input_tokens=7, output_tokens=3),
        cost_usd=handing_in.Decimal("0.0045"),
    )
    assert handing_in.complete(here, "one", report, folder=str(brain.root)) == "one: completed"
    result = brain.recorded("one")
    assert (result.text, result.values["interface"], result.values["model"]) == ("said it", "ann", "sonnet")
    row = brain.rows()[0]
    assert (row.attempt_id, row.input_tokens, row.output_tokens, str(row.cost_usd)) == (
        found.attempt.attempt_id,
        7,
        3,
        "0.0045",
    )
    assert f"Attempt-Id: {found.attempt.attempt_id}" in brain.git("log", "--format=%B")
    assert (brain.names(brain.active), brain.dirty()) == ([], "")


def test_files_an_agent_leaves_in_out_are_kept(brain, here):
    """They stand beside the result and are committed with it."""
    brain.drop("one.md", task())
    found = claimed(here)
    with open(os.path.join(found.workspace, "out", "plan.txt"), "w") as handle:
        handle.write("step one")
    complete(here, found.attempt.attempt_id)
    assert (brain.completed / "one.files" / "plan.txt").read_text() == "step one"
    assert "one.files/plan.txt" in brain.git("show", "--stat=200", "--format=", "HEAD")


def test_a_cost_nobody_told_is_unknown(brain, here):
    """It is never counted as zero; a registered free interface costs nothing."""
    brain.program("painter", "cat")
    brain.drop("one.md", task(priority="high"))
    brain.drop("two.md", task())
    claimed(here)
    complete(here, "one")
    claimed(here, replace(ANN, name="painter"))
    complete(here, "two")
    assert [(row.interface, row.cost_basis.value) for row in brain.rows()] == [("ann", "unknown"), ("painter", "free")]


def test_the_proof_of_a_task_decides_whether_it_is_complete(brain, here, tmp_path):
    """`verify` runs where the agent works; while it fails, the task stays claimed and can be completed again."""
    brain.drop("one.md", task(verify="test -e proof || { echo no proof; exit 3; }"))
    claimed(here)
    with pytest.raises(Refused, match=r"(?s)exited 3.*no proof.*stays yours"):
        handing_in.complete(here, "one", Report(text="x"), folder=str(tmp_path))
    assert brain.where("one") == ["active"]
    (tmp_path / "proof").touch()
    assert "completed" in handing_in.complete(here, "one", Report(text="x"), folder=str(tmp_path))


def test_a_failure_ends_the_task_and_a_passing_one_gives_it_back(brain, here):
    """`permanent` is the end; `transient` is tried again until the attempts are used up."""
    brain.drop("one.md", task(priority="high"))
    brain.drop("two.md", task())
    claimed(here)
    assert handing_in.fail(here, "one", "cannot be done") == "one: failed"
    assert brain.recorded("one").values["reason"] == "tool_failed"
    assert "cannot be done" in brain.recorded("one").text
    for expected in ("two: back in pending/ for another try", "two: failed"):
        claimed(here)
        assert handing_in.fail(here, "two", "not today", FailureKind.TRANSIENT) == expected
    assert [row.attempt for row in brain.rows() if row.task_id == "two"] == [1, 2]


def test_a_claim_is_completed_once(brain, here):
    """The second result is refused and kept beside the first; failing it changes nothing either."""
    brain.drop("one.md", task())
    found = claimed(here)
    complete(here, "one", "first")
    with pytest.raises(Refused, match="has ended already"):
        complete(here, "one", "second")
    with pytest.raises(Refused, match="Nothing was changed"):
        handing_in.fail(here, "one", "no")
    assert brain.recorded("one").text == "first"
    assert (brain.completed / "one.files" / f"late-{found.attempt.attempt_id}.md").read_text() == "second"
    assert (len(brain.rows()), brain.dirty()) == (1, "")


def test_what_was_never_claimed_cannot_be_handed_in(brain, here):
    """An unknown id is an error of the caller; an unclaimed task is refused; either way the text is not lost."""
    brain.drop("one.md", task())
    with pytest.raises(UserError, match="no task"):
        complete(here, "other")
    with pytest.raises(Refused, match="no agent has claimed it") as refused:
        complete(here, "one", "precious")
    kept = str(refused.value).rpartition("kept as ")[2].removesuffix(".")
    with open(kept) as handle:
        assert handle.read() == "precious"


def test_a_result_after_a_release_counts_if_nobody_has_begun_anew(brain, here):
    """The task waits in pending/ with the same text: it is taken again and completed, with the files of the first claim."""
    brain.drop("one.md", task())
    found = claimed(here)
    with open(os.path.join(found.workspace, "out", "plan.txt"), "w") as handle:
        handle.write("x")
    actions.release(here, "one")
    assert brain.where("one") == ["pending"]
    assert complete(here, "one", "late but right") == "one: completed"
    assert brain.recorded("one").text == "late but right"
    assert (brain.completed / "one.files" / "plan.txt").exists()
    assert (len(brain.rows()), brain.dirty()) == (1, "")


def test_a_result_is_kept_beside_the_task_once_somebody_has_begun_anew(brain, here):
    """While the other works, in the state folder; once that has ended, beside its result and in git."""
    brain.drop("one.md", task())
    first = claimed(here).attempt.attempt_id
    actions.release(here, "one")
    claimed(here, BOB)
    with pytest.raises(Refused, match=r"bob has taken the task since.*has not ended; your text is kept as") as refused:
        complete(here, first, "from ann")
    with open(str(refused.value).rpartition("kept as ")[2].removesuffix(".")) as handle:
        assert handle.read() == "from ann"
    complete(here, "one", "from bob", agent="bob")
    with pytest.raises(Refused, match=r"has completed; your text is kept as"):
        complete(here, "one", "from ann", agent="ann")
    assert brain.recorded("one").text == "from bob"
    assert (brain.completed / "one.files" / f"late-{first}.md").read_text() == "from ann"
    assert brain.dirty() == ""


def test_a_result_of_a_text_that_has_changed_since_does_not_count(brain, here):
    """The person edited the task after its release: the result answers another question."""
    brain.drop("one.md", task())
    claimed(here)
    actions.release(here, "one")
    brain.drop("one.md", task("Say something else."))
    with pytest.raises(Refused, match="not the one that was claimed"):
        complete(here, "one")
    assert brain.where("one") == ["pending"]


def test_a_result_of_a_withdrawn_task_is_kept(brain, here):
    """Released and deleted: the result has no task any more."""
    brain.drop("one.md", task())
    claimed(here)
    actions.release(here, "one")
    (brain.pending / "one.md").unlink()
    with pytest.raises(Refused, match="your text is kept as"):
        complete(here, "one")


def test_two_claims_by_different_agents_must_be_told_apart(brain, here):
    """Without a name nobody knows whose result it is: nothing is recorded, and the text is kept."""
    brain.drop("one.md", task())
    claimed(here)
    actions.release(here, "one")
    claimed(here, BOB)
    with pytest.raises(Refused, match=r"(?s)ann.*bob.*--as NAME.*kept as"):
        complete(here, "one", "whose?")
    assert brain.where("one") == ["active"]


def test_secrets_in_a_result_reach_no_file(brain, here):
    """The choke point is the same for agents, late results included."""
    brain.drop("one.md", task())
    found = claimed(here)
    secret = "ghp_" + "a1B2" * 10
    complete(here, "one", f"the key is {secret}")
    with pytest.raises(Refused):
        complete(here, "one", f"late {secret}")
    assert secret not in brain.all_of_git()
    assert secret not in (brain.completed / "one.files" / f"late-{found.attempt.attempt_id}.md").read_text()


# leases


def test_a_lease_that_runs_out_gives_the_task_to_nobody(brain, here):
    """Time is no proof of death: another agent finds nothing."""
    brain.drop("one.md", task())
    claimed(here, LAPSED)
    assert not nothing(here, BOB).held
    assert brain.where("one") == ["active"]


def test_a_lapsed_task_is_asked_about_once(brain, here):
    """A question with two answers; renewing takes it back, and a result is welcome as before."""
    brain.drop("one.md", task())
    found = claimed(here, LAPSED)
    lapse = leases.expired(here)[0]
    assert (lapse.task_id, lapse.claimant, lapse.given_back) == ("one", "ann", False)
    assert "brain release one" in lapse.message
    leases.expired(here)
    questions = here.journal.questions()
    assert [json.loads(json.dumps(document))["subject"] for document, _ in questions.values()] == ["one"]
    leases.renew(here, "one", 60.0)
    assert (leases.expired(here), here.journal.questions()) == ([], {})
    complete(here, found.attempt.attempt_id)
    assert brain.where("one") == ["completed"]


def test_a_lapsed_task_that_is_safe_to_repeat_goes_back(brain, here):
    """By its own word or its interface's; somebody else may have it then, and the late agent cannot renew."""
    brain.drop("one.md", task(idempotent="true"))
    claimed(here, LAPSED)
    assert leases.expired(here)[0].given_back
    assert brain.where("one") == ["pending"]
    assert here.journal.questions() == {}
    with pytest.raises(Refused, match="was given back"):
        leases.renew(here, "one", 60.0)
    assert claimed(here, BOB).attempt.number == 2


def test_a_lapsed_claim_whose_file_was_deleted_still_goes_back(brain, here):
    """The journal has the bytes."""
    brain.drop("one.md", task(idempotent="true"))
    claimed(here, LAPSED)
    (brain.active / "one.md").unlink()
    assert leases.expired(here)[0].given_back
    assert (brain.pending / "one.md").read_text() == task(idempotent="true")


def test_renewing_moves_the_end_of_the_lease(brain, here, open_brain):
    """Counted from now, durable, and only for who holds it."""
    brain.drop("one.md", task())
    claimed(here, LAPSED)
    until = leases.renew(here, "one", 60.0, "ann").lease_until
    assert until == open_brain().journal.attempts_of("one")[0].lease_until
    assert time.time() + 55 < until
    with pytest.raises(Refused, match="bob has not claimed it"):
        leases.renew(here, "one", 60.0, "bob")
