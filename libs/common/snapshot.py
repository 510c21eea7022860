"""Snapshots of KV buckets, that stay current by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import structlog
from msgspec.json import Decoder
from nats.errors import Error as NatsError
from nats.js.errors import APIError
from nats.js.kv import KeyValue

from libs.common.cancel import cancellable
from libs.common.codec import UNREADABLE
from libs.common.errors import BusUnavailable
from libs.common.kv import RETRY, Bucket

log = structlog.get_logger("kv")

T = TypeVar("T")
LOOK = 1.0
"""Seconds between two looks whether a watch still tells everything."""


class Snapshot(Generic[T]):
    """A bucket's values, decoded, current while `ready` is set; read without waiting.

    `run` is the owner task's body: it watches, and watches again after every reconnection, so that nothing
    that changed meanwhile is missed. A value that cannot be decoded is skipped and logged.
    """

    def __init__(self, bucket: Bucket, values: Decoder[T]) -> None:
        self.ready = asyncio.Event()
        self.values: dict[str, T] = {}
        self.revisions: dict[str, int] = {}
        self._bucket = bucket
        self._decoder = values
        self._watcher: KeyValue.KeyWatcher | None = None
        self._seen = 0
        """The last change that was seen, or was over before it could be."""
        self._stopping: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[str, T | None], None]] = []
        bucket.on_reconnect(self._on_reconnect)

    def listen(self, callback: Callable[[str, T | None], None]) -> None:
        """Call `callback(key, value)` for each change, with None for a key that went."""
        self._listeners.append(callback)

    async def run(self) -> None:
        """Watch until cancelled."""
        minding = asyncio.create_task(self._mind(), name=f"mind-{self._bucket.spec.name}")
        try:
            await self._follow()
        finally:
            minding.cancel()
            await asyncio.wait({minding})

    async def _follow(self) -> None:
        while True:
            try:
                await self._watch()
            except (NatsError, APIError, BusUnavailable, TimeoutError) as error:
                log.debug("watch broken", bucket=self._bucket.spec.name, error=str(error))
                await asyncio.sleep(RETRY)

    async def _watch(self) -> None:
        """Follow the bucket until the connection was renewed."""
        kv = await self._bucket.open()
        self._seen = await self._bucket.last()
        watcher = await cancellable(kv.watchall())
        self._watcher = watcher
        seen: set[str] = set()
        try:
            # Not `updates(timeout=…)`: asyncio.wait_for of Python 3.11 may swallow our own cancellation.
            async for entry in watcher:
                if entry is None:
                    self._settle(seen)
                else:
                    seen.add(entry.key)
                    self._apply(entry)
        finally:
            self._watcher = None
            await self._stop(watcher)

    async def _mind(self) -> None:
        """End a watch that has gone silent: its consumer died with a server we were not connected to."""
        while True:
            await asyncio.sleep(LOOK)
            watcher = self._watcher
            with suppress(BusUnavailable):
                last = await self._bucket.last()
                await asyncio.sleep(LOOK)
                if watcher is not None and watcher is self._watcher and self._seen < last:
                    log.info("watching anew: changes did not arrive", bucket=self._bucket.spec.name)
                    await self._stop(watcher)

    async def _stop(self, watcher: KeyValue.KeyWatcher) -> None:
        with suppress(NatsError, APIError, TimeoutError):
            await watcher.stop()

    def _on_reconnect(self) -> None:
        self.ready.clear()
        if self._watcher is not None:
            self._stopping = asyncio.create_task(self._watcher.stop())

    def _settle(self, seen: set[str]) -> None:
        for key in [key for key in self.values if key not in seen]:
            self._drop(key)
        self.ready.set()

    def _apply(self, entry: KeyValue.Entry) -> None:
        self._seen = max(self._seen, entry.revision or 0)
        self.revisions[entry.key] = entry.revision or 0
        if entry.operation in ("DEL", "PURGE") or entry.value is None:
            self._drop(entry.key)
            return
        try:
            value = self._decoder.decode(entry.value)
        except UNREADABLE as error:
            log.warning("unreadable value", bucket=self._bucket.spec.name, key=entry.key, error=str(error))
            return
        self.values[entry.key] = value
        self._tell(entry.key, value)

    def _drop(self, key: str) -> None:
        if self.values.pop(key, None) is not None:
            self._tell(key, None)

    def _tell(self, key: str, value: T | None) -> None:
        for listener in self._listeners:
            listener(key, value)
