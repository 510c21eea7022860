"""The edge, wired to its real parts."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog
from fastapi import FastAPI
from msgspec.json import Decoder
from nats.aio.msg import Msg

from libs.common import rpc, subjects
from libs.common.codec import UNREADABLE, decoder
from libs.common.config import Address, Config
from libs.common.config.browsers import Cors as CorsTable
from libs.common.connection import Handler
from libs.common.fleet import Fleet
from libs.common.keyring import delegation_keys, fleet_keys
from libs.common.kv import Bucket
from libs.common.messages.calls import CancelRequest, ClientReply
from libs.common.messages.catalog import Listing, Worker
from libs.common.meters import watching
from libs.common.meters.asking import Asking
from libs.common.seal import Keyring
from libs.common.service import Context, snapshots
from libs.common.snapshot import Snapshot
from services.edge.address import Proxies
from services.edge.app import create_app, create_health
from services.edge.auth.keys import fetch_keys
from services.edge.auth.setup import authentication, resources
from services.edge.auth.wallet import Wallet
from services.edge.browsers import Cors
from services.edge.crowded import Crowded
from services.edge.delegating import Delegating
from services.edge.dispatch import Dispatch
from services.edge.flights import Flights
from services.edge.gateway import Gateway
from services.edge.holding import holding
from services.edge.journal import Journals
from services.edge.lines import Lines
from services.edge.listeners import serving
from services.edge.personal import Personal
from services.edge.questions import Questions, Reply
from services.edge.recording import recorded
from services.edge.settings import Settings
from services.edge.standing import Standing
from services.edge.state import State, Tombstone
from services.edge.tally import Tally
from services.edge.vitals import vitals

log = structlog.get_logger("edge")

_cancel: Decoder[CancelRequest] = decoder(CancelRequest)
_reply: Decoder[ClientReply] = decoder(ClientReply)


@asynccontextmanager
async def build(context: Context) -> AsyncIterator[None]:
    """Know the fleet, then serve HTTP."""
    bus, config = context.bus, context.config
    keys = _keys(config)
    fleet = Fleet(config.mcp.servers)
    sessions = Bucket(bus, subjects.SESSIONS, owner=True)
    workers: Snapshot[Worker] = Snapshot(Bucket(bus, subjects.SERVERS, owner=False), decoder(Worker))
    listings: Snapshot[Listing] = Snapshot(Bucket(bus, subjects.CATALOG, owner=False), decoder(Listing))
    tombstones: Snapshot[Tombstone] = Snapshot(sessions, decoder(Tombstone))
    workers.listen(fleet.update)
    client = rpc.Client(bus)
    delegated, wallet, delegating = config.delegated(), None, None
    if delegated:
        wallet = Wallet()
        delegating = Delegating(delegated, wallet, Keyring(delegation_keys(config)))
    dispatch = Dispatch(bus, client, fleet, delegating)
    personal = Personal(dispatch, delegated) if delegated else None
    state = State(bus, fleet, listings, sessions, tombstones, personal)
    flights, questions, standing = Flights(), Questions(bus.client), Standing()
    lines, asking = Lines(bus.client), Asking(bus)
    tombstones.listen(_noted(standing))
    async with (
        client,
        state,
        Journals(bus) as journals,
        snapshots(workers, listings, tombstones),
        authentication(config, fetch_keys, wallet) as identify,
    ):
        await bus.subscribe(subjects.CANCEL, _cancels(flights))
        await bus.subscribe(subjects.edge(bus.client), _replies(questions))
        await bus.subscribe(subjects.held(bus.client), holding(journals, lines))
        await bus.settled()
        settings = _settings(config)
        tally = Tally(state, settings)
        gateway, scribe = recorded(_gateway(dispatch, config), state, config, context.trail)
        app = create_app(
            gateway,
            state,
            settings,
            keys,
            flights,
            questions,
            standing,
            lines,
            journals=journals,
            identify=identify,
            resources=resources(config),
            health=config.server.health.listen is None,
            asking=None if config.server.health.alone else asking,
            tally=tally,
            scribe=scribe,
            tracing=context.telemetry.tracing,
        )
        listeners = _listeners(app, state, settings, config, asking)
        with watching(vitals(client, fleet, settings.policy, tally)):
            async with serving(listeners, context):
                try:
                    yield
                finally:
                    standing.close()
        scribe.close()


def _gateway(dispatch: Dispatch, config: Config) -> Gateway:
    limits = config.server.rate_limits
    users = limits.per_user if limits is not None and limits.enabled else None
    most = users.max_in_flight if users is not None else None
    return dispatch if most is None else Crowded(dispatch, most)


def _cancels(flights: Flights) -> Handler:
    async def on_cancel(msg: Msg) -> None:
        try:
            cancel = _cancel.decode(msg.data)
        except UNREADABLE as error:
            log.warning("unreadable cancel", error=str(error))
            return
        flights.cancel(cancel.session, cancel.request)

    return on_cancel


def _replies(questions: Questions) -> Handler:
    async def on_reply(msg: Msg) -> None:
        try:
            reply = _reply.decode(msg.data)
        except UNREADABLE as error:
            log.warning("unreadable reply", error=str(error))
            return
        questions.settle(reply.session, reply.token, Reply(reply.result, reply.error))

    return on_reply


def _noted(standing: Standing) -> Callable[[str, Tombstone | None], None]:
    def on_change(key: str, fact: Tombstone | None) -> None:
        session = key.partition(".")[0]
        if fact is not None and fact.ended:
            standing.end(session)
        else:
            standing.change(session)

    return on_change


def _listeners(
    app: FastAPI, state: State, settings: Settings, config: Config, asking: Asking
) -> list[tuple[FastAPI, Address]]:
    """The main application, and the one of a separate health listener if there is one."""
    health = config.server.health
    listeners = [(app, config.server.listen_address)]
    if health.listen is not None and health.alone:
        listeners.append((create_health(state, settings, asking), health.listen))
    return listeners


def _settings(config: Config) -> Settings:
    server, mcp = config.server, config.mcp
    timeouts = {name: each.timeout for name, each in mcp.servers.items() if each.timeout is not None}
    return Settings(
        version=version("nexus-gateway"),
        mcp_path=mcp.path,
        structured_content=mcp.enable_structured_content,
        expose=mcp.expose,
        pinned=mcp.pinned,
        call_timeout=mcp.call_timeout,
        timeouts=timeouts,
        max_body_size=server.max_body_size,
        allowed_hosts=frozenset(map(str.lower, server.allowed_hosts)),
        allowed_origins=frozenset(map(str.lower, server.allowed_origins)),
        cors=_cors(server.cors),
        csrf=server.csrf.header_name if server.csrf.enabled else None,
        policy=config.policy(),
        proxies=Proxies(
            server.trusted_proxies,
            server.client_ip.x_real_ip,
            server.client_ip.x_forwarded_for_trusted_hops,
        ),
        limited=config.limited,
        identified=server.client_identification.enabled,
        groups=server.client_identification.validation.group_values,
        forwarded=config.forwarded(),
        health_path=server.health.path if server.health.enabled else None,
        metrics_path=server.metrics.path if server.measured else None,
    )


def _cors(table: CorsTable | None) -> Cors | None:
    if table is None:
        return None
    return Cors(
        origins=_listed(table.allow_origins),
        methods=_listed(table.allow_methods),
        headers=_listed(table.allow_headers),
        exposed=_listed(table.expose_headers),
        credentials=table.allow_credentials,
        max_age=int(table.max_age or 0),
        private_network=table.allow_private_network,
    )


def _listed(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _keys(config: Config) -> Keyring:
    keys = fleet_keys(config)
    if not keys:
        log.warning("no seal.keys: sessions end with this process and are unknown to other replicas")
        keys = (secrets.token_bytes(32),)
    return Keyring(list(keys))
