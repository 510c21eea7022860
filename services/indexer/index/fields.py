"""What a tool's words are worth: the fields of BM25F and their saturation.

Field lengths are compared with typical ones rather than with averages of the index, so that a tool's impacts
never change when other tools come and go (Robertson, Zaragoza: The Probabilistic Relevance Framework, §3.5).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from services.indexer.index import tokens, verbs
from services.indexer.index.phrases import WORDS_MAX

DESCRIPTION_MAX = 2048
NAME_MAX = 256
PARAMETERS_MAX = 64
REPEAT_MAX = 3
"""How often one word counts in one field: saying it two hundred times gains nothing."""

SATURATION = 1.2
CEILING = SATURATION + 1
"""No word can add more than its rarity times this."""


@dataclass(frozen=True, slots=True)
class Document:
    """A tool as it is searched: `name` is the exposed `server__tool`.

    What follows a `#` in `server` tells its lists apart and is not searched.
    """

    name: str
    server: str
    tool: str
    title: str = ""
    description: str = ""
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """Weight, strength of length normalisation (0 to 1), typical length in words, weight of the meaning."""

    weight: float
    normal: float
    typical: int
    sense: float


NAME = Field(4.0, 0.3, 3, 2.0)
TITLE = Field(2.0, 0.3, 4, 1.0)
SERVER = Field(1.5, 0.2, 2, 1.0)
FIRST = Field(2.0, 0.4, 10, 1.0)
OTHER = Field(1.2, 0.6, 30, 0.5)
WARNING = Field(0.2, 0.7, 15, 0.1)
ARGUMENT = Field(1.0, 0.6, 5, 0.3)
MEANING = Field(0.3, 0.8, 40, 0.1)

_SENTENCE = re.compile(r"(?<=[.!?])\s+|[。！？\n]+")
_WARNING = re.compile(r"\b(?:do not|don't|never|instead|avoid|cannot)\b", re.IGNORECASE)


@dataclass(slots=True)
class Entry:
    """Impacts of one tool: by stem, by exact form; its verb classes; the stems of its bare name
    and of its first sentence, in order.

    `senses` are the words that tell what it means, each with its weight in that.
    """

    stems: dict[str, float] = field(default_factory=dict)
    forms: dict[str, float] = field(default_factory=dict)
    verbs: frozenset[str] = frozenset()
    name: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    senses: dict[str, float] = field(default_factory=dict)


def weigh(document: Document) -> Entry:
    """The impacts of every word of `document`, each below `CEILING`."""
    entry = Entry()
    for kind, words in _fields(document):
        _add(entry, kind, words)
        if kind is FIRST:
            entry.first = tuple(map(tokens.stem, words[:WORDS_MAX]))
    for impacts in (entry.stems, entry.forms):
        for word, mass in impacts.items():
            impacts[word] = CEILING * mass / (SATURATION + mass)
    name = _whole(document.tool)
    entry.name = tuple(dict.fromkeys(tokens.stem(word) for word in name))
    entry.verbs = verbs.classes([*name, *tokens.flat(document.description[:80])[:2]])
    return entry


def plain(server: str) -> str:
    """The name of a server without what tells several lists of it apart."""
    return server.partition("#")[0]


def _fields(document: Document) -> Iterator[tuple[Field, list[str]]]:
    yield NAME, _whole(document.tool)
    yield SERVER, _whole(plain(document.server))
    yield TITLE, tokens.flat(document.title[:NAME_MAX])
    first, *rest = _SENTENCE.split(document.description[:DESCRIPTION_MAX])
    yield FIRST, tokens.flat(first)
    usual = [text for text in rest if not _WARNING.search(text)]
    yield OTHER, tokens.flat(" \n ".join(usual))
    yield WARNING, tokens.flat(" \n ".join(text for text in rest if _WARNING.search(text)))
    known = document.parameters[:PARAMETERS_MAX]
    yield ARGUMENT, tokens.flat(" ".join(name[:NAME_MAX] for name, _ in known))
    yield MEANING, tokens.flat(" ".join(text for _, text in known)[:DESCRIPTION_MAX])


def _whole(name: str) -> list[str]:
    """All words of a name: there even a stop word is meant."""
    return [form for group in tokens.words(name[:NAME_MAX]) for form in group]


def _add(entry: Entry, kind: Field, words: list[str]) -> None:
    if not words:
        return
    scale = kind.weight / (1 - kind.normal + kind.normal * len(words) / kind.typical)
    _count(entry.forms, scale, words)
    _count(entry.stems, scale, map(tokens.stem, words))
    for word in dict.fromkeys(words):  # in their order, so that sums are the same in every process
        entry.senses[word] = entry.senses.get(word, 0.0) + kind.sense


def _count(impacts: dict[str, float], scale: float, words: Iterable[str]) -> None:
    for word, times in Counter(words).items():
        impacts[word] = impacts.get(word, 0.0) + scale * min(times, REPEAT_MAX)
