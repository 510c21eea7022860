"""Tokens for servers over HTTP: got when needed, replaced before they end, once for all calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog
from pydantic import SecretStr

from libs.common.config import ConfidentialClient, HttpServer, TokenExchange
from libs.common.errors import Refused
from libs.common.oauth import discovery, tokens
from libs.common.oauth.challenge import Challenge
from libs.common.oauth.tokens import Client, Form, GrantFailed, Token
from libs.common.outbound import Reply, fetch, host_of

COOLDOWN = 5.0
"""Seconds between two requests for a token, whatever the server says of the one we have."""

log = structlog.get_logger("bearer")


class Bearer(Protocol):
    """Gives the token of each request to one server. Errors: `Refused`, with a sentence for the caller."""

    async def token(self) -> str:
        """What to send now; empty to send the request without one."""
        ...

    async def refused(self, used: str, challenge: Challenge) -> bool:
        """Whether the request is worth sending again: there is another token than `used`."""
        ...


class Passed:
    """The token of one caller, as it is. Keeps the promises of `Bearer`."""

    def __init__(self, token: str) -> None:
        self._token = SecretStr(token)

    async def token(self) -> str:
        return self._token.get_secret_value()

    async def refused(self, used: str, challenge: Challenge) -> bool:
        """Only the caller can get another one."""
        return False


class Machine:
    """A token of the gateway's own by `client_credentials`, or one for `subject`, the token of a caller."""

    def __init__(self, server: HttpServer, auth: ConfidentialClient, subject: str = "") -> None:
        self._server = server
        self._auth = auth
        self._subject = SecretStr(subject)
        self._near = near(server.url, auth.issuer, auth.token_url)
        self._lock = asyncio.Lock()
        self._token: Token | None = None
        self._endpoint: _Endpoint | None = None
        self._told = Challenge(0)
        self._asked = -COOLDOWN
        self._failure = ""

    async def token(self) -> str:
        """The cached one, or a new one; none before the server has said who gives them."""
        held = self._token
        if held is not None and held.fresh(time.time()):
            return held.access
        if held is None and not self._told.status and not (self._auth.token_url or self._auth.issuer):
            return ""
        return await self._another(held.access if held else "")

    async def refused(self, used: str, challenge: Challenge) -> bool:
        """Get another one after a 401; what is forbidden stays so."""
        if challenge.status != 401:
            return False
        self._told = challenge
        return await self._another(used) != used

    async def _another(self, used: str) -> str:
        async with self._lock:
            held = self._token
            if held is not None and held.access != used and held.fresh(time.time()):
                return held.access
            if time.monotonic() < self._asked + COOLDOWN:
                return self._too_soon(held)
            self._asked = time.monotonic()
            try:
                self._token, self._failure = await self._granted(), ""
            except GrantFailed as error:
                self._failure = error.reason
                self._endpoint = None
                raise self._explained() from None
            return self._token.access

    def _too_soon(self, held: Token | None) -> str:
        if self._failure or held is None:
            raise self._explained()
        return held.access

    def _explained(self) -> Refused:
        log.warning("no token", server=self._server.name, reason=self._failure)
        return Refused(f'the gateway got no token for server "{self._server.name}": {self._failure}')

    async def _granted(self) -> Token:
        if self._endpoint is None:
            self._endpoint = await self._found()
        to, auth = self._endpoint, self._auth
        scopes, resource = " ".join(auth.scopes) or to.scopes, auth.resource or to.resource
        if isinstance(auth, TokenExchange):
            form = tokens.exchange(_plain(self._subject), scopes, resource, auth.audience or "")
        else:
            form = tokens.credentials(scopes, resource)
        client = Client(auth.client_id, _plain(auth.client_secret), auth.method, key=_plain(auth.private_key))
        return await tokens.ask(to.url, client, form, self._post, to.issuer)

    async def _found(self) -> _Endpoint:
        """Where tokens are given: as configured, else as the server and its issuer say."""
        auth, own = self._auth, discovery.canonical(self._server.url)
        if auth.token_url is not None:
            return _Endpoint(auth.token_url, auth.issuer or "", own)
        if auth.issuer is not None:
            found = await discovery.issuer(auth.issuer, self._get)
            return _Endpoint(found.token_endpoint, found.issuer, own)
        about = await discovery.resource(self._server.url, self._get, self._told.resource_metadata)
        found = await discovery.issuer(about.authorization_servers[0], self._get)
        scopes = self._told.scope or " ".join(about.scopes_supported or ())
        return _Endpoint(found.token_endpoint, found.issuer, about.resource, scopes)

    async def _get(self, url: str) -> Reply:
        return await fetch(url, near=self._near)

    async def _post(self, url: str, form: Form, headers: Mapping[str, str]) -> Reply:
        return await fetch(url, method="POST", data=form, headers=headers, near=self._near)


def near(*urls: str | None) -> frozenset[str]:
    """The hosts of URLs that an operator configured: they may have private addresses."""
    return frozenset(host_of(url) for url in urls if url)


def _plain(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Where tokens for a server are given, and for what."""

    url: str
    issuer: str
    resource: str
    scopes: str = ""
