"""Which era a server speaks, and what its requests carry in either.

Modern (2026-07-28) is stateless: `server/discover`, and every request says who asks. Legacy begins with
`initialize`. Shared by all kinds of session; source: MCP specification, "Versioning" and "Lifecycle".
"""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from libs.common import codec
from libs.common.errors import (
    NULL,
    DeadlineExceeded,
    DownstreamError,
    DownstreamFailed,
    ServerUnavailable,
)
from libs.common.messages.calls import EMPTY
from services.connector.session import Era, Opened, Params

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "2024-10-07")
"""Newest first; the first is offered, any is accepted."""
PROBE = 3.0
"""Seconds of silence after which `initialize` is tried too: old servers may ignore what comes before it."""

Choice = Literal["auto", "modern", "legacy"]
Ask = Callable[[str, Params, float], Awaitable[Raw]]
"""Sends one request: method, params, absolute deadline. Raises what `Session.call` raises."""
Tell = Callable[[str, Params], Awaitable[None]]
"""Sends one notification."""

_PREFIX = "io.modelcontextprotocol/"
CARRIED = frozenset({"elicitation", "sampling", "roots", "experimental"})
"""Client capabilities that reach a server: what it may then ask for has a way to the client."""
EXTENSIONS = frozenset({f"{_PREFIX}tasks"})
"""Of the extensions a client declares, those that reach a server."""
_ROUNDS = frozenset({"inputResponses", "requestState"})
"""Members of a request that goes on with an earlier one."""
_UNSUPPORTED = -32022


def _own_version() -> str:
    try:
        return importlib.metadata.version("nexus-gateway")
    except importlib.metadata.PackageNotFoundError:
        return "0"


INFO = codec.raw({"name": "nexus", "version": _own_version()})
"""The gateway's own `clientInfo`."""
_STAMP: dict[str, Raw] = {
    f"{_PREFIX}protocolVersion": codec.raw(MODERN),
    f"{_PREFIX}clientInfo": INFO,
    f"{_PREFIX}clientCapabilities": EMPTY,
}
ASKED = codec.raw({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}})
"""What a legacy server may ask for; whom it cannot be asked of, it is refused."""


class _Meta(Struct, rename={"info": f"{_PREFIX}serverInfo"}):
    info: Raw = NULL


class _Discovered(Struct, rename={"versions": "supportedVersions", "meta": "_meta"}):
    versions: list[str]
    capabilities: Raw = EMPTY
    instructions: str | None = None
    meta: _Meta | None = None


class _Initialized(Struct, rename="camel"):
    protocol_version: str
    capabilities: Raw = EMPTY
    server_info: Raw = NULL
    instructions: str | None = None


class _Supported(Struct):
    supported: list[str] = []


_discovered = msgspec.json.Decoder(_Discovered).decode
_initialized = msgspec.json.Decoder(_Initialized).decode
_supported = msgspec.json.Decoder(_Supported).decode


def stamped(params: Params, capabilities: Raw = EMPTY) -> Params:
    """`params` as a modern server needs them: version, client and capabilities in `_meta`, the rest kept."""
    stamp = _stamp(bytes(capabilities))
    if "_meta" not in params:
        return {**params, "_meta": codec.raw(stamp)}
    return {**params, "_meta": codec.raw({**_members(params["_meta"]), **stamp})}


@functools.lru_cache(maxsize=256)
def _stamp(capabilities: bytes) -> dict[str, Raw]:
    """What every request carries; of the client's capabilities, those the gateway can carry."""
    offered = _members(Raw(capabilities))
    declared: dict[str, Any] = {key: value for key, value in offered.items() if key in CARRIED}
    extensions = _members(offered.get("extensions", EMPTY))
    if carried := {name: value for name, value in extensions.items() if name in EXTENSIONS}:
        declared["extensions"] = carried
    return {**_STAMP, f"{_PREFIX}clientCapabilities": codec.raw(declared)}


def stripped(params: Params) -> Params:
    """`params` as a legacy server knows them: without what only modern ones are told, the rest kept."""
    if not _ROUNDS.isdisjoint(params):
        params = {key: value for key, value in params.items() if key not in _ROUNDS}
    if "_meta" not in params:
        return params
    meta = {key: value for key, value in _members(params["_meta"]).items() if not key.startswith(_PREFIX)}
    if meta:
        return {**params, "_meta": codec.raw(meta)}
    return {key: value for key, value in params.items() if key != "_meta"}


