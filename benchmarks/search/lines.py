"""Sentences to learn from: what packages say of themselves in one line.

A file has a package a line: its name, a tab, its summary. Lists of several registries can be given together.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

LENGTH_MAX = 200
WORDS_MIN, WORDS_MAX = 4, 40
LETTERS_MIN = 0.7
"""Share of ASCII letters, below which a summary is taken to be in another language or no sentence."""

ALIKE_MAX = 20
"""So many summaries may begin with the same four words: registries are full of templates."""

NAMED = 0.35
"""Share of lines that begin with the name of the package, as the text of a tool does."""

EAGER = 0.45
_EAGER = re.compile(
    r"\b(mcp|api|tools?|search|client|data|manage|get|create|convert|calculate|find|list|send|download)\b",
    re.IGNORECASE,
)
"""Lines with words that tools use are drawn earlier, at this fraction of their lot."""


def sentences(file: Path, count: int, seed: int) -> list[str]:
    """At most `count` different English sentences, drawn by lot; a smaller draw heads a larger one."""
    chance = random.Random(seed)
    rows = list(_rows(file))
    chance.shuffle(rows)
    return [text for _, text in sorted(_lots(rows, chance))[:count]]


def _rows(file: Path) -> Iterator[tuple[str, str]]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, summary = line.rstrip("\n").partition("\t")
            yield name, " ".join(summary.split())[:LENGTH_MAX]


def _lots(rows: Iterable[tuple[str, str]], chance: random.Random) -> Iterator[tuple[float, str]]:
    for name, summary in _different(rows):
        words = " ".join(re.findall(r"[a-z]{2,}", name.lower()))
        text = f"{words}: {summary}" if chance.random() < NAMED and words else summary
        yield chance.random() * (EAGER if _EAGER.search(summary) else 1), text


def _different(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Rows in English whose words nobody used before, and that follow no template."""
    seen: set[str] = set()
    heads: Counter[str] = Counter()
    for name, summary in rows:
        words = re.findall(r"[a-z]+", summary.lower())
        whole, head = " ".join(words), " ".join(words[:4])
        if _is_sentence(words, summary) and whole not in seen:
            seen.add(whole)
            heads[head] += 1
            if heads[head] <= ALIKE_MAX:
                yield name, summary


def _is_sentence(words: list[str], summary: str) -> bool:
    return WORDS_MIN <= len(words) <= WORDS_MAX and sum(map(len, words)) >= LETTERS_MIN * len(summary)
