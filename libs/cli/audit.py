"""`nexus audit`: events live, exported, verified; the key that checkpoints are signed with; readers."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import typer
from pydantic import SecretStr

from libs.cli import broker, events
from libs.cli.connect import joined
from libs.cli.events import Filter, heading, row
from libs.cli.local import STATE, seal_key
from libs.cli.natsconf import reader_text
from libs.common import subjects
from libs.common.audit.checkpoint import Signer, signing_seed
from libs.common.audit.pull import ConsumerGone, Pull
from libs.common.audit.readers import asked, follow, make_reader, unfollow
from libs.common.audit.reading import read
from libs.common.audit.text import clean
from libs.common.audit.verify import Finding, Verifier
from libs.common.bus import Bus
from libs.common.cancel import cancellable
from libs.common.config import Config, load
from libs.common.config.durations import parse_duration
from libs.common.config.values import is_key_name, key_bytes
from libs.common.errors import BusUnavailable, ConfigError
from libs.common.grants import ROLES
from libs.common.identity import tenant_token
from libs.common.keyring import fleet_keys
from libs.common.service import Options

ROLE = "auditor"
POLL = 1.0
TOLD_MAX = 1000
"""Characters of a finding."""
STDIN = "-"
LINE_MAX = 1024 * 1024
"""Bytes of a line; what is longer is no event."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which events: by the time they were made (seconds since the epoch) and by class."""

    since: float | None = None
    until: float | None = None
    classes: Sequence[str] = field(default=())

    def holds(self, at: float) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)


def tail(options: Options, filters: Sequence[str], *, plain: bool) -> None:
    """Print events as they come, until interrupted."""
    wanted = Filter(filters)
    if not plain:
        typer.echo(heading())

    async def run() -> None:
        async with connected(options) as bus:
            async for line in _events(bus, Span(), live=True):
                if wanted.takes(line):
                    typer.echo(events.plain(line) if plain else row(line))

    _interruptible(run())


def export(options: Options, span: Span) -> None:
    """Print the events that the stream has, as they are."""

    async def run() -> None:
        async with connected(options) as bus:
            async for line in _events(bus, span):
                event = read(line)
                if event is None or span.holds(event.time / 1000):
                    sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    _interruptible(run())


def verify(options: Options, files: Sequence[str], keys: Sequence[str], *, whole: bool) -> None:
    """Say what is wrong with the events in files, or in the stream if none is named; exit status 1 then."""
    trusted = [_public(text) for text in keys] or _own(options)
    if files:
        verifier = Verifier(trusted, whole=whole)
        broken = _told(finding for line in _lines(files) for finding in verifier.take(line))
    else:
        verifier, broken = asyncio.run(_verified(options, trusted))
    broken += _told(verifier.close())
    if not trusted:
        typer.echo("no key is known: each checkpoint was believed by its own; name one with --key", err=True)
    typer.echo(f"{verifier.events} events: {f'{broken} findings' if broken else 'all as they were written'}")
    if broken:
        raise typer.Exit(1)


def key(options: Options) -> None:
    """Print the public key that checkpoints are signed with, in hex."""
    for each in _own(options, needed=True):
        typer.echo(each.hex())


def reader(options: Options, name: str, tenant: str) -> None:
    """Make the consumer of a reader, and print its user for nats.conf."""
    if not is_key_name(name) or name in ROLES or name.startswith(("sink-", "ledger-")):
        raise ConfigError("a reader's name has 1 to 32 of a-z 0-9 _ -, and is none that the gateway uses")
    token = tenant_token(tenant) if tenant else ""

    async def run() -> None:
        async with connected(options) as bus:
            await make_reader(bus, name, token)

    asyncio.run(run())
    typer.echo(reader_text(name, token), nl=False)


def moment(text: str) -> float:
    """Seconds since the epoch: a duration before now, or a time as ISO 8601 has it. ValueError otherwise."""
    with suppress(ValueError):
        return time.time() - parse_duration(text)
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.astimezone()).timestamp()


