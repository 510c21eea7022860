"""What servers list that get tokens of callers: to each caller what it may see, and to nobody else."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import msgspec
import structlog

from libs.common import naming
from libs.common.codec import UNREADABLE, decoder, members
from libs.common.errors import NexusError
from libs.common.identity import Principal
from libs.common.messages.calls import ListServer
from libs.common.messages.catalog import Listing
from services.edge.gateway import Gateway

KNOWN_MAX = 4000
"""Lists that are kept: of each caller one for each server."""
FRESH = 30.0
"""Seconds after which a server is asked again what it lists to a caller."""
PATIENCE = 5.0
"""Seconds that a request waits for servers to list; what comes later is there for the next one."""
COOLDOWN = 2.0
"""Seconds after a failure during which no request waits for that server again."""
WITHIN = 40.0
"""Seconds for a server to open a session and list everything."""

log = structlog.get_logger("edge")

_listing: msgspec.json.Decoder[Listing] = decoder(Listing)
_name = msgspec.json.Decoder(str).decode

Key = tuple[str, str]
"""A server and the fingerprint of a caller's token."""


@dataclass(slots=True)
class _Known:
    """What a caller was listed, and until when that is good; no list after a failure."""

    listing: Listing | None
    until: float
    owns: dict[str, str] | None = None
    """The server's own names of tools by exposed name, once they were needed."""


class Personal:
    """The lists of `servers`, asked for on first use. A failure is never remembered as an empty list."""

    def __init__(self, gateway: Gateway, servers: Collection[str]) -> None:
        self._gateway = gateway
        self._servers = frozenset(servers)
        self._known: OrderedDict[Key, _Known] = OrderedDict()
        self._asking: dict[Key, asyncio.Task[None]] = {}

    def lists(self, server: str) -> bool:
        """Whether it lists to each caller by himself."""
        return server in self._servers

    async def prepare(self, servers: Iterable[str], principal: Principal) -> None:
        """Return once it is known what `servers` list to the caller, or after 5 s."""
        if not principal.credential:
            return
        wanted = [server for server in servers if server in self._servers]
        asked = [task for server in wanted if (task := self._ask(server, principal)) is not None]
        if asked:
            await asyncio.wait(asked, timeout=PATIENCE)

    def listing(self, server: str, principal: Principal) -> Listing | None:
        """What `server` listed to the caller."""
        known = self._known.get((server, principal.credential)) if principal.credential else None
        return None if known is None else known.listing

    def listings(self, principal: Principal) -> list[Listing]:
        """All that is listed to the caller and not to everybody."""
        found = (self.listing(server, principal) for server in sorted(self._servers))
        return [listing for listing in found if listing is not None]

    def own(self, name: str, principal: Principal) -> str:
        """The server's own name for a tool that it listed to the caller; else empty."""
        server = name.partition(naming.SEPARATOR)[0]
        known = self._known.get((server, principal.credential)) if principal.credential else None
        if known is None or known.listing is None:
            return ""
        if known.owns is None:
            known.owns = _owns(known.listing)
        return known.owns.get(name, "")

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(self, server: str, principal: Principal) -> asyncio.Task[None] | None:
        """The one task that asks, if that is needed."""
        key = server, principal.credential
        known = self._known.get(key)
        if known is not None and time.monotonic() < known.until:
            self._known.move_to_end(key)
            return None
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._learn(key, principal))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return task

    async def _learn(self, key: Key, principal: Principal) -> None:
        try:
            message = ListServer(key[0], time.time() + WITHIN, principal)
            listing = _listing.decode(await self._gateway.request(message))
        except NexusError as error:
            log.warning("a server lists nothing to a caller", server=key[0], reason=error.message)
            self._note(key, None, COOLDOWN)
        except Exception:
            log.exception("a listing failed for a reason of our own", server=key[0])
            self._note(key, None, COOLDOWN)
        else:
            self._note(key, listing, FRESH)

    def _note(self, key: Key, listing: Listing | None, seconds: float) -> None:
        """What is the same stays the same object: views are made again for others."""
        known = self._known.get(key)
        until = time.monotonic() + seconds
        if known is not None and known.listing is not None and listing == known.listing:
            known.until = until
        else:
            self._known[key] = _Known(listing, until)
        self._known.move_to_end(key)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)


def _owns(listing: Listing) -> dict[str, str]:
    names, _ = naming.resolve((listing.server, own) for own in _names(listing))
    return {shown: own for shown, (_, own) in names.items()}


def _names(listing: Listing) -> Iterable[str]:
    for tool in listing.tools:
        try:
            yield _name(members(tool)["name"])
        except (*UNREADABLE, KeyError):
            continue
