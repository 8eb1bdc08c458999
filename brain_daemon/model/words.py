"""The words of a text that are worth looking up: folded, each once, without those that stand in every question.

Chinese and Japanese, whose words no blank parts, are taken by pairs of characters. Pure and total. Who must agree: an index
that is asked with these words has its texts `apart`.
"""

import re

_MAX_WORDS = 200
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_ONE_CJK = re.compile(f"[{_CJK}]")
_WORD = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
STOP_WORDS = frozenset(
    """a about above after again all also am an and any anything are as ask at be been before being below between both brief
    but by can could describe did do does doing down during each everything explain few find for from further get give had
    has have having he her here hers him his how i if in information input into is it its itself just know list look me more
    most my need no nor not note notes now of off on once only or other our ours out over please question same say search
    she should show so some such summarise summarize summary task tell than thanks that the their theirs them then there
    these they this those through to too under until up us very want was we were what when where which while who whom whose
    why will with would you your yours""".split()  # noqa: SIM905 - words read better without their quotes
)


def words_of(question: str) -> list[str]:
    """The words to look up, each once, in order; words that stand in every question only if there are no others."""
    found: dict[str, None] = {}
    for run in _WORD.findall(question.casefold()):
        pairs = [run[at : at + 2] for at in range(len(run) - 1)] if _ONE_CJK.match(run) else []
        found.update(dict.fromkeys(pairs or [run]))
    telling = [word for word in found if word not in STOP_WORDS and (len(word) > 1 or not word.isascii())]
    return (telling or list(found))[:_MAX_WORDS]


def apart(text: str) -> str:
    """Chinese and Japanese characters as words of their own, since no blank parts their words."""
    return text if text.isascii() else _ONE_CJK.sub(r" \g<0> ", text)
