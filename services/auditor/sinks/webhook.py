"""Batches of events by HTTP POST."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime

import aiohttp

from libs.common.config.sinks import WebhookSink
from services.auditor.sinks.sink import Delivery, Rejected, SinkDown
from services.auditor.sinks.tls import context

TOO_LARGE = 413
JUDGED = frozenset({TOO_LARGE, 400, 422})
"""Statuses that are about what was sent: half of it may fare better."""
BUSY = frozenset({429, 503})
TYPES = {"ndjson": "application/x-ndjson", "json": "application/json"}


class Webhook:
    """Any 2xx says that a batch was taken. One that was refused is sent in halves, to the single event."""

    def __init__(self, table: WebhookSink) -> None:
        self._table = table
        self._tls = context(table.tls)
        self._session: aiohttp.ClientSession | None = None
        self._headers = {name: value.get_secret_value() for name, value in table.headers.items()}
        self._headers["Content-Type"] = TYPES[table.format]
        if table.gzip:
            self._headers["Content-Encoding"] = "gzip"

    async def deliver(self, batch: Sequence[Delivery]) -> Collection[int]:
        """What was taken. Raises `SinkDown` if nothing was, `Rejected` for events that are refused alone."""
        accepted: list[int] = []
        poison: dict[int, str] = {}
        try:
            await self._offer(batch, range(len(batch)), accepted, poison)
        except SinkDown:
            if not accepted and not poison:
                raise
        if poison:
            raise Rejected(poison, accepted)
        return accepted

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _offer(
        self, batch: Sequence[Delivery], part: range, accepted: list[int], poison: dict[int, str]
    ) -> None:
        status = await self._post([batch[index].data for index in part])
        if status not in JUDGED:
            accepted += part
        elif len(part) == 1:
            poison[part[0]] = f"HTTP {status}"
        else:
            middle = len(part) // 2
            await self._offer(batch, part[:middle], accepted, poison)
            await self._offer(batch, part[middle:], accepted, poison)

    async def _post(self, events: Sequence[bytes]) -> int:
        """The status, of those that say something of the events. Raises `SinkDown` for the others."""
        body = self._body(events)
        if self._table.gzip:
            body = await asyncio.to_thread(gzip.compress, body, 6, mtime=0)
        try:
            async with self._opened().post(self._table.url, data=body, allow_redirects=False) as answer:
                # Read, within bounds, so that the connection can be used again.
                await answer.content.read(64 * 1024)
                status, wanted = answer.status, answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SinkDown(f"no answer: {type(error).__name__}: {error}") from error
        if not 200 <= status < 300 and status not in JUDGED:
            raise SinkDown(f"HTTP {status}", _seconds(wanted) if status in BUSY else None)
        return status

    def _body(self, events: Sequence[bytes]) -> bytes:
        if self._table.format == "json":
            return b"[%b]" % b",".join(events)
        return b"".join(b"%b\n" % each for each in events)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._table.timeout),
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=1),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept-Encoding",),
            )
        return self._session


def _seconds(text: str) -> float | None:
    """`Retry-After` in seconds, from either of its forms (RFC 9110 §10.2.3)."""
    if text.strip().isdecimal():
        return float(text)
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None
