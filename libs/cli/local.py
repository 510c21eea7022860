"""A whole gateway on this machine: broker, services, supervision, and a word of welcome."""

from __future__ import annotations

import asyncio
import base64
import importlib
import os
import secrets
import signal
import socket
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import structlog
import typer

from libs.cli import broker, welcome
from libs.cli.supervisor import Child, Supervisor
from libs.common import keyring, service
from libs.common import log as logs
from libs.common.config import Address, Config, load, parse_address
from libs.common.seal import KEY_SIZE
from libs.common.service import Options

log = structlog.get_logger("local")

ROLES = ("edge", "router", "indexer", "connector", "auditor")
"""In the order in which they are drained: who takes work first, who does it last."""
MARGIN = 10.0
"""Seconds that a process may take to leave, beyond the time it has to drain."""
STATE = ".nexus"
SEALING = ("edge", "connector", "auditor")
"""Who gets the key of the fleet: it seals sessions and what operators were granted, and signs checkpoints."""


def parse_scale(text: str) -> dict[str, int]:
    """`edge=2,connector=3` as counts by role; one of each that is not named."""
    counts = dict.fromkeys(ROLES, 1)
    for part in filter(None, text.split(",")):
        role, _, count = part.partition("=")
        if role not in counts or not count.isdecimal() or int(count) < 1:
            raise typer.BadParameter(
                f"{part!r} is not ROLE=COUNT with a role of {', '.join(ROLES)}", param_hint="--scale"
            )
        counts[role] = int(count)
    return counts


def roles_of(config: Config) -> tuple[str, ...]:
    """Who is started: without an audit there is nobody to keep it."""
    return ROLES if config.audit.enabled else tuple(role for role in ROLES if role != "auditor")


def run(options: Options, scale: dict[str, int], *, single: bool = False) -> None:
    """Run until Ctrl-C or SIGTERM, then drain and leave nothing behind."""
    logs.configure(options.log, options.style, "nexus")
    service.harden()
    config = load(options.config)
    with asyncio.Runner(loop_factory=service.loop_factory()) as runner:
        code = runner.run(_run(options, config, scale, single))
    sys.exit(code)


async def _run(options: Options, config: Config, scale: dict[str, int], single: bool) -> int:
    stop = asyncio.Event()
    roles = roles_of(config)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    state = options.config.resolve().parent / STATE
    state.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        if options.nats is None:
            bus = await broker.start(state / "nats")
            stack.push_async_callback(bus.stop)
            urls = {role: bus.url(role) for role in roles}
        else:
            urls = dict.fromkeys(roles, options.nats)
        key = os.environ.get(keyring.VARIABLE) or seal_key(state / "seal.key")
        sockets = _listeners(options, config)
        for listener in sockets:
            stack.callback(listener.close)
        greeting = asyncio.create_task(welcome.greet(sockets[0], config, log_style=options.style))
        stack.callback(greeting.cancel)
        if single:
            os.environ[keyring.VARIABLE] = key
            return await _in_one_process(options, urls, sockets, stop)
        children = [
            _child(options, role, number, urls[role], sockets, key)
            for role in roles
            for number in range(1, scale[role] + 1)
        ]
        grace = config.server.drain_timeout + MARGIN
        return await Supervisor(children, order=ROLES, grace=grace).run(stop)


def seal_key(path: Path) -> str:
    """The key that sessions of this installation are sealed with, readable by its owner only.

    Made once, and again where the file holds none: a crash may have left it empty.
    """
    with suppress(OSError, ValueError):
        key = path.read_text().strip()
        if len(base64.b64decode(key, validate=True)) == KEY_SIZE:
            return key
    key = base64.b64encode(secrets.token_bytes(KEY_SIZE)).decode()
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    fresh.replace(path)
    return key


def _listeners(options: Options, config: Config) -> tuple[socket.socket, ...]:
    """The sockets that all edges share: the endpoint's, and that of a separate health listener."""
    health = config.server.health
    endpoint = parse_address(options.listen) if options.listen else config.server.listen_address
    first = _listen(endpoint)
    if health.listen is None or not health.enabled:
        return (first,)
    return first, _listen(health.listen, "choose another as server.health.listen")


def _listen(address: Address, hint: str = "choose another with -l") -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise SystemExit(f"cannot listen on {address}: {error.strerror}; {hint}") from None
    listener.listen(1024)
    return listener


def _child(
    options: Options, role: str, number: int, url: str, sockets: tuple[socket.socket, ...], key: str
) -> Child:
    argv = [sys.executable, "-m", "libs.cli.main", role, "--config", str(options.config)]
    argv += ["--log", options.log, "--log-style", options.style]
    env = {"NEXUS_NATS_URL": url, service.WORKER_VARIABLE: f"{role}-{number}"}
    fds: tuple[int, ...] = ()
    if role in SEALING:
        env[keyring.VARIABLE] = key
    if role == "edge":
        fds = tuple(each.fileno() for each in sockets)
        env[service.SOCKETS_VARIABLE] = ",".join(map(str, fds))
    return Child(role, f"{role}-{number}", tuple(argv), env, fds)


async def _in_one_process(
    options: Options, urls: dict[str, str], sockets: tuple[socket.socket, ...], stop: asyncio.Event
) -> int:
    """All services as tasks of this loop; they drain one after the other, as processes would."""
    stops = {role: asyncio.Event() for role in urls}
    tasks = {
        role: asyncio.create_task(
            service.serve(
                role,
                importlib.import_module(f"services.{role}.main").build,
                replace(options, nats=urls[role], sockets=sockets if role == "edge" else ()),
                stops[role],
            )
        )
        for role in urls
    }
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({waiting, *tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for role in urls:
        stops[role].set()
        await asyncio.wait({tasks[role]})
    for task in tasks.values():
        task.result()
    return 0
