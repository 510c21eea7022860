"""Shared state: KV buckets that survive a broker which forgot them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import (
    APIError,
    BadRequestError,
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
)
from nats.js.kv import KeyValue

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.cancel import cancellable
from libs.common.declare import OTHERWISE, keep_replicas
from libs.common.errors import BusUnavailable

log = structlog.get_logger("kv")

RETRY = 0.25
LEASE_TTL = 4.0
"""Seconds that a worker's record and a lease outlive their last refresh."""


@dataclass(frozen=True, slots=True)
class Spec:
    """How a bucket is kept. `ttl` in seconds; 0 keeps values for ever."""

    name: str
    storage: StorageType
    ttl: float = 0

    def config(self, replicas: int) -> KeyValueConfig:
        marker = 1.0 if self.ttl else None
        return KeyValueConfig(
            bucket=self.name,
            storage=self.storage,
            ttl=self.ttl or None,
            direct=True,
            limit_marker_ttl=marker,
            replicas=replicas,
        )


SPECS = {
    spec.name: spec
    for spec in (
        Spec(subjects.CATALOG, StorageType.FILE),
        Spec(subjects.SERVERS, StorageType.MEMORY, LEASE_TTL),
        Spec(subjects.LEASES, StorageType.MEMORY, LEASE_TTL),
        Spec(subjects.SESSIONS, StorageType.FILE, 24 * 3600),
        Spec(subjects.CREDENTIALS, StorageType.FILE),
        Spec(subjects.AUDITORS, StorageType.MEMORY, LEASE_TTL),
        Spec(subjects.LEDGER, StorageType.FILE),
    )
}


class Bucket:
    """One bucket; made by its owner, waited for by everybody else. Survives a broker that forgot it.

    Every operation raises `BusUnavailable` when the broker does not do it in time.
    """

    def __init__(self, bus: Bus, name: str, *, owner: bool) -> None:
        self.spec = SPECS[name]
        self._bus = bus
        self._owner = owner
        self._kv: KeyValue | None = None
        bus.on_reconnect(self._forget)

    async def open(self, timeout: float = 30.0) -> KeyValue:
        """The bucket, made or found; waits for its owner to make it."""
        if self._kv is not None:
            return self._kv
        try:
            async with asyncio.timeout(timeout):
                while self._kv is None:
                    self._kv = await self._find()
        except TimeoutError:
            raise BusUnavailable(f"the bucket {self.spec.name} is not there; is its owner running?") from None
        return self._kv

    async def get(self, key: str) -> bytes | None:
        """The value of now; None without one."""
        kv = await self.open()
        with _translated(f"get {key}"):
            try:
                return (await cancellable(kv.get(key))).value
            except KeyNotFoundError:
                return None

    async def put(self, key: str, value: bytes) -> int:
        """Store `value`; returns the revision."""
        kv = await self.open()
        with _translated(f"put {key}"):
            return await cancellable(kv.put(key, value))

    async def swap(self, key: str, value: bytes, revision: int) -> int | None:
        """Store `value` if the key is still at `revision` (0: never there); None if somebody else was first.

        A key that was deleted or has expired is at the revision of its marker, and at 0 once that is gone.
        """
        kv = await self.open()
        with _translated(f"update {key}"):
            try:
                return await cancellable(kv.update(key, value, revision))
            except KeyWrongLastSequenceError:
                return None

    async def delete(self, key: str, revision: int = 0) -> None:
        """Remove `key`, if still at `revision` when one is given."""
        kv = await self.open()
        with _translated(f"delete {key}"), suppress(KeyWrongLastSequenceError):
            await cancellable(kv.delete(key, last=revision or None))

    async def last(self) -> int:
        """The number of the last change there ever was."""
        with _translated("tell its last change"):
            info = await cancellable(self._bus.jetstream().stream_info(f"KV_{self.spec.name}"))
        return info.state.last_seq

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each reconnection, once the bucket is to be looked for anew."""
        self._bus.on_reconnect(callback)

    def _forget(self) -> None:
        self._kv = None

    async def _find(self) -> KeyValue | None:
        js = self._bus.jetstream()
        try:
            if self._owner:
                return await self._make(js)
            return await cancellable(js.key_value(self.spec.name))
        except (BucketNotFoundError, NatsError, APIError, TimeoutError) as error:
            log.debug("bucket not there yet", bucket=self.spec.name, error=str(error))
            await asyncio.sleep(RETRY)
            return None

    async def _make(self, js: JetStreamContext) -> KeyValue:
        try:
            return await cancellable(js.create_key_value(self.spec.config(self._bus.replicas)))
        except BadRequestError as error:
            if error.err_code != OTHERWISE:
                raise
        await keep_replicas(self._bus, f"KV_{self.spec.name}")
        return await cancellable(js.key_value(self.spec.name))


class _translated:  # noqa: N801 - reads as a statement where it is used
    """Turn the client library's errors into `BusUnavailable`."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, KeyWrongLastSequenceError):
            return
        if isinstance(error, NatsError | APIError | TimeoutError):
            raise BusUnavailable(f"the message bus did not {self._what}") from error
