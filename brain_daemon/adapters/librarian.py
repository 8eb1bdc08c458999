"""The tool `librarian`: answers a task from the brain itself, with cited excerpts. Needs nothing installed, invents nothing.

The words of the question are looked up in an index that is built in memory for this call (SQLite FTS5: BM25, English
stems, no accents; Chinese and Japanese by pairs of characters). A passage ranks by BM25 times how much of the question it
covers; the same brain and question give the same answer. Each excerpt stands as it is in its file, quoted, under its
`path:line-line`. What was searched, what was not and which words stand nowhere is always said, and so is "nothing found":
that is an answer, not a failure.
"""

import contextlib
import math
import os
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from brain_daemon.adapters.passages import AREAS, Tally, passages
from brain_daemon.adapters.tool_api import ToolAnswer, ToolCall, ToolFailed, writes_nothing
from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.outcome import FailureKind
from brain_daemon.model.passages import Passage
from brain_daemon.model.words import apart, words_of

MAX_EXCERPTS = 8
MAX_EXCERPTS_A_FILE = 3
EXCERPT_LINES = 12
_MAX_TERMS = 32
_CANDIDATES = 200
_COVERS = 0.4  # of the weight of the question's words; below it, an excerpt is called near and not an answer
_TITLE_WEIGHT = 3.0
_SHOWN_WORDS = 12
_SHOWN_UNREAD = 5

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*")
_NOT_ASKED = frozenset({"expected output", "output", "context"})


@writes_nothing
def librarian(call: ToolCall) -> ToolAnswer:
    """Answer the task from the brain's own texts. Raises ToolFailed when there is no word to look up, and ToolStopped."""
    words = words_of(_question(call.title, call.text))
    if not words:
        raise ToolFailed(
            FailureKind.PERMANENT, f"looking up task {call.task_id}: it holds no words to search for; write a question"
        )
    tally = Tally()
    with contextlib.closing(_index(passages(os.fspath(call.brain_root), tally, call.stop_if_asked))) as index:
        terms = _terms(index, words)
        call.stop_if_asked()
        hits = _chosen(_ranked(index, terms))
    return ToolAnswer(text=_answer(terms, hits, tally))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    """One word of the question: where it stands, and what it weighs (rare words weigh more)."""

    word: str
    query: str
    rows: frozenset[int]
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hit:
    """A passage, how well it fits, the share of the question's weight it covers, and the words it does it with."""

    passage: Passage
    score: float
    share: float
    words: tuple[str, ...]


def _question(title: str, text: str) -> str:
    """The title and the text without what is not asked: headings, and the parts that say how and from what to answer."""
    kept, skipping = [title], False
    for line in text.splitlines():
        heading = _HEADING.fullmatch(line)
        if heading:
            skipping = heading[1].strip().rstrip(":").casefold() in _NOT_ASKED
        elif not skipping:
            kept.append(line)
    return "\n".join(kept)


def _index(found: Iterable[Passage]) -> sqlite3.Connection:
    """The passages in memory: as they are in `passage`, their words in `word`. Raises ToolFailed without FTS5."""
    index = sqlite3.connect(":memory:")
    try:
        index.execute("CREATE TABLE passage (id INTEGER PRIMARY KEY, path TEXT, line INTEGER, heading TEXT, text TEXT)")
        index.execute(
            "CREATE VIRTUAL TABLE word USING fts5(about, body, content='', tokenize='porter unicode61 remove_diacritics 2')"
        )
        for row, passage in enumerate(found, 1):
            index.execute(
                "INSERT INTO passage VALUES (?, ?, ?, ?, ?)",
                (row, passage.path, passage.line, passage.heading, passage.text),
            )
            index.execute(
                "INSERT INTO word (rowid, about, body) VALUES (?, ?, ?)",
                (row, apart(f"{_name(passage.path)} {passage.heading}"), apart(passage.text)),
            )
    except sqlite3.OperationalError as error:
        index.close()
        raise ToolFailed(
            FailureKind.UNAVAILABLE, f"building the librarian's index: {error}; this Python's SQLite needs FTS5"
        ) from error
    except BaseException:
        index.close()
        raise
    return index


def _name(path: str) -> str:
    """What a path says about its file: not which area it lies in, nor its kind."""
    area = next(folder for folder in AREAS.values() if path.startswith(folder))
    return os.path.splitext(path[len(area) :])[0]


def _terms(index: sqlite3.Connection, words: list[str]) -> list[_Term]:
    """The words with where they stand; of a long question only the rarest that stand anywhere."""
    total: int = index.execute("SELECT count(*) FROM passage").fetchone()[0]
    terms = []
    for word in words:
        query = f'"{apart(word).strip()}"'
        rows = frozenset(row for (row,) in index.execute("SELECT rowid FROM word WHERE word MATCH ?", (query,)))
        weight = math.log(1 + (total - len(rows) + 0.5) / (len(rows) + 0.5))
        terms.append(_Term(word=word, query=query, rows=rows, weight=weight))
    if len(terms) <= _MAX_TERMS:
        return terms
    rarest = sorted((term for term in terms if term.rows), key=lambda term: -term.weight)[:_MAX_TERMS]
    return [term for term in terms if term in rarest] or terms[:_MAX_TERMS]


