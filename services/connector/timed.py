"""How long a server takes to answer, and how that ends."""

from __future__ import annotations

import time
from types import TracebackType

from libs.common.errors import CapabilityMissing, DeadlineExceeded, DownstreamError, Lost, NexusError
from libs.common.meters import families


class Timed:
    """Around one request to `server`."""

    __slots__ = ("_began", "_server")

    def __init__(self, server: str) -> None:
        self._server = server

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = "success" if kind is None else _outcome(kind)
        families.DOWNSTREAM.cell(self._server, outcome).observe(time.perf_counter() - self._began)


def _outcome(kind: type[BaseException]) -> str:
    """`error` is what the server said itself; `failed` that it said nothing of use, or could not be asked."""
    for raised, outcome in _OUTCOMES:
        if issubclass(kind, raised):
            return outcome
    return "cancelled"


_OUTCOMES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    ((DownstreamError, CapabilityMissing), "error"),
    ((DeadlineExceeded, TimeoutError), "deadline"),
    (Lost, "lost"),
    ((NexusError, Exception), "failed"),
)
