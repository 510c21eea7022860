from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from libs.common.meters.cells import SECONDS, Series
from libs.common.meters.text import Part, body, headed


def render(name: str, parts: list[Part]) -> str:
    return headed(name, "".join(body(name, part) for part in parts))


def test_one_family_of_several_processes_has_one_head() -> None:
    told = [Series(("tools/call", "success"), 3.0)]
    text = render("nexus.mcp.requests", [({"worker": "a"}, told), ({"worker": "b"}, told)])
    assert text.splitlines() == [
        "# HELP nexus_mcp_requests_total JSON-RPC requests that were answered",
        "# TYPE nexus_mcp_requests_total counter",
        'nexus_mcp_requests_total{worker="a",method="tools/call",status="success"} 3',
        'nexus_mcp_requests_total{worker="b",method="tools/call",status="success"} 3',
    ]


def test_a_histogram_is_cumulative_and_ends_with_its_count() -> None:
    counts = (1, 2, *[0] * (len(SECONDS) - 2), 4)
    text = render("nexus.event_loop.lag", [({}, [Series((), 1.5, counts)])])
    lines = text.splitlines()
    assert 'nexus_event_loop_lag_seconds_bucket{le="0.0025"} 3' in lines
    assert lines[-3:] == [
        'nexus_event_loop_lag_seconds_bucket{le="+Inf"} 7',
        "nexus_event_loop_lag_seconds_sum 1.5",
        "nexus_event_loop_lag_seconds_count 7",
    ]


def test_whatever_a_label_holds_the_text_can_be_parsed_back() -> None:
    odd = 'a"b\\c\nd{}, é'
    text = render("nexus.downstream.ready", [({"worker": "w"}, [Series((odd,), 0.25)])])
    (family,) = text_string_to_metric_families(text)
    (sample,) = family.samples
    assert (sample.labels, sample.value) == ({"worker": "w", "server_name": odd}, 0.25)


def test_an_empty_label_is_not_there() -> None:
    assert "{" not in render("nexus.downstream.ready", [({}, [Series(("",), 1.0)])]).splitlines()[-1]


def test_what_another_version_says_differently_is_left_out() -> None:
    assert render("nexus.no.such", [({}, [Series((), 1.0)])]) == ""
    assert render("nexus.downstream.ready", [({}, [Series(("a", "b"), 1.0)])]) == ""
    assert render("nexus.event_loop.lag", [({}, [Series((), 1.0, (1, 2))])]) == ""
