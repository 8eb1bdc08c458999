"""The pool: everything a brain knows, found by id or by what is asked. The text of record is the brain's own files.

An id resolves by its path wherever that can be told from the id, so it does so the moment the file is there, whatever the
index knows. A search unites the ranks of two lists: words (FTS5, BM25) and vectors. Whatever it answers is read from the
file itself, and a file that is not what the index says is indexed again before the answer is given.

Failures: an index in doubt is thrown away and built anew; nobody who searches hears of it but by a slower answer.
StorageError where the disk refuses.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from brain_daemon.memory.index import Doubtful, Index, Place, Row, discard, inode_of
from brain_daemon.memory.texts import (
    COMPLETED,
    FAILED,
    NOTE_AREAS,
    POOL_FOLDERS,
    Found,
    Scanner,
    Text,
    id_of,
    is_known,
    read_text,
    result_text,
    state_of,
)
from brain_daemon.memory.vectors import Vectors, index_path
from brain_daemon.model.cleaning import clean_text
from brain_daemon.model.ids import is_task_id, same_id
from brain_daemon.model.words import apart, words_of
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout

BATCH = 64
_CANDIDATES = 60
_MAX_TERMS = 16
_COMMON = 2_000
_RANK_CONSTANT = 5
_A_FILE = 2
_FAR = 0.25  # the cosine below which two texts have nothing to do with each other
_RECENT_SECONDS = 1.0
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage that was found. `score` is at most 1; `by` says what found it: words, vectors or both. Lines count from 1."""

    id: str
    path: str
    kind: str
    title: str
    line: int
    last_line: int
    heading: str
    score: float
    by: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a look at the files changed in the index."""

    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def _nowhere(_task_id: str) -> str | None:
    return None


def _nobody() -> None:
    return


class Pool:
    """`ended_path` tells where the journal has an ended task, relative to the brain; `vectors` may be None: words alone.

    Who keeps the index hears of a doubt (`on_doubt`), and that a task begins (`on_work`).

    One Pool serves any number of threads; who writes the index at the same time takes turns there, and the work is done twice at worst.
    """

    def __init__(
        self,
        layout: Layout,
        files: Files,
        vectors: Vectors | None = None,
        ended_path: Callable[[str], str | None] = _nowhere,
    ) -> None:
        self.layout = layout
        self.files = files
        self.vectors = vectors
        self._ended_path = ended_path
        self._path = index_path(layout)
        self._scanner = Scanner(layout)
        self._unreadable: dict[str, str] = {}
        self.on_doubt: Callable[[], object] = self.refresh
        self.on_work: Callable[[], object] = _nobody

    # ids

    def resolve(self, wanted: str) -> Text | None:
        """The text of an id: a task's that has completed, a note's, or the path of a file the pool knows."""
        seen = set()
        for path in self._candidates(wanted):
            if path not in seen:
                seen.add(path)
                text = read_text(self.layout, path)
                if text is not None:
                    return text
        return None

    def failure(self, wanted: str) -> Text | None:
        """The record of a task that has failed; None where the newest that is known of it is no failure."""
        told = self._ended_path(wanted) if is_task_id(wanted) else None
        path = f"{FAILED}/{wanted}.md" if told is None and is_task_id(wanted) else told
        return read_text(self.layout, path) if path is not None and path.startswith(f"{FAILED}/") else None

    def full_text(self, text: Text) -> tuple[str, dict[str, object]]:
        """What it says, whole; of a completed task its result alone, with the values of its result block."""
        return result_text(self.layout, text) if text.kind == "result" else (text.body, {})

    def _candidates(self, wanted: str) -> Iterator[str]:
        if is_task_id(wanted):
            yield f"{COMPLETED}/{wanted}.md"
            told = self._ended_path(wanted)
            if told is not None and told.startswith(f"{COMPLETED}/"):
                yield told
            yield from (f"{folder}/{wanted}.md" for folder in POOL_FOLDERS)
        for path in (wanted, f"{wanted}.md"):
            yield from (one for one in (path, *(f"{area}/{path}" for area in NOTE_AREAS)) if is_known(one))
        yield from (row.path for row in self._found(wanted) if is_known(row.path) and same_id(id_of(row.path), wanted))
        if is_task_id(wanted):
            yield from self._filed_away(wanted)

    def _found(self, wanted: str) -> list[Row]:
        try:
            with self._index() as index:
                return index.find(wanted)
        except Doubtful:
            return []

    def _filed_away(self, wanted: str) -> Iterator[str]:
        """Looked for by name, where journal and index know nothing."""
        for folder, folders, names in os.walk(self.layout.inside(COMPLETED, "archive")):
            folders[:] = sorted((name for name in folders if not name.endswith(".files")), reverse=True)
            yield from (
                self.layout.relative(os.path.join(folder, name))
                for name in names
                if name.endswith(".md") and same_id(id_of(f"{COMPLETED}/{name}"), wanted)
            )

    # searching

    def search(self, question: str, limit: int = 10, kind: str | None = None) -> list[Hit]:
        """The passages that fit best, at most two of one file."""
        for _ in range(_TRIES):
            try:
                hits, stale = self._hits(question, limit, kind)
                if not stale:
                    break
                self.refresh(stale)
            except Doubtful:
                self.on_doubt()
                hits = []
        return hits

    def _hits(self, question: str, limit: int, kind: str | None) -> tuple[list[Hit], list[str]]:
        """The hits, and the files that are not what the index says."""
        near = self.vectors.search(question, _CANDIDATES) if self.vectors is not None else []
        with self._index() as index:
            by_words = self._by_words(index, question)
            places = index.places(chunk for chunk, _ in near)
            by_vectors = [
                replace(places[chunk], score=score) for chunk, score in near if chunk in places and score >= _FAR
            ]
            rows = index.rows_of({place.path for place in (*by_words, *by_vectors)})
        hits: list[Hit] = []
        stale: list[str] = []
        texts: dict[str, Text | None] = {}
        for place, score, by in united(by_words, by_vectors):
            row = rows.get(place.path)
            if len(hits) >= limit or row is None or (kind is not None and row.kind != kind):
                continue
            if sum(hit.path == place.path for hit in hits) >= _A_FILE:
                continue
            if place.path not in texts:
                texts[place.path] = read_text(self.layout, place.path)
            text = texts[place.path]
            if text is None or text.sha256 != row.sha256 or place.last_line > len(text.lines):
                stale.append(place.path)
            else:
                hits.append(_hit(place, text, score, by))
        return hits, stale

    def _by_words(self, index: Index, question: str) -> list[Place]:
        """Ranked by the rarest words of the question: common ones cost time and tell little."""
        terms = [f'"{apart(word).strip()}"' for word in words_of(question)]
        common = index.frequencies(terms, _COMMON)
        present = sorted((term for term in terms if common[term]), key=lambda term: common[term])
        telling = [term for term in present if common[term] < _COMMON][:_MAX_TERMS] or present[:2]
        return index.ranked(telling, _CANDIDATES) if telling else []

    def newest(self, limit: int = 20, kind: str | None = None) -> list[Row]:
        """What was written or changed last."""
        for _ in range(_TRIES):
            try:
                with self._index() as index:
                    return index.newest(kind, limit)
            except Doubtful:
                self.on_doubt()
        return []

    def counts(self) -> tuple[int, int, int]:
        """Files, passages and vectors of the index."""
        with self._index() as index:
            return index.counts()

    def lacks_vectors(self) -> bool:
        """Whether a passage has no vector yet."""
        _, passages, with_vectors = self.counts()
        return with_vectors < passages

    # keeping the index

    def has_new_results(self) -> bool:
        """Whether the folders of completed tasks are others than at the last look at everything; a few `stat` calls."""
        return self._scanner.has_news()

    def refresh(
        self, paths: Iterable[str] | None = None, pause: Callable[[float], object] = lambda _seconds: None
    ) -> Refreshed:
        """Bring the index to what the files say: all of them, or those at `paths`. `pause` is told how long each batch took."""
        try:
            return self._refresh(paths, pause)
        except Doubtful:
            return self._refresh(None, pause)

    def rebuild(self) -> Refreshed:
        """Throw the index away and build it anew."""
        discard(self._path, self.files, None)
        return self.refresh()

    def check(self) -> None:
        """Look at all of the index; one in doubt is thrown away, which the next refresh mends."""
        try:
            with self._index() as index:
                index.check()
        except Doubtful:
            return

    def _refresh(self, paths: Iterable[str] | None, pause: Callable[[float], object]) -> Refreshed:
        if paths is not None:
            found = {path: state_of(self.layout, path) for path in paths if is_known(path)}
            with self._index() as index:
                known = index.known(found)
            there = [Found(path, sign) for path, sign in found.items() if sign]
            return self._taken_in(there, known, pause)
        changed: list[str] = []
        gone: list[str] = []
        seen: set[str] = set()
        with self._index() as index:
            epoch = index.epoch
        for folder in self._scanner.scan(epoch):
            seen.add(folder.path)
            if folder.files is None:
                continue
            with self._index() as index:
                known = index.known_in(folder.path)
            done = self._taken_in(folder.files, known, pause)
            changed += done.changed
            gone += done.gone
            if not (done.changed or done.gone):
                self._scanner.settle(folder, epoch)
        with self._index() as index:
            lost = [path for folder in index.folders() - seen for path in index.known_in(folder)]
            if lost:
                index.put([], lost)
        return Refreshed(changed=tuple(changed), gone=(*gone, *lost))

    def _taken_in(
        self, there: list[Found], known: dict[str, tuple[str, str]], pause: Callable[[float], object]
    ) -> Refreshed:
        """Of the files that the index knows among those asked about (`known`), these are there: bring it to that, by batches."""
        gone = list(known.keys() - {one.path for one in there})
        changed = [one for one in there if known.get(one.path, ("", ""))[0] != one.signature]
        done: list[str] = []
        for start in range(0, max(len(changed), bool(gone)), BATCH):
            began = time.monotonic()
            done += self._put(changed[start : start + BATCH], known, gone if not start else ())
            pause(time.monotonic() - began)
        return Refreshed(changed=tuple(done), gone=tuple(gone))

    def _put(self, found: list[Found], known: dict[str, tuple[str, str]], gone: Iterable[str]) -> list[str]:
        """Read these files and index those that are others by their bytes; their paths."""
        texts, same, lost = [], [], list(gone)
        for one in found:
            if self._unreadable.get(one.path) == one.signature:
                continue
            text = read_text(self.layout, one.path)
            if text is None:
                self._unreadable[one.path] = one.signature
                lost += [one.path] if one.path in known else []
            elif known.get(one.path, ("", ""))[1] == text.sha256:
                same.append(_settled(text))
            else:
                texts.append(_settled(text))
        with self._index() as index:
            if texts or lost:
                index.put(texts, lost)
            for text in same:
                if known[text.path][0] != text.signature:
                    index.sign_anew(text.path, text.signature)
        return [text.path for text in texts]

    @contextmanager
    def _index(self) -> Iterator[Index]:
        """The index for a moment; one in doubt is taken away, and the caller hears of it."""
        inode = inode_of(self._path)
        try:
            with closing(Index(self._path, self.files)) as index:
                yield index
        except Doubtful:
            discard(self._path, self.files, inode or inode_of(self._path))
            raise


def _settled(text: Text) -> Text:
    """A file of this very moment may be written again within the grain of its clock: it is looked at once more."""
    if time.time() - text.modified_at < _RECENT_SECONDS:
        return replace(text, signature=f"{text.signature}?")
    return text


def united(by_words: list[Place], by_vectors: list[Place]) -> list[tuple[Place, float, str]]:
    """Two ranked lists as one, by reciprocal ranks; 1 is the first place in both, with every word of the question."""
    scores: dict[int, float] = {}
    for places in (by_words, by_vectors):
        for rank, place in enumerate(places):
            scores[place.chunk] = (
                scores.get(place.chunk, 0.0) + place.share * (_RANK_CONSTANT / (_RANK_CONSTANT + rank)) / 2
            )
    in_words, in_vectors = ({place.chunk for place in places} for places in (by_words, by_vectors))
    every = {place.chunk: place for place in (*by_vectors, *by_words)}
    ranked = sorted(every.values(), key=lambda place: (-scores[place.chunk], place.path, place.line))
    return [(place, scores[place.chunk], _by(place.chunk in in_words, place.chunk in in_vectors)) for place in ranked]


def _by(words: bool, vectors: bool) -> str:
    return "both" if words and vectors else "words" if words else "vectors"


def _hit(place: Place, text: Text, score: float, by: str) -> Hit:
    return Hit(
        id=text.id,
        path=text.path,
        kind=text.kind,
        title=text.title,
        line=place.line,
        last_line=place.last_line,
        heading=place.heading,
        score=round(score, 4),
        by=by,
        text=clean_text("\n".join(text.lines[place.line - 1 : place.last_line])),
    )
