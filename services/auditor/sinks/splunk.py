"""Events to Splunk's HTTP Event Collector, until its indexers say that they have them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import structlog
from msgspec import UNSET

from libs.common.config.collectors import SplunkSink
from services.auditor.formats.hec import Labels, envelope
from services.auditor.formats.view import Unreadable, View
from services.auditor.sinks.posting import Answer, Post
from services.auditor.sinks.sink import Delivery, Rejected, SinkDown
from services.auditor.sinks.tls import context

log = structlog.get_logger("splunk")

POLL_FIRST, POLL_MAX = 0.1, 2.0
"""Seconds between two questions for acknowledgements."""
OFFER_WITHIN, BATCH_WITHIN = 10.0, 55.0
"""Seconds for sending a batch, piece by piece, and for all of it."""
OPERATOR_WAIT = 30.0
"""Seconds until a mistake in the configuration of either side is tried again."""
TOO_LARGE = 413
SUCCESS, CHANNEL_INVALID = 0, 11
JUDGED = frozenset({5, 6, 12, 13, 15})
"""Codes about what was sent: no data, invalid format, no event or a blank one, invalid fields."""
OPERATOR = {
    1: "the token is disabled in Splunk",
    2: "Splunk asks for a token",
    3: "the token is not accepted",
    4: "the token is not known to Splunk",
    7: "the token may not write to this index; see `index`",
    10: "Splunk wants a channel: set `acknowledge = true`",
    14: "the token has no indexer acknowledgement: enable it in Splunk or set `acknowledge = false`",
}


class Said(msgspec.Struct, rename={"ack": "ackId", "invalid": "invalid-event-number"}):
    """The collector's answer."""

    code: int
    text: str = ""
    ack: int | None = None
    invalid: int | None = None


class Acks(msgspec.Struct):
    """Which acknowledgements have come. Each is told once, and then forgotten by Splunk."""

    acks: dict[str, bool]


class Taken(NamedTuple):
    """Events that the collector has, and the number by which the indexers acknowledge them."""

    events: list[int]
    ack: int


@dataclass(slots=True)
class Progress:
    """What became of one batch so far, on one channel."""

    channel: str
    since: float = field(default_factory=time.monotonic)
    waiting: list[Taken] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    poison: dict[int, str] = field(default_factory=dict)


