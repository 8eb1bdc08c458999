"""The pool of an opened brain: put together from its settings, asked by the commands and by who composes prompts.

The daemon keeps an `Indexer` with vectors of its own (`store` None). Everybody else looks at the files first, searches by words,
and by vectors through a child of their own that leaves the daemon's Chroma alone (`store` flat).
"""

import os
import time
from collections.abc import Callable, Mapping

from brain_daemon.adapters.survivors import TAG
from brain_daemon.memory.context import Budget
from brain_daemon.memory.notes import Author, put_note
from brain_daemon.memory.pool import Hit, Pool
from brain_daemon.memory.texts import Text
from brain_daemon.memory.vectors import EmbeddingWish, Told, Vectors, default_is_here
from brain_daemon.model.errors import Refused, UserError
from brain_daemon.model.ids import ATTEMPT_ID
from brain_daemon.service.brain import Brain
from brain_daemon.service.config import Config
from brain_daemon.store.journal import Journal
from brain_daemon.store.layout import Layout
from brain_daemon.store.tokens import VARIABLE, is_token_of

COMPLETE_SECONDS = 8.0


def wish(config: Config) -> EmbeddingWish:
    """What the settings ask for."""
    key = config.environment.get(config.memory_key, "") if config.memory_key else ""
    return EmbeddingWish(wanted=config.memory_embedding, model=config.memory_model, key=key)


def budget(config: Config, prompt_tokens: int) -> Budget:
    """How much a prompt of at most `prompt_tokens` may hold of what."""
    return Budget(prompt_tokens=prompt_tokens, handoff_tokens=config.handoff_tokens, memory_tokens=config.memory_tokens)


def open_pool(brain: Brain, *, vectors: Vectors | None = None) -> Pool:
    """The pool. Any thread may ask it: the journal is opened for each question that needs it."""
    return Pool(brain.layout, brain.files, vectors, lambda task_id: _ended_path(brain, task_id))


def _ended_path(brain: Brain, task_id: str) -> str | None:
    journal = Journal(brain.layout.journal, brain.files, durable=False)
    try:
        record = journal.ended_task(task_id)
    finally:
        journal.close()
    return None if record is None else record.path


def daemon_vectors(brain: Brain) -> Vectors:
    """The daemon's: the one holder of Chroma."""
    return Vectors(brain.layout, wish(brain.config), brain.config.environment)


def search(
    brain: Brain, question: str, limit: int, kind: str | None, *, words_only: bool = False
) -> tuple[list[Hit], Told]:
    """Search what is there now; the hits, and what is known of the vectors."""
    vectors = None if words_only else Vectors(brain.layout, wish(brain.config), brain.config.environment, store="flat")
    pool = open_pool(brain, vectors=vectors)
    pool.refresh()
    if vectors is None:
        return pool.search(question, limit, kind), Told(why="not asked for")
    vectors.start()
    try:
        vectors.until_complete(COMPLETE_SECONDS)
        return pool.search(question, limit, kind), vectors.told
    finally:
        vectors.stop()


def add(
    brain: Brain, text: str, *, title: str, area: str, author: Author | None, redacted: Callable[[str], str]
) -> Text:
    """Put a note into the pool; it is found from now on. The daemon, running or next started, commits it."""
    pool = open_pool(brain)
    path = put_note(brain.layout, brain.files, text, title=title, area=area, author=author, redacted=redacted)
    pool.refresh([path])
    found = pool.resolve(os.path.splitext(os.path.basename(path))[0])
    assert found is not None
    return found


def author_of(layout: Layout, environment: Mapping[str, str]) -> Author | None:
    """The task this process runs for, None for a person. Refused where it does not prove to be that task's."""
    task_id, attempt_id = environment.get("BRAIN_TASK_ID", ""), environment.get(TAG, "")
    token = environment.get(VARIABLE, "")
    if not task_id and not token:
        return None
    if not ATTEMPT_ID.fullmatch(attempt_id):
        raise UserError(f"adding a note: BRAIN_TASK_ID is set and {TAG} is not. Unset both, or run inside a task.")
    if not is_token_of(layout, attempt_id, token):
        raise Refused(f"adding a note: {VARIABLE} is not that of the attempt {attempt_id}.")
    return Author(task_id=task_id, attempt_id=attempt_id, chain=environment.get("BRAIN_CHAIN_ID") or None)


def embedding_in_use(brain: Brain, seconds: float = 10.0) -> Told:
    """Which embedding the settings lead to here, and why that one, as a child finds out that leaves Chroma alone.

    Nothing is fetched for it: chroma's own model, where it is asked for and not on this machine yet, is said to be missing.
    """
    wanted = wish(brain.config)
    if wanted.wanted == "chroma" and not default_is_here(brain.config.environment.get("HOME", "")):
        return Told(why="chroma's own model is not on this machine yet; the daemon fetches it (80 MB) when it starts")
    vectors = Vectors(brain.layout, wanted, brain.config.environment, store="flat")
    vectors.start()
    try:
        end = time.monotonic() + seconds
        while vectors.told.embedding is None and vectors.pending and time.monotonic() < end:
            time.sleep(0.02)
        return vectors.told
    finally:
        vectors.stop()
