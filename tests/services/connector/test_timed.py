from __future__ import annotations

import asyncio

import pytest

from libs.common.errors import (
    CapabilityMissing,
    DeadlineExceeded,
    DownstreamError,
    DownstreamLost,
    NotSent,
    ResultInvalid,
)
from services.connector.timed import Timed
from tests.meters import Since


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (DownstreamError(-32000, "no"), "error"),
        (CapabilityMissing("ask"), "error"),
        (DeadlineExceeded("late"), "deadline"),
        (TimeoutError(), "deadline"),
        (DownstreamLost("gone"), "lost"),
        (NotSent("refused"), "failed"),
        (ResultInvalid("no JSON"), "failed"),
        (RuntimeError(), "failed"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_how_a_request_ended_is_its_outcome(raised: BaseException, outcome: str) -> None:
    since = Since()
    with pytest.raises(type(raised)), Timed("git"):
        raise raised
    assert since.told("nexus.downstream.call.duration") == {("git", outcome): 1}
