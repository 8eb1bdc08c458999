"""The session document: what it accepts, how two of it become one, and how it stays within its size."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from brain_daemon.model.errors import Damaged
from brain_daemon.model.session import (
    MAX_BYTES,
    MAX_FILES,
    Context,
    Kept,
    Preference,
    Routed,
    Session,
    Touched,
    Waiting,
    instant,
    merge,
    new_session,
    read_session,
    request_hash,
    trimmed,
    with_context,
    with_routed,
    with_waiting,
    write_session,
)
from tests.depth import deep

NOON = 1_795_262_400.0
KEYS = [
    "session_id",
    "created_at",
    "updated_at",
    "project_root",
    "routing_history",
    "cached_results",
    "work_queue",
    "context",
]
HASHES = [request_hash(word, {}) for word in ("a", "b", "c")]
instants = st.integers(0, 5).map(lambda second: instant(NOON + second))
hashes = st.sampled_from(HASHES)
words = st.sampled_from(["alpha", "beta", "gamma"])
tasks = st.sampled_from(["task-1", "task-2", "task-3", "task-4"])
routed = st.builds(
    Routed, timestamp=instants, request_hash=hashes, agent=words, result=words, task_id=st.none() | tasks
)
kept = st.builds(Kept, timestamp=instants, agent=words, task_id=tasks, text=words)
waiting = st.builds(Waiting, timestamp=instants, request_hash=hashes, task_id=tasks)
touched = st.builds(Touched, path=words, timestamp=instants)
contexts = st.builds(
    Context,
    active_files=st.lists(touched, max_size=3).map(tuple),
    recent_edits=st.lists(touched, max_size=3).map(tuple),
    user_preferences=st.dictionaries(
        st.sampled_from(["mode", "interface"]), st.builds(Preference, value=words, timestamp=instants)
    ),
)
sessions = st.builds(
    Session,
    session_id=st.just("session-1"),
    created_at=instants,
    updated_at=instants,
    project_root=st.sampled_from(["/a", "/b"]),
    routing_history=st.lists(routed, max_size=4).map(tuple),
    cached_results=st.dictionaries(hashes, kept, max_size=3),
    work_queue=st.lists(waiting, max_size=4).map(tuple),
    context=contexts,
)


def session(**fields) -> Session:
    return structs.replace(new_session("session-1", "/home/ann/project", NOON), **fields)


def decided(second: float = 0, *, result: str = "completed", task_id: str | None = "task-1") -> Routed:
    return Routed(
        timestamp=instant(NOON + second), request_hash=HASHES[0], agent="codex", result=result, task_id=task_id
    )


def test_a_session_has_the_keys_that_were_agreed():
    """Programs read the file: its keys, and those of an entry of the history, stand fast."""
    told = json.loads(write_session(with_routed(session(), decided())))
    assert list(told) == KEYS
    assert {"timestamp", "request_hash", "agent", "result"} <= set(told["routing_history"][0])
    assert set(told["context"]) == {"active_files", "recent_edits", "user_preferences"}


@given(sessions)
def test_a_session_is_read_as_it_was_written(one):
    """Nothing is lost between the value and its bytes."""
    assert read_session(write_session(one), "one.json") == one


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "one.json"),
        (b"{", "one.json"),
        (b"[]", "one.json"),
        (b"{}", "session_id"),
        (b'{"session_id": "../x", "created_at": 1}', "session_id"),
        (write_session(session()).replace(b'"project_root":"', b'"project_root":7,"x":"'), "project_root"),
        (write_session(session()).replace(b"2026-", b"2026/"), "created_at"),
        (write_session(session()).replace(b'"routing_history":[]', b'"routing_history":[{}]'), "routing_history"),
        (write_session(session()) + b" " * MAX_BYTES, "at most"),
    ],
)
def test_bytes_that_are_no_session_are_damaged(data, said):
    """The message names the file and the first thing that is wrong."""
    with pytest.raises(Damaged, match=said):
        read_session(data, "one.json")


@pytest.mark.parametrize("name", ["con", "a..b", "ends.", "../x", ""])
def test_what_is_no_task_id_names_no_session(name):
    """Neither one that is begun nor one that is read: its file bears the name."""
    with pytest.raises(ValueError, match="session_id"):
        new_session(name, "/home/ann", NOON)
    data = write_session(session()).replace(b'"session-1"', json.dumps(name).encode())
    with pytest.raises(Damaged, match="session_id"):
        read_session(data, "one.json")


@given(sessions, sessions)
def test_merging_does_not_mind_who_comes_first(one, other):
    """Two runs that write in either order leave the same session."""
    assert merge(one, other) == merge(other, one)


@given(sessions, sessions)
def test_merging_again_changes_nothing(one, other):
    """A run that writes what it wrote before adds nothing."""
    both = merge(one, other)
    assert merge(both, one) == merge(both, other) == merge(both, both) == both


@given(sessions, sessions, sessions)
@settings(max_examples=deep(100, 1_000))
def test_merging_does_not_mind_the_groups(one, other, third):
    """Three runs leave the same session however their writes fall together."""
    assert merge(merge(one, other), third) == merge(one, merge(other, third))


@given(sessions, sessions)
def test_merging_loses_no_entry(one, other):
    """Every decision of both is there, under its time and hash, and every answer's hash."""
    both = merge(one, other)
    keys = {(entry.timestamp, entry.request_hash) for entry in both.routing_history}
    assert keys == {(e.timestamp, e.request_hash) for side in (one, other) for e in side.routing_history}
    assert both.cached_results.keys() == one.cached_results.keys() | other.cached_results.keys()
    assert list(both.routing_history) == sorted(both.routing_history, key=lambda e: e.timestamp)


