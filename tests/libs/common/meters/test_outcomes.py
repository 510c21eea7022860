from __future__ import annotations

import asyncio

import pytest

from libs.common.errors import (
    CallFailed,
    DeadlineExceeded,
    Failure,
    InternalFault,
    ParseFailed,
    RateLimited,
    TooManyRequests,
    WorkerLost,
)
from libs.common.meters.outcomes import cause, failure_type


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-32700, "parse_error"),
        (-32600, "invalid_request"),
        (-32601, "method_not_found"),
        (-32602, "invalid_params"),
        (-32603, "internal_error"),
        (-32000, "rate_limit_exceeded"),
        (-32001, "server_error"),
        (-32099, "server_error"),
        (-32100, "unknown"),
        (-31002, "unknown"),
        (7, "unknown"),
    ],
)
def test_a_servers_own_error_is_told_by_its_code(code: int, said: str) -> None:
    assert failure_type(Failure(code, "no", verbatim=True)) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ParseFailed("x"), "parse_error"),
        (InternalFault("x"), "internal_error"),
        (RateLimited("x"), "rate_limit_exceeded"),
        (TooManyRequests("x"), "rate_limit_exceeded"),
        (WorkerLost("x"), "worker_lost"),
        (RuntimeError("x"), "internal_error"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_an_error_of_ours_is_told_by_its_name(error: BaseException, said: str) -> None:
    assert cause(error).type == said


@pytest.mark.parametrize(
    ("error", "origin"),
    [
        (CallFailed(Failure(-32603, "no", verbatim=True)), "server"),
        (CallFailed(Failure(-32601, "no", verbatim=True)), "server"),
        (DeadlineExceeded("x"), "server"),
        (ParseFailed("x"), "client"),
        (TooManyRequests("x"), "client"),
        (asyncio.CancelledError(), "client"),
        (WorkerLost("x"), "gateway"),
        (InternalFault("x"), "gateway"),
        (CallFailed(Failure(-1, "of a later version")), "gateway"),
        (RuntimeError("x"), "gateway"),
    ],
)
def test_an_error_is_somebodys_doing(error: BaseException, origin: str) -> None:
    assert cause(error).origin == origin
