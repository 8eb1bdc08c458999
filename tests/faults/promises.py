"""What must hold of a brain after its recovery, whatever happened before: the promises of the design, looked up from outside."""

import contextlib
import csv
import json
import os
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from brain_daemon.model import document
from brain_daemon.model.attempt import AttemptState, Decision
from brain_daemon.record.questions import question_from
from brain_daemon.record.questions import render as render_questions
from brain_daemon.store.files import TEMPORARY_SUFFIX
from brain_daemon.store.layout import is_task_name
from tests.faults.acts import work
from tests.faults.ward import OURS, Patient, Scenario, git, read, sha256, status_lines, users_work

_OLDER_PAGES = ("work_of_the_user: an older page stands", "asked: prompts/pending.md does not say")


@dataclass(slots=True)
class Facts:
    """All that is known of a brain after its recovery, read once."""

    patient: Patient
    attempts: list[sqlite3.Row] = field(default_factory=list)
    questions: list[sqlite3.Row] = field(default_factory=list)
    outcomes: list[sqlite3.Row] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    commits: list[tuple[str, str]] = field(default_factory=list)
    places: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, patient: Patient) -> "Facts":
        facts = cls(patient)
        with contextlib.closing(sqlite3.connect(f"file:{journal_of(patient.root)}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            facts.attempts = connection.execute("select * from attempts order by rowid").fetchall()
            facts.questions = connection.execute("select * from questions order by asked_at, id").fetchall()
            facts.outcomes = connection.execute("select * from outcomes").fetchall()
        facts.started = read(patient.witness).decode().split() if os.path.exists(patient.witness) else []
        facts.rows = list(_ledger(patient.root))
        facts.commits = _commits(patient.root)
        facts.places = _places(patient.root)
        return facts

    @property
    def ended(self) -> list[sqlite3.Row]:
        return [row for row in self.attempts if row["ended"] is not None]

    @property
    def where(self) -> str:
        """The folders with the first letters of the hashes in them."""
        return ", ".join(f"{folder} {[sha[:8] for sha in found]}" for folder, found in self.places.items())

    def count(self, folder: str) -> int:
        return len(self.places[folder])


def journal_of(root: str) -> str:
    """The path of a brain's journal."""
    state = os.path.join(root, ".git", "brain")
    (key,) = os.listdir(state)
    return os.path.join(state, key, "journal.db")


def _ledger(root: str) -> Iterator[dict[str, str]]:
    folder = os.path.join(root, "logs", "costs")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".csv"):
            with open(os.path.join(folder, name), newline="", encoding="utf-8") as handle:
                yield from csv.DictReader(handle)


def _commits(root: str) -> list[tuple[str, str]]:
    """(hash, Attempt-Id or nothing) of every commit, newest first."""
    said = git(root, "log", "--format=%H %(trailers:key=Attempt-Id,valueonly,separator=%x2C)")
    return [(line.split(" ")[0], line.partition(" ")[2].strip()) for line in said.splitlines()]


def task_files(folder: str) -> list[str]:
    """The tasks in one of the four folders, those that were filed away below it included."""
    return [
        os.path.join(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if is_task_name(name) and not os.path.basename(place).endswith(".files")
    ]


def _places(root: str) -> dict[str, list[str]]:
    """Folder -> the hashes of the tasks' own bytes in it, results of ours taken off."""
    found = {}
    for folder in ("pending", "active", "completed", "failed"):
        data = [read(path) for path in task_files(os.path.join(root, "brain", "tasks", folder))]
        found[folder] = [sha256(document.restore(one) if document.is_recorded(one) else one) for one in data]
    return found


def violations(patient: Patient, scenario: Scenario, *, pages: bool = True) -> list[str]:
    """What is wrong with a brain whose daemon has recovered and worked through what there was, each with its promise.

    Without `pages` those that the next outcome writes anew may be the ones of an earlier time.
    """
    facts = Facts.of(patient)
    checks = (_custody, _starts, _ends, _asked, _ledgers, _history, _work_of_the_user, _litter, _finished)
    found = [f"{check.__name__[1:]}: {said}" for check in checks for said in check(facts, scenario)]
    return found if pages else [one for one in found if not one.startswith(_OLDER_PAGES)]


def _custody(facts: Facts, scenario: Scenario) -> Iterator[str]:
    """B1, B2: each dropped task is in exactly one folder, its bytes intact."""
    dropped = Counter(sha256(data) for data in facts.patient.tasks)
    found = Counter(one for place in facts.places.values() for one in place)
    for sha in dropped if scenario.spawns else dropped.keys() | found.keys():
        if dropped[sha] != found[sha]:
            yield f"{sha[:8]} was dropped {dropped[sha]} times and is there {found[sha]} times: {facts.where}"


def _starts(facts: Facts, scenario: Scenario) -> Iterator[str]:
    """B6, B7: a start is on record before it happens, and happens at most once; without leave no task starts twice."""
    known = {row["attempt_id"]: row for row in facts.attempts}
    for attempt_id, times in Counter(facts.started).items():
        if times > 1:
            yield f"{attempt_id} was started {times} times"
        if attempt_id not in known:
            yield f"{attempt_id} was started and the journal does not know it"
    if not scenario.repeatable:
        tasks = Counter(known[one]["task_id"] for one in facts.started if one in known and one not in scenario.excused)
        yield from (f"{task} was started {times} times unasked" for task, times in tasks.items() if times > 1)


def _ends(facts: Facts, scenario: Scenario) -> Iterator[str]:
    """B12: every attempt has come to its end, and all of it is in git; what was given back has none."""
    good = {AttemptState.COMMITTED} if scenario.acts == (work,) else {AttemptState.COMMITTED, AttemptState.RELEASED}
    for row in facts.attempts:
        if row["state"] not in good:
            yield f"{row['attempt_id']} is still {row['state']}"
        if (row["ended"] is None) != (row["decision"] is None):
            yield f"{row['attempt_id']} has an outcome without a decision, or the reverse"


def _asked(facts: Facts, scenario: Scenario) -> Iterator[str]:
    """B7: an attempt nobody saw end is a question, unless it may be repeated; and prompts/pending.md says what the journal asks."""
    about = [row["id"] for row in facts.questions]
    for row in facts.attempts:
        if row["decision"] == Decision.ASK and f"interrupted-{row['attempt_id']}" not in about:
            yield f"{row['attempt_id']} was interrupted and no question says so"
        if row["decision"] == Decision.ASK and scenario.repeatable:
            yield f"{row['attempt_id']} waits for an answer and may be repeated"
    newest = {row["task_id"]: row for row in facts.attempts}
    waiting = sum(row["decision"] in {Decision.ASK, Decision.PARK} for row in newest.values())
    if facts.count("active") != waiting:
        yield f"{facts.count('active')} tasks are in active/ and {waiting} wait for an answer or a time"
    asked = render_questions([question_from(_json(row["document"])) for row in facts.questions])
    path = os.path.join(facts.patient.root, "prompts", "pending.md")
    said = read(path) if os.path.exists(path) else render_questions([])
    if said != asked:
        yield "prompts/pending.md does not say what the journal asks"


def _json(text: str) -> dict[str, object]:
    value: dict[str, object] = json.loads(text)
    return value


def _ledgers(facts: Facts, _scenario: Scenario) -> Iterator[str]:
    """B14, B15: one row an ended attempt in the ledger and in its index."""
    ended = Counter(row["attempt_id"] for row in facts.ended)
    for name, rows in (("ledger", facts.rows), ("index of the ledger", facts.outcomes)):
        found = Counter(row["attempt_id"] for row in rows)
        if found != ended:
            yield f"the {name} has {dict(found)} for the ended attempts {dict(ended)}"
    for folder, prefix in (("activity", "md"), ("errors", "jsonl")):
        text = b"".join(read(path) for path in _day_files(facts.patient.root, folder, prefix)).decode()
        if folder == "errors":  # what went wrong may name files of the attempt as well
            text = "\n".join(str(_json(line)["attempt_id"]) for line in text.splitlines())
        wanted = [row["attempt_id"] for row in facts.rows if folder == "activity" or row["status"] == "failed"]
        for attempt_id in wanted:
            if text.count(attempt_id) != 1:
                yield f"logs/{folder} names {attempt_id} {text.count(attempt_id)} times"


def _day_files(root: str, folder: str, suffix: str) -> list[str]:
    path = os.path.join(root, "logs", folder)
    return [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(suffix)]


def _history(facts: Facts, scenario: Scenario) -> Iterator[str]:
    """B18, B19: one commit an outcome, with paths of ours alone; a sound repository."""
    root = facts.patient.root
    finished = Counter(row["attempt_id"] for row in facts.attempts if row["decision"] == Decision.FINISH)
    found = Counter(attempt_id for _, attempt_id in facts.commits if attempt_id)
    if found != finished:
        yield f"git has commits of {dict(found)} for the finished attempts {dict(finished)}"
    for line in git(root, "log", "--format=", "--name-only", "--no-renames", "HEAD").splitlines():
        theirs = ("staged.txt", "modified.txt", "both.txt", ".git", *(["tools/"] if scenario.foreign else []))
        if line and not line.startswith((*OURS, *theirs)):
            yield f"a commit holds {line}"
    for name in ("staged.txt", "modified.txt", "both.txt"):
        if git(root, "rev-list", "--count", "HEAD", "--", name).strip() != "1":
            yield f"a commit of ours changed the user's {name}"
    checked = subprocess.run(["git", "fsck", "--no-dangling", "--strict"], cwd=root, capture_output=True, check=False)
    if checked.returncode or checked.stdout.strip():
        yield f"git fsck: {checked.stdout.decode()} {checked.stderr.decode()}"


def _work_of_the_user(facts: Facts, _scenario: Scenario) -> Iterator[str]:
    """B18: what the user had staged, modified, stashed and left untracked is as it was, and nothing of ours is left over."""
    now = users_work(facts.patient.root)
    if now != facts.patient.users:
        gone, new = set(facts.patient.users) - set(now), set(now) - set(facts.patient.users)
        yield f"the repository differs for the user: gone {sorted(gone)}, new {sorted(new)}"
    if git(facts.patient.root, "stash", "list") != facts.patient.stash:
        yield "the stash differs"
    left = [line for line in status_lines(facts.patient.root) if line[3:].startswith(OURS)]
    if left:
        older = {line[3:] for line in left} <= {"context/usage.md", "prompts/pending.md"}
        yield f"{'an older page stands' if older else 'git status shows what is ours'}: {left}"


def _litter(facts: Facts, _scenario: Scenario) -> Iterator[str]:
    """Nothing half-written and no lock is left."""
    for folder, _, names in os.walk(facts.patient.root):
        for name in names:
            if name.endswith((TEMPORARY_SUFFIX, "index.lock")) or name.startswith(".probe"):
                yield f"{os.path.join(os.path.relpath(folder, facts.patient.root), name)} is left"


def _finished(facts: Facts, scenario: Scenario) -> Iterator[str]:
    """Everything that may be repeated has been done; what may not has ended or waits for its answer."""
    waiting = 0 if scenario.repeatable else facts.count("active")
    ended = facts.count("completed") + facts.count("failed")
    if ended + waiting != scenario.size and not (scenario.spawns and ended + waiting > scenario.size):
        yield f"{scenario.size} tasks, {ended} ended, {waiting} wait: {facts.where}"
    if facts.count("pending"):
        yield f"tasks are left in pending/: {facts.where}"
    if facts.count("failed") > scenario.failed:
        yield f"{facts.count('failed')} tasks failed where {scenario.failed} should: {facts.where}"
