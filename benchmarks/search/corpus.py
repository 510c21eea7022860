"""A catalogue of made-up tools, the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from typing import TypeVar

from services.indexer.index import Document, parameters

T = TypeVar("T")

SERVER_TOOLS = 20

_DEEDS = "get list search create update delete send run stop upload download convert compare analyze"
_VERBS = _DEEDS.split()
_NAMES = """
account alert archive article asset audit backup banner basket board bucket budget calendar campaign
category certificate channel chart cluster comment commit company contact container contract coupon
currency customer dashboard database dataset deployment device discount document domain dungeon email
employee endpoint event expense feature feed file flight folder forecast form function gateway group
holiday hotel image incident index ingredient inventory invoice issue journal keyword label language
ledger license listing location meeting member message metric milestone mission model monitor movie
network note notification order package page partition password patient payment permission photo pipeline
player playlist podcast policy portfolio price product profile project prompt proxy publication query
queue quota rate recipe record refund region release report repository request reservation resource
review role room route schedule schema score secret segment sensor service session shipment snapshot song
sprint station stock subscription supplier survey table tag task team template tenant ticket token topic
track trade transaction translation vacancy vehicle vendor version video vulnerability warehouse weather
webhook wiki workflow workspace
"""
_NOUNS = _NAMES.split()
_SOUNDS = "ba co du fe gi ho ka lu mi no pa qui ro su ta vex wi xo yo zen"
_SYLLABLES = _SOUNDS.split()
_ASIDES = (
    "Results are paged; pass the cursor of the previous answer to continue",
    "Requires write access to the workspace",
    "Dates are given in ISO 8601 and times are in UTC",
    "Do not use this for bulk changes; start an import instead",
    "Returns the identifier, the owner and the time of the last change",
)


class Catalogue:
    """Documents and questions drawn from one seeded source."""

    def __init__(self, tools: int, seed: int = 7) -> None:
        self._random = random.Random(seed)
        self._rare = ["".join(parts) for parts in product(_SYLLABLES, repeat=3)]
        self.servers = [
            self.server(f"{self._pick(_NOUNS)}-{place}") for place in range(-(-tools // SERVER_TOOLS))
        ]

    def server(self, name: str) -> list[Document]:
        """The tools of one more server."""
        pairs = self._random.sample(list(product(_VERBS, _NOUNS)), SERVER_TOOLS)
        return [self._tool(name, verb, noun) for verb, noun in pairs]

    def query(self) -> str:
        """A question of about twelve words on some tool."""
        tool = self._pick(self._pick(self.servers))
        spoken = tool.description.split(".")[0].lower()
        words = self._random.sample(tool.description.split(), 4)
        return f"please {spoken} with the {self._pick(self._rare)} {' '.join(words)}"

    def misspelt(self, query: str) -> str:
        """`query` with a slip in every third longer word."""
        words = query.split()
        long = [place for place, word in enumerate(words) if len(word) > 4]
        for place in self._random.sample(long, max(1, len(long) // 3)):
            words[place] = self._slip(words[place])
        return " ".join(words)

    def _tool(self, server: str, verb: str, noun: str) -> Document:
        second, third = self._random.sample(_NOUNS, 2)
        rare = " ".join(self._random.sample(self._rare, 3))
        asides = self._random.sample(_ASIDES, 3)
        first = f"{verb.capitalize()} the {noun} of a {second} by its {third}"
        names = [f"{noun}_id", f"{second}Name", "limit", *self._random.sample(_NOUNS, 4)]
        schema = {"type": "object", "properties": {name: self._property(name) for name in names}}
        description = ". ".join([first, f"Also covers {rare} and {self._pick(_NOUNS)}", *asides, ""])
        tool = f"{verb}_{noun}"
        return Document(f"{server}__{tool}", server, tool, "", description, parameters(schema))

    def _property(self, name: str) -> dict[str, str]:
        return {
            "type": "string",
            "description": f"The {name} to {self._pick(_VERBS)} for this {self._pick(_NOUNS)}",
        }

    def _slip(self, word: str) -> str:
        place = self._random.randrange(1, len(word) - 1)
        swapped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        return self._pick([swapped, word[:place] + word[place + 1 :], word[:place] + "q" + word[place:]])

    def _pick(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)
