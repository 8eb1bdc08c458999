"""Texts as vectors. Each embedding has a name that changes whenever its vectors would: vectors of two names never mix.

`words`     the static word vectors of the package wordllama (256 dimensions, 16 MB in its wheel, read here by their files):
            the mean of a text's tokens. Near in meaning is near in space; nothing is fetched.
`local`     ours: words, their stems and the four-character pieces of words hashed into 512 dimensions with a sign, counted
            sublinearly, stop words left out. Deterministic on every machine; it knows spelling and no meaning.
`chroma`    the model that chromadb brings by default (all-MiniLM-L6-v2, 384 dimensions), 80 MB that it fetches on first use.
an address  an endpoint that speaks as OpenAI's /v1/embeddings or as Ollama's /api/embed.

Loaded only in the child process (vector_child.py). Failures: Unavailable says why one cannot be had.
"""

import functools
import importlib.util
import json
import math
import os
import urllib.error
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from brain_daemon.memory.vectors import default_is_here
from brain_daemon.model.words import words_of

Matrix = NDArray[np.float32]

_ENDPOINT_SECONDS = 20.0
_ENDPOINT_BYTES = 64 << 20
_ENDPOINT_TEXTS = 32
_MAX_CHARACTERS = 6_000


class Unavailable(Exception):
    """An embedding that cannot be had here; the message says why."""


class Embedding(Protocol):
    """`name` is its identity, version included."""

    name: str

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One row of length 1 a text (a text without anything known is a row of zeros). Raises Unavailable."""
        ...


class Local:
    """Hashed words and pieces of words."""

    name = "local-512.1"
    _DIMENSIONS = 512
    _PIECE = 4
    _PIECES_WEIGHT = 0.6

    def embed(self, texts: Sequence[str]) -> Matrix:
        matrix = np.zeros((len(texts), self._DIMENSIONS), dtype=np.float32)
        for row, text in zip(matrix, texts, strict=True):
            counts = Counter(word for line in text[:_MAX_CHARACTERS].splitlines() for word in words_of(line))
            for word, count in counts.items():
                often = 1.0 + math.log(count)
                for place, weight in _features(word, self._DIMENSIONS, self._PIECE, self._PIECES_WEIGHT):
                    row[place] += weight * often
        return _unit(matrix)


@functools.lru_cache(maxsize=50_000)
def _features(word: str, dimensions: int, piece: int, pieces_weight: float) -> tuple[tuple[int, float], ...]:
    """Where a word adds to a vector, and how much."""
    framed = f"<{word}>"
    pieces = {framed[at : at + piece] for at in range(max(1, len(framed) - piece + 1))}
    each = pieces_weight / math.sqrt(len(pieces))
    weighed = [(f"w {word}", 1.0), (f"s {_stem(word)}", 1.0), *((f"p {one}", each) for one in sorted(pieces))]
    return tuple((code % dimensions, weight if code >> 31 else -weight) for code, weight in _hashed(weighed))


def _hashed(weighed: Iterable[tuple[str, float]]) -> Iterable[tuple[int, float]]:
    return ((zlib.crc32(name.encode("utf-8", "replace")), weight) for name, weight in weighed)


def _stem(word: str) -> str:
    for ending in ("ations", "ation", "ings", "ing", "ies", "ers", "ed", "er", "es", "ly", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


class Words:
    """The static vectors of wordllama, without its code."""

    name = "wordllama-l2-supercat-256.1"
    _WEIGHTS = "l2_supercat_256.safetensors"
    _TOKENIZER = "l2_supercat_tokenizer_config.json"

    def __init__(self) -> None:
        found = importlib.util.find_spec("wordllama")
        if found is None or found.origin is None:
            raise Unavailable("the package wordllama is not installed")
        folder = os.path.dirname(found.origin)
        try:
            self._vectors = _safetensors(os.path.join(folder, "weights", self._WEIGHTS))
            self._tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizers", self._TOKENIZER))
        except Exception as error:
            raise Unavailable(f"the files of the package wordllama cannot be read: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def embed(self, texts: Sequence[str]) -> Matrix:
        matrix = np.zeros((len(texts), self._vectors.shape[1]), dtype=np.float32)
        encoded = self._tokenizer.encode_batch([text[:_MAX_CHARACTERS] for text in texts], add_special_tokens=False)
        for row, one in zip(matrix, encoded, strict=True):
            if one.ids:
                row[:] = self._vectors[one.ids].astype(np.float32).mean(axis=0)
        return _unit(matrix)


def _safetensors(path: str) -> NDArray[Any]:
    """The one table of a safetensors file: eight bytes of length, a JSON head, then the numbers."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = json.loads(file.read(length))
        (facts,) = (value for key, value in head.items() if key != "__metadata__")
        begin, end = facts["data_offsets"]
        file.seek(8 + length + begin)
        data = file.read(end - begin)
    return np.frombuffer(data, dtype={"F16": np.float16, "F32": np.float32}[facts["dtype"]]).reshape(facts["shape"])