def test_sessions_of_two_ids_are_not_merged():
    """That would be a mistake of the program."""
    with pytest.raises(ValueError, match="two sessions"):
        merge(session(), new_session("session-2", "/", NOON))


def test_a_request_waits_until_any_run_has_seen_its_end():
    """One run hands in, another notes the end: merged, nothing waits."""
    asked = with_waiting(session(), Waiting(timestamp=instant(NOON), request_hash=HASHES[0], task_id="task-1"))
    assert [one.task_id for one in asked.work_queue] == ["task-1"]
    seen = with_routed(session(), decided(5))
    assert merge(asked, seen).work_queue == ()
    assert merge(asked, with_routed(session(), decided(5, task_id="task-2"))).work_queue == asked.work_queue


def test_the_later_answer_and_the_later_preference_stay():
    """What was said last holds, also where it is merged first."""
    early, late = (
        with_context(
            with_routed(
                session(),
                decided(second),
                Kept(timestamp=instant(NOON + second), agent="codex", task_id="task-1", text=word),
            ),
            instant(NOON + second),
            preferences={"mode": word},
        )
        for second, word in ((1, "early"), (2, "late"))
    )
    both = merge(late, early)
    assert both.cached_results[HASHES[0]].text == "late"
    assert both.context.user_preferences["mode"].value == "late"
    assert both.updated_at == instant(NOON + 2)


def test_the_files_of_a_session_are_the_newest_ones():
    """A list that only grows would fill the session with what is long done."""
    one = session()
    for second in range(MAX_FILES + 10):
        one = with_context(one, instant(NOON + second), active_files=[f"file-{second}.py"])
    paths = [file.path for file in one.context.active_files]
    assert paths == [f"file-{second}.py" for second in range(10, MAX_FILES + 10)]


def test_a_session_over_its_size_loses_the_oldest_first():
    """What is left is the newest of history and answers, in less than the limit."""
    one = session()
    for second in range(50):
        text = "x" * 1_000
        answer = Kept(timestamp=instant(NOON + second), agent="codex", task_id="task-1", text=text)
        entry = structs.replace(decided(second), request_hash=request_hash(str(second), {}))
        one = with_routed(one, entry, answer)
    less = trimmed(one, 20_000)
    assert len(write_session(less)) <= 20_000
    assert less.routing_history == one.routing_history[-len(less.routing_history) :]
    assert 5 < len(less.routing_history) < 50
    assert min(kept.timestamp for kept in less.cached_results.values()) > one.routing_history[10].timestamp
    assert trimmed(less, 20_000) == less


def test_what_cannot_be_made_smaller_is_left_as_it_is():
    """A limit below the bare document takes away all that may go, and ends."""
    assert trimmed(with_routed(session(), decided()), 10) == session(updated_at=instant(NOON))


def test_a_request_is_the_same_whatever_surrounds_its_text():
    """White space at the ends does not count, options do, their order does not."""
    assert request_hash(" a\n", {"type": "code", "model": "x"}) == request_hash("a", {"model": "x", "type": "code"})
    assert request_hash("a", {}) != request_hash("a", {"type": "code"})
