"""Batches of events by HTTP POST."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Collection, Sequence

from libs.common.config.sinks import WebhookSink
from services.auditor.sinks.posting import Post
from services.auditor.sinks.sink import Delivery, Rejected, SinkDown
from services.auditor.sinks.tls import context

OFFER_WITHIN = 40.0
"""Seconds for sending a batch, piece by piece; the last piece may take its own timeout beyond that."""
TOO_LARGE = 413
JUDGED = frozenset({TOO_LARGE, 400, 422})
"""Statuses that are about what was sent: half of it may fare better."""
BUSY = frozenset({429, 503})
TYPES = {"ndjson": "application/x-ndjson", "json": "application/json"}


class Webhook:
    """Any 2xx says that a batch was taken. One that was refused is sent in halves, to the single event."""

    def __init__(self, table: WebhookSink) -> None:
        self._table = table
        headers = {name: value.get_secret_value() for name, value in table.headers.items()}
        headers["Content-Type"] = TYPES[table.format]
        if table.gzip:
            headers["Content-Encoding"] = "gzip"
        self._post = Post(headers, context(table.tls), table.timeout)

    async def deliver(self, batch: Sequence[Delivery]) -> Collection[int]:
        """What was taken. Raises `SinkDown` if nothing was, `Rejected` for events that are refused alone."""
        accepted: list[int] = []
        poison: dict[int, str] = {}
        try:
            await self._offer(batch, accepted, poison)
        except SinkDown:
            if not accepted and not poison:
                raise
        if poison:
            raise Rejected(poison, accepted)
        return accepted

    async def close(self) -> None:
        """Let go of connections."""
        await self._post.close()

    async def _offer(self, batch: Sequence[Delivery], accepted: list[int], poison: dict[int, str]) -> None:
        """Send all, in smaller pieces where that is refused; stops where it takes too long."""
        until = time.monotonic() + OFFER_WITHIN
        parts = [range(len(batch))]
        while parts and time.monotonic() < until:
            part = parts.pop()
            status = await self._status([batch[index].data for index in part])
            if status not in JUDGED:
                accepted += part
            elif len(part) == 1:
                poison[part[0]] = f"HTTP {status}"
            else:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]

    async def _status(self, events: Sequence[bytes]) -> int:
        """The status, of those that say something of the events. Raises `SinkDown` for the others."""
        body = self._body(events)
        if self._table.gzip:
            body = await asyncio.to_thread(gzip.compress, body, 6, mtime=0)
        answer = await self._post.send(self._table.url, body)
        if not 200 <= answer.status < 300 and answer.status not in JUDGED:
            raise SinkDown(f"HTTP {answer.status}", answer.wait if answer.status in BUSY else None)
        return answer.status

    def _body(self, events: Sequence[bytes]) -> bytes:
        if self._table.format == "json":
            return b"[%b]" % b",".join(events)
        return b"".join(b"%b\n" % each for each in events)
