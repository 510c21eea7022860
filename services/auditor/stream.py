"""The streams that audit events are kept in, and who reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, fields

import structlog
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NotFoundError

from libs.common import subjects
from libs.common.audit.pull import Delivery
from libs.common.audit.readers import asked, follow, taken
from libs.common.bus import Bus
from libs.common.cancel import cancellable
from libs.common.errors import BusUnavailable
from libs.common.meters import families

log = structlog.get_logger("stream")

ACK_WAIT = 10.0
"""Seconds until an event that a sink was given goes to another auditor: the first one died with it.

One that lives says every few seconds that it still has it.
"""
MAX_PENDING = 4000
"""Events that may be with the sinks of one name at the same time, over all auditors: eight batches."""
DUPLICATES = 300.0
"""Seconds in which the stream knows an event again that it has."""
DEAD_SIZE = 64 * 1024 * 1024
FULL = 0.8
"""Share of `max_size` that is worth an alarm."""
PREFIX = "sink-"
_IN_USE = 10058
"""The API's code for a stream of that name with another configuration."""
_NOT_KNOWN = 10025
"""The API's code for a question it does not understand: an older server has no fast batches."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept: seconds, bytes, copies."""

    max_age: float
    max_size: int
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class Filled:
    """How full the stream is."""

    events: int
    bytes: int
    share: float
    """Of `max_size`, 0 to 1."""


def durable(sink: str) -> str:
    """The consumer of a sink."""
    return f"{PREFIX}{sink}"


@dataclass
class Batched(StreamConfig):
    """A stream that takes events in fast batches (NATS 2.14), for which nats-py has no name."""

    allow_batched: bool = True


class Streams:
    """`AUDIT` and `AUDIT_DEAD`, as the configuration wants them. Methods raise `BusUnavailable`."""

    def __init__(self, bus: Bus, limits: Limits) -> None:
        self._bus = bus
        self._limits = limits

    async def make(self) -> None:
        """Have both streams, with the limits of now; what they hold stays."""
        limits = self._limits
        await self._have(self._config(subjects.AUDIT_STREAM, subjects.AUDIT, limits.max_size))
        await self._have(self._config(subjects.DEAD_STREAM, subjects.DEAD, DEAD_SIZE))

    async def filled(self) -> Filled:
        """How full `AUDIT` is now."""
        async with asked("tell how full the audit stream is"):
            info = await cancellable(self._bus.jetstream().stream_info(subjects.AUDIT_STREAM))
        share = info.state.bytes / self._limits.max_size
        return Filled(info.state.messages, info.state.bytes, share)

    async def feed(self, sink: str, classes: Collection[str] = ()) -> None:
        """Have the consumer of a sink, for all classes or some."""
        config = ConsumerConfig(
            name=durable(sink),
            durable_name=durable(sink),
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT,
            max_deliver=-1,
            max_ack_pending=MAX_PENDING,
            filter_subjects=taken(classes),
        )
        async with asked(f"make the consumer of the sink {sink}"):
            await cancellable(self._bus.jetstream().add_consumer(subjects.AUDIT_STREAM, config))

    async def follow(self, who: str, sequence: int) -> tuple[str, int]:
        """Have a consumer of all events from `sequence` on: its name, and where it begins.

        That is at the first event of a stream that has not come that far: it was lost and made anew.
        """
        async with asked("tell how far the audit stream is"):
            info = await cancellable(self._bus.jetstream().stream_info(subjects.AUDIT_STREAM))
        first = sequence if 0 < sequence <= info.state.last_seq + 1 else 1
        return await follow(self._bus, who, sequence=first), first

    async def event(self, sequence: int) -> bytes | None:
        """One event by its place; None if it is not kept any more."""
        getting = self._bus.jetstream().get_msg(subjects.AUDIT_STREAM, sequence, direct=True)
        async with asked(f"find event {sequence}"):
            try:
                return (await cancellable(getting)).data
            except NotFoundError:
                return None

    async def behind(self, sink: str) -> int:
        """Events that the sink has not acknowledged."""
        async with asked(f"tell how far the sink {sink} is"):
            jetstream = self._bus.jetstream()
            info = await cancellable(jetstream.consumer_info(subjects.AUDIT_STREAM, durable(sink)))
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def forget(self, sinks: Collection[str]) -> list[str]:
        """Delete the consumers of all sinks but these; returns whose were deleted."""
        kept = {durable(sink) for sink in sinks}
        jetstream = self._bus.jetstream()
        async with asked("tell the consumers of the audit stream"):
            known = await cancellable(jetstream.consumers_info(subjects.AUDIT_STREAM))
        gone = [each.name for each in known if each.name.startswith(PREFIX) and each.name not in kept]
        for name in gone:
            async with asked(f"delete the consumer {name}"):
                await cancellable(jetstream.delete_consumer(subjects.AUDIT_STREAM, name))
        return [name.removeprefix(PREFIX) for name in gone]

    async def bury(self, sink: str, each: Delivery, said: str) -> None:
        """Keep an event that a sink gave up, with what was said of it."""
        headers = {"Nexus-Sink": sink, "Nexus-Sequence": str(each.sequence), "Nexus-Reason": _line(said)}
        headers["Nats-Msg-Id"] = f"{sink}.{each.uid or each.sequence}"
        async with asked("keep a dead letter"):
            publishing = self._bus.jetstream().publish(subjects.dead(sink), each.data, headers=headers)
            await cancellable(publishing)

    def _config(self, name: str, taken: str, size: int) -> StreamConfig:
        return Batched(
            name=name,
            subjects=[taken],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_age=self._limits.max_age,
            max_bytes=size,
            num_replicas=self._limits.replicas,
            duplicate_window=min(DUPLICATES, self._limits.max_age),
            allow_direct=True,
            # Nobody takes a single event out of what is to be evidence.
            deny_delete=True,
        )

    async def _have(self, config: StreamConfig) -> None:
        jetstream = self._bus.jetstream()
        async with asked(f"make the stream {config.name}"):
            try:
                await cancellable(jetstream.add_stream(config))
            except APIError as error:
                if error.err_code == _NOT_KNOWN and isinstance(config, Batched):
                    await self._have(_plain(config))
                    return
                if error.err_code != _IN_USE:
                    raise
                await cancellable(jetstream.update_stream(config))


def _plain(config: StreamConfig) -> StreamConfig:
    return StreamConfig(**{each.name: getattr(config, each.name) for each in fields(StreamConfig)})


def _line(text: str) -> str:
    """On one line that a header can carry."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:500]


async def watch(streams: Streams, told: float = 60.0) -> None:
    """Until cancelled: say it when the stream is nearly full."""
    while True:
        try:
            filled = await streams.filled()
            families.STREAM.cell().set(filled.bytes)
            families.STREAM_FILL.cell().set(filled.share)
            if filled.share >= FULL:
                log.error(
                    "the audit stream is nearly full: soon it refuses events; raise audit.max_size or lower "
                    "audit.max_age",
                    share=round(filled.share, 2),
                    events=filled.events,
                    bytes=filled.bytes,
                )
        except BusUnavailable as error:
            log.debug("audit stream not there", error=error.message)
        await asyncio.sleep(told)
