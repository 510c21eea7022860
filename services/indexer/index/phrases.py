"""Words that stand side by side in a question and in a tool: they decide between tools of one server.

Siblings share most of their words: each of `group_list`, `group_item_list` and `item_update` has those of
"list the items of a group" somewhere. What the question and a name or first sentence say in a row tells them
apart, the more so the fewer siblings have its words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from math import fsum

from services.indexer.index.postings import rarity

WORTH = 0.25
"""What a question repeated word by word adds to a score.

Fitted (listwise logistic, 0.24 to 0.26 by how much it is held back) to apify, livemcp_steps, metatool and
1,500 questions made from descriptions of crawled tools; measured on other suites.
"""

LEADING = 20
"""So many of the best are looked at."""

DOUBT = 4.0
"""Rarity that is taken to be missing: one frequent pair of words is no phrase."""

WORDS_MAX = 48
"""Words of a first sentence that are kept; a longer one is a list."""


class Siblings:
    """How many tools of each server have a word in their name or first sentence."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self._tools: Counter[str] = Counter()

    def enter(self, server: str, words: Iterable[str]) -> None:
        """Count one more tool."""
        self._tools[server] += 1
        self._counts.setdefault(server, Counter()).update(set(words))

    def leave(self, server: str, words: Iterable[str]) -> None:
        """Count one tool less; of a server without tools nothing is left."""
        self._tools[server] -= 1
        counts = self._counts[server]
        for word in set(words):
            counts[word] -= 1
            if not counts[word]:
                del counts[word]
        if not self._tools[server]:
            del self._tools[server], self._counts[server]

    def rarity(self, server: str, word: str) -> float:
        """Inverse document frequency of a word among the tools of one server."""
        return rarity(self._tools[server], self._counts[server][word])


class Phrases:
    """What one question says in a row, given as stems; words that are not `known` to a tool count nothing."""

    def __init__(self, words: Iterable[str], known: Collection[str], siblings: Siblings) -> None:
        self._pairs = dict.fromkeys(pairwise(words))
        self._known = known
        self._siblings = siblings
        self._worths: dict[str, dict[tuple[str, str], float]] = {}

    def share(self, server: str, texts: Iterable[Sequence[str]]) -> float:
        """The share (0 to 1), by rarity, of the pairs that stand so in one of the `texts` of a tool."""
        held = self._pairs.keys() & {pair for text in texts for pair in pairwise(text)}
        if not held:
            return 0.0
        worth = self._worths.get(server)
        if worth is None:
            worth = self._worths[server] = {pair: self._worth(server, pair) for pair in self._pairs}
        return fsum(worth[pair] for pair in held) / (DOUBT + fsum(worth.values()))

    def _worth(self, server: str, pair: tuple[str, str]) -> float:
        return sum(self._siblings.rarity(server, word) for word in pair if word in self._known)


def lift(ranked: Sequence[tuple[float, int]], share: Callable[[int], float]) -> Iterator[tuple[float, int]]:
    """Scores of documents, best first, the leading ones with what their phrases add."""
    for score, doc in islice(ranked, LEADING):
        yield score + WORTH * share(doc), doc
    yield from islice(ranked, LEADING, None)
