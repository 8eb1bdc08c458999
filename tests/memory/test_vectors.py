"""The vectors: embeddings that are what they say, and a child that may die at any moment."""

import http.server
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from brain_daemon.memory import vectors as vectors_module
from brain_daemon.memory.indexer import Indexer
from brain_daemon.memory.notes import Author, Inbox
from brain_daemon.memory.pool import Pool
from brain_daemon.memory.vectors import EmbeddingWish, Vectors, default_store, index_path
from brain_daemon.store.files import Files

LOUDEST = [70, 85, 197, 211, 213, 219, 229, 335]

np = pytest.importorskip("numpy")
embedding = pytest.importorskip("brain_daemon.memory.embedding")
child = pytest.importorskip("brain_daemon.memory.vector_child")


def near(one: object, first: str, second: str) -> float:
    rows = one.embed([first, second])
    return float(rows[0] @ rows[1])


def embeddings() -> list:
    try:
        return [embedding.Local(), embedding.Words()]
    except embedding.Unavailable:
        return [embedding.Local()]


@pytest.mark.parametrize("one", embeddings(), ids=lambda one: one.name)
def test_an_embedding_is_the_same_each_time_and_of_length_one(one):
    """Rows do not depend on their neighbours; a text of nothing is a row of zeros or of length 1."""
    rows = one.embed(["the zebra sleeps", "", "déjà vu 日本語"])
    assert np.allclose(rows[0], one.embed(["the zebra sleeps"])[0], atol=1e-6)
    assert all(abs(length - 1) < 1e-5 or length == 0 for length in np.linalg.norm(rows, axis=1))
    assert near(one, "deploying servers", "we deploy a server") > near(one, "deploying servers", "plum cake with sugar")


def test_the_local_embedding_is_the_one_its_name_says():
    """Its numbers are part of its name: whoever changes them must change the name."""
    row = embedding.Local().embed(["the zebra sleeps near the river"])[0]
    assert embedding.Local.name == "local-512.1"
    assert [int(one) for one in np.flatnonzero(np.abs(row) > 0.3)] == LOUDEST


def test_word_vectors_know_other_words_for_the_same():
    """Which the hashed ones cannot."""
    try:
        words = embedding.Words()
    except embedding.Unavailable:
        pytest.skip("wordllama is not installed")
    assert near(words, "the car would not start", "the automobile failed to ignite") > 0.4
    assert near(words, "the car would not start", "a recipe for rye bread") < 0.2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# H\n\nOne sentence of a certain length stands here. Another one of a certain length too!", 2),
        ("# Only a heading", 1),
        ("Short. Short. Short.", 1),
        ("x. " * 5_000, 64),
    ],
)
def test_a_passage_is_cut_into_sentences(text, expected):
    """Short ones together, never more than an id has room for, and nothing is lost."""
    found = child.pieces(text)
    assert len(found) <= expected
    assert all(found)


class Server(http.server.BaseHTTPRequestHandler):
    """An endpoint of either kind; /broken answers nonsense."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rows = [[float(len(text)), 1.0, float("zebra" in text)] for text in asked["input"]]
        said = {
            "/api/embed": {"embeddings": rows},
            "/v1/embeddings": {"data": [{"embedding": row} for row in rows]},
            "/broken": {"data": []},
        }[self.path]
        if self.path == "/v1/embeddings":
            assert self.headers["Authorization"] == "Bearer k-1"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture
def endpoint():
    """The address of a server on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("path", ["/api/embed", "/v1/embeddings"])
def test_an_endpoint_embeds(endpoint, path):
    """Ollama's way and OpenAI's; address, model and size are its name."""
    one = embedding.Endpoint(endpoint + path, "m", "k-1")
    assert one.embed(["zebra"] * 70).shape == (70, 3)
    assert one.name.endswith(f"{path}-m-3.1")


@pytest.mark.parametrize("address", ["{}/broken", "http://127.0.0.1:9/v1/embeddings", "https://"])
def test_an_endpoint_that_does_not_answer_is_done_without(endpoint, address, tmp_path):
    """Another embedding takes its place, and why is said."""
    found, why = embedding.load(address.format(endpoint), model="m", key="k-1", home=str(tmp_path))
    assert not found.name.startswith("endpoint")
    assert address.format(endpoint) in why


@pytest.fixture
def living(brain):
    """`living()` starts an indexer with vectors on the test's brain; all are stopped at the end."""
    started = []

    def start(wanted: str = "local", store: str | None = "flat", **options: object) -> tuple[Pool, Vectors, Indexer]:
        vectors = Vectors(brain.layout, EmbeddingWish(wanted=wanted), dict(os.environ), store=store, exact=0)
        pool = Pool(brain.layout, Files(), vectors)
        indexer = Indexer(pool, scan_seconds=0.3, **options)
        indexer.start()
        started.append(indexer)
        return pool, vectors, indexer

    yield start
    for indexer in started:
        indexer.stop()


def settled(pool: Pool, vectors: Vectors) -> bool:
    return (
        vectors.told.complete and vectors.told.vectors >= pool.counts()[2] > 0 and pool.counts()[2] == pool.counts()[1]
    )


@pytest.mark.parametrize("store", ["flat", default_store()])
def test_vectors_follow_the_notes(brain, living, until, store):
    """A note that was written is found by its vector, one that is gone is not."""
    note = brain.write("knowledge/zoo.md", "Stripes of zebras.\n")
    pool, vectors, indexer = living(store=store)
    until(lambda: settled(pool, vectors), "the vectors")
    assert vectors.told.store == store
    (hit, *_) = pool.search("zebras striped")
    assert (hit.path, hit.by) == ("knowledge/zoo.md", "both")
    note.unlink()
    indexer.hint(str(note))
    until(
        lambda: all(one.path != "knowledge/zoo.md" for one in pool.search("zebras striped")), "the note to be forgotten"
    )