class Splunk:
    """With acknowledgement, an event counts once the indexers have it; without, once the collector has it.

    Several batches may be delivered at a time: an acknowledgement takes seconds.
    """

    def __init__(self, table: SplunkSink) -> None:
        self._table = table
        self._url = _base(table.url)
        self._channel = table.channel or str(uuid.uuid4())
        token = f"Splunk {table.token.get_secret_value()}"
        headers = {"Authorization": token, "Content-Type": "application/json"}
        self._post = Post(headers, context(table.tls), table.timeout)
        self._labels = Labels(
            host=table.host or UNSET,
            source=table.source,
            sourcetype=table.sourcetype,
            index=table.index or UNSET,
        )

    async def deliver(self, batch: Sequence[Delivery]) -> Collection[int]:
        """What is acknowledged. Raises `SinkDown` if nothing is, `Rejected` for events refused alone."""
        progress = Progress(self._channel)
        down = SinkDown(f"nothing was acknowledged within {self._table.ack_timeout:g} s")
        try:
            await self._offer(batch, progress)
        except SinkDown as error:
            down = error
        await self._await_acks(progress)
        if progress.poison:
            raise Rejected(progress.poison, progress.accepted)
        if not progress.accepted:
            raise down
        return progress.accepted

    async def close(self) -> None:
        """Let go of connections."""
        await self._post.close()

    async def _offer(self, batch: Sequence[Delivery], progress: Progress) -> None:
        """Send all; where an event is refused, send what is around it. Stops where that takes too long."""
        parts = [list(range(len(batch)))]
        while parts and time.monotonic() < progress.since + OFFER_WITHIN:
            part, body = self._body(batch, parts.pop(), progress)
            if not part:
                continue
            answer = await self._post.send(f"{self._url}/event", body, self._channelled(progress))
            said = self._understood(answer)
            if said is not None and said.code == SUCCESS:
                self._take(part, said, progress)
            elif len(part) == 1:
                progress.poison[part[0]] = f"HTTP {answer.status}: {said.text[:200] if said else 'too large'}"
            else:
                parts += reversed(_around(part, said.invalid if said else None))

    def _body(
        self, batch: Sequence[Delivery], part: list[int], progress: Progress
    ) -> tuple[list[int], bytes]:
        """The events of a part that can be read, and what is sent of them."""
        envelopes = {}
        for index in part:
            try:
                data = batch[index].data
                envelopes[index] = envelope(self._labels, View(data), data)
            except Unreadable as error:
                progress.poison[index] = str(error)
        return list(envelopes), b"".join(envelopes.values())

    def _take(self, part: list[int], said: Said, progress: Progress) -> None:
        if not self._table.acknowledge:
            progress.accepted += part
        elif said.ack is None:
            raise SinkDown(OPERATOR[14], OPERATOR_WAIT)
        else:
            progress.waiting.append(Taken(part, said.ack))

    def _understood(self, answer: Answer) -> Said | None:
        """An answer about the events themselves, None for one that is too large; all else is `SinkDown`."""
        if answer.status == TOO_LARGE:
            return None
        try:
            said = msgspec.json.decode(answer.body, type=Said)
        except msgspec.DecodeError:
            raise SinkDown(f"HTTP {answer.status}, and not as a collector answers", answer.wait) from None
        if (said.code == SUCCESS and 200 <= answer.status < 300) or said.code in JUDGED:
            return said
        if said.code == CHANNEL_INVALID and self._table.channel is None:
            self._channel = str(uuid.uuid4())
        if said.code in OPERATOR:
            raise SinkDown(OPERATOR[said.code], OPERATOR_WAIT)
        raise SinkDown(f"HTTP {answer.status}, code {said.code}: {said.text[:200]}", answer.wait)

    async def _await_acks(self, progress: Progress) -> None:
        """Ask until everything is acknowledged, or the time for it is over."""
        until = min(time.monotonic() + self._table.ack_timeout, progress.since + BATCH_WITHIN)
        pause = POLL_FIRST
        while progress.waiting:
            acked = await self._acked(progress)
            for each in progress.waiting:
                progress.accepted += each.events if each.ack in acked else ()
            progress.waiting = [each for each in progress.waiting if each.ack not in acked]
            left = until - time.monotonic()
            if not progress.waiting or left <= 0:
                return
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, POLL_MAX)

    async def _acked(self, progress: Progress) -> set[int]:
        numbers = [each.ack for each in progress.waiting]
        question = msgspec.json.encode({"acks": numbers})
        try:
            answer = await self._post.send(f"{self._url}/ack", question, self._channelled(progress))
            acks = msgspec.json.decode(answer.body, type=Acks).acks
        except (SinkDown, msgspec.DecodeError) as error:
            log.debug("acknowledgements not told", reason=str(error))
            return set()
        return {number for number in numbers if acks.get(str(number)) is True}

    def _channelled(self, progress: Progress) -> Mapping[str, str]:
        return {"X-Splunk-Request-Channel": progress.channel} if self._table.acknowledge else {}


def _base(url: str) -> str:
    """Where `/event` and `/ack` are below; people also give the address of `/event` itself."""
    bare = url.rstrip("/").removesuffix("/event")
    return bare if urlsplit(bare).path else f"{bare}/services/collector"


def _around(part: list[int], refused: int | None) -> list[list[int]]:
    """The event that was refused and those on either side of it, or halves where it is not known."""
    at = refused if refused is not None and 0 <= refused < len(part) else None
    pieces = [part[: len(part) // 2], part[len(part) // 2 :]]
    if at is not None:
        pieces = [part[:at], part[at : at + 1], part[at + 1 :]]
    return [piece for piece in pieces if piece]
