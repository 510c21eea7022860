"""An edge that asks every process of the fleet what it measured, within bounds of time and size."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Iterator

import structlog
from msgspec.json import Decoder

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import UNREADABLE, decoder
from libs.common.errors import BusUnavailable
from libs.common.messages.metrics import MetricsTold
from libs.common.meters import families
from libs.common.meters.registry import FAMILIES
from libs.common.meters.telling import told
from libs.common.meters.text import Part, body, headed, weight

WITHIN = 0.5
"""Seconds for all answers; who is later is left out and counted."""
GIVEN_UP = 3
"""Scrapes in a row that a process may miss before it is not expected any more."""
BYTES_MAX = 32 * 1024 * 1024
"""Bytes of all answers to one scrape together."""
LINES_MAX = 100_000
"""Lines of text; the largest families are left out of one that would have more."""

LINES_AT_ONCE = 1_000
"""Lines that are written before others have their turn: about 1.5 ms."""

log = structlog.get_logger("meters")

_told: Decoder[MetricsTold] = decoder(MetricsTold)


class _Round:
    """The answers to one question. `expected` are those who answered before, None for a first question."""

    def __init__(self, expected: Iterable[str] | None) -> None:
        own = told()
        self.answers = {own.process: own}
        self.full = asyncio.Event()
        self._open = None if expected is None else set(expected) - self.answers.keys()
        self._room = BYTES_MAX
        self._look()

    def hear(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            families.OMITTED.cell().add()
            return
        try:
            answer = _told.decode(data)
        except UNREADABLE as error:
            log.warning("unreadable metrics", error=str(error))
            return
        self.answers.setdefault(answer.process, answer)
        if self._open is not None:
            self._open.discard(answer.process)
        self._look()

    def _look(self) -> None:
        if self._open is not None and not self._open:
            self.full.set()


class Asking:
    """Asks once at a time: scrapes that come together share one answer."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[str, int] | None = None
        self._running: asyncio.Task[str] | None = None

    async def fleet(self) -> str:
        """The text of all processes that answer in time; of this one at least."""
        if self._running is None:
            self._running = asyncio.create_task(self._ask())
            self._running.add_done_callback(self._end)
        return await asyncio.shield(self._running)

    async def own(self) -> str:
        """The text of this process alone."""
        return await exposition([told()])

    def _end(self, task: asyncio.Task[str]) -> None:
        self._running = None

    async def _ask(self) -> str:
        answers = await self._answers()
        return await exposition(answers)

    async def _answers(self) -> list[MetricsTold]:
        """Return when everybody known has answered; a first question waits for its whole time."""
        asked, token = _Round(self._known), f"metrics-{secrets.token_hex(6)}"
        loop = asyncio.get_running_loop()
        self._bus.answers[token] = asked.hear
        # Who is slow, or new, is heard for the whole time all the same, and expected at the next question.
        loop.call_later(WITHIN, self._learn, asked, token)
        try:
            await self._bus.publish(subjects.METRICS, b"", f"{self._bus.inbox}.{token}")
            async with asyncio.timeout(WITHIN):
                await asked.full.wait()
        except (BusUnavailable, TimeoutError):
            families.MISSING.cell().add(len((self._known or {}).keys() - asked.answers.keys()))
        return list(asked.answers.values())

    def _learn(self, asked: _Round, token: str) -> None:
        self._bus.answers.pop(token, None)
        misses = {process: missed + 1 for process, missed in (self._known or {}).items()}
        known = {**misses, **dict.fromkeys(asked.answers, 0)}
        self._known = {process: missed for process, missed in known.items() if missed < GIVEN_UP}


async def exposition(answers: list[MetricsTold]) -> str:
    """The text of several processes; other work goes on meanwhile."""
    parts = {name: list(_parts(name, answers)) for name in FAMILIES}
    weights = {name: weight(name, told) for name, told in parts.items()}
    texts, room = dict[str, str](), LINES_MAX
    for name in sorted(FAMILIES, key=weights.__getitem__):
        room -= weights[name]
        if room < 0:
            families.OMITTED.cell().add()
            log.warning("metrics are too large for one text", family=name)
            continue
        texts[name] = await _family(name, parts[name])
        await asyncio.sleep(0)
    return "".join(texts.get(name, "") for name in FAMILIES)


async def _family(name: str, parts: list[Part]) -> str:
    bodies, lines = [], 0
    for part in parts:
        bodies.append(body(name, part))
        lines += weight(name, [part])
        if lines > LINES_AT_ONCE:
            lines = 0
            await asyncio.sleep(0)
    return headed(name, "".join(bodies))


def _parts(name: str, answers: list[MetricsTold]) -> Iterator[Part]:
    for each in answers:
        if series := each.families.get(name):
            yield {"service": each.service, "worker": each.worker}, series
