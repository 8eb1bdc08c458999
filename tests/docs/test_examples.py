"""What the documents show is real: their files parse, their worked examples run, their commands print what is shown.

A comment before a fenced block says what it is:

    <!-- file: PATH -->         a file of that path, in the current folder of the session or below ~
    <!-- faulty file: PATH -->  the same, and it cannot be read
    <!-- interface: NAME.md --> an interface file that is only shown
    <!-- shown: reason -->      markdown that is neither a task nor an interface
    <!-- result: TASK -->       the text of the task's result;  <!-- facts: TASK --> facts of its result block
    <!-- not run: reason -->    commands that a test cannot run
    <!-- exit: N -->            the commands end with this code instead of 0

The commands of a document run in order in one shell, with a home of their own. In what they print, `...` stands for
anything, a line of `...` for any lines; instants, durations, hashes and made-up ids are compared by their kind alone.
"""

import configparser
import json
import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from brain_daemon.model import document
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.routing_file import parse_routing
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import TaskSpec
from brain_daemon.service.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
HOME_SHOWN = "/home/ann"
SESSION_SECONDS = 280
PROGRAMS = ("cat", "chmod", "cp", "dirname", "git", "head", "ls", "mkdir", "sh", "sort", "tr", "wc")
MARK = "--- the command above ended with"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<kind>[a-z ]+): (?P<about>.+?) -->\n\n?)?^(?P<fence>`{3,})(?P<language>\w*)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, the comment before it, and where it stands."""

    page: str
    line: int
    heading: str
    kind: str
    about: str
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(path: Path) -> Iterator[Block]:
    text = path.read_text("utf-8")
    found = list(_BLOCK.finditer(text))
    # A line that begins with # inside a block is no heading of the page.
    headings = [
        (match.start(), match[1])
        for match in _HEADING.finditer(text)
        if not any(block.start("text") <= match.start() < block.end("text") for block in found)
    ]
    for match in found:
        heading = next((name for at, name in reversed(headings) if at < match.start()), "")
        yield Block(
            page=path.relative_to(ROOT).as_posix(),
            line=text.count("\n", 0, match.start("fence")) + 1,
            heading=heading,
            kind=match["kind"] or "",
            about=match["about"] or "",
            language=match["language"],
            text=match["text"],
        )


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def blocks(*languages: str) -> list:
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.language in languages]


# What is shown, parses.


def is_interface(block: Block) -> bool:
    return block.kind == "interface" or (block.kind == "file" and "tools/interfaces/" in block.about)


def is_task(block: Block) -> bool:
    return not is_interface(block) and block.kind not in ("shown", "faulty file")


@pytest.mark.parametrize("block", [one for one in blocks("markdown") if is_interface(one.values[0])])
def test_interface_files_that_are_shown_are_read_without_a_word(block):
    """Each is an interface, with nothing to warn about."""
    spec = parse_interface(block.about.rpartition("/")[2], block.text.encode())
    assert isinstance(spec, InterfaceSpec), spec
    assert spec.warnings == ()


@pytest.mark.parametrize("block", [one for one in blocks("markdown") if is_task(one.values[0])])
def test_tasks_that_are_shown_are_read_without_a_word(block):
    """Each is a task, with nothing to warn about, or the routing table."""
    if block.about == "context/routing.md":
        assert isinstance(parse_routing(block.text.encode()), RoutingTable)
        return
    task = parse_task(block.about.rpartition("/")[2] or "task.md", block.text.encode())
    assert isinstance(task, TaskSpec), task
    assert task.warnings == ()


@pytest.mark.parametrize("block", blocks("json", "jsonl", "yaml", "toml", "xml", "ini"))
def test_data_that_is_shown_is_what_its_fence_says(block):
    """JSON, YAML, TOML, a property list, a unit of systemd; settings are settings of the program."""
    match block.language:
        case "json":
            json.loads(block.text)
        case "jsonl":
            assert [json.loads(line) for line in block.text.splitlines()]
        case "yaml":
            yaml.safe_load(block.text)
        case "toml":
            known = {setting.name: setting for setting in SETTINGS}
            for name, value in tomllib.loads(block.text).items():
                known[name].read(value)
        case "xml":
            assert plistlib.loads(block.text.encode())["ProgramArguments"]
        case _:
            unit = configparser.ConfigParser(strict=False)
            unit.optionxform = str  # type: ignore[assignment, method-assign]
            unit.read_string(block.text)
            assert unit.has_option("Service", "ExecStart")


def test_every_comment_before_a_block_is_one_the_tests_know():
    """A misspelt comment would switch a check off."""
    known = {"", "file", "faulty file", "interface", "shown", "result", "facts", "not run", "exit"}
    assert {block.kind for block in BLOCKS} <= known


# The worked examples of docs/interfaces.md.

EXAMPLES = [block for block in BLOCKS if block.page == "docs/interfaces.md" and block.heading.startswith("Example: ")]


@pytest.mark.parametrize("name", dict.fromkeys(block.heading for block in EXAMPLES))
def test_a_worked_example_gives_the_result_it_shows(name, brain, tmp_path, monkeypatch):
    """Its files are put into a fresh brain as they stand, its task runs, and the result is the one in the text."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    parts = [block for block in EXAMPLES if block.heading == name]
    for block in (block for block in parts if block.kind == "file"):
        if block.about.startswith("~/bin/"):
            script = programs / block.about.removeprefix("~/bin/")
            script.write_text(block.text)
            script.chmod(0o755)
        else:
            brain.write(block.about, block.text)
    code = brain.run_once()
    checked = 0
    for block in parts:
        if block.kind in ("result", "facts"):
            recorded = document.read_result(_recorded(brain, block.about))
            checked += 1
            if block.kind == "result":
                assert recorded.text.strip() == block.text.strip(), recorded
            else:
                _holds(recorded.values, yaml.safe_load(block.text))
    assert checked
    assert code == 0


def _recorded(brain, task_id: str) -> bytes:
    places = [folder / f"{task_id}.md" for folder in (brain.completed, brain.failed)]
    return next(place for place in places if place.exists()).read_bytes()


def _holds(values, wanted) -> None:
    for key, value in wanted.items():
        found = values[key]
        if isinstance(value, dict):
            _holds(found, value)
        else:
            assert (Decimal(str(found)) == Decimal(str(value))) if isinstance(value, int | float) else found == value


def test_the_json_example_reads_the_failure_it_stands_for(brain, tmp_path, monkeypatch):
    """The rule under `errors` turns the script's own message into a rate limit, which is waited for and said."""
    (script, interface) = (block for block in EXAMPLES if block.kind == "file" and "wordsmith" in block.about)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "wordsmith").write_text(script.text.replace('"1s"', '"0.01s"'))
    (programs / "wordsmith").chmod(0o755)
    (programs / "python3").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (programs / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    brain.write(interface.about, interface.text)
    brain.drop("no.md", "---\ninterface: wordsmith\n---\nplease fail\n")
    assert brain.run_once(transient_retries=1) == 1
    recorded = document.read_result(_recorded(brain, "no"))
    assert "too many requests" in recorded.text
    assert [one["ended"] for one in recorded.values["attempts"]].count("failed") >= 1


# The commands of the documents.


@dataclass(frozen=True, slots=True)
class Shown:
    """A command of a console block, what is shown below it, and the code it is said to end with."""

    place: str
    command: str
    output: str
    code: int


def commands(block: Block) -> Iterator[Shown]:
    code = int(block.about) if block.kind == "exit" else 0
    for number, part in enumerate(re.split(r"^\$ ", block.text, flags=re.MULTILINE)):
        if number == 0:
            assert not part, f"{block.place}: a console block begins with `$ `"
            continue
        lines = part.split("\n")
        end = next((index for index, line in enumerate(lines) if index and not line.startswith("> ")), len(lines))
        command = "\n".join([lines[0], *(line[2:] for line in lines[1:end])])
        yield Shown(block.place, command, "\n".join(lines[end:]), code)


def script_of(page: str) -> tuple[str, list[Shown]]:
    """A shell script of all that the page does, and what each of its commands must print."""
    steps: list[str] = []
    shown: list[Shown] = []
    for block in BLOCKS:
        if block.page != page or block.heading.startswith("Example: ") or block.kind == "not run":
            continue
        if block.kind in ("file", "faulty file"):
            path = block.about.replace("~/", "$HOME/", 1)
            steps.append(f'mkdir -p "$(dirname "{path}")"; cat > "{path}" <<\'END_OF_FILE\'\n{block.text}END_OF_FILE')
        elif block.language == "console":
            for one in commands(block):
                shown.append(one)
                steps.append(f"{{ {one.command}\n}} < /dev/null 2>&1\nprintf '\\n{MARK} %s\\n' $?")
    return "\n".join(steps) + "\n", shown


def _path_of(program: str) -> str:
    found = shutil.which(program)
    assert found, f"this test needs the program {program}"
    return found


@pytest.fixture
def home(tmp_path) -> Path:
    """A home folder with `brain` and the usual programs on its PATH, no AI client among them, and an identity for git."""
    place = tmp_path / "home"
    programs = place / ".local" / "bin"
    programs.mkdir(parents=True)
    for name in PROGRAMS:
        (programs / name).symlink_to(_path_of(name))
    for name, arguments in (("brain", "-m brain_daemon "), ("python3", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments}"$@"\n')
        program.chmod(0o755)
    (place / ".gitconfig").write_text(
        "[user]\n\tname = Ann\n\temail = ann@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    return place


@pytest.mark.parametrize("page", [page for page in dict.fromkeys(block.page for block in BLOCKS) if script_of(page)[1]])
def test_the_commands_of_a_page_print_what_it_shows(page, home):
    """They run in order in a fresh home; each ends with the code it should, and prints what stands below it."""
    script, shown = script_of(page)
    environment = {
        "HOME": str(home),
        "PATH": f"{home}/.local/bin{os.pathsep}{home}/bin",
        "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_PAGER": "cat",
        "BRAIN_SETTLE": "0s",  # a person does not type as fast as this shell, so the file they copied is quiet by then
        **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE")},
    }
    done = subprocess.run(
        [_path_of("bash")],
        input=script,
        capture_output=True,
        text=True,
        env=environment,
        cwd=home,
        timeout=SESSION_SECONDS,
        check=False,
    )
    printed = re.split(rf"\n{MARK} (\d+)\n", done.stdout)
    assert len(printed) // 2 == len(shown), f"the shell stopped early: {done.stderr}\n{done.stdout[-3000:]}"
    for one, said, code in zip(shown, printed[0::2], printed[1::2], strict=False):
        text = said.replace(str(home), HOME_SHOWN)
        assert int(code) == one.code, f"{one.place}: `{one.command}` ended with {code} and printed:\n{text}"
        assert agrees(one.output, text), (
            f"{one.place}: `{one.command}` printed:\n{text}\n--- but the page shows:\n{one.output}"
        )


# Kinds of text that are never the same twice, by the name of the kind.
_KINDS = (
    (re.compile(r"task-[0-9]{8}T[0-9]{6}-[0-9a-f]{4}"), "made-up-id"),
    (re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} +[0-9]+ [0-9:]{8} [0-9]{4} [+-][0-9]{4}"), "instant"),
    (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}:[0-9]{2}Z?)?"), "instant"),
    (re.compile(r"\b[0-9]{2}:[0-9]{2}:[0-9]{2}Z?"), "instant"),
    (re.compile(r"\bnow\b|\b[0-9]+ (?:s|min) ago\b"), "age"),
    (re.compile(r"(?<![\w.])[0-9]+(?:\.[0-9]+)? (?:ms|s)\b"), "duration"),
    (re.compile(r"duration_seconds: [0-9.]+|\"(?:duration|overhead)_seconds\": [0-9.]+"), "duration"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{7,64}\b"), "hash"),
    (re.compile(r"process [0-9]+ on \S+"), "process"),
    (re.compile(r"[ \t]+"), " "),
)


def kinds_only(text: str) -> str:
    for pattern, kind in _KINDS:
        text = pattern.sub(kind, text)
    return "\n".join(line.strip() for line in text.strip("\n").split("\n"))


def agrees(shown: str, printed: str) -> bool:
    pattern = ""
    for line in kinds_only(shown).split("\n"):
        pattern += r"(?:.*\n)*?" if line == "..." else "[^\n]*".join(map(re.escape, line.split("..."))) + r"\n"
    return re.fullmatch(pattern, kinds_only(printed) + "\n") is not None


@pytest.mark.parametrize(
    ("shown", "printed", "agree"),
    [
        ("done in 0.2 s", "done in 14 ms", True),
        ("commit 1a2b3c4", "commit ffffff0ffffff", True),
        ("at 2026-11-20T20:15:04Z", "at 2027-01-01T00:00:00Z", True),
        ("one\n...\nlast", "one\ntwo\nthree\nlast", True),
        ("one\n...\nlast", "one\nlast", True),
        ("a ... c", "a b c", True),
        ("a ... c", "a b d", False),
        ("one", "one\ntwo", False),
        ("1 completed", "2 completed", False),
    ],
)
def test_what_is_shown_and_what_is_printed_are_compared_strictly(shown, printed, agree):
    """Only the named kinds and `...` may differ."""
    assert agrees(shown, printed) is agree
