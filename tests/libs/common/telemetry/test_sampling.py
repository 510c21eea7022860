from __future__ import annotations

import random
from typing import Any

import pytest

from libs.common.config.telemetry import Tracing
from libs.common.telemetry.current import sampled, spanned
from libs.common.telemetry.sampling import XRAY, Sampler, xray
from libs.common.trace import NONE, Trace

REQUESTS = 20_000
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ROOT = "1-5759e988-bd862e3fe1be46a994272793"


def sampler(**keys: Any) -> Sampler:
    return Sampler(Tracing.model_validate(keys))


def parent(flags: str, trace: str = TRACE) -> Trace:
    return Trace(f"00-{trace}-{SPAN}-{flags}")


@pytest.mark.parametrize("share", [0.0, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("known", [False, True])
def test_the_share_of_requests_that_is_recorded_is_the_one_configured(share: float, *, known: bool) -> None:
    decide = sampler(sampling=share).decide
    traces = (parent("00", f"{random.getrandbits(128):032x}") if known else NONE for _ in range(REQUESTS))
    recorded = sum(sampled(decide(trace, {}).own) for trace in traces)
    # Five standard deviations: wrong once in 1.7 million runs.
    assert abs(recorded - REQUESTS * share) <= 5 * (REQUESTS * share * (1 - share)) ** 0.5


def test_whoever_decides_by_the_trace_decides_alike() -> None:
    few, more = sampler(sampling=0.1), sampler(sampling=0.3)
    traces = [parent("01", f"{random.getrandbits(128):032x}") for _ in range(1000)]
    by_few = {trace.parent for trace in traces if sampled(few.decide(trace, {}).own)}
    by_more = {trace.parent for trace in traces if sampled(more.decide(trace, {}).own)}
    assert 0 < len(by_few) < len(by_more)
    assert by_few <= by_more


@pytest.mark.parametrize(("flags", "recorded"), [("01", True), ("03", True), ("00", False), ("02", False)])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_clients_decision_holds_where_that_is_wanted(flags: str, share: float, *, recorded: bool) -> None:
    assert (
        sampled(sampler(sampling=share, parent_based_sampler=True).decide(parent(flags), {}).own) is recorded
    )
    assert sampled(sampler(sampling=share).decide(parent(flags), {}).own) is bool(share)


def test_a_trace_of_a_client_goes_on_and_what_it_sent_is_kept() -> None:
    trace = Trace(f"00-{TRACE}-{SPAN}-01", "a=1", "b=2")
    decided = sampler(sampling=1.0).decide(trace, {})
    assert decided.own == f"00-{TRACE}-{SPAN}-01"
    assert (decided.parent, decided.members()) == (trace.parent, trace.members())


def test_without_a_client_a_trace_begins_that_nobody_had() -> None:
    owns = {sampler(sampling=1.0).decide(NONE, {}).own for _ in range(100)}
    assert len(owns) == 100
    assert not any(map(spanned, owns))


def test_a_context_that_is_not_believed_is_passed_on_and_not_gone_on_with() -> None:
    decided = sampler(propagation={"trace_context": False}).decide(parent("01"), {XRAY: f"Root={ROOT}"})
    assert TRACE not in decided.own
    assert "5759e988" not in decided.own
    assert decided.parent == parent("01").parent


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1", "53995c3f42cd8ad8-01"),
        (f"Self=1-2-3; Root={ROOT} ;Parent=53995c3f42cd8ad8;Sampled=0", "53995c3f42cd8ad8-00"),
        (f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=?", "53995c3f42cd8ad8---"),
        (f"Root={ROOT}", "0000000000000000---"),
    ],
)
def test_the_context_of_x_ray_is_read(header: str, expected: str) -> None:
    assert xray(header) == f"00-5759e988bd862e3fe1be46a994272793-{expected}"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Root=",
        "Root=1-5759e988-bd86",
        f"Root={ROOT}x",
        "Root=1-0-0",
        "=;=;",
        "x" * 9999,
        "Root=1-00000000-000000000000000000000000",
    ],
)
def test_what_is_no_context_of_x_ray_is_none(header: str) -> None:
    assert xray(header) == ""
    assert sampler(propagation={"aws_xray": True}).decide(NONE, {XRAY: header}).own


def test_x_ray_counts_where_it_is_wanted_and_w3c_is_not_there() -> None:
    both = sampler(propagation={"aws_xray": True}, parent_based_sampler=True, sampling=0.0)
    header = {XRAY: f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1"}
    assert both.decide(NONE, header).own == "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
    assert TRACE in both.decide(parent("00"), header).own


def test_x_ray_that_leaves_the_decision_open_gets_the_share() -> None:
    header = {XRAY: f"Root={ROOT};Sampled=?"}
    for share in (0.0, 1.0):
        decide = sampler(propagation={"aws_xray": True}, parent_based_sampler=True, sampling=share).decide
        assert sampled(decide(NONE, header).own) is bool(share)
