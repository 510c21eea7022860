"""Tools by their names: exactly as written, or nearly."""

from __future__ import annotations

from collections.abc import Iterator

from rapidfuzz import process
from rapidfuzz.distance import OSA

SEPARATOR = "__"
TEXT_MAX = 256
CLOSENESS_MIN = 0.6
SLIPPED_MIN = 0.8
"""From here a word is taken for a misspelt name: one slip in five letters."""

BARE = 0.95
"""What agreeing on the tool is worth where the server is missing or another one."""


class Names:
    """Documents by exposed name and by bare tool name; case does not matter."""

    def __init__(self) -> None:
        self._exposed: dict[str, list[int]] = {}
        self._bare: dict[str, list[int]] = {}

    def add(self, doc: int, name: str, tool: str) -> None:
        self._exposed.setdefault(name.casefold(), []).append(doc)
        self._bare.setdefault(tool.casefold(), []).append(doc)

    def remove(self, doc: int, name: str, tool: str) -> None:
        for table, key in ((self._exposed, name.casefold()), (self._bare, tool.casefold())):
            table[key].remove(doc)
            if not table[key]:
                del table[key]

    def exact(self, text: str) -> list[int]:
        """Documents `text` names outright: the whole of it, or one of its words that holds `__`."""
        whole = text[:TEXT_MAX].strip().strip("`'\"").casefold()
        found = [*self._exposed.get(whole, ()), *self._bare.get(whole, ())]
        if not found and SEPARATOR in whole:
            for word in whole.split():
                found.extend(self._exposed.get(word.strip("`'\".,:;?!()"), ()))
        return list(dict.fromkeys(found))

    def slipped(self, text: str) -> dict[int, float]:
        """Documents that `text`, one word made like a name, comes very close to; how close.

        Who writes a server means it: the same tool of another one counts only if no whole name is close.
        """
        whole = text[:TEXT_MAX].strip().strip("`'\"")
        if "_" not in whole or len(whole.split()) != 1:
            return {}
        near = dict(_similar(whole.casefold(), self._exposed))
        exposed = {doc: closeness for key, closeness in near.items() for doc in self._exposed[key]}
        for found in (exposed, self.near(whole)):
            if close := {doc: closeness for doc, closeness in found.items() if closeness >= SLIPPED_MIN}:
                return close
        return {}

    def near(self, text: str) -> dict[int, float]:
        """How close (0.6 to 1) each document's name comes to `text`; the others are left out."""
        asked = text[:TEXT_MAX].strip().casefold()
        bare = asked.rpartition(SEPARATOR)[2]
        found: dict[int, float] = {}
        for table, wanted, worth in ((self._exposed, asked, 1.0), (self._bare, bare, BARE)):
            for key, closeness in _similar(wanted, table):
                for doc in table[key]:
                    found[doc] = max(found.get(doc, 0.0), closeness * worth)
        return found


def _similar(wanted: str, table: dict[str, list[int]]) -> Iterator[tuple[str, float]]:
    scorer = OSA.normalized_similarity
    hits = process.extract(wanted, table.keys(), scorer=scorer, score_cutoff=CLOSENESS_MIN, limit=None)
    yield from ((key, closeness) for key, closeness, _ in hits)
