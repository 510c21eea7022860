"""The auditor, wired to its real parts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import structlog

from libs.common import subjects
from libs.common.audit.checkpoint import Signer, signing_seed
from libs.common.audit.pull import Pull
from libs.common.audit.readers import make_reader
from libs.common.bus import Bus
from libs.common.codec import decoder
from libs.common.config import Config
from libs.common.config.sinks import Sink as Table
from libs.common.config.values import key_bytes
from libs.common.errors import BusUnavailable, ConfigError
from libs.common.grants import READER
from libs.common.keyring import fleet_keys
from libs.common.kv import Bucket
from libs.common.lease import Lease, Owner
from libs.common.service import Context, snapshots
from libs.common.snapshot import Snapshot
from services.auditor.consumer import Consumer
from services.auditor.ledger import Ledger
from services.auditor.sinks import Sink
from services.auditor.sinks.kinds import lanes, make_sink
from services.auditor.sinks.unmade import Unmade
from services.auditor.stream import Limits, Streams, durable, watch

log = structlog.get_logger("auditor")

RETRY = 2.0
LOOK_EVERY = 0.05
DRAIN_WITHIN = 3.0
"""Seconds in which sinks that take events may take the last ones."""


@asynccontextmanager
async def build(context: Context) -> AsyncIterator[None]:
    """Own the stream of events, feed the sinks, and be the one who reads along if nobody else is."""
    bus, config = context.bus, context.config
    if not config.audit.enabled:
        yield
        return
    limits = Limits(config.audit.max_age, config.audit.max_size, max(config.audit.replicas, bus.replicas))
    streams = Streams(bus, limits)
    leases = Bucket(bus, subjects.AUDITORS, owner=True)
    owners: Snapshot[Owner] = Snapshot(leases, decoder(Owner))
    lease = Lease(leases, owners, "ledger", Owner(context.worker, secrets.token_hex(8)))
    bucket = Bucket(bus, subjects.LEDGER, owner=True)
    ledger = Ledger(bus, streams, bucket, context.trail, signer(config), config.audit.checkpoint_interval)
    async with AsyncExitStack() as sinks:
        consumers = [await _consumer(sinks, name, config, bus, streams) for name in config.audit.sinks]
        async with snapshots(owners), asyncio.TaskGroup() as tasks:
            await _make(bus, streams, config)
            await _forget(streams, config)
            running = [
                tasks.create_task(_keep(bus, streams, config)),
                tasks.create_task(watch(streams)),
                tasks.create_task(lease.while_owned(ledger.run)),
                *(tasks.create_task(each.run()) for each in consumers),
            ]
            try:
                yield
            finally:
                await _drain(streams, consumers)
                for task in running:
                    task.cancel()


def signer(config: Config) -> Signer | None:
    """Who signs checkpoints: with the key of the configuration, else one derived from that of the fleet."""
    key = config.audit.signing_key
    given = key_bytes(key) if key is not None else None
    keys = fleet_keys(config)
    if given is None and not keys:
        log.warning("checkpoints are not signed: set audit.signing_key, seal.keys or NEXUS_SEAL_KEYS")
        return None
    return Signer(signing_seed(given, keys[0] if keys else b""))


def _sink(name: str, table: Table) -> Sink:
    """The sink, or what stands in for it: one that cannot be must not keep the others from their events."""
    try:
        return make_sink(table)
    except ConfigError as error:
        log.error("a sink cannot be made, and its events wait", sink=name, reason=str(error))  # noqa: TRY400 - the reason says it all
        return Unmade(partial(make_sink, table))


async def _consumer(stack: AsyncExitStack, name: str, config: Config, bus: Bus, streams: Streams) -> Consumer:
    table = config.audit.sinks[name]
    sink = _sink(name, table)
    stack.push_async_callback(sink.close)
    pulls = [Pull(bus, subjects.AUDIT_STREAM, durable(name)) for _ in range(lanes(table))]
    ensure, bury = partial(streams.feed, name, table.classes), partial(streams.bury, name)
    return Consumer(name, bus, pulls, sink, ensure, bury, max_tries=table.max_tries)


async def _make(bus: Bus, streams: Streams, config: Config) -> None:
    """Have streams and consumers as configured; a bus that refuses is tried again later."""
    try:
        await streams.make()
        for name, table in config.audit.sinks.items():
            await streams.feed(name, table.classes)
        await make_reader(bus, READER)
    except BusUnavailable as error:
        log.warning("no audit stream yet: events wait where they are made", reason=error.message)


async def _forget(streams: Streams, config: Config) -> None:
    """Drop consumers of sinks that went; once, lest an auditor with an older configuration does it later."""
    with suppress(BusUnavailable):
        for gone in await streams.forget(config.audit.sinks):
            log.info("a sink is not configured any more, and forgotten", sink=gone)


async def _keep(bus: Bus, streams: Streams, config: Config) -> None:
    """Make again what a broker may have lost; until cancelled."""
    again = asyncio.Event()
    bus.on_reconnect(again.set)
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY):
                await again.wait()
        if again.is_set() or not await _is_there(streams):
            again.clear()
            await _make(bus, streams, config)


async def _is_there(streams: Streams) -> bool:
    try:
        await streams.filled()
    except BusUnavailable:
        return False
    return True


async def _drain(streams: Streams, consumers: Sequence[Consumer]) -> None:
    """Let sinks that are up take what is there."""
    with suppress(TimeoutError, BusUnavailable):
        async with asyncio.timeout(DRAIN_WITHIN):
            for each in consumers:
                while not each.standing.down and await streams.behind(each.name):  # noqa: ASYNC110 - the
                    await asyncio.sleep(LOOK_EVERY)  # broker tells nobody that a consumer has caught up
