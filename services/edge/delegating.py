"""What goes onto the bus for servers that get tokens of callers: the token, sealed, and what they list."""

from __future__ import annotations

import time

from msgspec.structs import replace

from libs.common.delegated import LIFE, seal_token
from libs.common.errors import Refused
from libs.common.identity import Principal
from libs.common.messages.calls import (
    CallServer,
    ExecuteTool,
    HoldCall,
    ListServer,
    NotifyServer,
    Request,
    SearchTools,
)
from libs.common.naming import SEPARATOR
from libs.common.seal import Keyring
from services.edge.auth.wallet import Wallet


class Delegating:
    """Attaches the token of the caller to messages for `servers`, and to no others."""

    def __init__(self, servers: frozenset[str], wallet: Wallet, keys: Keyring) -> None:
        self._servers = servers
        self._wallet = wallet
        self._keys = keys

    def attach(self, message: Request) -> Request:
        """The message as it is to be sent now. Raises `Refused` for a token that is over."""
        if isinstance(message, SearchTools | HoldCall) or not message.principal.credential:
            return message
        server = _server(message)
        if server not in self._servers:
            return message
        return replace(message, token=self._sealed(message.principal, server, message.deadline))

    def _sealed(self, principal: Principal, server: str, deadline: float) -> str:
        found = self._wallet.find(principal.credential)
        if found is None:
            raise Refused("the token of this request is over; send the request again with a new one")
        expires, token = found
        until = min(expires, deadline, time.time() + LIFE)
        return seal_token(self._keys, token, principal, server, until)


def _server(message: ExecuteTool | CallServer | NotifyServer | ListServer) -> str:
    if isinstance(message, ExecuteTool):
        return message.name.partition(SEPARATOR)[0]
    return message.server
