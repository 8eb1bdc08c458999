"""The tables and quoted messages of docs/ say what the code does: each is compared with the code, in both directions."""

import ast
import itertools
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from brain_daemon.adapters.environment import _ALWAYS
from brain_daemon.adapters.reading import TAIL_CHARACTERS, _kind_of_exit
from brain_daemon.model.attempt import AttemptState, Decision
from brain_daemon.model.expression import OWN_FUNCTIONS
from brain_daemon.model.expression import ROOT as EXPRESSION_ROOT
from brain_daemon.model.form import Form
from brain_daemon.model.interface_form import InterfaceForm
from brain_daemon.model.outcome import Ended, Failed, FailureKind, Reason
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.quantities import parse_duration
from brain_daemon.model.spellings import FIELD_OF, squeezed
from brain_daemon.model.task import TaskSpec
from brain_daemon.model.task_fields import RULES
from brain_daemon.policy.recovery import Found, repair
from brain_daemon.policy.retry import BLAMELESS_LIMIT, Again, Finish, Park, after, delay_seconds, is_blameless
from brain_daemon.service.config import user_config_path
from brain_daemon.service.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "brain_daemon"
_FENCED = re.compile(r"^(`{3,}).*?^\1$\n", re.MULTILINE | re.DOTALL)


def tables(document: str, heading: str) -> list[list[list[str]]]:
    """The tables under a heading, each as its rows of cells without the head."""
    text = _FENCED.sub("", (DOCS / document).read_text("utf-8"))
    level = re.match("#+", heading)
    assert level, heading
    section = re.split(
        rf"^#{{1,{len(level[0])}}} ", text.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE
    )[0]
    assert section, f"docs/{document} has no heading {heading!r}"
    return [_rows(block) for block in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)]


def _rows(block: str) -> list[list[str]]:
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()]
    return [[cell.strip().replace("\\|", "|") for cell in line] for line in lines[2:]]


