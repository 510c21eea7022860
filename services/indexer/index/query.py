"""A query's words, each with the lists it is looked up in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    """Terms to look up, classes of the verbs among them, and how many words nobody knows."""

    terms: tuple[Term, ...]
    verbs: tuple[str, ...]
    unknown: int


class Reader:
    """Turns text into a query against one vocabulary."""

    def __init__(self, known: Callable[[str], bool], mend: Callable[[str], str | None]) -> None:
        self._known = known
        self._mend = mend

    def read(self, text: str) -> Query:
        """The first 64 distinct words of 4,096 characters; stop words only if there is nothing else."""
        asked = _distinct(text[:TEXT_MAX])
        terms: dict[str, Term] = {}
        unknown = 0
        for form in asked:
            term = self._term(form)
            if term is None:
                unknown += 1
            elif term.form not in terms:
                terms[term.form] = term
        for form in _compounds(list(terms.values())):
            if form not in terms and self._known(form):
                terms[form] = Term(form, form, tokens.stem(form))
        return Query(tuple(terms.values()), tuple(sorted(verbs.classes(terms))), unknown)

    def _term(self, form: str) -> Term | None:
        if self._known(form):
            return Term(form, form, tokens.stem(form))
        mended = self._mend(form)
        return Term(form, mended, tokens.stem(mended), REPAIRED) if mended else None


def _distinct(text: str) -> list[str]:
    every = [form for group in islice(tokens.words(text), RUNS_MAX) for form in group]
    meant = [form for form in every if form not in tokens.STOP] or every
    return list(dict.fromkeys(meant))[:WORDS_MAX]


def _compounds(terms: list[Term]) -> Iterator[str]:
    """Neighbours written as one word: `key vault` also asks for `keyvault`."""
    for left, right in pairwise(terms):
        if left.form.isascii() and right.form.isascii():
            yield left.form + right.form
