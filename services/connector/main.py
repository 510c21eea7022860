"""The connector, wired to its real parts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.common import rpc, subjects
from libs.common.codec import decoder
from libs.common.config import Config, StdioServer
from libs.common.facts import Facts
from libs.common.kv import Bucket, Snapshot
from libs.common.messages.calls import Order
from libs.common.service import Context, snapshots
from services.connector import detect
from services.connector.handlers import Calls, stands
from services.connector.keeper import Keeper, Parts, leased, slots
from services.connector.lease import Lease, Owner
from services.connector.pool import Pool
from services.connector.private import Connect, Server
from services.connector.questions import Asked
from services.connector.session import Notice, Opened, Session
from services.connector.stdio import StdioSession


@asynccontextmanager
async def build(context: Context) -> AsyncIterator[None]:
    """Keep every configured server this worker may hold, and run calls on them."""
    bus, config = context.bus, context.config
    pool = Pool(Bucket(bus, subjects.SERVERS, owner=True), context.worker)
    leases = Bucket(bus, subjects.LEASES, owner=True)
    owners: Snapshot[Owner] = Snapshot(leases, decoder(Owner))
    answering = Calls(pool, _most(config))
    calls: rpc.Server[Order] = rpc.Server(
        bus, context.worker, decoder(Order), answering.handle, stands=stands
    )
    await calls.start()
    async with Facts(context.nats_url, context.role) as facts, snapshots(owners):
        parts = Parts(pool, calls, facts, connector(config), config.mcp.relist_interval)
        owner = Owner(context.worker, secrets.token_hex(8))
        async with asyncio.TaskGroup() as tasks:
            beat = tasks.create_task(pool.beat())
            keepers = [
                tasks.create_task(Keeper(parts, server, slot, lease).run())
                for server in config.mcp.servers.values()
                for slot in slots(server)
                for lease in [_lease(server, slot, leases, owners, owner)]
            ]
            try:
                yield
            finally:
                pool.drain()
                await answering.close()
                await calls.drain(config.server.drain_timeout)
                for task in (*keepers, beat):
                    task.cancel()
        await pool.leave()


def _lease(server: Server, slot: int, bucket: Bucket, owners: Snapshot[Owner], owner: Owner) -> Lease | None:
    return Lease(bucket, owners, f"{server.name}.{slot}", owner) if leased(server) else None


def connector(config: Config) -> Connect:
    """How this worker opens a session, by kind."""

    async def connect(server: Server, on_notice: Notice, on_question: Asked) -> tuple[Session, Opened]:
        if isinstance(server, StdioServer):
            child = StdioSession(server, on_notice, on_question)
            return child, await child.open()
        return await detect.connect(server, on_notice, rules=config.mcp.headers, on_question=on_question)

    return connect


def _most(config: Config) -> dict[str, int]:
    """Calls at the same time, of the servers where that is limited."""
    rates = {name: server.rate_limits for name, server in config.mcp.servers.items() if config.limited}
    return {name: each.max_in_flight for name, each in rates.items() if each and each.max_in_flight}