def _ranked(index: sqlite3.Connection, terms: list[_Term]) -> list[_Hit]:
    """The passages that hold any of the words, best first; equals in the order of path and line."""
    present = [term for term in terms if term.rows]
    whole = sum(term.weight for term in terms)
    if not present or not whole:
        return []
    rows = index.execute(
        "SELECT id, path, line, heading, text, bm25(word, ?, 1.0) AS rank FROM word JOIN passage ON id = word.rowid "
        "WHERE word MATCH ? ORDER BY rank, path, line LIMIT ?",
        (_TITLE_WEIGHT, " OR ".join(term.query for term in present), _CANDIDATES),
    )
    hits = []
    for row, path, line, heading, text, rank in rows:
        mine = [term for term in present if row in term.rows]
        share = sum(term.weight for term in mine) / whole
        passage = Passage(path=path, line=line, heading=heading, text=text)
        hits.append(
            _Hit(passage=passage, score=-rank * (0.5 + share), share=share, words=tuple(term.word for term in mine))
        )
    return sorted(hits, key=lambda hit: (-hit.score, hit.passage.path, hit.passage.line))


def _chosen(hits: list[_Hit]) -> list[_Hit]:
    """The best few, not too many of one file, and none that covers less than half of what the best one does."""
    least = max((hit.share for hit in hits), default=0.0) / 2
    chosen: list[_Hit] = []
    for hit in hits:
        of_file = sum(other.passage.path == hit.passage.path for other in chosen)
        if hit.share >= least and of_file < MAX_EXCERPTS_A_FILE and len(chosen) < MAX_EXCERPTS:
            chosen.append(hit)
    return chosen


def _answer(terms: list[_Term], hits: list[_Hit], tally: Tally) -> str:
    absent = [term.word for term in terms if not term.rows]
    parts = [_headline(terms, hits)]
    parts += (_excerpt(hit) for hit in hits)
    if hits and absent:
        parts.append(f"Not found anywhere: {_listed(absent)}.")
    parts.append(_searched(tally))
    if not hits or max(hit.share for hit in hits) < _COVERS:
        parts.append(
            "To get further: ask with other words, write what you know into knowledge/, or give the task to an interface that "
            "can reason. Pending and failed tasks are not searched."
        )
    return "\n\n".join(parts)


def _headline(terms: list[_Term], hits: list[_Hit]) -> str:
    asked = _listed(term.word for term in terms)
    if not hits:
        return f"Nothing found for: {asked}."
    if max(hit.share for hit in hits) < _COVERS:
        near = _listed(dict.fromkeys(word for hit in hits for word in hit.words))
        return f"Nothing found that covers: {asked}. The nearest passages only mention {near}:"
    files = len({hit.passage.path for hit in hits})
    return f"Found {_counted(len(hits), 'passage')} in {_counted(files, 'file')} for: {asked}."


def _excerpt(hit: _Hit) -> str:
    """The lines of a passage around its words, quoted, so that nothing in them can pose as a part of the answer."""
    passage = hit.passage
    # Cut at newlines only, as the lines were counted; what else ends a line on a screen is made visible.
    lines = passage.text.split("\n")
    start = _best_window([_mentions(line, hit.words) for line in lines])
    shown = lines[start : start + EXCERPT_LINES]
    first, last = passage.line + start, passage.line + start + len(shown) - 1
    where = f"{clean_line(passage.path, 300)}:{first}" + (f"-{last}" if last > first else "")
    innermost = clean_line(" > ".join(passage.heading.split(" > ")[-2:]), 150)
    heading = f" ({innermost})" if innermost else ""
    quoted = "\n".join(f"> {line}".rstrip() for line in clean_text("\n".join(shown)).split("\n"))
    return f"### {where}{heading}\n\n{quoted}"


def _mentions(line: str, words: tuple[str, ...]) -> int:
    """How many of the words begin some word of the line, endings apart; near enough to choose lines by."""
    folded = line.casefold()
    return sum(word[: max(4, len(word) - 3)] in folded for word in words)


def _best_window(mentions: list[int]) -> int:
    """The first of the windows of EXCERPT_LINES lines that mention most."""
    starts = range(max(1, len(mentions) - EXCERPT_LINES + 1))
    return max(starts, key=lambda start: (sum(mentions[start : start + EXCERPT_LINES]), -start))


def _searched(tally: Tally) -> str:
    by_area = ", ".join(f"{area} {tally.files[area]}" for area in AREAS)
    lines = [f"Searched {_counted(tally.total_files, 'file')} ({by_area})."]
    if tally.not_reached:
        lines.append(f"The limit of one search was reached: {_counted(tally.not_reached, 'file')} were not looked at.")
    lines += (f"{clean_line(unread, 300)}." for unread in tally.unread[:_SHOWN_UNREAD])
    if len(tally.unread) > _SHOWN_UNREAD:
        lines.append(f"And {_counted(len(tally.unread) - _SHOWN_UNREAD, 'other')} not or not wholly read.")
    return "\n".join(lines)


def _listed(words: Iterable[str]) -> str:
    every = list(words)
    more = f" and {len(every) - _SHOWN_WORDS} more" if len(every) > _SHOWN_WORDS else ""
    return ", ".join(every[:_SHOWN_WORDS]) + more


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
