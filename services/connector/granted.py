"""Tokens that an operator was granted: used and replaced by every connector, each time by one of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import structlog

from libs.common.config import HttpServer, OperatorLogin
from libs.common.errors import Refused
from libs.common.oauth import tokens
from libs.common.oauth.challenge import Challenge
from libs.common.oauth.tokens import Form, GrantFailed, Token
from libs.common.oauth.vault import Grant, Vault
from libs.common.outbound import Reply, fetch
from services.connector.bearer import near

BUSY = 15.0
"""Seconds that one connector has for replacing a token before another tries."""
PATIENCE = 20.0
"""Seconds that a call waits for a token to be replaced."""

log = structlog.get_logger("granted")


class Granted:
    """The grant of one server, from the vault. Keeps the promises of `Bearer`."""

    def __init__(self, server: HttpServer, auth: OperatorLogin, vault: Vault | None) -> None:
        self._server = server
        self._near = near(server.url, auth.issuer)
        self._vault = vault
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """The one we have, or its successor."""
        grant = self._grant()
        if grant.token.fresh(time.time()):
            return grant.token.access
        return (await self._successor(grant.token.access)).access

    async def refused(self, used: str, challenge: Challenge) -> bool:
        """Replace the token after a 401; where only an operator can help, say so and note what is wanted."""
        if challenge.status == 401 and self._grant().token.refresh:
            return (await self._successor(used)).access != used
        if challenge.status == 401 or challenge.wants_more:
            await self._held().replace(self._server.name, self._server.url, challenge=challenge)
            raise self._wanted("may do more" if challenge.wants_more else "is valid")
        return False

    async def _successor(self, used: str) -> Token:
        try:
            async with asyncio.timeout(PATIENCE), self._lock:
                while (grant := self._grant()).token.access == used:
                    if (token := await self._replace(grant)) is not None:
                        return token
                return grant.token
        except TimeoutError:
            raise Refused(f'no new token for server "{self._server.name}" came in time') from None

    async def _replace(self, grant: Grant) -> Token | None:
        """The next token; None after having waited for the connector that is at it."""
        vault, name, url = self._held(), self._server.name, self._server.url
        if grant.challenge is not None and grant.challenge.status == 401:
            # It was tried: nobody but the operator can help, and the issuer is left alone.
            raise self._wanted("is valid")
        now = time.time()
        if now < grant.busy_until:
            await vault.change(grant.busy_until - now)
            return None
        # A refresh token may be good for one use only, so the fleet must not use it twice.
        if not await vault.replace(name, url, busy_until=now + BUSY):
            await vault.change(1.0)
            return None
        try:
            token = await self._renewed(grant)
        except GrantFailed as error:
            log.warning("token not replaced", server=name, reason=error.reason)
            if error.code:
                await vault.replace(name, url, busy_until=0.0, challenge=Challenge(401))
                raise self._wanted("is valid") from None
            raise Refused(f'the gateway got no token for server "{name}": {error.reason}') from None
        await vault.replace(name, url, token=token, busy_until=0.0)
        return token

    async def _renewed(self, grant: Grant) -> Token:
        if not grant.token.refresh:
            raise GrantFailed("nothing was granted to replace it with", "invalid_grant")
        form = tokens.renewal(grant.token.refresh, grant.resource)
        fresh = await tokens.ask(grant.endpoint, grant.client, form, self._post, grant.issuer)
        return Token(
            fresh.access,
            fresh.renew_at,
            fresh.refresh or grant.token.refresh,
            fresh.scope or grant.token.scope,
        )

    async def _post(self, url: str, form: Form, headers: Mapping[str, str]) -> Reply:
        return await fetch(url, method="POST", data=form, headers=headers, near=self._near)

    def _grant(self) -> Grant:
        grant = self._held().read(self._server.name, self._server.url)
        if grant is None:
            raise self._wanted("is there")
        return grant

    def _held(self) -> Vault:
        if self._vault is None:
            raise Refused(f'server "{self._server.name}" needs seal.keys, for the token to be kept sealed')
        return self._vault

    def _wanted(self, what: str) -> Refused:
        name = self._server.name
        return Refused(f'no token for server "{name}" {what}: an operator has to run `nexus login {name}`')
