"""The one process that embeds, and that holds Chroma: `python -m brain_daemon.memory.vector_child`, spoken to in lines of JSON.

    in    {"db", "folder", "store", "exact", "embedding", "model", "key", "home"}   first
          {"id": 1, "op": "search", "text": "...", "limit": 50}   {"op": "sync"}    then, until the pipe is closed
    out   {"event": "ready", "embedding", "why", "store"}   {"event": "complete", "vectors", "store"}   {"event": "fault", "why"}
          {"id": 1, "found": [[chunk, similarity], ...]}

The vectors are kept in the index of the pool (memory/index.py), so that Chroma can be thrown away: it is opened only if the
last holder closed it in order, and is filled anew otherwise. Up to `exact` vectors, and until Chroma holds every one of them, a
search goes through all of them by hand (`store: flat`): Chroma's graph misses some of what is near (docs/memory.md has the
figures). A lock keeps a second holder out; that one stays flat.

Failures: any fault of Chroma ends this process; the parent starts another one, which finds no mark of an orderly end.
"""

import json
import os
import queue
import re
import shutil
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

import numpy as np
from filelock import FileLock, Timeout

from brain_daemon.memory.embedding import Embedding, Matrix, Unavailable, load
from brain_daemon.memory.index import PIECES, Doubtful, Index, discard, inode_of
from brain_daemon.model.errors import StorageError
from brain_daemon.store.files import Files

_SLICE = 64
_CHROMA_SLICE = 400
_NICE = 10
_GRAPH: Any = {"space": "cosine", "ef_construction": 200, "max_neighbors": 32, "ef_search": 400}
_IDLE_SECONDS = 30.0
_PIECES_A_CHUNK = 2
_LEAST_PIECE = 40
_END = re.compile("(?<=[.!?;\u3002\uff01\uff1f])\\s+|\n+")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]")
_OUT: TextIO = sys.stdout


def pieces(text: str) -> list[str]:
    """The sentences of a passage, the shortest together with the next one, without headings where there is more."""
    sentences = [part.strip() for part in _END.split(text) if part.strip() and not _HEADING.match(part)]
    found: list[str] = []
    for sentence in sentences or [text]:
        if found and len(found[-1]) < _LEAST_PIECE:
            found[-1] = f"{found[-1]} {sentence}"
        else:
            found.append(sentence)
    if len(found) <= PIECES:
        return found
    return [*found[: PIECES - 1], " ".join(found[PIECES - 1 :])]


class Store(Protocol):
    """Vectors by their ids."""

    kind: str

    def ids(self) -> set[int]: ...

    def add(self, ids: list[int], vectors: Matrix) -> None: ...

    def remove(self, ids: list[int]) -> None: ...

    def search(self, vector: Matrix, limit: int) -> list[tuple[int, float]]:
        """Ids with their cosine similarity, best first."""
        ...

    def close(self) -> None: ...


class Flat:
    """All vectors in one table, gone through for each search."""

    kind = "flat"

    def __init__(self) -> None:
        self._ids = np.zeros(0, dtype=np.int64)
        self._table = np.zeros((0, 0), dtype=np.float32)

    def ids(self) -> set[int]:
        return set(self._ids.tolist())

    def add(self, ids: list[int], vectors: Matrix) -> None:
        self._table = vectors if not len(self._ids) else np.concatenate([self._table, vectors])
        self._ids = np.concatenate([self._ids, np.array(ids, dtype=np.int64)])

    def remove(self, ids: list[int]) -> None:
        kept = ~np.isin(self._ids, ids)
        self._ids, self._table = self._ids[kept], self._table[kept]

    def search(self, vector: Matrix, limit: int) -> list[tuple[int, float]]:
        if not len(self._ids):
            return []
        scores = self._table @ vector
        some = np.argpartition(-scores, limit - 1)[:limit] if limit < len(scores) else np.arange(len(scores))
        best = sorted(some.tolist(), key=lambda at: (-float(scores[at]), at))
        return [(int(self._ids[at]), float(scores[at])) for at in best]

    def close(self) -> None:
        return


