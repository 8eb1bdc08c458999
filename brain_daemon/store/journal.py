"""The SQLite journal: what is in flight, questions, approvals, and caches of what the text in git says.

file       opened, made, refused; transactions      store/journal_file.py
attempts   each try of a task                       store/attempt_rows.py
history    tasks that have ended, ledger's index    store/history_rows.py
notes      questions, approvals, holds, values      store/note_rows.py
"""

from brain_daemon.store.attempt_rows import AttemptRows
from brain_daemon.store.history_rows import HistoryRows, TaskRecord
from brain_daemon.store.journal_file import SCHEMA_VERSION
from brain_daemon.store.note_rows import Hold, NoteRows

__all__ = ["SCHEMA_VERSION", "Hold", "Journal", "TaskRecord"]


class Journal(AttemptRows, HistoryRows, NoteRows):
    """All verbs on one connection, which belongs to one thread."""
