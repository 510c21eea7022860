"""What a router is like at this moment, set when somebody wants to know."""

from __future__ import annotations

from collections.abc import Callable, Sized

from libs.common.meters import caches, families
from libs.common.policy import Policy
from services.router.limits.rules import Rules


def vitals(waiting: Sized, policy: Policy, rules: Rules) -> Callable[[], None]:
    """`waiting` are the requests that wait for their limits to be checked."""

    def look() -> None:
        families.IN_FLIGHT.cell("waiting").set(len(waiting))
        caches.show("policy", policy.remembered)
        caches.show("limits", rules.cached.cache_info)

    return look
