"""What kind of work a request asks for, guessed from its words, so that context/routing.md has something to go by.

For one-shot requests only, whose person says no type; a task in the queue without one is `general`. A guess needs more words for
one kind than for any other, else there is none. Pure and total. Not promised: languages other than English.
"""

import re
from collections import Counter

_MOST_CHARACTERS = 4_000
_QUESTION_WORDS = 12
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_QUESTION = re.compile(r"\s*(?:what|who|when|where|which|how|why|is|are|does|do|can)\b[^?\n]*\?\s*", re.IGNORECASE)
_CODE_SHAPES = re.compile(
    r"```|\b\w+\.(?:py|js|ts|tsx|rs|go|java|kt|c|h|cc|cpp|rb|php|cs|swift|sql|sh)\b|\w+\(\)|\bTraceback\b"
)
_WORDS: dict[str, frozenset[str]] = {
    kind: frozenset(words.split())
    for kind, words in {
        "code": "fix bug bugs debug refactor implement code function functions class method compile compiler lint tests "
        "unittest pytest stacktrace exception endpoint api parser typescript python rust javascript golang script patch "
        "merge rebase regex type-check migration module library",
        "research": "research sources literature papers cite citations market competitors survey web news articles "
        "benchmarks alternatives landscape trends publications",
        "analysis": "analyse analyze analysis evaluate assess tradeoffs trade-offs architecture strategy risks implications "
        "forecast correlate audit critique weigh",
        "file_operations": "rename move copy folder folders directory directories files duplicates sort organise organize "
        "convert unzip archive delete",
    }.items()
}


def kind_of(text: str) -> str | None:
    """`code`, `research`, `analysis`, `file_operations`, `quick` for a short question about none of them, or None."""
    told = text[:_MOST_CHARACTERS]
    words = set(_WORD.findall(told.lower()))
    found = Counter({kind: len(words & telling) for kind, telling in _WORDS.items()})
    found["code"] += 2 * bool(_CODE_SHAPES.search(told))
    (first, most), (_, next_most) = found.most_common(2)
    if most > next_most:
        return first
    is_quick = most == 0 and len(told.split()) <= _QUESTION_WORDS and _QUESTION.fullmatch(told)
    return "quick" if is_quick else None
