"""Counting tokens on this machine: the o200k_base encoding that ships with the package, read from its file by its hash.

`tiktoken.get_encoding` is never called: it downloads, without a time-out, and looks for a cache folder in the environment.
Here no variable and no network is looked at. Reading the file and building the encoding takes 0.3 s and 70 MB, once: only
when a text is too long to be answered without (`count`) or when asked to (`warm`).

What a count is worth stands beside it. `exact`: the text alone, by the tokenizer of the model it is for; what a provider
adds around it (roles, tools) is not in it. `local`: o200k_base for a model whose tokenizer is not known here (Claude, Gemini,
most open models: some ten per cent off for prose, more for code). `estimate`: a quarter of the UTF-8 bytes.

Failures: a vendored file that is missing or damaged stops nothing; every count is an estimate then and `problem` says why.
"""

import base64
import functools
import gzip
import hashlib
import threading
import zlib
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tiktoken

DATA_NAME = "o200k_base.tiktoken.gz"
# Published as `expected_hash` in tiktoken_ext/openai_public.py; of the file as it is after unpacking.
DATA_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
SHORT_TEXT_BYTES = 10_000
_BYTES_PER_TOKEN = 4
_OUR_ENCODINGS = frozenset({"o200k_base", "o200k_harmony"})  # harmony differs in its special tokens only
# How o200k_base cuts a text before merging; from tiktoken_ext/openai_public.py, where it stands inside a function.
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_PATTERN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _CONTRACTION,
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + _CONTRACTION,
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


class Basis(StrEnum):
    """What a count rests on."""

    EXACT = "exact"
    LOCAL = "local"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """Tokens of a text. `at_most` holds for o200k_base whatever the basis: it has no token shorter than a byte."""

    tokens: int
    basis: Basis
    at_most: int


def count(text: str, *, model: str | None = None, short_bytes: int = SHORT_TEXT_BYTES) -> TokenCount:
    """The tokens of `text`, for `model` where it is known which one.

    Until the encoding is loaded, a text of at most `short_bytes` is estimated: at one token a byte it could not pass a
    limit of as many tokens. A longer one loads the encoding, so give the smallest limit that the answer decides about.
    """
    size_bytes = len(text.encode("utf-8", "surrogatepass"))
    if size_bytes > short_bytes or _loaded.is_set():
        encoding = _encoding()
        if encoding is not None:
            tokens = len(encoding.encode_ordinary(text))
            basis = Basis.EXACT if _is_ours(model) else Basis.LOCAL
            return TokenCount(tokens=tokens, basis=basis, at_most=tokens)
    return TokenCount(tokens=-(-size_bytes // _BYTES_PER_TOKEN), basis=Basis.ESTIMATE, at_most=size_bytes)


def warm() -> threading.Thread:
    """Load the encoding in a thread of its own, for a caller that is idle; `join` what it gives to wait for the end."""
    thread = threading.Thread(target=_encoding, name="tokens", daemon=True)
    thread.start()
    return thread


def problem() -> str | None:
    """Why there are only estimates; None when the encoding could be loaded. Loads it."""
    _encoding()
    return _read().problem


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    encoding: "tiktoken.Encoding | None" = None
    problem: str | None = None


_loading = threading.Lock()
_loaded = threading.Event()


def _encoding() -> "tiktoken.Encoding | None":
    with _loading:
        reading = _read()
    _loaded.set()
    return reading.encoding


@functools.cache
def _read() -> _Reading:
    try:
        return _Reading(encoding=_built(gzip.decompress(files(__package__).joinpath("data", DATA_NAME).read_bytes())))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        return _Reading(
            problem=f"reading the token table {DATA_NAME} of the package: {error}; "
            "token counts are estimates until brain-daemon is installed again"
        )


def _built(data: bytes) -> "tiktoken.Encoding":
    """The encoding from the lines `base64-token rank` of its file. Raises ValueError when it is not the one we ship."""
    import tiktoken  # noqa: PLC0415 - 3 MB that only a count needs

    if hashlib.sha256(data).hexdigest() != DATA_SHA256:
        raise ValueError("its SHA-256 is not the published one")
    lines = (line.split() for line in data.splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    # Without special tokens: a prompt that holds <|endoftext|> is counted as the characters it is.
    return tiktoken.Encoding(name="o200k_base", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})


def _is_ours(model: str | None) -> bool:
    if model is None:
        return False
    import tiktoken  # noqa: PLC0415 - as above

    try:
        return tiktoken.encoding_name_for_model(model) in _OUR_ENCODINGS
    except KeyError:
        return False
