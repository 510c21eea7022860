"""A process among others: it says what it measured when an edge asks the whole fleet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import accumulate

import structlog
from msgspec.structs import replace
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import encode
from libs.common.errors import BusUnavailable
from libs.common.messages.metrics import MetricsTold
from libs.common.meters import families
from libs.common.meters.registry import PROCESS, collect, watching

TOLD_MAX = 512 * 1024
"""Bytes of one answer; the largest families are left out of one that would be larger."""
HEAD = 1024
"""Bytes of it that name the process."""
TOGETHER = "nexus"
"""The service of a process that runs several."""

log = structlog.get_logger("meters")

_here: list[tuple[str, str, Bus]] = []
"""The services of this process, their workers and connections; the first one speaks for all."""


@asynccontextmanager
async def telling(bus: Bus, service: str, worker: str) -> AsyncIterator[None]:
    """Answer whoever asks for metrics, as long as this is entered."""
    me = (service, worker, bus)
    _here.append(me)

    async def on_question(msg: Msg) -> None:
        if _here[0] is me and msg.reply:
            with suppress(BusUnavailable, NatsError):
                await bus.publish(msg.reply, encode(bounded(told())))

    families.RECONNECTS.cell()
    asked = await bus.subscribe(subjects.METRICS, on_question)
    try:
        with watching(_look):
            yield
    finally:
        _here.remove(me)
        with suppress(BusUnavailable, NatsError):
            await bus.drop(asked)


def _look() -> None:
    families.BUS.cell().set(all(bus.connected for *_, bus in _here))


def told() -> MetricsTold:
    """What this process has measured."""
    service, worker = _here[0][:2] if _here else ("", "")
    service = TOGETHER if len({name for name, *_ in _here}) > 1 else service
    return MetricsTold(PROCESS, service, worker, {each.name: each.series for each in collect()})


def bounded(whole: MetricsTold, limit: int = TOLD_MAX) -> MetricsTold:
    """`whole`, or as many of its families as fit, the small ones first."""
    if len(encode(whole)) <= limit:
        return whole
    sizes = {name: len(encode({name: series})) for name, series in whole.families.items()}
    ordered = sorted(sizes, key=sizes.__getitem__)
    together = accumulate(sizes[name] for name in ordered)
    kept = {name for name, size in zip(ordered, together, strict=True) if size <= limit - HEAD}
    families.OMITTED.cell().add(len(sizes) - len(kept))
    log.warning("metrics do not fit into an answer", families=sorted(sizes.keys() - kept))
    return replace(whole, families={name: whole.families[name] for name in ordered if name in kept})
