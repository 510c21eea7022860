"""A query's words, each with the lists it is looked up in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, pairwise

from services.indexer.index import tokens, verbs

TEXT_MAX = 4096
WORDS_MAX = 64
RUNS_MAX = 1024
REPAIRED = 0.85
"""What a mended word is worth beside one that was spelt right."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word to look for: as asked, as looked up, and its weight."""

    asked: str
    form: str
    stem: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Query:
    """Terms to look up, classes of the verbs among them, and how many words nobody knows.

    `words` are all that were asked, known or not, mended ones as mended.
    """

    terms: tuple[Term, ...]
    verbs: tuple[str, ...]
    unknown: int
    words: tuple[str, ...] = ()


class Reader:
    """Turns text into a query against one vocabulary."""

    def __init__(self, known: Callable[[str], bool], mend: Callable[[str], str | None]) -> None:
        self._known = known
        self._mend = mend

    def read(self, text: str) -> Query:
        """The first 64 distinct words of 4,096 characters; stop words only if there is nothing else."""
        asked = _distinct(text[:TEXT_MAX])
        joined = [pair for pair in pairwise(asked) if self._known("".join(pair))]
        explained = {form for pair in joined for form in pair} | verbs.among(asked)
        terms: dict[str, Term] = {}
        meant: dict[str, str] = {}
        unknown = 0
        for form in [*asked, *map("".join, joined)]:
            if not self._known(form) and form not in explained:
                meant[form] = self._mend(form) or form
            term = self._term(form, meant.get(form, form))
            if term is not None:
                terms.setdefault(term.form, term)
            elif form not in explained:
                unknown += 1
        words = tuple(dict.fromkeys(meant.get(form, form) for form in asked))
        return Query(tuple(terms.values()), tuple(sorted(verbs.classes(asked))), unknown, words)

    def _term(self, asked: str, form: str) -> Term | None:
        weight = 1.0 if asked == form else REPAIRED
        return Term(asked, form, tokens.stem(form), weight) if self._known(form) else None


def _distinct(text: str) -> list[str]:
    every = [form for group in islice(tokens.words(text), RUNS_MAX) for form in group]
    meant = [form for form in every if form not in tokens.STOP] or every
    return list(dict.fromkeys(meant))[:WORDS_MAX]
