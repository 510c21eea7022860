"""What an indexer is like at this moment, set when somebody wants to know."""

from __future__ import annotations

from collections.abc import Callable

from libs.common.meters import caches, families
from libs.common.policy import Policy
from services.indexer.catalog import Catalog


def vitals(catalog: Catalog, policy: Policy) -> Callable[[], None]:
    """What `catalog` holds, and what `policy` remembers."""

    def look() -> None:
        families.TOOLS.cell().set(len(catalog))
        families.SERVERS.cell().set(catalog.servers)
        families.EMPTY.cell()
        caches.show("policy", policy.remembered)

    return look
