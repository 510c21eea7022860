"""Servers that get tokens of callers: a session for each token, which lists and runs what that token may."""

from __future__ import annotations

import base64
import time
from collections import OrderedDict
from urllib.parse import urlsplit

import msgspec
import structlog
from msgspec import Raw, Struct

from libs.common.codec import UNREADABLE, raw
from libs.common.config import DownstreamCache, Forward, HttpServer, TokenExchange
from libs.common.delegated import open_token
from libs.common.errors import Refused
from libs.common.messages.calls import Call, ListServer
from libs.common.messages.catalog import Listing
from libs.common.oauth.discovery import canonical
from libs.common.seal import Keyring, SealBroken
from services.connector.arguments import Checker, schemas
from services.connector.bearer import Bearer, Machine, Passed
from services.connector.listing import collect
from services.connector.live import Live
from services.connector.private import Connect, Private
from services.connector.session import Opened, Session

LISTING_TIMEOUT = 30.0
"""Seconds for all pages of a caller's lists."""
FRESH = 300.0
"""Seconds after which what a caller was shown is listed again, for servers that tell of no change."""

log = structlog.get_logger("delegation")


class _Claims(Struct):
    aud: str | tuple[str, ...] = ()


_claims = msgspec.json.Decoder(_Claims).decode


class Delegation:
    """The sessions of one server. It is never called without a token of the one who calls."""

    def __init__(
        self,
        server: HttpServer,
        auth: Forward | TokenExchange,
        keys: Keyring,
        connect: Connect,
        cache: DownstreamCache,
    ) -> None:
        self._server = server
        self._auth = auth
        self._keys = keys
        self._private = Private(server, connect, cache.max_size, cache.idle_timeout)
        self._machines: OrderedDict[str, Machine] = OrderedDict()
        self._machines_max = cache.max_size

    def __len__(self) -> int:
        return len(self._private)

    def find(self, call: Call) -> Live | None:
        """The session of the caller's token, if it has one."""
        return self._private.find(call)

    async def take(self, call: Call | ListServer) -> Live:
        """The session of the caller's token, opened if need be.

        Raises `Refused` for a token that is not there, over, somebody else's or not meant for the server;
        otherwise what `Private.take` does.
        """
        return await self._private.open(call, self._list, self._bearer(call))

    async def list(self, call: ListServer) -> Raw:
        """The `Listing` of the caller."""
        live = await self.take(call)
        if live.stale or time.monotonic() > live.listed + FRESH:
            live.stale, live.listed = False, time.monotonic()
            try:
                live.listing = await self._list(live.session, live.opened)
            except BaseException:
                # What a caller no longer may must not be shown for longer because it could not be asked for.
                live.stale = True
                raise
            live.checker = Checker(live.listing)
            live.session.learn(schemas(live.listing))
        return raw(live.listing)

    async def close(self) -> None:
        await self._private.close()

    async def _list(self, session: Session, opened: Opened) -> Listing:
        return await collect(session, opened, self._server.name, LISTING_TIMEOUT)

    def _bearer(self, call: Call | ListServer) -> Bearer:
        token = self._opened(call)
        if isinstance(self._auth, TokenExchange):
            return self._machine(self._auth, call.principal.credential, token)
        if not self._auth.insecure_skip_audience and not _meant(token, self._server.url):
            log.warning("token not forwarded", server=self._server.name, reason="its audience is another")
            raise Refused(f'the token of this caller is not meant for server "{self._server.name}"')
        return Passed(token)

    def _machine(self, auth: TokenExchange, credential: str, token: str) -> Machine:
        """What exchanges this token; it outlives sessions, so that a lost one costs no exchange."""
        machine = self._machines.get(credential)
        if machine is None:
            machine = self._machines[credential] = Machine(self._server, auth, token)
            if len(self._machines) > self._machines_max:
                self._machines.popitem(last=False)
        self._machines.move_to_end(credential)
        return machine

    def _opened(self, call: Call | ListServer) -> str:
        try:
            return open_token(self._keys, call.token, call.principal, self._server.name, time.time())
        except SealBroken:
            raise Refused(f'server "{self._server.name}" needs a valid token of the caller') from None


def _meant(token: str, url: str) -> bool:
    """Whether the audience of a token, whose signature an edge has verified, holds the server's resource.

    That is its URL or its origin (RFC 8707 §2).
    """
    named = _audience(token)
    parts = urlsplit(canonical(url))
    origin = f"{parts.scheme}://{parts.netloc}"
    return bool({canonical(each) for each in named} & {canonical(url), origin})


def _audience(token: str) -> tuple[str, ...]:
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        named = _claims(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).aud
    except (*UNREADABLE, ValueError):
        return ()
    return (named,) if isinstance(named, str) else named
