"""What an attacker tried once, each as a test: the daemon lives, says what is wrong, and everything else goes on."""

import os

from brain_daemon.model.document import read_result

FOLDERS = {
    "completed": "brain/tasks/completed",
    "active": "brain/tasks/active",
    "prompts": "prompts",
    "context": "context",
}
ECHO_TASK = "# A task\n\nsay this\n"


def test_a_file_that_git_can_never_hold_keeps_no_other_outcome_out_of_git(brain):
    """An out/ folder with a repository in it: what can be committed is."""
    brain.program("runner", "/bin/sh")
    brain.drop(
        "a.md", "---\ninterface: runner\n---\nmkdir -p out/.git && echo x > out/.git/config && echo y > out/y.txt\n"
    )
    brain.drop("b.md", "---\ninterface: runner\n---\necho fine\n")
    brain.run_once()
    assert brain.where("a") == ["completed"]
    assert brain.where("b") == ["completed"]
    assert not [line for line in brain.git("status", "--porcelain").splitlines() if "completed" in line]
    assert os.listdir(str(brain.root / FOLDERS["completed"] / "a.files")) == ["y.txt"]


def test_planted_folders_beside_results_are_neither_overwritten_nor_followed(brain, tmp_path):
    """A link or a file of the person's in ID.files/ stays; the attempt's files stand under its own name."""
    brain.program("runner", "/bin/sh")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.symlink(elsewhere, str(brain.root / FOLDERS["completed"] / "linked.files"))
    os.makedirs(str(brain.root / FOLDERS["completed"] / "mine.files"))
    with open(str(brain.root / FOLDERS["completed"] / "mine.files/r.txt"), "w") as handle:
        handle.write("the person's")
    for name in ("linked", "mine"):
        brain.drop(f"{name}.md", "---\ninterface: runner\n---\nmkdir -p out && echo agent > out/r.txt\n")
    brain.run_once()
    assert os.listdir(elsewhere) == []
    with open(str(brain.root / FOLDERS["completed"] / "mine.files/r.txt")) as handle:
        assert handle.read() == "the person's"
    kept = [name for name in os.listdir(brain.completed) if ".a1." in name and name.endswith(".files")]
    assert len(kept) == 2


def test_fifos_where_pages_are_expected_hang_nothing(brain):
    """prompts/pending.md and context/routing.md are read without waiting."""
    brain.echo("echo")
    os.makedirs(str(brain.root / "prompts"), exist_ok=True)
    os.mkfifo(str(brain.root / FOLDERS["prompts"] / "pending.md"))
    os.remove(str(brain.root / FOLDERS["context"] / "routing.md"))
    os.mkfifo(str(brain.root / FOLDERS["context"] / "routing.md"))
    brain.drop("a.md", ECHO_TASK)
    brain.run_once()
    assert brain.where("a") == ["completed"]


def test_a_folder_in_active_stops_no_start(brain):
    """What is no regular file there is none of ours."""
    brain.echo("echo")
    os.makedirs(str(brain.root / FOLDERS["active"] / "d.md"))
    os.symlink("nowhere", str(brain.root / FOLDERS["active"] / "l.md"))
    brain.drop("a.md", ECHO_TASK)
    brain.run_once()
    assert brain.where("a") == ["completed"]


def test_folders_taken_away_under_a_daemon_come_back(brain, daemon, tmp_path):
    """logs/ and the like are made again, and work goes on."""
    brain.echo("echo")
    with daemon() as running:
        brain.drop("a.md", ECHO_TASK)
        running.wait_for(lambda: brain.where("a") == ["completed"])
        os.rename(brain.root / "logs", tmp_path / "gone")
        brain.drop("b.md", ECHO_TASK)
        running.wait_for(lambda: brain.where("b") == ["completed"])
    with open(str(brain.root / FOLDERS["completed"] / "b.md"), "rb") as handle:
        assert read_result(handle.read()).values["status"] == "completed"


def test_a_secret_in_a_file_name_is_held(brain):
    """The name would be committed as well as the text."""
    brain.echo("echo")
    brain.drop("key ghp_" + "a1B2" * 9 + ".md", ECHO_TASK)
    brain.run_once()
    assert os.listdir(brain.completed) in ([], [".gitkeep"])
