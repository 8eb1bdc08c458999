"""What docs/operations.md says of backups: a copy is put back and work goes on; a clone has all that had ended."""

import os
import shutil
import subprocess
from contextlib import closing

from brain_daemon.service.verification import verify
from tests.conftest import BrainFolder


def findings(brain):
    with closing(brain.open()) as opened:
        return verify(opened, everything=True, pause_seconds=0.0).findings


def test_a_copy_that_is_put_back_goes_on_where_it_was(brain, tmp_path):
    """Pending tasks, a held one with its question and the ledger come back with it; nothing that had ended runs again."""
    brain.echo()
    brain.drop("one.md")
    brain.drop("blind.md", "---\nrequires: [vision]\n---\n# Blind\n")
    brain.run_once()
    brain.drop("waiting.md")
    subprocess.run(["cp", "-a", str(brain.root), str(tmp_path / "backup")], check=True)
    brain.run_once()
    brain.drop("later.md")
    brain.run_once()
    shutil.rmtree(brain.root)
    subprocess.run(["cp", "-a", str(tmp_path / "backup"), str(brain.root)], check=True)
    assert findings(brain) == ()
    brain.run_once()
    assert brain.where("one") == brain.where("waiting") == ["completed"]
    assert brain.where("blind") == ["pending"]
    assert brain.where("later") == []
    assert [row.task_id for row in brain.rows()] == ["one", "waiting"]
    assert findings(brain) == ()


def test_a_copy_taken_under_a_running_daemon_opens_or_says_what_is_damaged(brain, daemon, tmp_path):
    """It holds every outcome that had been committed before it was begun."""
    brain.echo()
    with daemon() as running:
        for number in range(6):
            brain.drop(f"t{number}.md")
        running.wait_for(lambda: brain.git("log", "--format=%s").count("completed t") == 6)
        head = brain.git("rev-parse", "HEAD").strip()
        brain.drop("more.md")
        subprocess.run(["cp", "-a", str(brain.root), str(tmp_path / "backup")], check=False)
    shutil.rmtree(brain.root)
    subprocess.run(["cp", "-a", str(tmp_path / "backup"), str(brain.root)], check=True)
    brain.git("rev-list", "--verify-objects", head)  # what git was writing meanwhile may be there by halves
    (brain.root / ".git" / "index.lock").unlink(missing_ok=True)
    brain.run_once()
    assert all(brain.where(f"t{number}") == ["completed"] for number in range(6))


def test_a_clone_has_all_that_had_ended_and_runs_none_of_it_again(brain, tmp_path):
    """Only the repository was left: results, costs and answers are there; the journal begins anew."""
    brain.echo()
    brain.drop("one.md", "---\nid: one\n---\n# One\n\nx\n")
    brain.run_once()
    brain.git("add", "-A")
    brain.git("commit", "-q", "-m", "the rest of mine")
    subprocess.run(["git", "clone", "-q", str(brain.root), str(tmp_path / "clone")], check=True)
    clone = BrainFolder(tmp_path / "clone", tmp_path / "clone-state")
    os.makedirs(clone.pending, exist_ok=True)
    with closing(clone.open()) as opened:
        opened.journal.approve(opened.registry().entries["echo"].spec.sha256, "echo", "by hand")
    clone.drop("two.md")
    clone.run_once()
    assert clone.where("one") == ["completed"]
    assert clone.where("two") == ["completed"]
    assert [row.task_id for row in clone.rows()] == ["one", "two"]
    assert findings(clone) == ()
