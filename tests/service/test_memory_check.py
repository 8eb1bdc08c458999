"""`brain doctor` on the search by meaning: what is in use and why, and each way in which it can be out of order."""

import os

import pytest

from brain_daemon.memory import vectors
from brain_daemon.service import diagnosis, memory_check
from brain_daemon.service.machine import Level
from brain_daemon.store.locate import layout_of


def test_the_embedding_in_use_is_named_with_the_reason(brain, tmp_path):
    """As `brain doctor` asks: a real child says what it embeds with."""
    pytest.importorskip("numpy")
    pytest.importorskip("tokenizers")
    layout = layout_of(str(brain.root), str(tmp_path))
    environment = {**os.environ, "BRAIN_MEMORY_EMBEDDING": "local"}
    found = diagnosis.examine(layout, environment, (diagnosis._journal, diagnosis._memory))
    (said,) = [one.what for one in found if one.area == "memory" and "embedding" in one.what]
    assert said == "it searches by words and by vectors of local-512.1: memory_embedding asks for it."
    assert [one for one in found if one.level is not Level.OK] == []


def test_what_is_not_installed_is_said_with_the_command(brain, monkeypatch):
    """Not as a fault: words alone are a way to work."""
    monkeypatch.setattr(memory_check, "missing_packages", lambda: ["numpy", "tokenizers"])
    opened = brain.open()
    (said,) = memory_check.findings(opened)
    opened.close()
    assert said.level is Level.OK
    assert "words alone: numpy, tokenizers not installed" in said.what
    assert "pip install 'brain-daemon[memory]'" in said.fix


def test_a_model_that_is_still_to_be_fetched_is_no_secret(brain, tmp_path):
    """The doctor fetches nothing for its answer."""
    pytest.importorskip("numpy")
    pytest.importorskip("tokenizers")
    opened = brain.open(memory_embedding="chroma")
    said, *_ = memory_check.findings(opened)
    opened.close()
    assert said.level is Level.WARN
    assert "not on this machine yet; the daemon fetches it" in said.what
    assert "memory_embedding" in said.fix


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("raise RuntimeError('unsupported version of sqlite3')", "RuntimeError: unsupported version of sqlite3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV"),
    ],
)
def test_a_chromadb_that_cannot_be_loaded_is_named_with_its_own_words(tmp_path, monkeypatch, broken, why):
    """Also where it takes the process that tries it with it."""
    monkeypatch.setattr(memory_check, "default_store", lambda: "chroma")
    (tmp_path / "chromadb.py").write_text(broken)
    (said,) = memory_check.chroma({**os.environ, "PYTHONPATH": str(tmp_path)})
    assert said.level is Level.WARN
    assert why in said.what
    assert "gone through by hand" in said.what
    assert "pip" in said.fix


def test_a_chromadb_that_is_not_there_is_a_fact(monkeypatch):
    """With what it would be good for."""
    monkeypatch.setattr(memory_check, "default_store", lambda: "flat")
    (said,) = memory_check.chroma({})
    assert said.level is Level.OK
    assert f"{vectors.EXACT:,} vectors" in said.what
