"""The connector, wired to its real parts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import decoder
from libs.common.config import (
    ClientCredentials,
    Config,
    Delegated,
    Forward,
    HttpServer,
    OperatorLogin,
    StdioServer,
)
from libs.common.delegated import SEALED_MAX
from libs.common.facts import Facts
from libs.common.keyring import delegation_keys, fleet_keys
from libs.common.kv import Bucket
from libs.common.lease import Lease, Owner
from libs.common.messages.calls import Order
from libs.common.meters import watching
from libs.common.oauth.vault import Vault
from libs.common.seal import Keyring
from libs.common.service import Context, snapshots
from libs.common.snapshot import Snapshot
from services.connector import detect
from services.connector.bearer import Bearer, Machine
from services.connector.delegation import Delegation
from services.connector.granted import Granted
from services.connector.handlers import Calls, stands
from services.connector.keeper import Keeper, Parts, leased, slots
from services.connector.pool import Pool
from services.connector.private import Connect, Server
from services.connector.questions import Asked
from services.connector.session import Notice, Opened, Session
from services.connector.spanned import Handle, Spanned
from services.connector.stdio import StdioSession
from services.connector.vitals import vitals

log = structlog.get_logger("connector")


@asynccontextmanager
async def build(context: Context) -> AsyncIterator[None]:
    """Keep every configured server this worker may hold, and run calls on them."""
    bus, config = context.bus, context.config
    pool = Pool(Bucket(bus, subjects.SERVERS, owner=True), context.worker)
    leases = Bucket(bus, subjects.LEASES, owner=True)
    owners: Snapshot[Owner] = Snapshot(leases, decoder(Owner))
    vault = _vault(bus, config)
    grants = () if vault is None else (vault.snapshot,)
    answering = Calls(pool, _most(config))
    handle = _spanned(answering, context)
    calls: rpc.Server[Order] = rpc.Server(bus, context.worker, decoder(Order), handle, stands=stands)
    await calls.start()
    async with (
        Facts(context.nats_url, context.role, replicas=bus.replicas) as facts,
        snapshots(owners, *grants),
    ):
        connect = connector(config, vault)
        parts = Parts(pool, calls, facts, connect, config.mcp.relist_interval, context.trail)
        delegate(pool, config, connect)
        owner = Owner(context.worker, secrets.token_hex(8))
        async with asyncio.TaskGroup() as tasks:
            beat = tasks.create_task(pool.beat())
            keepers = [
                tasks.create_task(Keeper(parts, server, slot, lease).run())
                for server in config.mcp.servers.values()
                if server.name not in pool.delegated
                for slot in slots(server)
                for lease in [_lease(server, slot, leases, owners, owner)]
            ]
            try:
                with watching(vitals(pool, calls)):
                    yield
            finally:
                pool.drain()
                await answering.close()
                await calls.drain(config.server.drain_timeout)
                for task in (*keepers, beat):
                    task.cancel()
            for delegated in pool.delegated.values():
                await delegated.close()
        await pool.leave()


def delegate(pool: Pool, config: Config, connect: Connect) -> None:
    """Stand ready for callers of the servers that get their tokens. Raises `ConfigError` without keys."""
    for server in config.mcp.servers.values():
        if isinstance(server, HttpServer) and isinstance(server.auth, Delegated):
            if isinstance(server.auth, Forward):
                log.warning("tokens of callers are forwarded, which MCP forbids", server=server.name)
            keys = Keyring(delegation_keys(config), SEALED_MAX)
            pool.delegated[server.name] = Delegation(
                server, server.auth, keys, connect, config.mcp.downstream_cache
            )
            pool.say(server.name, 0, "ready")


def _lease(server: Server, slot: int, bucket: Bucket, owners: Snapshot[Owner], owner: Owner) -> Lease | None:
    return Lease(bucket, owners, f"{server.name}.{slot}", owner) if leased(server) else None


def connector(config: Config, vault: Vault | None = None) -> Connect:
    """How this worker opens a session, by kind; tokens outlive sessions."""
    bearers = {
        name: _bearer(server, vault)
        for name, server in config.mcp.servers.items()
        if isinstance(server, HttpServer)
    }

    async def connect(
        server: Server, on_notice: Notice, on_question: Asked, bearer: Bearer | None = None
    ) -> tuple[Session, Opened]:
        if isinstance(server, StdioServer):
            child = StdioSession(server, on_notice, on_question)
            return child, await child.open()
        return await detect.connect(
            server,
            on_notice,
            rules=config.mcp.headers,
            on_question=on_question,
            bearer=bearer or bearers.get(server.name),
        )

    return connect


def _spanned(calls: Calls, context: Context) -> Handle:
    tracing = context.telemetry.tracing
    if tracing is None:
        return calls.handle
    return Spanned(calls.handle, tracing, context.config.mcp.servers).handle


def _most(config: Config) -> dict[str, int]:
    """Calls at the same time, of the servers where that is limited."""
    rates = {name: server.rate_limits for name, server in config.mcp.servers.items() if config.limited}
    return {name: each.max_in_flight for name, each in rates.items() if each and each.max_in_flight}


def _vault(bus: Bus, config: Config) -> Vault | None:
    """What operators were granted, if any server needs that and there is a key to open it with."""
    wanted = any(
        isinstance(server, HttpServer) and isinstance(server.auth, OperatorLogin)
        for server in config.mcp.servers.values()
    )
    keys = fleet_keys(config) if wanted else ()
    return Vault(bus, keys) if keys else None


def _bearer(server: HttpServer, vault: Vault | None) -> Bearer | None:
    match server.auth:
        case ClientCredentials() as auth:
            return Machine(server, auth)
        case OperatorLogin() as auth:
            return Granted(server, auth, vault)
        case _:
            return None