class Chroma:
    """A collection of chromadb in a folder of its own."""

    kind = "chroma"

    def __init__(self, folder: str) -> None:
        import chromadb  # noqa: PLC0415 - 0.7 s and 80 MB, where it is wanted and installed
        from chromadb.config import Settings  # noqa: PLC0415 - as above

        self._client: Any = chromadb.PersistentClient(path=folder, settings=Settings(anonymized_telemetry=False))
        self._collection = self._client.get_or_create_collection(
            "pool", embedding_function=None, configuration={"hnsw": _GRAPH}
        )
        self._known = {int(one) for one in self._collection.get(include=[])["ids"]}

    def ids(self) -> set[int]:
        return self._known

    def add(self, ids: list[int], vectors: Matrix) -> None:
        self._collection.upsert(ids=[str(one) for one in ids], embeddings=vectors)
        self._known |= set(ids)

    def remove(self, ids: list[int]) -> None:
        self._collection.delete(ids=[str(one) for one in ids])
        self._known -= set(ids)

    def search(self, vector: Matrix, limit: int) -> list[tuple[int, float]]:
        if not self._known:
            return []
        answer: Any = self._collection.query(
            query_embeddings=vector[np.newaxis, :], n_results=min(limit, len(self._known)), include=["distances"]
        )
        return [(int(one), 1.0 - float(far)) for one, far in zip(answer["ids"][0], answer["distances"][0], strict=True)]

    def close(self) -> None:
        self._client.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The first line: `db` is the index, `folder` where Chroma may live, `store` chroma or flat; `key` opens an endpoint.

    `exact` is the most vectors that are gone through by hand where there is Chroma.
    """

    db: str
    folder: str
    store: str
    exact: int
    embedding: str
    model: str
    key: str
    home: str


class Server:
    """Answers requests, and between them brings the vectors up to date, one slice at a time."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._files = Files()
        self._embedding, self.why = load(wanted.embedding, model=wanted.model, key=wanted.key, home=wanted.home)
        self._lock = FileLock(f"{wanted.folder}.lock")
        self._flat: Flat | None = Flat()
        self._chroma: Chroma | None = None
        self._epoch = ""
        self._told = ""

    @property
    def db(self) -> str:
        return self._wanted.db

    @property
    def embedding(self) -> Embedding:
        return self._embedding

    @property
    def store(self) -> Store:
        """Who is asked: by hand as long as that is quick, or nobody else has every vector."""
        if self._flat is not None:
            return self._flat
        assert self._chroma is not None
        return self._chroma

    def search(self, text: str, limit: int) -> list[tuple[int, float]]:
        vector = self._embedding.embed([text])[0]
        if not vector.any():
            return []
        best: dict[int, float] = {}
        for one, near in self.store.search(vector, limit * _PIECES_A_CHUNK):
            best.setdefault(one // PIECES, near)
        return list(best.items())[:limit]

    def slice(self) -> bool:
        """A small piece of work; whether there is more."""
        index = Index(self._wanted.db, self._files)
        try:
            if index.epoch != self._epoch:
                self._begin(index)
            return self._embed_some(index) or self._settle(index)
        finally:
            index.close()

    def close(self) -> None:
        """The orderly end, and its mark."""
        if self._chroma is not None:
            self._chroma.close()
            self._files.put(self._mark, b"")
            self._chroma = None
        self._lock.release()

    @property
    def _mark(self) -> str:
        return os.path.join(self._wanted.folder, f"{self._generation}.closed")

    @property
    def _generation(self) -> str:
        return f"{self._epoch}-{re.sub(r'[^A-Za-z0-9.]+', '-', self._embedding.name)[-60:]}"

    def _begin(self, index: Index) -> None:
        """Another index than the one known so far: its vectors, and a Chroma of its own."""
        if self._chroma is not None:
            self._chroma.close()
        self._flat, self._chroma, self._epoch, self._told = Flat(), None, index.epoch, ""
        index.begin_vectors(self._embedding.name)
        if self._wanted.store == "chroma" and self._locked():
            self._chroma = self._opened()

    def _locked(self) -> bool:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def _opened(self) -> Chroma:
        """The folder of this generation if it was closed in order; a new one otherwise. Any other is taken away."""
        folder, mark = os.path.join(self._wanted.folder, self._generation), self._mark
        trusted = os.path.isdir(folder) and os.path.isfile(mark)
        self._files.make_folder(self._wanted.folder, 0o700)
        for name in os.listdir(self._wanted.folder):
            path = os.path.join(self._wanted.folder, name)
            if not trusted or path not in (folder, mark):
                shutil.rmtree(path) if os.path.isdir(path) else self._files.remove(path)
        self._files.remove(mark)
        return Chroma(folder)

    def _embed_some(self, index: Index) -> bool:
        texts = index.without_vector(_SLICE)
        if not texts:
            return False
        parts = {chunk: pieces(text) for chunk, text in texts.items()}
        rows = iter(self._embedding.embed([part for some in parts.values() for part in some]))
        index.put_vectors(
            {chunk: [next(rows).astype(np.float16).tobytes() for _ in some] for chunk, some in parts.items()}
        )
        return True

    def _settle(self, index: Index) -> bool:
        """Bring the stores to what the index holds; whether that takes another slice."""
        there = index.vector_ids()
        if self._flat is not None:
            _settle(self._flat, index, there, len(there))
        if self._chroma is not None:
            if _settle(self._chroma, index, there, _CHROMA_SLICE):
                return True
            if len(there) > self._wanted.exact:
                self._flat = None
        self._tell(len(there))
        return False

    def _tell(self, vectors: int) -> None:
        said = f"{self.store.kind} {vectors}"
        if said != self._told:
            self._told = said
            _say({"event": "complete", "vectors": vectors, "store": self.store.kind})


def _settle(store: Store, index: Index, there: set[int], limit: int) -> bool:
    known = store.ids()
    if surplus := sorted(known - there)[: max(limit, 1)]:
        store.remove(surplus)
    missing = sorted(there - known)
    if not missing:
        return bool(surplus)
    found = index.vectors_of(missing[:limit])
    if found:
        table = np.array([np.frombuffer(vector, dtype=np.float16) for vector in found.values()], dtype=np.float32)
        store.add(list(found), table)
    return True


def _say(message: dict[str, Any]) -> None:
    _OUT.write(json.dumps(message) + "\n")
    _OUT.flush()


def _listen(requests: "queue.Queue[dict[str, Any] | None]") -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    requests.put(None)


def _serve(server: Server, requests: "queue.Queue[dict[str, Any] | None]") -> None:
    busy = True
    while True:
        try:
            request = requests.get_nowait() if busy else requests.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            busy = _sliced(server)
            continue
        if request is None:
            return
        if request["op"] == "search":
            _say({"id": request["id"], "found": _found(server, request)})
        else:
            busy = True


def _sliced(server: Server) -> bool:
    """One slice; an index in doubt is thrown away for the indexer to build anew, a silent endpoint is asked again later."""
    inode = inode_of(server.db)
    try:
        return server.slice()
    except Doubtful as error:
        discard(server.db, Files(), inode)
        _say({"event": "fault", "why": str(error)})
        return False
    except (StorageError, Unavailable) as error:
        _say({"event": "fault", "why": str(error)})
        return False


def _found(server: Server, request: dict[str, Any]) -> Iterable[tuple[int, float]]:
    try:
        return server.search(str(request["text"]), int(request["limit"]))
    except Unavailable as error:
        _say({"event": "fault", "why": str(error)})
        return []


def main() -> None:
    """Serve until the parent closes the pipe or dies."""
    os.nice(_NICE)
    requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
    server = Server(Wanted(**json.loads(sys.stdin.readline())))
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    _say({"event": "ready", "embedding": server.embedding.name, "why": server.why, "store": server.store.kind})
    try:
        _serve(server, requests)
    finally:
        server.close()


if __name__ == "__main__":
    # What a library prints must not be taken for an answer.
    _OUT = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    main()
