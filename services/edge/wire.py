"""HTTP connections with bounds: how many, how slow, and how much of a header."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from libs.common.networks import network
from services.edge.visitor import CLOSED

log = structlog.get_logger("edge")

HEADER_MAX = 64 * 1024
"""Bytes of a request line and its headers; of what stands around the chunks of its body, trailers too."""


@dataclass(slots=True)
class Bounds:
    """What all connections of one process share; `exempt` addresses are not counted one by one."""

    total: int
    per_address: int
    header_timeout: float
    """Seconds from the connection, or from the first byte of a request, to the end of its headers."""
    exempt: Callable[[str], bool] = lambda address: False
    open: int = 0
    by_address: Counter[str] = field(default_factory=Counter)

    def enter(self, address: str) -> bool:
        """Whether one more connection from `address` fits."""
        full, caller = self.open >= self.total, network(address)
        greedy = self.by_address[caller] >= self.per_address and not self.exempt(address)
        if full or greedy:
            return False
        self.open += 1
        self.by_address[caller] += 1
        return True

    def leave(self, address: str) -> None:
        self.open -= 1
        caller = network(address)
        self.by_address[caller] -= 1
        if self.by_address[caller] <= 0:
            del self.by_address[caller]


def bounded(bounds: Bounds) -> type[HttpToolsProtocol]:
    """uvicorn's protocol for connections that keep to `bounds`; what does not is closed."""

    class Bounded(HttpToolsProtocol):
        _address = ""
        _entered = False
        _late: asyncio.TimerHandle | None = None
        _header = 0
        _inside = False
        """Whether the head of a request has come, and not yet its end."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._address = self.client[0] if self.client else ""
            self._entered = bounds.enter(self._address)
            if not self._entered:
                log.warning("too many connections", address=self._address, open=bounds.open)
                transport.abort()
                return
            self._start()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            if self._entered:
                self._entered = False
                bounds.leave(self._address)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._header += len(data)
            super().data_received(data)
            if self._header > HEADER_MAX and (self._late is not None or self._inside):
                self._stop()
                self._inside = False
                self.send_400_response("The headers are too large.")

        def on_message_begin(self) -> None:
            super().on_message_begin()
            cast("dict[str, object]", self.scope)[CLOSED] = self.transport.is_closing
            if self._late is None:
                self._start()

        def on_header(self, name: bytes, value: bytes) -> None:
            # After the head come trailers: nothing here reads them (RFC 9110 §6.5.1), so they are not kept.
            if not self._inside:
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._stop()
            self._inside, self._header = True, 0
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._header = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._inside = False
            super().on_message_complete()

        def _start(self) -> None:
            self._header = 0
            self._late = self.loop.call_later(bounds.header_timeout, self._expire)

        def _stop(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _expire(self) -> None:
            self._late = None
            if not self.transport.is_closing():
                self.transport.abort()

    return Bounded
