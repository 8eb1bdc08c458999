"""Faults that are put into the program one at a time, each of which must turn a test red: `make mutants`.

A mutant is one text of a file replaced by another: a sync that is left out, two steps that change places, a guard that is dropped. The
tree is copied, and for each mutant the narrow tests that it names are run in the copy; all of them green is a hole in the tests.
That each text stands in its file exactly once is looked at in `make test` (test_mutants.py).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_COPIED = ("brain_daemon", "tests", "tools", "context", "knowledge", "pyproject.toml", ".gitattributes")
_DEADLINE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is wrong in words, where, and the tests (paths with `-k` words behind a space) that must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str


_ORDER = "tests/faults/test_order.py"
MUTANTS = (
    Mutant(
        "a file takes its name before it is on the disk",
        "store/files.py",
        """                    self.step("sync", temporary)
                    _sync(descriptor)
""",
        """                    self.step("sync", temporary)
""",
        f"{_ORDER} -k before_it_takes_its_name",
    ),
    Mutant(
        "a folder is counted as synced and is not",
        "store/files.py",
        """os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    _sync(descriptor)
""",
        """os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    pass
""",
        f"{_ORDER} -k order_given",
    ),
    Mutant(
        "the files of a group are not synced",
        "store/files.py",
        """os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    _sync(descriptor)
""",
        """os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    pass
