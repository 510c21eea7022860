"""A gateway in which each user has so many requests under way and no more."""

from __future__ import annotations

from msgspec import Raw

from libs.common.crowd import PAUSE, Crowd
from libs.common.errors import TooManyRequests
from libs.common.identity import Principal
from libs.common.messages.calls import CallServer, ClientReply, HoldCall, Request
from libs.common.messages.streams import MessagePosted
from libs.common.networks import network
from services.edge.era import LISTEN
from services.edge.gateway import Gateway, OnEvent


class Crowded:
    """`Gateway` before another one; counts what this replica has under way."""

    def __init__(self, gateway: Gateway, most: int) -> None:
        self._gateway = gateway
        self._most = most
        self._crowd = Crowd("user/in-flight")

    async def request(self, message: Request, *, on_event: OnEvent | None = None) -> Raw:
        if isinstance(message, HoldCall) or (isinstance(message, CallServer) and message.method == LISTEN):
            return await self._gateway.request(message, on_event=on_event)
        with self._crowd.inside(_user(message.principal), self._most, self._full):
            return await self._gateway.request(message, on_event=on_event)

    async def cancel_elsewhere(self, session: str, request_id: Raw, reason: str) -> None:
        await self._gateway.cancel_elsewhere(session, request_id, reason)

    async def reply_elsewhere(self, replica: str, reply: ClientReply) -> None:
        await self._gateway.reply_elsewhere(replica, reply)

    async def post_elsewhere(self, replica: str, posted: MessagePosted) -> bytes | None:
        return await self._gateway.post_elsewhere(replica, posted)

    def _full(self) -> TooManyRequests:
        return TooManyRequests(
            f"{self._most} of your requests are under way, and no more may be; wait until one has ended",
            scope=self._crowd.scope,
            limit=self._most,
            retry_after_ms=PAUSE,
        )


def _user(principal: Principal) -> str:
    return network(principal.address) if principal.tier == "anonymous" else principal.key
