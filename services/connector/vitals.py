"""What a connector is like at this moment, set when somebody wants to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from libs.common import rpc
from libs.common.messages.calls import Order
from libs.common.meters import families
from services.connector.pool import Pool


def vitals(pool: Pool, calls: rpc.Server[Order]) -> Callable[[], None]:
    """What `pool` holds, and which of `calls` it works on or only listens for."""

    def look() -> None:
        families.IN_FLIGHT.cell("calls").set(len(calls) - calls.standing)
        families.IN_FLIGHT.cell("streams").set(calls.standing)
        families.STATE.clear()
        for (server, state), instances in Counter(pool.states()).items():
            families.STATE.cell(server, state).set(instances)
        for server, restarts in pool.restarts().items():
            families.RESTARTS.cell(server).set(restarts)
        for server, shared, private in pool.sessions():
            families.SESSIONS.cell(server, "all").set(shared)
            families.SESSIONS.cell(server, "one").set(private)

    return look