class Default:
    """What chromadb embeds with by itself."""

    name = "chroma-all-MiniLM-L6-v2.1"

    def __init__(self) -> None:
        try:
            from chromadb.utils.embedding_functions import (  # noqa: PLC0415 - 0.7 s and 80 MB, for who asks for it
                ONNXMiniLM_L6_V2,
            )

            self._function = ONNXMiniLM_L6_V2(preferred_providers=["CPUExecutionProvider"])
            self._function(["a probe"])
        except Exception as error:
            raise Unavailable(f"chroma's own model cannot be had: {error}") from error

    def embed(self, texts: Sequence[str]) -> Matrix:
        return _unit(np.array(self._function([text[:_MAX_CHARACTERS] for text in texts]), dtype=np.float32))


class Endpoint:
    """A server that embeds: OpenAI's way, or Ollama's."""

    def __init__(self, address: str, model: str, key: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise Unavailable(f"{address} is no http address")
        self._address, self._model, self._key = address, model, key
        size = self.embed(["a probe"]).shape[1]
        self.name = f"endpoint-{address}-{model}-{size}.1"

    def embed(self, texts: Sequence[str]) -> Matrix:
        rows: list[list[float]] = []
        for start in range(0, len(texts), _ENDPOINT_TEXTS):
            rows += self._asked([text[:_MAX_CHARACTERS] or " " for text in texts[start : start + _ENDPOINT_TEXTS]])
        return _unit(np.array(rows, dtype=np.float32))

    def _asked(self, texts: list[str]) -> list[list[float]]:
        headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {self._key}"} if self._key else {}),
        }
        body = json.dumps({"model": self._model, "input": texts}).encode()
        request = urllib.request.Request(self._address, data=body, headers=headers, method="POST")  # noqa: S310 - http only
        try:
            with urllib.request.urlopen(request, timeout=_ENDPOINT_SECONDS) as reply:  # noqa: S310 - http only
                said = json.loads(reply.read(_ENDPOINT_BYTES))
            rows = said["embeddings"] if "embeddings" in said else [one["embedding"] for one in said["data"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"the endpoint {self._address} did not embed: {error}") from error
        if len(rows) != len(texts) or len({len(row) for row in rows}) != 1:
            raise Unavailable(f"the endpoint {self._address} answered {len(rows)} vectors for {len(texts)} texts")
        return rows


def _unit(matrix: Matrix) -> Matrix:
    lengths: Matrix = np.linalg.norm(matrix, axis=1, keepdims=True).astype(np.float32)
    return (matrix / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def load(wanted: str, *, model: str, key: str, home: str) -> tuple[Embedding, str]:
    """The embedding for a setting, and why this one. What cannot be had is replaced by what can, and that is said."""
    said = ""
    try:
        if wanted.startswith(("http://", "https://")):
            return Endpoint(wanted, model, key), "memory_embedding names an endpoint"
        if wanted == "chroma":
            return Default(), "memory_embedding asks for it"
        if wanted == "auto" and default_is_here(home):
            return Default(), "chroma's model is on this machine"
    except Unavailable as error:
        said = f"; {error}"
    if wanted == "local":
        return Local(), "memory_embedding asks for it"
    try:
        return Words(), f"the package wordllama has word vectors{said}"
    except Unavailable as error:
        return Local(), f"{error}{said}"
