"""The login of an operator at whoever gives tokens for a server: OAuth 2.1, authorization code with PKCE.

The flow itself (discovery, registration, scopes, issuer checks) is that of the MCP SDK; every request of it
goes through our own door.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.auth.exceptions import OAuthFlowError
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from msgspec import Raw
from pydantic import AnyUrl

from libs.cli.redirect import Redirect
from libs.common.config import HttpServer, OperatorLogin
from libs.common.errors import NULL
from libs.common.oauth import challenge, discovery, tokens
from libs.common.oauth.challenge import Challenge
from libs.common.oauth.tokens import Client, GrantFailed, Token
from libs.common.oauth.vault import Grant
from libs.common.outbound import FetchFailed, fetch, host_of

PATIENCE = 300.0
"""Seconds for the operator to log in."""
REFUSED_MAX = 300
"""Characters shown of what an authorization server says when it refuses."""
_PROBE = (
    b'{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{'
    b'"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
)
_HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "server/discover",
}

Show = Callable[[str], Awaitable[None]]
"""Brings the operator's browser to a URL."""


async def authorize(
    server: HttpServer, auth: OperatorLogin, before: Grant | None, show: Show, port: int
) -> Grant:
    """What the operator granted. `before` is what was granted last, and why that is not enough.

    Raises `GrantFailed` with a sentence, `OSError` if the port is taken.
    """
    _refuse_circles(before)
    async with Redirect(port) as redirect:
        login = _Login(server, auth, before, redirect, show)
        try:
            return await login.run()
        except (OAuthFlowError, FetchFailed) as error:
            raise GrantFailed(str(error)[:REFUSED_MAX]) from None
        except TimeoutError:
            raise GrantFailed(f"nobody logged in within {PATIENCE:g} s") from None


class _Login:
    def __init__(
        self, server: HttpServer, auth: OperatorLogin, before: Grant | None, redirect: Redirect, show: Show
    ) -> None:
        # It logs what it raises, with bodies of answers, and we say it ourselves.
        logging.getLogger("mcp.client.auth").disabled = True
        self._server, self._auth, self._before, self._redirect = server, auth, before, redirect
        self._near = frozenset(host_of(url) for url in (server.url, auth.issuer) if url)
        self._store = _Store(auth, before, redirect.url)
        metadata = OAuthClientMetadata(
            redirect_uris=[AnyUrl(redirect.url)],
            client_name="Nexus",
            grant_types=["authorization_code", "refresh_token"],
        )
        self._provider = OAuthClientProvider(
            server.url, metadata, self._store, show, self._returned, auth.client_metadata_url
        )

    async def run(self) -> Grant:
        """Drive the flow up to the point where it would use the token."""
        probe = httpx2.Request("POST", self._server.url, headers=_HEADERS, content=_PROBE)
        # Closed here in any case: it holds a lock that is this task's.
        async with aclosing(self._provider.async_auth_flow(probe)) as flow:
            request, response = await anext(flow), await self._challenged()
            while (request := await flow.asend(response)) is not probe:
                self._check_issuer()
                response = await self._send(request)
        return self._granted()

    async def _challenged(self) -> httpx2.Response:
        """The server's challenge, with the configured scopes: the one noted, else what it says now."""
        said = self._before.challenge if self._before is not None else None
        if said is None:
            reply = await fetch(
                self._server.url, method="POST", data=_PROBE, headers=_HEADERS, near=self._near
            )
            said = challenge.parse(401, reply.headers.get("www-authenticate", ""))
        if self._auth.scopes and not said.wants_more:
            said = Challenge(said.status, said.error, " ".join(self._auth.scopes), said.resource_metadata)
        return httpx2.Response(said.status, headers={"www-authenticate": said.header})

    def _check_issuer(self) -> None:
        """Stop before anything is sent to another authorization server than the configured one."""
        found, wanted = self._provider.context.auth_server_url, self._auth.issuer
        if found is not None and wanted is not None and not discovery.same(found, wanted):
            raise GrantFailed(f"the server names another authorization server than auth.issuer: {found}")

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("content-type", "authorization", "mcp-protocol-version")
        }
        url, body = str(request.url), await request.aread()
        # Metadata of the server that cannot be had are looked for at the next place.
        if self._provider.context.auth_server_url is None and request.method == "GET":
            try:
                reply = await fetch(url, headers=headers, near=self._near)
            except FetchFailed:
                return httpx2.Response(404, request=request)
        else:
            reply = await fetch(url, method=request.method, data=body, headers=headers, near=self._near)
        return httpx2.Response(reply.status, content=reply.body, request=request)

    async def _returned(self) -> AuthorizationCodeResult:
        found = await self._redirect.parameters(PATIENCE)
        if "code" not in found:
            raise GrantFailed(f"the authorization server refused: {found.get('error', 'no code')[:60]}")
        return AuthorizationCodeResult(code=found["code"], state=found.get("state"), iss=found.get("iss"))

    def _granted(self) -> Grant:
        context = self._provider.context
        info, token, about = context.client_info, context.current_tokens, context.oauth_metadata
        if info is None or token is None:
            raise GrantFailed("the login ended without a token")
        endpoint = str(about.token_endpoint) if about is not None else ""
        return Grant(
            client=Client(info.client_id, info.client_secret or "", _method(info)),
            token=Token(
                token.access_token,
                tokens.renewal_time(time.time(), token.expires_in),
                token.refresh_token or "",
                token.scope or context.client_metadata.scope or "",
            ),
            endpoint=endpoint,
            issuer=str(about.issuer) if about is not None else "",
            resource=context.get_resource_url(),
            asked=context.client_metadata.scope or "",
            registration=Raw(info.model_dump_json(exclude_none=True).encode()),
        )


