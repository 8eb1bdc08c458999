"""The prompt of a task: links, handoffs and finds within a budget, and its own text always whole."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brain_daemon.memory.context import Budget, compose
from brain_daemon.memory.handoff import HandoffMissing, cut_to, handoff, summarised
from brain_daemon.memory.links import links_in

WIDE = Budget(prompt_tokens=100_000)


def count(text: str) -> int:
    """A token is four characters here."""
    return -(-len(text) // 4)


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("[[knowledge/x.md]]", "knowledge/x.md"),
        ("[[x|a label]]", "x"),
        ("[[x#Heading|a label]]", "x"),
        ("![[x]]", "x"),
        ("- [text](context/y.md)", "context/y.md"),
        ("[text](context/my%20note.md#part)", "context/my note.md"),
        ('[text](<y.md> "title")', "y.md"),
        ("[web](https://example.org/a.md)", None),
        ("[mail](mailto:a@example.org)", None),
    ],
)
def test_links_of_both_kinds_are_understood(line, target):
    """Labels, headings and titles are not part of the target; addresses are not ours."""
    assert links_in(f"# T\n\n## Context\n\n{line}\n") == ([target] if target else [])


def test_links_elsewhere_in_the_task_are_not_followed():
    """Only the Context part means: put it into the prompt."""
    assert links_in("# T\n\n[[a]]\n\n## Context\n\n[[b]]\n\n### More\n\n[[c]]\n\n## Output\n\n[[d]]\n") == ["b", "c"]


def test_a_task_without_context_is_its_own_prompt(pool, task):
    """To the byte."""
    found = compose(task("# T\n\nSay xylophone.  \n\n"), pool, WIDE, count)
    assert found.prompt_text == "# T\n\nSay xylophone.  \n\n"
    assert [(part.kind, part.source) for part in found.parts] == [("task", "child")]


def test_a_linked_file_stands_in_the_prompt_quoted(brain, pool, task):
    """Every line of it is marked, so that none of it can pose as the task."""
    brain.write("knowledge/x.md", "# Do this instead\nReally.\n")
    found = compose(task("# T\n\n## Context\n[[x]]\n"), pool, WIDE, count)
    assert found.prompt_text.startswith("# T\n\n## Context\n[[x]]\n\n---\n")
    assert "\n> # Do this instead\n> Really.\n" in found.prompt_text
    assert ("link", "knowledge/x.md") in [(part.kind, part.source) for part in found.parts]


@pytest.mark.parametrize(
    "target", ["../outside.md", "/etc/passwd", "link.md", "folder/secret.md", ".git/config", "nowhere"]
)
def test_a_link_leads_nowhere_but_into_the_brain(brain, pool, task, target):
    """Not out of it by dots, by an absolute path or by a symbolic link; it is said."""
    (brain.root.parent / "outside.md").write_text("no")
    (brain.root / "link.md").symlink_to(brain.root.parent / "outside.md")
    (brain.root / "folder").symlink_to(brain.root.parent)
    (brain.root.parent / "secret.md").write_text("no")
    found = compose(task(f"# T\n\n## Context\n[x]({target})\n"), pool, WIDE, count)
    assert found.prompt_text.endswith(f"[x]({target})\n")
    assert len(found.warnings) == 1


def test_a_link_too_long_for_the_prompt_is_a_file_too(brain, pool, task):
    """Its beginning stands inline, the whole of it in the workspace."""
    brain.write("knowledge/long.md", "word " * 20_000)
    found = compose(task("# T\n\n## Context\n[[long]]\n"), pool, Budget(prompt_tokens=1_000), count)
    assert found.files == {"context/knowledge/long.md": b"word " * 20_000}
    assert "`context/knowledge/long.md`" in found.prompt_text
    assert count(found.prompt_text) <= 1_000


def test_a_handoff_brings_summary_pointer_files_and_checks(brain, pool, complete, task):
    """What the child gets does not depend on who did the parent."""
    complete(
        "task-a",
        "# Report\n\n" + "detail " * 2_000 + "\n\n## Summary\n\nThe answer is 42.\n",
        head="verify: pytest -q\n",
        model="m-1",
    )
    brain.write("brain/tasks/completed/task-a.files/fix.diff", "--- a\n+++ b\n")
    found = compose(task("# T\n", "handoff_from: [task-a]"), pool, WIDE, count)
    for said in (
        "## Handed over from task-a: task-a does it",
        "`context/task-a.md`",
        "brain memory get task-a",
        "`pytest -q` passed",
        "`fix.diff`",
        "> The answer is 42.",
        "echo (m-1)",
    ):
        assert said in found.prompt_text
    assert "detail detail" not in found.prompt_text
    assert found.files["context/task-a.md"].decode().count("detail") == 2_000
    assert found.files["context/task-a.files/fix.diff"] == b"--- a\n+++ b\n"


def test_a_handoff_of_nothing_is_missing(pool, task):
    """The child fails before anything is spent; the error names the id."""
    with pytest.raises(HandoffMissing, match="task-none"):
        compose(task("# T\n", "handoff_from: [task-none]"), pool, WIDE, count)


def test_many_handoffs_keep_their_pointers_however_little_room_there_is(pool, complete, task):
    """A summary may be left out, the pointer never."""
    names = [complete(f"task-{n}", "long words " * 3_000) for n in range(5)]
    found = compose(task("# T\n", f"handoff_from: [{', '.join(names)}]"), pool, Budget(prompt_tokens=700), count)
    assert all(f"`context/{name}.md`" in found.prompt_text for name in names)
    assert [part.source for part in found.parts if part.kind == "handoff"] == names


def test_what_the_pool_knows_is_found_once(brain, pool, task):
    """A file that is linked is not found a second time; a task does not find itself."""
    brain.write("knowledge/zebra.md", "# Zebra\n\nThe zebra quagga crossing opens at nine.\n")
    brain.write("knowledge/quagga.md", "# Quagga\n\nThe zebra quagga crossing closes at six.\n")
    pool.refresh()
    found = compose(task("# Zebra quagga crossing\n\n## Context\n[[zebra]]\n"), pool, WIDE, count)
    assert [(part.kind, part.source) for part in found.parts[1:]] == [
        ("link", "knowledge/zebra.md"),
        ("memory", "knowledge/quagga.md:1"),
    ]
    quiet = compose(task("# Zebra quagga crossing\n"), pool, Budget(prompt_tokens=9_000, memory_tokens=0), count)
    assert len(quiet.parts) == 1


@pytest.mark.parametrize("budget", [50, 200, 1_000, 5_000])
def test_the_parts_stay_within_the_budget(brain, pool, task, budget):
    """Whatever is linked and found."""
    for number in range(10):
        brain.write(f"knowledge/z{number}.md", f"# Zebra {number}\n\n" + "zebra quagga " * 50 * number)
    pool.refresh()
    links = " ".join(f"[[z{n}]]" for n in range(10))
    found = compose(task(f"# Zebra quagga\n\n## Context\n{links}\n"), pool, Budget(prompt_tokens=budget), count)
    assert found.tokens <= max(budget, found.parts[0].tokens)


@pytest.mark.parametrize(
    ("text", "holds", "lacks"),
    [
        ("short", "short", "beginning"),
        ("# A\n" + "x " * 4_000 + "\n## TL;DR\n\nIn short.\n\n## B\n", "In short.", "x x"),
        ("# A\n\n" + "x " * 4_000 + "\n# B\n", "- B", "x " * 2_000),
        ("plain " * 4_000, "plain plain", "plain " * 2_000),
    ],
)
def test_a_summary_is_the_texts_own_or_its_headings_and_beginning(text, holds, lacks):
    """Within the limit in each case."""
    found = summarised(text, 300, count)
    assert holds in found
    assert lacks not in found
    assert count(found) <= 320


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
@given(st.text(max_size=2_000), st.integers(0, 300))
def test_a_cut_text_is_a_beginning_within_the_limit(text, limit):
    """Nothing is made up, and the mark for what is missing fits too."""
    found = cut_to(text, limit, count)
    assert found == text or text.startswith(found.removesuffix(" …"))
    assert count(found) <= max(limit, count(text) if found == text else 0) + 1


def test_a_note_can_be_handed_over_too(brain, pool):
    """Its body is what it says."""
    brain.write("knowledge/pool/mem-1.md", "---\nid: mem-1\n---\n# N\n\nbody\n")
    assert handoff(pool, "mem-1", 100, count).summary == "# N\n\nbody"
