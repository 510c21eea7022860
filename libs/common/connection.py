"""nats-py, with a shorter way for messages: handled where they are parsed.

nats-py puts each message into a queue that a task per subscription reads: a tenth
of what a hop costs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.aio.msg import Msg

Handler = Callable[[Msg], Awaitable[None]]
Raw = Callable[[str, str, bytes, bytes], None]
"""Told of a message as it came: subject, reply, payload, and headers that nobody has parsed."""


class Connection(Client):
    """A connection whose `direct` handlers, by subscription id, run inside the reading of messages.

    So they must not wait for another message. Those with headers, which the broker itself sends when nobody
    is there, still go through the subscription's queue. A `raw` handler gets all of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.direct: dict[int, Handler] = {}
        self.raw: dict[int, Raw] = {}

    async def send(self, commands: bytes) -> None:
        """Write commands of the protocol as they are; the caller has made sure that they are right."""
        await self._send_command(commands)
        await self._flush_pending()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        raw = self.raw.get(sid)
        handler = self.direct.get(sid)
        if raw is None and (handler is None or headers):
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            if raw is not None:
                raw(subject.decode(), reply.decode(), data, headers or b"")
            elif handler is not None:
                await handler(Msg(self, subject.decode(), reply.decode(), data))
        except Exception as error:  # noqa: BLE001 - the edge of the reading: one message must not end it
            await self._error_cb(error)
