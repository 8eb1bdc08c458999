"""`brain doctor`, `verify`, `reindex`, `config` and `completion` as commands: exit codes, words, JSON."""

import os
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def worked(brain):
    """Some work was done."""
    brain.echo()
    brain.drop("one.md")
    brain.drop("two.md")
    brain.run_once()
    return brain


def test_a_brain_that_is_well_leaves_the_doctor_with_exit_0(worked, cli):
    """What was looked at is shown all the same."""
    said = cli("doctor")
    assert said.code == 0
    assert "journal" in said.out
    assert "bad" not in {line.split()[0] for line in said.out.splitlines()[1:]}


def test_something_bad_is_exit_1_with_its_fix(worked, cli):
    """In JSON as well."""
    worked.write("brain.toml", 'paralel = "x"\n')
    assert cli("doctor").code == 1
    said = cli("doctor", "--json")
    assert said.code == 1
    assert next(one["area"] for one in said.json["findings"] if one["level"] == "bad") == "settings"


def test_verify_of_a_sound_brain_is_exit_0_and_says_what_it_looked_at(worked, cli):
    """Nothing is wrong."""
    said = cli("verify", "--all")
    assert said.code == 0
    assert said.out.startswith("Nothing is wrong (looked at 2 tasks, 2 originals, 2 rows")


def test_verify_of_a_damaged_brain_is_exit_1_and_names_the_damage(worked, cli):
    """In words, and for programs."""
    (worked.completed / "one.md").unlink()
    said = cli("verify")
    assert said.code == 1
    assert "git log -- brain/tasks/completed/one.md" in said.out
    assert "1 thing is wrong" in said.out
    again = cli("verify", "--json")
    assert again.code == 1
    assert [one["subject"] for one in again.json["findings"]] == ["one"]


def test_reindex_says_what_the_index_has_now_and_had_before(worked, cli):
    """Where the two differ."""
    assert "Before" not in cli("reindex").out
    opened = worked.open()
    opened.journal.replace_caches([], [])
    opened.close()
    said = cli("reindex")
    assert said.code == 0
    assert "2 ended tasks and 2 attempts, $0" in said.out
    assert "Before it had 0 attempts" in said.out


def test_reindex_beside_a_daemon_is_refused_with_its_name(worked, cli, daemon):
    """Exit 1: a rule says no."""
    with daemon() as running:
        said = cli("reindex")
    assert said.code == 1
    assert f"process {running.pid}" in said.complaint


# config


def test_the_settings_are_shown_as_they_are_in_force(brain, cli, monkeypatch):
    """brain.toml, then the environment; with their origin when asked."""
    brain.write("brain.toml", "parallel = 3\nattempts = 5\nnever = ['ollama']\n")
    monkeypatch.setenv("BRAIN_ATTEMPTS", "7")
    said = cli("config", "--origin").out
    lines = {line.split()[0]: line for line in said.splitlines()[1:]}
    assert "brain.toml" in lines["parallel"]
    assert lines["attempts"].split()[1:3] == ["7", "environment"]
    assert "default" in lines["grace"]
    assert "ollama" in lines["never"]
    assert [line.split()[:2] for line in cli("config").out.splitlines() if line.startswith("parallel")] == [
        ["parallel", "3"]
    ]


def test_outside_of_a_brain_the_users_own_settings_are_shown(cli, tmp_path, monkeypatch):
    """No brain is needed to ask for them."""
    from brain_daemon.surfaces.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["brain", "config"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_a_setting_that_cannot_be_read_is_a_usage_error(brain, cli):
    """With the file, the key, what was found and what is allowed."""
    brain.write("brain.toml", "parallel = 'many'\n")
    said = cli("config")
    assert said.code == 2
    assert "parallel" in said.complaint
    assert "brain.toml" in said.complaint


# completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_one_the_shell_can_read(cli, shell):
    """Where that shell is installed it parses it."""
    script = cli("completion", shell).out
    assert "_BRAIN_COMPLETE" in script
    if shutil.which(shell):
        check = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, check=False)
        assert check.returncode == 0, check.stderr


def test_completing_names_the_commands_that_begin_so(brain):
    """What the script asks the program for."""
    code = "import sys; sys.argv = ['brain']; from brain_daemon.surfaces.cli import main; main()"
    environment = {**os.environ, "_BRAIN_COMPLETE": "bash_complete", "COMP_WORDS": "brain re", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    found = {line.partition(",")[2] for line in done.stdout.splitlines()}
    assert {"retry", "release", "renew", "resume", "reindex"} <= found
    assert all(name.startswith("re") for name in found)
