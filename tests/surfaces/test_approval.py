"""An interface file is a program: what git brings does not run until a person has read it and said so (B24)."""

import subprocess
from pathlib import Path

import pytest

EVIL = "---\nname: {name}\ncommand: [touch, {proof}]\ncost: free\ngood_at: {{default: 1}}\n---\n# Helper\n"


class Colleague:
    """A second clone of the brain's repository, from which things arrive by `git pull`."""

    def __init__(self, brain, folder: Path) -> None:
        self.brain, self.root = brain, folder
        subprocess.run(["git", "clone", "-q", str(brain.root), str(folder)], check=True)

    def push(self, path: str, text: str) -> None:
        """Commit a file there; the brain's owner pulls later."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)
        for command in (["add", "-A"], ["commit", "-q", "-m", "a nice helper"]):
            subprocess.run(["git", *command], cwd=self.root, check=True)

    def pull(self, *, check: bool = True) -> None:
        self.brain.git("pull", "-q", "--no-rebase", "--no-edit", str(self.root), "main", check=check)


@pytest.fixture
def colleague(brain, tmp_path) -> Colleague:
    return Colleague(brain, tmp_path / "clone")


@pytest.fixture
def proof(tmp_path) -> Path:
    """It is there if and only if the malicious command was run."""
    return tmp_path / "was-run"


def facts(cli) -> dict[str, dict[str, object]]:
    return {one["name"]: one for one in cli("interfaces", "--json").json["interfaces"]}


def test_a_malicious_command_that_came_by_git_pull_does_not_run_until_it_is_approved(brain, cli, colleague, proof):
    """Not by a task that asks for it, not by its check; status says so, and the board; the approval lets it run."""
    colleague.push("tools/interfaces/helper.md", EVIL.format(name="helper", proof=proof))
    colleague.pull()
    assert "not approved on this machine: helper" in cli("status").out
    brain.drop("wanted.md", "---\ninterface: helper\n---\n# Wanted\n")
    brain.drop("any.md", "# Anything\n")
    brain.run_once()
    cli("interfaces", "check")
    assert not proof.exists()
    assert brain.where("wanted") == ["pending"]
    status = cli("status")
    assert "not approved on this machine: helper" in status.out
    assert cli("status", "--json").json["unapproved"] == ["helper"]
    assert "approval-helper-" in status.out
    assert facts(cli)["helper"]["approval"] == "waits"
    assert cli("interfaces", "approve", "helper").code == 0
    brain.run_once()
    assert proof.exists()
    assert "not approved" not in cli("status").out
    assert facts(cli)["helper"]["approval"] == "person"
    (row,) = (line for line in cli("interfaces").out.splitlines() if line.startswith("helper"))
    assert "by you on 20" in row


async def test_a_running_daemon_does_not_take_what_is_pulled_for_made_here(brain, colleague, proof):
    """Whatever moment of the pull it looks at."""
    brain.echo()
    async with brain.running(commit=False) as running:  # a commit in the middle of a pull makes git give up
        for number in range(3):
            colleague.push(f"tools/interfaces/helper{number}.md", EVIL.format(name=f"helper{number}", proof=proof))
            colleague.pull()
            entries = running.supervisor._roster.registry.entries
            await running.until(lambda entries=entries, n=number: f"helper{n}" in _names(running), "it to be seen")
        assert not [name for name in entries if name.startswith("helper") and entries[name].approved]
    assert not proof.exists()


def _names(running) -> set[str]:
    return set(running.supervisor._roster.registry.entries)


def test_a_merge_that_waits_for_a_person_brings_nothing_that_runs(brain, cli, colleague, proof):
    """In a conflict HEAD does not know the new files, and the work tree has them."""
    brain.write("knowledge/plan.md", "mine\n")
    brain.commit()
    colleague.push("knowledge/plan.md", "theirs\n")
    colleague.push("tools/interfaces/helper.md", EVIL.format(name="helper", proof=proof))
    colleague.pull(check=False)
    assert "knowledge/plan.md" in brain.git("diff", "--name-only", "--diff-filter=U")
    assert (brain.root / "tools/interfaces/helper.md").exists()
    brain.drop("any.md", "---\ninterface: helper\n---\n# Anything\n")
    brain.run_once()
    assert not proof.exists()
    assert facts(cli)["helper"]["approval"] == "waits"


def test_a_file_taken_out_of_somebodys_branch_waits(brain, cli, colleague, proof):
    """`git checkout FETCH_HEAD -- file` writes the file and the index, and leaves HEAD alone."""
    colleague.push("tools/interfaces/helper.md", EVIL.format(name="helper", proof=proof))
    brain.git("fetch", "-q", str(colleague.root), "main")
    brain.git("checkout", "FETCH_HEAD", "--", "tools/interfaces/helper.md")
    assert facts(cli)["helper"]["approval"] == "waits"


def test_what_is_made_here_and_what_ships_runs_at_once(brain, cli):
    """The column says which is which."""
    brain.program("mine", "cat")
    told = facts(cli)
    assert (told["mine"]["approval"], told["librarian"]["approval"]) == ("here", "shipped")
    brain.commit()
    assert facts(cli)["mine"]["approval"] == "here"


def test_a_changed_file_that_came_by_git_needs_approval_again(brain, cli, colleague, proof):
    """The content is approved, not the name."""
    colleague.push("tools/interfaces/helper.md", EVIL.format(name="helper", proof="/dev/null"))
    colleague.pull()
    cli("interfaces", "approve", "helper")
    assert facts(cli)["helper"]["usable"]
    colleague.push("tools/interfaces/helper.md", EVIL.format(name="helper", proof=proof))
    colleague.pull()
    assert facts(cli)["helper"]["approval"] == "waits"
    assert "helper" in cli("status").out


def test_the_box_of_a_question_approves_only_what_was_asked_about(brain, cli, colleague, proof):
    """The file changed between the question and the tick: the tick is none, and a new question stands."""
    colleague.push("tools/interfaces/helper.md", EVIL.format(name="helper", proof="/dev/null"))
    colleague.pull()
    brain.run_once()
    asked = brain.questions.read_text()
    colleague.push("tools/interfaces/helper.md", EVIL.format(name="helper", proof=proof))
    colleague.pull()
    brain.questions.write_text(asked.replace("- [ ] **approve**", "- [x] **approve**"))
    brain.drop("any.md", "---\ninterface: helper\n---\n# Anything\n")
    brain.run_once()
    assert not proof.exists()
    assert facts(cli)["helper"]["approval"] == "waits"
    (question,) = (one for one in cli("questions", "--json").json["questions"] if one["kind"] == "approval")
    assert question["id"] not in asked


# show and approve


def test_showing_an_interface_shows_its_commands_its_variables_and_its_file(brain, cli):
    """Nothing of it is run, and no character of it moves a cursor."""
    brain.program(
        "odd",
        "sh",
        "-c",
        "echo \\e[2J",
        more="auth: {method: api_key, env: ODD_KEY, secret_command: [pass, show, odd], check: [odd, status]}\n",
        inside="  check: [odd, --version]\n  set_env: {MODE: fast}\n",
    )
    path = brain.root / "tools/interfaces/odd.md"
    path.write_text(path.read_text() + "\x1b[2J\x1b]0;title\x07 sneaky \u202e text\n")
    brain.commit()
    said = cli("interfaces", "show", "odd")
    assert said.code == 0
    for words in ("runs        sh -c", "checks by   odd --version", "and by      odd status", "pass show odd"):
        assert words in said.out
    assert "is given    ODD_KEY" in said.out
    assert "with        MODE=fast" in said.out
    assert "approved    waits" in said.out
    assert not set("\x1b\x07\u202e") & set(said.out)
    told = cli("interfaces", "show", "odd", "--json")
    assert told.json["secret_command"] == ["pass", "show", "odd"]
    assert not set("\x1b\x07\u202e") & set(told.out)


def test_a_key_written_into_an_interface_file_is_not_shown(brain, cli):
    """It should not stand there, and need not stand on the screen as well."""
    token = "ghp_" + "a1B2" * 9
    brain.program("odd", "cat", inside=f"  set_env: {{PLACE: {token}}}\n")
    for arguments in (["show", "odd"], ["show", "odd", "--json"], ["approve", "odd"]):
        said = cli("interfaces", *arguments)
        assert "redacted" in said.out
        assert token not in said.out


def test_several_and_all_can_be_approved_at_once(brain, cli):
    """Each is shown first."""
    for name in ("one", "two", "three"):
        brain.program(name, "cat")
    brain.commit()
    said = cli("interfaces", "approve", "one", "two")
    assert said.out.count("approved on this machine") == 2
    assert facts(cli)["three"]["approval"] == "waits"
    assert cli("interfaces", "approve", "--all").out.count("approved on this machine") == 1
    assert facts(cli)["three"]["approval"] == "person"
    assert "No interface waits" in cli("interfaces", "approve", "--all").out


@pytest.mark.parametrize(
    "arguments", [[], ["one", "--all"], ["one", "two", "--sha256", "ab"], ["--all", "--sha256", "a"]]
)
def test_what_to_approve_must_be_said_plainly(brain, cli, arguments):
    """A usage error, and nothing is approved."""
    assert cli("interfaces", "approve", *arguments).code == 2


def test_a_content_that_was_not_the_one_shown_is_refused(brain, cli):
    """`--sha256` is what `show` printed."""
    brain.program("one", "cat")
    brain.commit()
    shown = cli("interfaces", "show", "one", "--json").json["sha256"]
    brain.program("one", "tac")
    brain.commit()
    said = cli("interfaces", "approve", "one", "--sha256", shown[:12])
    assert said.code == 1
    assert "has changed since it was shown" in said.complaint
    assert facts(cli)["one"]["approval"] == "waits"
    again = cli("interfaces", "show", "one", "--json").json["sha256"]
    assert cli("interfaces", "approve", "one", "--sha256", again[:12]).code == 0
