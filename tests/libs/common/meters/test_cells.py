from __future__ import annotations

import pytest

from libs.common.meters.cells import OTHER, SERIES_MAX, Family, Level, Spread, Sum


def spread() -> Family[Spread]:
    return Family(Spread, "histogram", "made.up.duration", "Made up", ("tool",), "s")


def test_a_sum_grows_by_what_is_added() -> None:
    family = Family(Sum, "counter", "made.up", "Made up", ("kind",))
    family.cell("a").add()
    family.cell("a").add(2)
    assert [(each.labels, each.value) for each in family.read()] == [(("a",), 3.0)]


def test_an_observation_falls_under_the_first_bound_that_holds_it() -> None:
    cell = Spread((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        cell.observe(seconds)
    assert cell.read(()).counts == (2, 1, 1)
    assert cell.read(()).value == pytest.approx(7.65)


def test_names_beyond_the_bound_share_one_series() -> None:
    family = spread()
    for number in range(SERIES_MAX + 10_000):
        family.cell(f"tool{number}").observe(0.01)
    assert len(family) == SERIES_MAX + 1
    assert sum(family.cell(OTHER).counts) == 10_000


def test_the_wrong_number_of_labels_is_refused_with_their_names() -> None:
    with pytest.raises(ValueError, match=r"made\.up\.duration has the labels tool"):
        spread().cell("a", "b")


@pytest.mark.parametrize(
    ("family", "exposed"),
    [
        (spread(), "made_up_duration_seconds"),
        (Family(Sum, "counter", "nexus.mcp.requests", ""), "nexus_mcp_requests_total"),
        (Family(Level, "gauge", "process.resident_memory", "", unit="By"), "process_resident_memory_bytes"),
        (Family(Level, "counter", "process.cpu", "", unit="s"), "process_cpu_seconds_total"),
    ],
)
def test_prometheus_sees_underscores_the_unit_and_whether_it_only_grows(
    family: Family[Sum], exposed: str
) -> None:
    assert family.exposed == exposed