def words(cell: str) -> list[str]:
    """What stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def test_configuration_lists_each_setting_with_its_default_name_and_meaning():
    """The table has the settings of the program, in its order, and nothing else."""
    (rows,) = tables("configuration.md", "## All settings")
    assert [words(row[0])[0] for row in rows] == [setting.name for setting in SETTINGS]
    for row, setting in zip(rows, SETTINGS, strict=True):
        written = tomllib.loads(f"value = {words(row[1])[0]}")["value"]
        assert setting.read(written) == setting.default, row
        assert words(row[2]) == [f"BRAIN_{setting.name.upper()}"]
        assert ("brain.toml" in row[3]) is setting.user_only
        assert row[4] == setting.meaning


def test_configuration_names_the_users_own_file(monkeypatch):
    """The path in the text is the path the program reads on Linux."""
    monkeypatch.setenv("HOME", "/home/ann")
    text = (DOCS / "configuration.md").read_text("utf-8")
    assert user_config_path().replace("/home/ann", "~") in text or "~/Library" in user_config_path()


# The words of the crash table, as values of `Found`.
AND = {
    "": {},
    "the same bytes stand in pending/": {"twin": {"task-a.md"}},
    "it was there before this journal, or nobody knows since when": {"twin": {None}, "active_since": {None, 5.0}},
    "it came after this journal": {"twin": {None}, "active_since": {15.0}},
    "its program still runs": {"alive": {True}},
    "its program is not found": {"alive": {False}},
    "it waits for an answer or is parked": {"decision": {Decision.ASK, Decision.PARK}},
    "it waits for nothing": {"decision": {None, Decision.FINISH, Decision.AGAIN}},
    "it has finished": {"decision": {None, Decision.FINISH}},
    "another attempt was decided": {"decision": {Decision.AGAIN}},
}


def crash_rows() -> list[list[str]]:
    (rows,) = tables("architecture.md", "## The crash table")
    return rows


def founds() -> Iterator[Found]:
    """Everything a start can find of one task."""
    states = (None, *AttemptState)
    decisions = (None, *Decision)
    for state, decision, sha, since, alive, twin in itertools.product(
        states, decisions, (None, "ab"), (None, 5.0, 15.0), (False, True), (None, "task-a.md")
    ):
        yield Found(
            task_id="task-a",
            active_sha256=sha,
            active_since=since,
            journal_born=10.0,
            state=state,
            decision=decision,
            alive=alive,
            twin=twin,
        )


def fits(row: list[str], found: Found) -> bool:
    """Whether a row of the crash table speaks of what was found."""
    states = {None if word == "none" else AttemptState(word) for word in re.findall(r"\w+", row[0])}
    in_active = row[1] == "+"
    return (
        found.state in states
        and in_active is (found.active_sha256 is not None)
        and all(getattr(found, name) in values for name, values in AND[row[2]].items())
    )


@pytest.mark.parametrize("row", crash_rows(), ids=lambda row: f"{row[0]} {row[1]} {row[2]}")
def test_each_row_of_the_crash_table_is_what_recovery_does(row):
    """Whatever fits the row gets its repair; the file is written again exactly where the row says that it is gone."""
    meant = [found for found in founds() if fits(row, found)]
    assert meant
    for found in meant:
        step = repair(found)
        assert [type(step).__name__] == words(row[3]), (found, step)
        assert getattr(step, "restore", False) is ("written again" in row[4] and words(row[3]) != ["Restore"])


def test_the_crash_table_leaves_nothing_out():
    """Each combination that a start can find has exactly one row."""
    rows = crash_rows()
    for found in founds():
        assert sum(fits(row, found) for row in rows) == 1, found


def test_the_table_of_states_knows_every_state_of_the_journal():
    """No state of an attempt is missing, and none is made up."""
    (rows,) = tables("architecture.md", "## States as files")
    named = {word for row in rows for word in words(row[4])}
    assert named == {state.value for state in AttemptState}
    assert all(set(row[1:4] + row[5:]) <= {"+", "-", "?"} for row in rows)


def test_the_floors_in_the_document_are_the_folders_of_the_package():
    """The table has a row for each folder that holds code, in the order of the imports."""
    (rows,) = tables("architecture.md", "## The floors")
    named = [words(row[0])[0].rstrip("/") for row in rows]
    there = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert there <= set(named)
    line = next(
        line for line in (DOCS / "architecture.md").read_text("utf-8").splitlines() if line.startswith("The order is")
    )
    assert words(line) == named


def test_every_key_of_a_task_is_documented_with_its_other_names():
    """The table has what the program reads, in its order, with the names that people bring and what is allowed."""
    (rows,) = tables("user-guide.md", "### Settings of a task")
    assert [words(row[0])[0] for row in rows] == list(RULES)
    for row in rows:
        key = words(row[0])[0]
        others = {squeezed(name) for name in words(row[1])}
        assert others == {name for name, field in FIELD_OF.items() if field == key} - {squeezed(key)}
        assert row[2] == RULES[key].allowed


# Blocks that have no row of their own: their keys stand under a heading that names the block.
SECTIONS = {"limits", "invoke", "output"}


def keys_of(form: type[Form], before: str = "") -> Iterator[str]:
    """Every key that a form reads, with those of the blocks in it: `cost`, `cost.tier`, ..."""
    for name, field in form.model_fields.items():
        yield before + name
        for inner in _forms_in(field.annotation):
            yield from keys_of(inner, f"{before}{name}.")


def _forms_in(annotation: object) -> Iterator[type[Form]]:
    if isinstance(annotation, type) and issubclass(annotation, Form):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _forms_in(part)


def test_every_key_of_an_interface_file_is_documented_and_no_other():
    """The tables under "All keys" list what model/interface_form.py reads."""
    documented = [words(row[0])[0] for table in tables("interfaces.md", "## All keys") for row in table]
    read = {key for key in keys_of(InterfaceForm) if not re.match(r"invoke\.permissions\.(write|full)\.", key)}
    assert sorted(documented) == sorted(read - SECTIONS)


def test_what_an_expression_sees_is_documented():
    """The names are those of the root object, the functions are ours with as many arguments as they take."""
    names, functions = tables("interfaces.md", "## Expressions")
    assert [words(row[0])[0] for row in names] == list(EXPRESSION_ROOT)
    calls = [re.fullmatch(r"(\w+)\((.*)\)", words(row[0])[0]) for row in functions]
    assert {call[1]: len(call[2].split(",")) for call in calls if call} == dict(OWN_FUNCTIONS)
    assert f"last {TAIL_CHARACTERS:,} characters" in (DOCS / "interfaces.md").read_text("utf-8")


def failure_tables() -> list[list[list[str]]]:
    return tables("interfaces.md", "## Kinds of failure")


def test_every_kind_of_failure_has_a_row():
    """The closed set of kinds is the first column of the first table."""
    assert sorted(words(row[0])[0] for row in failure_tables()[0]) == sorted(FailureKind)


@pytest.mark.parametrize("row", failure_tables()[0], ids=lambda row: row[0])
def test_each_kind_of_failure_leads_to_what_its_row_says(row):
    """The row is asked of policy/retry.py: with another interface left, with none, and with no try left."""
    kind = FailureKind(words(row[0])[0])
    elsewhere, again = _after(kind, remaining=("other",)), _after(kind)
    assert (isinstance(elsewhere, Again) and elsewhere.name == "other") is (row[2] == "yes")
    assert type(again) is {"later": Again, "afresh": Again, "waits": Again, "parks": Park, "no": Finish}[row[3]]
    assert is_blameless(Failed(kind=kind, message="")) is (row[4] == "no")
    last = _after(kind, so_far=BLAMELESS_LIMIT + 5, blameless=BLAMELESS_LIMIT)
    assert isinstance(last, Finish)
    assert last.reason == words(row[5])[0]


def _after(kind, remaining=(), so_far=1, blameless=0):
    task = parse_task("a.md", b"# A\n\nDo it.\n")
    assert isinstance(task, TaskSpec)
    failed = Failed(kind=kind, message="no")
    return after(
        Ended(outcome=failed, started_at=1.0, finished_at=2.0, duration_seconds=1.0),
        task=task,
        interface_idempotent=False,
        attempts_so_far=so_far,
        attempts_allowed=2,
        remaining=remaining,
        blameless_so_far=blameless,
    )


def test_the_waits_are_those_of_the_program():
    """First and longest wait of each kind that is tried again on the same interface."""
    waits = failure_tables()[1]
    said = {word: row[1:] for row in waits for word in words(row[0])}
    assert set(said) == {words(row[0])[0] for row in failure_tables()[0] if row[3] == "later"} | {"quota"}
    for kind, (first, longest) in said.items():
        failed = Failed(kind=FailureKind(kind), message="")
        assert delay_seconds(failed, 1, jitter=1.0) == parse_duration(first)
        assert delay_seconds(failed, 100, jitter=1.0) == parse_duration(longest)


def test_exit_codes_mean_what_the_table_says():
    """Each code has the kind of its row; every other code is permanent."""
    kinds = {row[0]: words(row[1])[0] for row in failure_tables()[2]}
    listed = {int(code): kind for text, kind in kinds.items() for code in re.findall(r"\d+", text)}
    assert kinds["any other"] == FailureKind.PERMANENT
    assert {code: _kind_of_exit(code).value for code in range(256)} == {
        code: listed.get(code, FailureKind.PERMANENT.value) for code in range(256)
    }
    signalled = next(kind for text, kind in kinds.items() if "signal" in text)
    assert _kind_of_exit(None) == signalled


def test_the_variables_that_always_pass_are_named():
    """Each by its name, the folders of XDG and the certificates as groups."""
    text = (
        (DOCS / "interfaces.md")
        .read_text("utf-8")
        .partition("**The environment**")[2]
        .partition("\n- the variables named")[0]
    )
    alone = {name for name in _ALWAYS if not name.startswith("XDG_") and "CERT" not in name and "CA_" not in name}
    assert {word for word in words(text) if word.isupper() and "..." not in word} == alone | {"PATH"}


def test_every_reason_of_a_failed_task_is_explained():
    """The table has the closed list of reasons, each once."""
    (rows,) = tables("troubleshooting.md", "## A task has failed")
    assert sorted(words(row[0])[0] for row in rows) == sorted(Reason)


@cache
def texts_of_the_program() -> tuple[str, ...]:
    """Every text in the source, the parts of an f-string joined; what is filled in later is a NUL."""
    found: dict[str, None] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found[node.value] = None
            elif isinstance(node, ast.JoinedStr):
                found["".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)] = None
    return tuple(found)


def quoted_messages() -> list[str]:
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    fenced = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    rows = tables("troubleshooting.md", "## An interface is not used")[0]
    return [line for block in fenced for line in block.splitlines()] + [words(row[0])[0] for row in rows]


@pytest.mark.parametrize("message", quoted_messages())
def test_each_message_quoted_in_troubleshooting_is_one_the_program_says(message):
    """The parts between `...` stand in one text of the source, in that order."""
    pattern = re.compile(".*".join(map(re.escape, message.split("..."))), re.DOTALL)
    assert any(pattern.search(text) for text in texts_of_the_program())
