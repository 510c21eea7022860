from __future__ import annotations

from pathlib import Path

import pytest

from libs.common import meters
from libs.common.audit import trail as trails
from libs.common.audit.events import Event
from libs.common.audit.gauges import watched
from libs.common.audit.trail import NO_TRAIL, Trail
from libs.common.bus import Bus
from libs.common.meters import families

pytestmark = pytest.mark.anyio

FAMILIES = (
    families.AUDITED,
    families.PUBLISHED,
    families.UNRECORDED,
    families.AUDIT_LAG,
    families.SPOOL,
    families.SPOOL_LIMIT,
)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    for family in FAMILIES:
        family.clear()


def told() -> dict[str, float]:
    names = {each.name for each in FAMILIES}
    return {each.name: each.series[0].value for each in meters.collect() if each.name in names}


async def test_a_trail_that_cannot_ship_tells_its_lag_and_its_backlog(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trails, "FLUSH_WITHIN", 0.01)
    # There is no stream: what is recorded stays on the disk.
    async with Trail(bus, tmp_path, b"k" * 32, worker="edge-1") as trail:
        trail.record(Event(code="service.started"))
        with watched(trail, 1000), watched(NO_TRAIL, 1000):
            said = told()
    assert said["nexus.audit.events"] == 1
    assert said["nexus.audit.published"] == said["nexus.audit.lost"] == 0
    assert said["nexus.audit.lag"] > 0
    assert said["nexus.audit.spool.size"] > 100
    assert said["nexus.audit.spool.limit"] == 1000


def test_where_nothing_is_audited_nothing_is_told() -> None:
    with watched(NO_TRAIL, 1000):
        assert told() == {}
