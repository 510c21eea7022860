from __future__ import annotations

from libs.common import meters
from libs.common.meters import families
from libs.common.meters.cells import SECONDS
from libs.common.meters.registry import FAMILIES, Reading


def reading(name: str) -> Reading | None:
    return next((each for each in meters.collect() if each.name == name), None)


def test_a_reading_has_all_that_an_exporter_needs() -> None:
    families.DOWNSTREAM.cell("git", "success").observe(0.002)
    told = reading("nexus.downstream.call.duration")
    assert told is not None
    assert (told.kind, told.unit, told.labels, told.bounds) == (
        "histogram",
        "s",
        ("server_name", "outcome"),
        SECONDS,
    )
    assert any(each.labels == ("git", "success") and sum(each.counts) for each in told.series)


def test_what_is_kept_elsewhere_is_asked_for_at_each_reading() -> None:
    with meters.watching(lambda: families.TOOLS.cell().set(7)):
        told = reading("nexus.index.tools")
    families.TOOLS.clear()
    assert told is not None
    assert told.series[0].value == 7
    assert reading("nexus.index.tools") is None


def test_a_part_that_cannot_be_read_hides_no_other() -> None:
    def broken() -> None:
        raise RuntimeError("no")

    with meters.watching(broken), meters.watching(lambda: families.SERVERS.cell().set(1)):
        assert reading("nexus.index.servers") is not None
    families.SERVERS.clear()


def test_names_in_prometheus_are_unique() -> None:
    assert len({each.exposed for each in FAMILIES.values()}) == len(FAMILIES)