@pytest.mark.parametrize(("number", "store"), [(signal.SIGKILL, "flat"), (signal.SIGSEGV, default_store())])
def test_a_child_that_dies_is_replaced_and_the_search_goes_on(brain, living, until, number, store):
    """Its end is an event: words answer meanwhile, and the vectors come back."""
    brain.write("knowledge/zoo.md", "Stripes of zebras.\n")
    pool, vectors, _ = living(store=store)
    until(lambda: settled(pool, vectors), "the vectors")
    os.kill(vectors.pid, number)
    until(lambda: vectors.told.deaths == 1, "the death to be heard")
    assert [hit.path for hit in pool.search("zebras")] == ["knowledge/zoo.md"]
    assert signal.Signals(number).name in vectors.told.fault
    until(lambda: settled(pool, vectors), "the vectors of another child")
    assert pool.search("zebras")[0].by == "both"


def test_another_embedding_takes_the_place_of_the_first(brain, living, until):
    """Vectors of two names never mix."""
    brain.write("knowledge/zoo.md", "Stripes of zebras.\n")
    pool, vectors, indexer = living("local")
    until(lambda: settled(pool, vectors), "the first vectors")
    indexer.stop()
    pool, vectors, _ = living("words")
    until(lambda: settled(pool, vectors), "the second vectors")
    assert pool.search("zebras")[0].by == "both"


def test_a_child_that_is_not_ready_yet_is_not_waited_for(brain, until, tmp_path, monkeypatch):
    """A short run must not take as long as the libraries take to load."""
    monkeypatch.setattr(vectors_module, "_STOP_SECONDS", 600.0)
    (tmp_path / "numpy.py").write_text("import time\ntime.sleep(600)\n")
    path = os.pathsep.join((str(tmp_path), *sys.path))
    vectors = Vectors(brain.layout, EmbeddingWish(wanted="local"), {**os.environ, "PYTHONPATH": path})
    vectors.start()
    until(lambda: vectors.pid is not None, "the child")
    vectors.stop()
    assert vectors.pid is None


def test_a_hint_is_enough_and_a_scan_is_too(brain, living, until):
    """A new note is found within moments, whether somebody told of it or not."""
    heard = []
    pool, _, indexer = living(on_notes=lambda notes: heard.append(dict(notes)))
    indexer.hint(str(brain.write("knowledge/pool/mem-1.md", "giraffe\n")))
    until(lambda: pool.search("giraffe"), "the hint to be taken", 5)
    brain.write("knowledge/untold.md", "elephant\n")
    until(lambda: pool.search("elephant"), "the scan", 5)
    assert heard == [{"knowledge/pool/mem-1.md": b"giraffe\n"}]


def test_notes_of_running_tasks_are_taken_in_while_they_run(brain, living, until, tmp_path):
    """What one leaves in its workspace's memory/ folder, its siblings find within moments."""
    (tmp_path / "work" / "memory").mkdir(parents=True)
    inbox = Inbox(workspace=str(tmp_path / "work"), author=Author(task_id="t", attempt_id="t.a1.0123abcd"))
    pool, _, _ = living(inboxes=lambda: [inbox])
    (tmp_path / "work" / "memory" / "found.md").write_text("the quagga is extinct\n")
    (hit, *_) = until(lambda: pool.search("quagga"), "the note", 5)
    assert hit.path.startswith("knowledge/pool/mem-")


def test_an_index_that_is_damaged_while_the_daemon_runs_is_built_anew(brain, living, until):
    """By the indexer, words and vectors alike."""
    brain.write("knowledge/zoo.md", "Stripes of zebras.\n")
    pool, vectors, _ = living()
    until(lambda: settled(pool, vectors), "the vectors")
    Path(index_path(brain.layout)).write_bytes(b"no database at all" * 500)
    until(lambda: [hit.by for hit in pool.search("zebras")] == ["both"], "both to be back", 20)


def test_a_chroma_that_kills_every_child_is_done_without(brain, until, tmp_path):
    """After two that died before they held a vector the third one leaves it alone, and the search by meaning works."""
    (tmp_path / "chromadb").mkdir()
    (tmp_path / "chromadb" / "__init__.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    brain.write("knowledge/zoo.md", "Stripes of zebras.\n")
    vectors = Vectors(
        brain.layout, EmbeddingWish(wanted="local"), {**os.environ, "PYTHONPATH": path}, store="chroma", exact=0
    )
    pool = Pool(brain.layout, Files(), vectors)
    pool.refresh()
    vectors.start()
    try:
        until(lambda: settled(pool, vectors), "the vectors")
        assert (vectors.told.deaths, vectors.told.store) == (2, "flat")
        assert pool.search("zebras")[0].by == "both"
    finally:
        vectors.stop()


def test_without_the_packages_words_are_enough(brain, monkeypatch):
    """The search works, and `told` says what to install."""
    monkeypatch.setattr("brain_daemon.memory.vectors.missing_packages", lambda: ["numpy"])
    vectors = Vectors(brain.layout, EmbeddingWish(), dict(os.environ))
    vectors.start()
    brain.write("knowledge/zoo.md", "zebra\n")
    pool = Pool(brain.layout, Files(), vectors)
    pool.refresh()
    assert pool.search("zebra")[0].by == "words"
    assert "brain-daemon[memory]" in vectors.told.why
    vectors.stop()
