"""The one fenced command under `## How to Invoke`."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.frontmatter import Malformed
from brain_daemon.model.short_form import Command, fenced_command, title_of

PLAIN = st.characters(codec="utf-8", exclude_characters="\\'`", exclude_categories=["Cc", "Zl", "Zp"])


def under(block: str) -> str:
    return f"# T\n\n## How to Invoke\n\n```\n{block}\n```\n"


@pytest.mark.parametrize(
    ("block", "arguments"),
    [
        ("tr a-z A-Z", ("tr", "a-z", "A-Z")),
        ("$ tr a-z A-Z", ("tr", "a-z", "A-Z")),
        ("# the usual way\ntr a-z A-Z\n\n", ("tr", "a-z", "A-Z")),
        ("tr \\\n  a-z \\\n  A-Z", ("tr", "a-z", "A-Z")),
        ("sh -c 'sort | uniq > $OUT'", ("sh", "-c", "sort | uniq > $OUT")),
        ('x "a b" c\\ d e\\|f', ("x", "a b", "c d", "e|f")),
        ("x --file={prompt_file} a#b", ("x", "--file={prompt_file}", "a#b")),
        ("awk '{print $1}'", ("awk", "{print $1}")),
    ],
)
def test_the_command_is_cut_where_a_shell_would_cut_it(block, arguments):
    """Quotes, joined lines, comments and a prompt sign are understood; quoted signs are plain text."""
    assert fenced_command(under(block), 1) == Command(arguments, 0)


@pytest.mark.parametrize(
    ("block", "line", "words"),
    [
        ("a | b", 6, "`|` would reach the program as it stands"),
        ("a > b", 6, "`>` would"),
        ("a && b", 6, "`&` would"),
        ("a $HOME", 6, "`$H` would"),
        ("a `b`", 6, "would reach"),
        ("a; b", 6, "`;` would"),
        ("a\nb\n", 7, "holds 2 commands: write one, on one line"),
        ("a \\\n x\nb\n", 8, "holds 2 commands"),
        ("", 6, "holds 0 commands"),
        ("# only talk", 6, "holds 0 commands"),
        ("a 'b", 6, "cannot be cut into arguments (No closing quotation)"),
    ],
)
def test_what_only_a_shell_could_do_is_a_fault(block, line, words):
    """The program would get those signs as arguments and do something nobody meant."""
    with pytest.raises(Malformed) as caught:
        fenced_command(under(block), 1)
    assert caught.value.line == line
    assert words in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        "",
        "```\nx\n```",
        "## Best For\n```\nx\n```\n## How to Invoke\ntext only\n",
        "## How to Invoke\ntext\n## Limitations\n```\nx\n```\n",
        "~~~\n## How to Invoke\n~~~\n```\nx\n```\n",
        "Say `## How to Invoke` here.\n```\nx\n```\n",
    ],
)
def test_a_fence_elsewhere_is_no_command(body):
    """Only a fence between the heading and the next one counts."""
    assert fenced_command(body, 1) is None


@pytest.mark.parametrize(
    "body",
    [
        "### how to invoke ###\ntext\n\n#### Details\n~~~~ sh\nx\n~~~~\n",
        "## How to Invoke\n   ```bash\nx\n   `````\n",
        "## How to Invoke\n```\nx",
    ],
)
def test_a_fence_is_found_however_it_is_drawn(body):
    """Any level of heading and any fence of markdown, even one that is never closed."""
    found = fenced_command(body, 1)
    assert found is not None
    assert found.arguments == ("x",)


def test_the_title_is_the_first_heading_of_the_first_level():
    """A comment inside a fence is no heading."""
    assert title_of("```\n# no\n```\n## Two\n# One #\n# Other") == "One"
    assert title_of("no heading") == ""


@given(st.lists(st.text(PLAIN, min_size=1, max_size=20), min_size=1, max_size=5))
def test_whatever_is_quoted_reaches_the_program_as_it_stands(words):
    """What shlex writes is what the program gets, whatever signs are in it."""
    assert fenced_command(under(shlex.join(["x", *words])), 1) == Command(("x", *words), 0)
