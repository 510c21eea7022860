"""What has to cross between the eras: every feature, for every pair of client and server, by every transport.

M is the era without sessions, L the one with; the client's letter comes first. A cell has a test, which says
so by `proves`, or a reason here why it has none; `test_matrix.py` sees to it that each has one or the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import pytest

_Test = TypeVar("_Test", bound=Callable[..., Any])

FEATURES = {
    "handshake": "server/discover or initialize, answered from what the server said of itself",
    "version": "each hop has the revision its two ends agreed on",
    "identity": "the server is told of the gateway, the client of the server",
    "capabilities": "a server asks only what the calling client declared",
    "session": "of the client's hop alone: ended by it, known to every replica",
    "tool result": "resultType, structured content, output schemas",
    "list result": "how long a list may be kept, and by whom",
    "pagination": "cursors of the server",
    "elicitation form": "a question to a person",
    "elicitation url": "a page for a person",
    "url error": "-32042, which only one era has",
    "sampling": "a question to the client's model",
    "roots": "a question for the client's roots",
    "progress": "under the client's token",
    "cancellation": "a closed stream, or notifications/cancelled",
    "logging": "from the level on that the client wants",
    "list changed": "news of the server's lists",
    "resource updated": "news of a resource the client follows",
    "ping": "answered by the gateway, in the era that has it",
    "roots changed": "news of the client's roots",
    "completion": "words for an argument of a prompt",
    "not found": "the code for a resource that does not exist",
    "tasks": "calls that go on after their answer",
    "mirrored headers": "x-mcp-header: arguments repeated where a proxy sees them",
    "unknown": "methods, params and members of results that no revision knows",
    "ids": "JSON-RPC ids belong to one hop",
}
PAIRS = ("MM", "ML", "LM", "LL")
TRANSPORTS = {"M": ("stdio", "http"), "L": ("stdio", "http", "sse")}
"""By the server's era: SSE is older than the modern one."""

REASONS: dict[tuple[str, str], str] = {
    ("url error", "?M-*"): "a modern server must not answer with -32042: it asks by its result",
}
"""Cells without a test, by feature and pattern, and why."""


@dataclass(frozen=True)
class Cell:
    """One pair of eras by one transport."""

    pair: str
    transport: str
    apart: str = ""

    def __str__(self) -> str:
        return f"{self.pair}-{self.transport}"

    @property
    def modern(self) -> bool:
        """Whether the client is."""
        return self.pair[0] == "M"

    @property
    def server(self) -> str:
        """The name of the fixture behind the gateway."""
        if self.apart and not self.certain:
            return f"{self.apart}-{self.transport}"
        return f"{'modern' if self.pair[1] == 'M' else 'legacy'}-{self.transport}"

    def beside(self, name: str) -> Cell:
        """The same with a server apart: on a pipe a cancelled call leaves questions in doubt for a minute."""
        return replace(self, apart=name)

    @property
    def certain(self) -> bool:
        """Whether it is always clear which call a question of the server is for."""
        return self.pair[1] == "M" or self.transport == "http"


CELLS = tuple(Cell(pair, transport) for pair in PAIRS for transport in TRANSPORTS[pair[1]])
PROVEN: defaultdict[tuple[str, Cell], list[str]] = defaultdict(list)
"""The tests of each cell, as far as their modules are imported."""


def proves(*features: str, cells: str = "*") -> Callable[[_Test], _Test]:
    """Run the test for each cell that matches one of the patterns in `cells`: it proves `features` there."""

    def marked(test: _Test) -> _Test:
        chosen = list(matching(cells))
        for cell in chosen:
            for feature in features:
                assert feature in FEATURES, feature
                PROVEN[feature, cell].append(f"{test.__module__}::{test.__name__}")
        run: _Test = pytest.mark.parametrize("cell", chosen, ids=str)(test)
        return run

    return marked


def matching(patterns: str) -> Iterator[Cell]:
    """The cells that match one of the patterns, which spaces divide."""
    for cell in CELLS:
        if any(fnmatchcase(str(cell), pattern) for pattern in patterns.split()):
            yield cell


def reason(feature: str, cell: Cell) -> str | None:
    """Why a cell has no test."""
    for (name, pattern), why in REASONS.items():
        if name == feature and cell in matching(pattern):
            return why
    return None