def adapted(params: Params, era: Era, capabilities: Raw = EMPTY) -> Params:
    """`stamped` or `stripped`, as `era` wants it; `capabilities` are the calling client's."""
    return stamped(params, capabilities) if era == "modern" else stripped(params)


async def negotiate(ask: Ask, tell: Tell, choice: Choice, deadline: float) -> Opened:
    """Find the era out, or do as `choice` says, and shake hands.

    Raises `ServerUnavailable` if the server speaks no revision the gateway does, else what `ask` raises.
    """
    if choice == "legacy":
        return await initialize(ask, tell, deadline)
    if choice == "auto":
        return await _detect(ask, tell, deadline)
    opened = await discover(ask, deadline)
    if opened is None:
        raise ServerUnavailable(f"the server does not speak MCP revision {MODERN} (its era is set to modern)")
    return opened


async def discover(ask: Ask, deadline: float) -> Opened | None:
    """What a modern server tells of itself; None if it is none."""
    try:
        found = _discovered(await _discovery(ask, deadline))
    except DownstreamError as error:
        _refuse_disjoint(error)
        return None
    except (DownstreamFailed, DeadlineExceeded, msgspec.DecodeError):
        return None
    if MODERN not in found.versions:
        return None
    info = found.meta.info if found.meta else NULL
    return Opened("modern", MODERN, found.capabilities, info, found.instructions or "")


async def _discovery(ask: Ask, deadline: float) -> Raw:
    """The answer to `server/discover`; asked again if the refusal names the revision it refused."""
    try:
        return await ask("server/discover", stamped({}), deadline)
    except DownstreamError as error:
        if MODERN not in _named(error):
            raise
    return await ask("server/discover", stamped({}), deadline)


async def initialize(ask: Ask, tell: Tell, deadline: float) -> Opened:
    """Open a legacy session."""
    offer: Params = {"protocolVersion": codec.raw(LEGACY[0]), "capabilities": ASKED, "clientInfo": INFO}
    try:
        answer = _initialized(await ask("initialize", offer, deadline))
    except msgspec.DecodeError as error:
        raise ServerUnavailable(f"the server answered initialize with no valid result: {error}") from error
    if answer.protocol_version not in LEGACY:
        raise ServerUnavailable(
            f'the server speaks MCP revision "{answer.protocol_version[:40]}", the gateway does not'
        )
    await tell("notifications/initialized", {})
    instructions = answer.instructions or ""
    return Opened("legacy", answer.protocol_version, answer.capabilities, answer.server_info, instructions)


async def _detect(ask: Ask, tell: Tell, deadline: float) -> Opened:
    """Discover first. After silence initialize as well: then the first good answer decides.

    The late answer counts because a slow start (a package being downloaded) looks like silence, and a server
    that has read the discovery before is modern for good.
    """
    probe = asyncio.ensure_future(discover(ask, deadline))
    legacy: asyncio.Future[Opened] | None = None
    try:
        await asyncio.wait({probe}, timeout=min(PROBE, deadline - time.time()))
        if probe.done() and (found := probe.result()):
            return found
        legacy = asyncio.ensure_future(initialize(ask, tell, deadline))
        return await _first(probe, legacy)
    finally:
        await _drop(probe, legacy)


async def _first(probe: asyncio.Future[Opened | None], legacy: asyncio.Future[Opened]) -> Opened:
    if not probe.done():
        racing: set[asyncio.Future[Any]] = {probe, legacy}
        await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
    if probe.done() and not probe.exception() and (found := probe.result()):
        return found
    return await legacy


async def _drop(*tasks: asyncio.Future[Opened | None] | asyncio.Future[Opened] | None) -> None:
    started = [task for task in tasks if task is not None]
    for task in started:
        task.cancel()
    await asyncio.gather(*started, return_exceptions=True)


def _refuse_disjoint(error: DownstreamError) -> None:
    """Raise if the server named its revisions and none is known: trying on would only hide the reason."""
    named = _named(error)
    if named and not set(named) & {MODERN, *LEGACY}:
        versions = ", ".join(version[:40] for version in named[:5])
        raise ServerUnavailable(f"the server speaks only MCP revisions the gateway does not: {versions}")


def _named(error: DownstreamError) -> list[str]:
    """The revisions that a refused one was answered with."""
    if error.downstream_code != _UNSUPPORTED:
        return []
    try:
        return _supported(error.raw).supported
    except msgspec.DecodeError:
        return []


def _members(meta: Raw) -> Params:
    try:
        return codec.members(meta)
    except msgspec.DecodeError:
        return {}
