"""Consumers of the stream of events: of a process that reads along, and of readers outside of the gateway."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.cancel import cancellable
from libs.common.errors import BusUnavailable

ACK_WAIT = 120.0
"""Seconds until an event that was given out, and that nobody acknowledged, may go to somebody else."""
MAX_PENDING = 1000
"""Events of one consumer that may be given out at the same time."""
UNUSED = 60.0
"""Seconds until the broker forgets a consumer that nobody asks any more."""


@asynccontextmanager
async def asked(what: str) -> AsyncIterator[None]:
    """Errors of the client library as `BusUnavailable`: the bus did not do `what`."""
    try:
        yield
    except (NatsError, APIError, TimeoutError) as error:
        raise BusUnavailable(f"the message bus did not {what}: {error}") from error


def taken(classes: Collection[str]) -> list[str]:
    """The subjects of events of some classes, or of all if there are none."""
    wanted = [each for name in classes for each in (subjects.audit(name), subjects.audit(f"{name}.>"))]
    return wanted or [subjects.AUDIT]


async def follow(
    bus: Bus,
    who: str,
    *,
    sequence: int = 1,
    since: float | None = None,
    new: bool = False,
    classes: Collection[str] = (),
) -> str:
    """Have a consumer that acknowledges nothing, and goes when unused; its name.

    It begins at a place of the stream, with what was stored after `since` (seconds since the epoch), or
    with what is `new`. Raises `BusUnavailable`.
    """
    config = ConsumerConfig(
        name=f"{who}-{secrets.token_hex(4)}",
        deliver_policy=DeliverPolicy.NEW if new else DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=None if new else max(1, sequence),
        ack_policy=AckPolicy.NONE,
        filter_subjects=taken(classes),
        mem_storage=True,
        inactive_threshold=UNUSED,
    )
    if since is not None:
        start = datetime.fromtimestamp(since, UTC)
        config = config.evolve(
            deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_seq=None, opt_start_time=start
        )
    async with asked("make a consumer of the audit stream"):
        made = await cancellable(bus.jetstream().add_consumer(subjects.AUDIT_STREAM, config))
    return made.name


async def unfollow(bus: Bus, name: str) -> None:
    """Delete such a consumer. Raises `BusUnavailable`."""
    async with asked(f"delete the consumer {name}"):
        await cancellable(bus.jetstream().delete_consumer(subjects.AUDIT_STREAM, name))


async def make_reader(bus: Bus, name: str, tenant: str = "") -> None:
    """Have the durable consumer of a reader outside; `tenant` as it stands in a subject: only its events.

    Raises `BusUnavailable`.
    """
    config = ConsumerConfig(
        name=name,
        durable_name=name,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT,
        max_ack_pending=MAX_PENDING,
        filter_subjects=[subjects.audit(f"*.{tenant}") if tenant else subjects.AUDIT],
    )
    async with asked(f"make the consumer of the reader {name}"):
        await cancellable(bus.jetstream().add_consumer(subjects.AUDIT_STREAM, config))
