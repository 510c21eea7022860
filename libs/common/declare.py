"""Streams of JetStream, made as wanted, with as many replicas as the bus keeps of everything."""

from __future__ import annotations

from nats.js.api import StreamConfig
from nats.js.errors import BadRequestError

from libs.common.bus import Bus
from libs.common.cancel import cancellable

OTHERWISE = 10058
"""JetStream's error code for a stream that is there with another configuration."""


async def declare_stream(bus: Bus, config: StreamConfig) -> None:
    """Make the stream, or find it; one that keeps another number of replicas is changed to this one.

    Everything else of a stream that is there stays as it is. Raises what nats-py raises.
    """
    try:
        await cancellable(bus.jetstream().add_stream(config.evolve(num_replicas=bus.replicas)))
    except BadRequestError as error:
        if error.err_code != OTHERWISE or config.name is None:
            raise
        await keep_replicas(bus, config.name)


async def keep_replicas(bus: Bus, stream: str) -> None:
    """Have a stream that is there kept by as many servers as the rest. Raises what nats-py raises."""
    js = bus.jetstream()
    found = await cancellable(js.stream_info(stream))
    if found.config.num_replicas != bus.replicas:
        await cancellable(js.update_stream(found.config.evolve(num_replicas=bus.replicas)))
