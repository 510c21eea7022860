"""Tools by their names: exactly as written, or nearly."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rapidfuzz import process
from rapidfuzz.distance import OSA

SEPARATOR = "__"
TEXT_MAX = 256
CLOSENESS_MIN = 0.6
SLIPPED_MIN = 0.8
"""From here a word is taken for a misspelt name: one slip in five letters."""

BARE = 0.95
"""What agreeing on the tool is worth where the server is missing or another one."""

Admit = Callable[[int], bool]
"""Whether a document may be shown."""


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

    def exact(self, text: str, admit: Admit) -> list[int]:
        """Admitted documents `text` names outright: by its whole, else by one of its words that holds `__`.

        A tool that calls itself like another one with its server is behind that: a whole name comes first.
        """
        whole = text[:TEXT_MAX].strip().strip("`'\"").casefold()
        for table in (self._exposed, self._bare):
            if found := list(filter(admit, table.get(whole, ()))):
                return found
        words = whole.split() if SEPARATOR in whole else []
        named = [doc for word in words for doc in self._exposed.get(word.strip("`'\".,:;?!()"), ())]
        return list(dict.fromkeys(filter(admit, named)))

    def slipped(self, text: str, admit: Admit) -> dict[int, float]:
        """Admitted documents that `text`, one word made like a name, comes very close to; how close.

        Who writes a server means it: the same tool of another one counts only if no whole name is close.
        """
        whole = text[:TEXT_MAX].strip().strip("`'\"")
        if "_" not in whole or len(whole.split()) != 1:
            return {}
        near = dict(_similar(whole.casefold(), self._exposed))
        exposed = {doc: closeness for key, closeness in near.items() for doc in self._exposed[key]}
        for found in (exposed, self.near(whole)):
            close = {doc: closeness for doc, closeness in found.items() if closeness >= SLIPPED_MIN}
            if seen := {doc: closeness for doc, closeness in close.items() if admit(doc)}:
                return seen
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