@asynccontextmanager
async def connected(options: Options) -> AsyncIterator[Bus]:
    """The bus of the gateway that runs here, unless another one was named. Raises `BusUnavailable`."""
    state = options.config.resolve().parent / STATE
    url = options.nats or broker.running(state / "nats", ROLE) or _configured(options)
    async with joined(Bus(url, ROLE, name="nexus-audit")) as bus:
        yield bus


async def _events(bus: Bus, span: Span, *, live: bool = False) -> AsyncIterator[bytes]:
    """Events of the stream in their order; all there are now, or those to come."""
    name = await follow(bus, "cli", since=span.since, new=live, classes=span.classes)
    pull = Pull(bus, subjects.AUDIT_STREAM, name)
    try:
        while live or await _is_more(bus, name):
            for each in await pull.batch(POLL):
                yield each.data
    except ConsumerGone:
        raise BusUnavailable("the message bus has lost what was being read; try again") from None
    finally:
        await pull.close()
        with suppress(BusUnavailable):
            await unfollow(bus, name)


async def _is_more(bus: Bus, name: str) -> bool:
    async with asked("tell how much is left"):
        info = await cancellable(bus.jetstream().consumer_info(subjects.AUDIT_STREAM, name))
    return bool(info.num_pending)


async def _verified(options: Options, trusted: list[bytes]) -> tuple[Verifier, int]:
    """The events of the stream, judged one by one; those that are too old are not there any more."""
    async with connected(options) as bus:
        async with asked("tell what the audit stream holds"):
            info = await cancellable(bus.jetstream().stream_info(subjects.AUDIT_STREAM))
        verifier = Verifier(trusted, whole=info.state.first_seq <= 1)
        broken = 0
        async for line in _events(bus, Span()):
            broken += _told(verifier.take(line))
    return verifier, broken


def _told(findings: Iterable[Finding]) -> int:
    """Print what was found; how much of it somebody must have done."""
    broken = 0
    for each in findings:
        typer.echo(clean(str(each), TOLD_MAX), err=not each.broken)
        broken += each.broken
    return broken


def _lines(files: Sequence[str]) -> Iterator[bytes]:
    for name in files:
        try:
            with sys.stdin.buffer if name == STDIN else Path(name).open("rb") as file:
                # In pieces, as a file that is none of ours may have no line at all.
                yield from iter(partial(file.readline, LINE_MAX), b"")
        except OSError as error:
            raise ConfigError(f"{name} cannot be read: {error.strerror}") from None


def _public(text: str) -> bytes:
    with suppress(ValueError):
        if len(found := bytes.fromhex(text)) == 32:
            return found
    raise ConfigError("a public key is 64 hex digits, as `nexus audit key` prints them")


def _own(options: Options, *, needed: bool = False) -> list[bytes]:
    """The key of the gateway that is configured here, if there is one."""
    try:
        config = load(options.config, secrets=False)
    except ConfigError:
        if needed:
            raise
        return []
    given = config.audit.signing_key
    fleet = _fleet_key(options, config)
    if given is None and not fleet:
        if needed:
            raise ConfigError("there is no key: set audit.signing_key, seal.keys or NEXUS_SEAL_KEYS")
        return []
    return [Signer(signing_seed(key_bytes(given) if given else None, fleet)).public]


def _fleet_key(options: Options, config: Config) -> bytes:
    if keys := fleet_keys(config):
        return keys[0]
    path = options.config.resolve().parent / STATE / "seal.key"
    return key_bytes(SecretStr(seal_key(path))) if path.exists() else b""


def _configured(options: Options) -> str:
    return load(options.config, secrets=False).nats.url.get_secret_value()


def _interruptible(work: Coroutine[Any, Any, None]) -> None:
    """Run until done, or until Ctrl-C or the end of whoever reads what is printed."""
    with suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(work)
