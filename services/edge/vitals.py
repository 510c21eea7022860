"""What an edge is like at this moment, set when somebody wants to know."""

from __future__ import annotations

from collections.abc import Callable, Sized

from libs.common.fleet import Fleet
from libs.common.meters import caches, families
from libs.common.policy import Policy
from services.edge.tally import Tally


def vitals(calls: Sized, fleet: Fleet, policy: Policy, tally: Tally) -> Callable[[], None]:
    """`calls` are those that wait for their end."""

    def look() -> None:
        families.IN_FLIGHT.cell("calls").set(len(calls))
        for counted in (families.LOST, families.MISSING, families.OMITTED):
            counted.cell()
        for status in fleet.statuses():
            families.READY.cell(status.name).set(bool(status.workers))
        caches.show("policy", policy.remembered)
        tally.look()

    return look
