"""Tokens are counted without a network, and each count says what it is worth."""

import gzip
import hashlib
import os
import socket
import subprocess
import sys
from importlib.resources import files

import pytest

from brain_daemon.adapters import tokens
from brain_daemon.adapters.tokens import DATA_NAME, DATA_SHA256, Basis, TokenCount, count, problem, warm


@pytest.fixture
def loaded(monkeypatch):
    """The encoding in memory, loaded while every socket fails."""

    def refuse(*_args, **_kwargs):
        raise AssertionError("a token count opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    warm().join()
    assert problem() is None


@pytest.fixture
def unloaded(monkeypatch):
    """As it is before the first long text."""
    monkeypatch.setattr(tokens, "_loaded", type(tokens._loaded)())


def test_the_shipped_file_is_the_published_one():
    """Its hash is the one tiktoken itself expects of its download."""
    data = gzip.decompress(files("brain_daemon.adapters").joinpath("data", DATA_NAME).read_bytes())
    assert hashlib.sha256(data).hexdigest() == DATA_SHA256


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("hello world", 2),
        ("tiktoken is great!", 6),
        ("antidisestablishmentarianism", 6),
        ("2 + 2 = 4", 7),
        ("お誕生日おめでとう", 8),
        ("<|endoftext|>", 7),
        ("\udcff lone", 2),
    ],
)
def test_counts_are_those_of_o200k_base(loaded, text, expected):
    """Published examples, a special token taken as plain characters, and text that is no UTF-8."""
    assert count(text) == TokenCount(tokens=expected, basis=Basis.LOCAL, at_most=expected)


def test_our_cut_of_a_text_is_that_of_tiktoken(loaded, tmp_path):
    """tiktoken's own encoding, fed our file through its cache, gives the same tokens for text of every kind."""
    script = (
        "import sys, tiktoken\n"
        "texts = sys.stdin.buffer.read().decode().split('\\0')\n"
        "print([len(tiktoken.get_encoding('o200k_base').encode_ordinary(text)) for text in texts])\n"
    )
    address = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
    cached = tmp_path / hashlib.sha1(address.encode()).hexdigest()
    cached.write_bytes(gzip.decompress(files("brain_daemon.adapters").joinpath("data", DATA_NAME).read_bytes()))
    texts = [
        "I'LL don't  \r\n\n\tif x:\n    return {'a': 1e-9}  \n",
        "ÄÖü ǅ Ⅷ 12345 ½ 日本語 👩‍💻",
        "   ",
        tokens.__doc__ or "",
    ]
    run = subprocess.run(
        [sys.executable, "-c", script],
        input="\0".join(texts).encode(),
        env={**os.environ, "TIKTOKEN_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.decode().strip() == str([count(text).tokens for text in texts])


@pytest.mark.parametrize(
    ("model", "basis"),
    [
        ("gpt-4o-mini", Basis.EXACT),
        ("gpt-5.5", Basis.EXACT),
        ("gpt-oss-120b", Basis.EXACT),
        ("gpt-4", Basis.LOCAL),
        ("claude-sonnet-4-5", Basis.LOCAL),
        (None, Basis.LOCAL),
    ],
)
def test_a_count_is_exact_only_for_models_of_this_tokenizer(loaded, model, basis):
    """Claude, Gemini and the rest get the same number under an honest name."""
    assert count("hello world", model=model).basis is basis


def test_a_short_text_is_estimated_while_nothing_is_loaded(unloaded):
    """A first task does not wait for the table: a quarter of the bytes, and never more than the bytes."""
    assert count("hello world") == TokenCount(tokens=3, basis=Basis.ESTIMATE, at_most=11)
    assert not tokens._loaded.is_set()


def test_a_text_that_could_pass_the_limit_is_counted(unloaded):
    """One byte more than the limit, and the table is loaded."""
    assert count("a" * 50, short_bytes=50).basis is Basis.ESTIMATE
    assert count("a" * 51, short_bytes=50).basis is Basis.LOCAL


@pytest.mark.parametrize("text", ["a" * 300_000, " " * 300_000, "日" * 100_000, "x y " * 75_000])
def test_no_text_takes_long(loaded, text):
    """Hundreds of kilobytes without a place to cut are counted, and never as more tokens than bytes."""
    assert 0 < count(text).tokens <= len(text.encode())


@pytest.mark.parametrize("data", [b"", b"not gzip", gzip.compress(b"aGVsbG8= 0\n", mtime=0)])
def test_a_damaged_table_stops_nothing(monkeypatch, tmp_path, unloaded, data):
    """Every count is an estimate then, and the problem names the file and the next step."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / DATA_NAME).write_bytes(data)
    monkeypatch.setattr(tokens, "files", lambda _package: tmp_path)
    tokens._read.cache_clear()
    try:
        assert count("word " * 10_000) == TokenCount(tokens=12_500, basis=Basis.ESTIMATE, at_most=50_000)
        assert DATA_NAME in (problem() or "")
        assert "installed again" in (problem() or "")
    finally:
        tokens._read.cache_clear()


def test_importing_the_counter_loads_nothing():
    """The table is read when it is needed and not before."""
    script = "import brain_daemon.adapters.tokens as t; print(t._read.cache_info().currsize)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == "0\n"