""",
        f"{_ORDER} -k a_group_is_synced",
    ),
    Mutant(
        "the names of a group are not synced",
        "store/files.py",
        "        self.sync_folders(dict.fromkeys(os.path.dirname(path) for path in paths))\n",
        "",
        f"{_ORDER} -k a_group_is_synced",
    ),
    Mutant(
        "a large group is not synced at all",
        "store/files.py",
        "                _SYNC_FILE_SYSTEM(paths[0])\n",
        "                pass\n",
        f"{_ORDER} -k a_group_is_synced",
    ),
    Mutant(
        "a move overwrites",
        "store/files.py",
        "            _rename_new(source, target)\n",
        "            os.replace(source, target)\n",
        f"{_ORDER} -k never_takes_the_place",
    ),
    Mutant(
        "a short write is taken for a whole one",
        "store/files.py",
        "    while view:\n",
        "    if view:\n",
        f"{_ORDER} -k before_it_takes_its_name",
    ),
    Mutant(
        "the journal does not wait for the disk",
        "store/journal_file.py",
        "{'full' if durable else 'normal'}",
        "normal",
        f"{_ORDER} -k committed_with_a_sync",
    ),
    Mutant(
        "the accounts do not wait for the disk",
        "store/database.py",
        "pragma synchronous = full",
        "pragma synchronous = off",
        f"{_ORDER} -k committed_with_a_sync",
    ),
    Mutant(
        "a second outcome takes the place of the first",
        "store/attempt_rows.py",
        """            "where attempt_id = ? and state in ('claimed', 'starting')",
            [_to_end(""",
        """            "where attempt_id = ?",
            [_to_end(""",
        "tests/store/test_journal.py -k first_outcome",
    ),
    Mutant(
        "an ended attempt can be given back",
        "store/attempt_rows.py",
        "set state = 'released' where attempt_id = ? and state in ('claimed', 'starting')",
        "set state = 'released' where attempt_id = ?",
        "tests/store/test_journal.py -k released",
    ),
    Mutant(
        "a stale claim is renewed",
        "store/attempt_rows.py",
        "set lease_until = ? where attempt_id = ? and state = 'claimed'",
        "set lease_until = ? where attempt_id = ?",
        "tests/store/test_journal.py -k renewed",
    ),
    Mutant(
        "half a transaction stays",
        "store/journal_file.py",
        """                if connection.in_transaction:
                    connection.execute("rollback")
""",
        """                if connection.in_transaction:
                    connection.execute("commit")
""",
        "tests/store/test_journal.py -k fails_leaves_nothing",
    ),
    Mutant(
        "a journal is made in its place",
        "store/journal_file.py",
        """        aside = f"{self._path}.{os.getpid()}.{uuid.uuid4().hex[:8]}.new"
""",
        """        aside = self._path
""",
        "tests/faults/test_birth.py",
    ),
    Mutant(
        "a result is not synced before its task leaves active/",
        "record/filing.py",
        "        self._files.sync_group([path for _, path in finished])\n",
        "",
        f"{_ORDER} -k leaves_active",
    ),
    Mutant(
        "the folder that claims come from is synced first",
        "record/filing.py",
        "_present(self._layout.active, self._layout.pending)",
        "_present(self._layout.pending, self._layout.active)",
        f"{_ORDER} -k leaves_active",
    ),
    Mutant(
        "the names of the day files are not synced",
        "record/filing.py",
        "        self._files.sync_folders(_present(*logs))\n",
        "",
        f"{_ORDER} -k leaves_active",
    ),
    Mutant(
        "a task leaves active/ before its result is durable",
        "record/filing.py",
        """        self._files.sync_group([path for _, path in finished])
        for attempt, _ in finished:
            self._results.remove_active(attempt)
""",
        """        for attempt, _ in finished:
            self._results.remove_active(attempt)
        self._files.sync_group([path for _, path in finished])
""",
        f"{_ORDER} -k leaves_active",
    ),
    Mutant(
        "what was recorded before a crash gets a second row",
        "record/filing.py",
        "if not (one.suspect and self._is_booked(one.row.attempt_id, paths))",
        "if one.suspect or not self._is_booked(one.row.attempt_id, paths)",
        "tests/record/test_recorder.py",
    ),
    Mutant(
        "what was begun before word of it came gets a second row",
        "record/filing.py",
        "return (*fresh, is_again)",
        "return (*fresh, False)",
        "tests/record/test_recorder.py -k word_of_an_end",
    ),
    Mutant(
        "a start whose claim the disk has forgotten is repeated",
        "service/startup.py",
        "                self._take_again(one)\n",
        "                pass\n",
        f"{_ORDER} -k forgotten",
    ),
    Mutant(
        "an orphan is not waited for",
        "policy/recovery.py",
        "case AttemptState.STARTING if found.alive:",
        "case AttemptState.STARTING if False:",
        "tests/policy/test_recovery.py",
    ),
    Mutant(
        "an interrupted attempt goes back to pending/ unasked",
        "policy/recovery.py",
        'return Interrupt("the daemon ended while it ran, and none of its processes is found", restore=missing)',
        "return GiveBack()",
        "tests/policy/test_recovery.py",
    ),
    Mutant(
        "what was claimed before this journal is taken for never started",
        "policy/recovery.py",
        "if found.active_since is None or found.active_since < found.journal_born:",
        "if False:",
        "tests/policy/test_recovery.py",
    ),
    Mutant(
        "a tool starts before its start is on record",
        "service/desk.py",
        """                self._journal.insert(starts)
""",
        """                pass
""",
        f"{_ORDER} -k no_tool",
    ),
    Mutant(
        "a second daemon runs on the brain",
        "store/locks.py",
        """            self._lock.acquire(timeout=_PROBE_SECONDS, poll_interval=0.01)
""",
        """            pass
""",
        "tests/store/test_locks.py -k second_daemon",
    ),
    Mutant(
        "files change hands without the claims lock",
        "store/locks.py",
        """        lock.acquire(timeout_seconds)
""",
        """        pass
""",
        "tests/store/test_locks.py -k short_lock",
    ),
    Mutant(
        "the branch moves before the index",
        "record/committing.py",
        """            self._index.place()
            if not refs.commit() and""",
        """            done = refs.commit()
            self._index.place()
            if not done and""",
        "tests/record/test_committing.py -k crash_at_any_moment",
    ),
    Mutant(
        "what the user staged meanwhile is overwritten",
        "record/committing.py",
        "if not self._index.is_still(seen):",
        "if False:",
        "tests/record/test_committing.py -k user_does_meanwhile",
    ),
    Mutant(
        "the branch is moved from wherever it stands",
        "record/committing.py",
        'f"update refs/heads/{tip.branch} {new} {tip.sha or nothing}"',
        'f"update refs/heads/{tip.branch} {new}"',
        "tests/record/test_committing.py -k user_does_meanwhile",
    ),
    Mutant(
        "a lock with our name is taken for ours",
        "record/user_index.py",
        "        return _same_file(self._anchor, self._lock)\n",
        "        return os.path.lexists(self._lock)\n",
        "tests/record/test_committing.py -k not_ours",
    ),
    Mutant(
        "recovery does not wait for a git that lives",
        "record/user_index.py",
        "            if not any(_flocked(descriptor) for _ in patiently(patience_seconds)):\n",
        "            if False:\n",
        "tests/record/test_committing.py -k outlived",
    ),
    Mutant(
        "a folder that has just changed counts as known",
        "service/recorded_folders.py",
        "        if not folders and time.time_ns() - changed_at > _SETTLED_NS:\n",
        "        if not folders:\n",
        "tests/service/test_ended.py -k has_just_changed",
    ),
    Mutant(
        "what a power cut left of our file is taken for another's",
        "record/recorded_files.py",
        """            if not data.startswith(found.rstrip(b"\\0")):
""",
        """            if not data.startswith(found):
""",
        "tests/record/test_recorder.py -k power_cut",
    ),
    Mutant(
        "a slot counts as free before its work is over",
        "service/jobs.py",
        "return Counter(job.ranked.name for job in self.running.values() if not job.leaving)",
        "return Counter(job.ranked.name for job in self.running.values() if job.ranked.name in job.tried)",
        "tests/service/test_idle_interface.py -k work_is_over",
    ),
    Mutant(
        "sums of another ledger are taken up",
        "service/past.py",
        "        if before is None or before.made_of != made_of:\n",
        "        if before is None:\n",
        "tests/service/test_past.py -k cannot_be_read",
    ),
    Mutant(
        "an outcome that is filed twice counts twice in the metrics",
        "record/metrics.py",
        "if row.attempt_id in self._seen or row.day",
        "if row.day",
        "tests/record/test_recorder.py -k metrics_count",
    ),
    Mutant(
        "what is yet to be filed is taken from an index that knows it",
        "record/filing.py",
        "(row for row in rows if row.attempt_id not in owed)",
        "rows",
        "tests/record/test_recorder.py -k metrics_count",
    ),
    Mutant(
        "a daemon that works through a queue ends while a group is being filed",
        "service/recording.py",
        "self._waiting or self._asked or self._filing or self._filed",
        "self._waiting or self._asked or self._filed",
        "tests/service/test_recording.py -k busy_while",
    ),
    Mutant(
        "a step that fails while its run is looked at is never noticed",
        "service/workflows.py",
        "run.seen = None if missed else seen\n",
        "run.seen = None if missed else self._standing(run)\n",
        "tests/service/test_workflow_looks.py -k is_news",
    ),
)


def wrong_texts() -> list[str]:
    """What of the list does not fit the program any more."""
    said = []
    for mutant in MUTANTS:
        found = (REPOSITORY / "brain_daemon" / mutant.file).read_text("utf-8").count(mutant.old)
        if found != 1:
            said.append(f"{mutant.name}: its text stands {found} times in {mutant.file}")
        if mutant.old == mutant.new:
            said.append(f"{mutant.name}: it changes nothing")
        path = mutant.tests.split(" ")[0]
        if not (REPOSITORY / path).exists():
            said.append(f"{mutant.name}: there is no {path}")
    return said


def is_killed(tree: Path, mutant: Mutant | None, tests: str) -> bool:
    """Whether these tests turn red in the copy with this mutant in it."""
    place = tree / "brain_daemon" / mutant.file if mutant else None
    before = place.read_text("utf-8") if place else ""
    if place and mutant:
        place.write_text(before.replace(mutant.old, mutant.new), "utf-8")
    path, _, words = tests.partition(" -k ")
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", path]
    try:
        done = subprocess.run(
            [*command, *(["-k", words] if words else [])],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        if place:
            place.write_text(before, "utf-8")
    assert done.returncode in {0, 1}, done.stdout.decode()[-3000:] + done.stderr.decode()[-1000:]
    return done.returncode == 1


def main() -> int:
    """Each mutant, or those whose names hold `--only`; the tests must be green without any."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="")
    options.add_argument("--trusting", action="store_true", help="do not look first whether the tests are green")
    asked = options.parse_args()
    chosen = [mutant for mutant in MUTANTS if asked.only in mutant.name]
    wrong = wrong_texts()
    alive = list(wrong)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="brain-mutants-") as folder:
        tree = Path(folder)
        for name in _COPIED:
            source, target = REPOSITORY / name, tree / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, target)
        green = () if asked.trusting else dict.fromkeys(mutant.tests for mutant in chosen)
        alive += [f"{tests} is red without any mutant" for tests in green if is_killed(tree, None, tests)]
        for mutant in chosen:
            killed = mutant.name not in " ".join(wrong) and is_killed(tree, mutant, mutant.tests)
            print(f"{'killed' if killed else 'ALIVE '}  {mutant.name} ({mutant.file}; {mutant.tests})", flush=True)
            if not killed:
                alive.append(mutant.name)
    print(*alive, sep="\n")
    print(f"{len(chosen)} mutants in {time.monotonic() - began:.0f} s, {len(alive)} complaints")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
