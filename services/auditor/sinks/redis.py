"""Redis Pub/Sub: finished requests, for whoever listens at that moment. What nobody hears is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence

import structlog
from redis.asyncio import Redis as Client
from redis.exceptions import RedisError

from libs.common.config.sinks import RedisSink
from libs.common.meters import families
from services.auditor.sinks.record import STRANGE, record
from services.auditor.sinks.sink import Delivery

log = structlog.get_logger("sinks")

REMIND = 60.0


class Redis:
    """Publishes each record once; one that the server did not take is counted, and never sent again."""

    def __init__(self, table: RedisSink) -> None:
        self.lost = 0
        self._table = table
        self._told = -REMIND
        self._client = Client.from_url(
            table.url.get_secret_value(),
            socket_timeout=table.timeout,
            socket_connect_timeout=table.timeout,
            single_connection_client=True,
        )

    async def deliver(self, batch: Sequence[Delivery]) -> Collection[int]:
        """All of the batch, whatever became of it."""
        records = [line for each in batch if (line := _record(each.data)) is not None]
        if records:
            try:
                async with asyncio.timeout(self._table.timeout * 2):
                    await self._publish(records)
            except (RedisError, OSError, TimeoutError) as error:
                self._count(len(records), error)
        return range(len(batch))

    async def close(self) -> None:
        """Disconnect."""
        await self._client.aclose()

    async def _publish(self, records: Sequence[bytes]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for each in records:
                pipe.publish(self._table.channel, each)
            await pipe.execute()

    def _count(self, records: int, error: Exception) -> None:
        self.lost += records
        families.UNPUBLISHED.cell().add(records)
        if time.monotonic() - self._told >= REMIND:
            self._told = time.monotonic()
            reason = str(error) or type(error).__name__
            log.warning("audit records not published, and lost to this sink", lost=self.lost, reason=reason)


def _record(data: bytes) -> bytes | None:
    try:
        return record(data)
    except STRANGE:
        return None
