"""One connection to NATS: publish, subscribe, and know what the broker has taken."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import nats
import structlog
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from libs.common import subjects
from libs.common.connection import Connection, Handler, Raw
from libs.common.errors import BusUnavailable
from libs.common.meters import families

log = structlog.get_logger("bus")

Answer = Callable[[bytes], None]
"""Told of one message on the inbox; empty bytes mean that nobody was there to take the request."""

Unheard = Callable[[str], Awaitable[None]]
"""Told that nobody was there for a question passed on; takes where its answer should have gone."""

RECONNECT_WAIT = 0.25
SAY_EVERY = 5.0
"""Seconds between two words about a bus that is away."""
PENDING_BYTES = 64 * 1024 * 1024
"""Bytes a subscription may hold unread, per connection: above the largest message, far below the memory."""


async def abandon(connection: Nats) -> None:
    """Close a connection in whatever state it is; never raises."""
    # nats-py's close trips over a connection that was never begun, is half made, or closed already.
    with suppress(nats.errors.Error, OSError, AssertionError, AttributeError, RuntimeError, TimeoutError):
        await connection.close()


def addresses(url: str) -> list[str]:
    """The servers that a comma-separated URL names: any of them leads to the whole cluster."""
    return [each for part in url.split(",") if (each := part.strip())]


class Bus:
    """A role's connection; every answer to it arrives on one private inbox.

    `replicas` is how many servers of a cluster keep each bucket and stream.

    `connected` tells the truth of this moment: while it is false, publishing would only buffer, so callers
    that promise `executed: no` ask it first.
    """

    def __init__(self, url: str, role: str, *, name: str = "", replicas: int = 1) -> None:
        self.role = role
        self.replicas = replicas
        self.client = secrets.token_hex(6)
        self.inbox = subjects.inbox(role, self.client)
        self.answers: dict[str, Answer] = {}
        self.on_unheard: Unheard | None = None
        self.nats = Connection()
        self._url = url
        self._name = name or f"nexus-{role}"
        self._echoes: set[asyncio.Future[Any]] = set()
        self._told = -SAY_EVERY
        self._refused: list[str] = []
        self._closing = False
        self._on_reconnect: list[Callable[[], None]] = []

    @property
    def connected(self) -> bool:
        return self.nats.is_connected

    @property
    def max_payload(self) -> int:
        """Bytes of the largest message the broker takes."""
        return self.nats.max_payload

    async def connect(self) -> None:
        """Connect, waiting for the broker as long as it takes, and say so while waiting."""
        await self.nats.connect(
            addresses(self._url),
            name=self._name,
            inbox_prefix=f"_INBOX_{self.role}",
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]  # slept, so a float is as good
            connect_timeout=2,
            ping_interval=10,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
        )
        await self.subscribe(f"{self.inbox}.*", self._on_answer)
        await self.settled()

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Hand `payload` to the broker; raises `BusUnavailable` while there is no connection."""
        if not self.nats.is_connected:
            raise BusUnavailable("the gateway has lost its message bus; try again in a moment")
        await self.nats.publish(subject, payload, reply)

    async def send(self, commands: bytes) -> None:
        """Hand ready-made commands of the protocol to the broker; raises `BusUnavailable` without one.

        For many messages at once: nats-py takes 20 µs for each that has headers.
        """
        if not self.nats.is_connected:
            raise BusUnavailable("the gateway has lost its message bus; try again in a moment")
        await self.nats.send(commands)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Subscribe; call `settled` before promising anybody that messages arrive.

        While `handler` runs nothing else arrives on this connection, so it must not wait for an answer.
        """
        sub = await self.nats.subscribe(subject, queue=queue, cb=handler, pending_bytes_limit=PENDING_BYTES)
        self.nats.direct[sub._id] = handler  # noqa: SLF001 - the only name of a subscription in a message
        return sub

    async def receive(self, subject: str, handler: Raw) -> Subscription:
        """The same for messages with headers, which `handler` gets unparsed: nats-py takes 40 µs for them."""
        sub = await self.nats.subscribe(subject, pending_bytes_limit=PENDING_BYTES)
        self.nats.raw[sub._id] = handler  # noqa: SLF001 - the only name of a subscription in a message
        return sub

    async def settled(self, timeout: float = 5.0) -> None:
        """Return once the broker has taken all we sent: an own message came back behind it.

        `flush` of nats-py is no such barrier. Raises `BusUnavailable` if a subscription was refused.
        """
        token = f"echo-{secrets.token_hex(6)}"
        echoed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.answers[token] = lambda data: None if echoed.done() else echoed.set_result(data)
        try:
            with self.tied(echoed):
                await self.nats.publish(f"{self.inbox}.{token}", b"!")
                async with asyncio.timeout(timeout):
                    await echoed
        except TimeoutError:
            if not self._refused:
                raise BusUnavailable(f"the message bus did not answer within {timeout:g} s") from None
        finally:
            self.answers.pop(token, None)
        if self._refused:
            raise BusUnavailable(f"the message bus refused: {self._refused.pop()}")

    @contextmanager
    def tied(self, awaited: asyncio.Future[Any]) -> Iterator[None]:
        """Within, `awaited` raises `BusUnavailable` as soon as the connection is lost."""
        self._echoes.add(awaited)
        try:
            yield
        finally:
            self._echoes.discard(awaited)

    async def unsubscribe(self, sub: Subscription) -> None:
        """Stop new messages on `sub`; returns when every message that had arrived was handled.

        nats-py's own `drain` pings past its write buffer, so a message sent before the broker sees the
        UNSUB would be dropped, and waits 10 s for a lost connection; the echo of `settled` does neither.
        Without a connection the subscription is only kept from coming back with the next one.
        """
        number = sub._id  # noqa: SLF001 - no public call sends UNSUB alone
        try:
            if self.connected:
                await self.nats._send_unsubscribe(number)  # noqa: SLF001 - as above
                await self.settled()
                await sub._pending_queue.join()  # noqa: SLF001 - what `drain` itself waits for
        finally:
            await sub.unsubscribe()
            self.nats.direct.pop(number, None)

    async def ask(self, subject: str, payload: bytes, timeout: float) -> bytes | None:
        """The first answer to one message: empty if nobody was there, None if nothing was said in time.

        Raises `BusUnavailable`.
        """
        token = f"ask-{secrets.token_hex(6)}"
        said: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.answers[token] = lambda data: None if said.done() else said.set_result(data)
        try:
            await self.publish(subject, payload, f"{self.inbox}.{token}")
            async with asyncio.timeout(timeout):
                return await said
        except TimeoutError:
            return None
        finally:
            self.answers.pop(token, None)

    async def drop(self, sub: Subscription) -> None:
        """Stop messages on `sub`, whatever is on its way."""
        await sub.unsubscribe()
        number = sub._id  # noqa: SLF001 - the only name of a subscription in a message
        self.nats.direct.pop(number, None)
        self.nats.raw.pop(number, None)

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each reconnection."""
        self._on_reconnect.append(callback)

    def jetstream(self) -> JetStreamContext:
        return self.nats.jetstream(timeout=5)

    async def close(self) -> None:
        """Send what is buffered and disconnect; bounded in time, never raises."""
        self._closing = True
        with suppress(nats.errors.Error, OSError, BusUnavailable):
            if self.nats.is_connected:
                await self.settled(timeout=2)
        await abandon(self.nats)

    async def _on_answer(self, msg: Msg) -> None:
        answer = self.answers.get(msg.subject.rpartition(".")[2])
        if answer is not None:
            answer(msg.data)
        elif self.on_unheard is not None and not msg.data:
            reply = subjects.asker(msg.subject)
            if reply != msg.subject:
                await self.on_unheard(reply)

    async def _on_error(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if "ermissions violation" in text.lower():
            self._refused.append(text)
        if self.connected:
            log.warning("bus error", error=text)
        elif time.monotonic() - self._told > SAY_EVERY:
            self._told = time.monotonic()
            log.info("waiting for the bus", error=text)

    async def _on_disconnected(self) -> None:
        for echoed in self._echoes:
            if not echoed.done():
                echoed.set_exception(BusUnavailable("the connection to the message bus was lost"))
        if not self._closing:
            log.warning("bus disconnected")

    async def _on_reconnected(self) -> None:
        log.info("bus reconnected")
        families.RECONNECTS.cell().add()
        for callback in self._on_reconnect:
            callback()
