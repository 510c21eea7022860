"""Publishes a chunk of events as one batch that the stream stores in order, or not from some event on.

In the protocol of NATS for fast batches (ADR-50, server 2.14) a reply subject says which message of which
batch it is, and ends in `$FI`; the stream answers the batch and no longer each message. A server that does
not know it, or a stream that does not allow it, acknowledges each message; these are counted here.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import NamedTuple

import msgspec
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import UNREADABLE, decoder
from libs.common.errors import BusUnavailable

ACK_WITHIN = 5.0
FLOW = 1_000
"""Messages after which the stream may say how far it is; more than are in one chunk."""
FEW = 3
"""For so many messages a batch has as many answers as they have by themselves."""

_ROOT = subjects.AUDIT.removesuffix(".>").encode()
_TARGET = re.compile(rb"[a-z_]+(\.[a-z2-7]{16})?")
_UID = 26
_HEADERS = len(b"NATS/1.0\r\nNats-Msg-Id: \r\n\r\n") + _UID
_DISABLED = 10205
"""The API's code for a stream that takes no batches."""
_UNKNOWN = 10208
"""The API's code for a message whose batch has ended already."""


class NotTaken(Exception):
    """The stream has not taken events; the message says why, as far as it is known."""


class Taken(NamedTuple):
    """What became of a chunk: events stored, lines that were none, bytes done with, why no more."""

    events: int
    torn: int = 0
    size: int = 0
    failure: str = ""


class Lines(NamedTuple):
    """The events of a chunk: target, id, JSON, and where in the chunk the next line begins."""

    events: list[tuple[bytes, bytes, bytes, int]]
    torn: int


class _Problem(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    """Of the stream: to one message, or to a batch as a whole."""

    seq: int = 0
    batch: str = ""
    count: int = 0
    type: str = ""
    error: _Problem | None = None


_answer: msgspec.json.Decoder[_Answer] = decoder(_Answer)


class Publisher:
    """Hands chunks to the stream, one at a time."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._prefix = f"{bus.inbox}.ship"
        self._listening: Subscription | None = None
        self._batched = True
        self._waiting: dict[str, _Outcome] = {}

    async def publish(self, data: bytes) -> Taken:
        """Return when the stream has said what became of every event in `data`. Raises `NotTaken`."""
        lines = events_of(data)
        if not lines.events:
            return Taken(0, lines.torn, len(data))
        taken = await self._sent(lines)
        if taken < 0:
            self._batched = False
            taken = await self._sent(lines)
        outcome = Taken(taken, lines.torn, len(data))
        if taken < len(lines.events):
            size = lines.events[taken - 1][3] if taken else 0
            outcome = Taken(taken, 0, size, "the stream takes no more: it is full, or has changed its leader")
        return outcome

    async def close(self) -> None:
        """Listen to no more answers."""
        if self._listening is not None and self._bus.connected:
            await self._bus.drop(self._listening)
        self._listening = None

    async def _sent(self, lines: Lines) -> int:
        """How many events are stored, from the first one on; -1 if the stream takes no batches."""
        token = secrets.token_hex(6)
        batched = self._batched and len(lines.events) > FEW
        outcome = self._waiting[token] = _Outcome(len(lines.events))
        commands = _commands(lines, f"{self._prefix}.{token}".encode(), batched=batched)
        try:
            with self._bus.tied(outcome.done):
                async with asyncio.timeout(ACK_WITHIN):
                    await self._listen()
                    await self._bus.send(commands)
                    return await outcome.done
        except TimeoutError:
            raise NotTaken("the stream of audit events does not answer") from None
        except (BusUnavailable, NatsError) as error:
            raise NotTaken(str(error) or "the gateway has lost its message bus") from None
        finally:
            del self._waiting[token]

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = await self._bus.receive(f"{self._prefix}.>", self._on_answer)

    def _on_answer(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        token = subject[len(self._prefix) + 1 :].partition(".")[0]
        outcome = self._waiting.get(token)
        if outcome is not None and not outcome.done.done():
            outcome.take(data)


class _Outcome:
    """What the stream says of one batch."""

    def __init__(self, wanted: int) -> None:
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._wanted = wanted
        self._acks = 0

    def take(self, data: bytes) -> None:
        if not data:
            self.done.set_exception(NotTaken("there is no stream of audit events"))
            return
        try:
            answer = _answer.decode(data)
        except UNREADABLE:
            return
        if answer.batch:
            self.done.set_result(answer.count)
        elif answer.error is not None and answer.type != "err":
            self._refused(answer.error)
        elif not answer.type and answer.seq:
            self._acks += 1
            if self._acks == self._wanted:
                self.done.set_result(self._wanted)

    def _refused(self, error: _Problem) -> None:
        """A refusal within a batch (`err`) is followed by the count of what was stored before it."""
        if error.err_code == _DISABLED:
            self.done.set_result(-1)
        elif error.err_code == _UNKNOWN:
            self.done.set_exception(NotTaken("the stream has changed its leader"))
        else:
            self.done.set_exception(NotTaken(f"the stream refuses events: {error.description}"))


def events_of(data: bytes) -> Lines:
    """The whole lines of a chunk that can be sent."""
    found: list[tuple[bytes, bytes, bytes, int]] = []
    torn = end = 0
    for line in data.split(b"\n"):
        end += len(line) + 1
        target, _, rest = line.partition(b" ")
        uid, _, event = rest.partition(b" ")
        if len(uid) == _UID and event.endswith(b"}") and _TARGET.fullmatch(target):
            found.append((target, uid, event, end))
        elif line:
            torn += 1
    return Lines(found, torn)


def _commands(lines: Lines, reply: bytes, *, batched: bool) -> bytes:
    """The protocol's commands: nats-py takes 20 µs for a message with headers, this takes one."""
    last = len(lines.events)
    parts: list[bytes] = []
    for number, (target, uid, event, _) in enumerate(lines.events, 1):
        to = reply
        if batched:
            operation = 2 if number == last else 0 if number == 1 else 1
            to = b"%b.%d.fail.%d.%d.$FI" % (reply, FLOW, number, operation)
        parts.append(
            b"HPUB %b.%b %b %d %d\r\nNATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n%b\r\n"
            % (_ROOT, target, to, _HEADERS, _HEADERS + len(event), uid, event)
        )
    return b"".join(parts)