class _Store:
    """What the flow remembers between logins; the protocol is the SDK's."""

    def __init__(self, auth: OperatorLogin, before: Grant | None, redirect: str) -> None:
        self._before = before
        self._info = _configured(auth, redirect) or _registered(before, redirect)

    async def get_tokens(self) -> OAuthToken | None:
        """Only of a token that may too little: what it may is asked for again."""
        if self._before is None or self._before.challenge is None or not self._before.challenge.wants_more:
            return None
        return OAuthToken(access_token=self._before.token.access, scope=self._before.asked or None)

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Nothing: the grant is taken as a whole."""

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._info

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Nothing, likewise."""


def _configured(auth: OperatorLogin, redirect: str) -> OAuthClientInformationFull | None:
    if auth.client_id is None:
        return None
    secret = auth.client_secret.get_secret_value() if auth.client_secret else None
    return OAuthClientInformationFull(
        client_id=auth.client_id,
        client_secret=secret,
        redirect_uris=[AnyUrl(redirect)],
        token_endpoint_auth_method=auth.token_endpoint_auth_method
        or ("client_secret_basic" if secret else "none"),
        issuer=auth.issuer,
    )


def _registered(before: Grant | None, redirect: str) -> OAuthClientInformationFull | None:
    """The registration of the last login, if it is for the same redirect."""
    if before is None or before.registration == NULL:
        return None
    info = OAuthClientInformationFull.model_validate_json(bytes(before.registration))
    return info if redirect in map(str, info.redirect_uris or ()) else None


def _method(info: OAuthClientInformationFull) -> Any:
    known = ("client_secret_basic", "client_secret_post")
    return info.token_endpoint_auth_method if info.token_endpoint_auth_method in known else "none"


def _refuse_circles(before: Grant | None) -> None:
    """Stop where the server wants what the last login asked for already: another one would change nothing."""
    said = before.challenge if before is not None else None
    if before is None or said is None or not said.wants_more:
        return
    if set(said.scope.split()) <= set(before.asked.split()):
        raise GrantFailed(
            f'the server wants the scopes "{said.scope}", which were granted: whoever runs it has to help'
        )
