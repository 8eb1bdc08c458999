"""A daemon killed while it makes its journal for the first time leaves nothing that keeps the next one from starting."""

import subprocess
import sys

import pytest

from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal

# The kernel ends the process at its first write beyond the limit: a kill at an exact place inside SQLite.
_MAKE = """
import resource, signal, sys
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
Journal(sys.argv[1], Files())
"""


@pytest.mark.parametrize("limit_bytes", [0, 100, 512, 1024, 4096, 8192, 40_000])
def test_a_journal_cut_short_while_it_was_made_is_made_again(tmp_path, limit_bytes):
    """Killed at a write of SQLite's, the first daemon of a brain leaves what the second one can open."""
    path = str(tmp_path / "journal.db")
    made = subprocess.run([sys.executable, "-B", "-c", _MAKE, path, str(limit_bytes)], capture_output=True, check=False)
    assert made.returncode < 0, made.stderr.decode()
    journal = Journal(path, Files())
    assert journal.open_attempts() == []
    assert journal.check() is None
    journal.close()
