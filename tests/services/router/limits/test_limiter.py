"""What a refused call is told."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from typing import Any

import pytest

from libs.common.config import Config
from libs.common.errors import NexusError, Overloaded, RateLimited, TooManyRequests
from libs.common.identity import Principal
from services.router.limits.limit import Level, Reading, Storage, StorageDown
from services.router.limits.limiter import Limiter
from services.router.limits.memory import Memory
from services.router.limits.rules import Facts, Rules

pytestmark = pytest.mark.anyio

ANN = Principal("ann", "https://login.example", tier="authenticated")
GIT = '[mcp.servers.git]\nname = "git"\nurl = "https://git.example"\n'
ON = "[server.rate_limits]\nenabled = true\n"


def limiter(text: str, storage: Storage | None = None) -> Limiter:
    rules = Rules(Config.model_validate(tomllib.loads(text)))
    return Limiter(rules, storage or Memory(lambda: 0))


async def refused(limits: Limiter, facts: Facts, calls: int) -> NexusError:
    for _ in range(calls):
        await limits.take(facts)
    with pytest.raises(NexusError) as caught:
        await limits.take(facts)
    return caught.value


def data(error: NexusError) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(error.failure().data))
    return found


async def test_l10_a_refusal_says_which_limit_and_when_to_come_back() -> None:
    text = f'{GIT}rate_limits.tools.log.per_user = {{ limit = 2, interval = "90s" }}'
    error = await refused(limiter(text), Facts(ANN, "git", "log"), 2)
    assert error.message == "rate limit exceeded: 2 in 90 s for you on this tool; try again in 90 s"
    assert data(error) == {
        "scope": "tool/user",
        "limit": 2,
        "interval_ms": 90_000,
        "retry_after_ms": 90_000,
        "executed": "no",
    }
    failure = error.failure()
    assert (failure.code, failure.http, failure.retry, type(error)) == (-31007, 200, False, RateLimited)


@pytest.mark.parametrize("level", ["global", "per_ip", "per_user", "tiers.authenticated"])
async def test_limits_of_all_that_a_caller_does_are_those_of_http(level: str) -> None:
    error = await refused(limiter(f"{ON}{level} = {{ limit = 1, interval = 1 }}"), Facts(ANN), 1)
    assert (type(error), error.failure().http) == (TooManyRequests, 429)


async def test_of_several_limits_the_longest_wait_is_told() -> None:
    text = f"{ON}global = {{ limit = 1, interval = 60 }}\n{GIT}rate_limits = {{ limit = 1, interval = 600 }}"
    error = await refused(limiter(text), Facts(ANN, "git"), 1)
    assert (data(error)["scope"], data(error)["retry_after_ms"]) == ("server", 600_000)


async def test_what_has_no_limit_asks_nobody() -> None:
    await limiter(GIT, Broken()).take(Facts(ANN, "git", "log"))


class Broken:
    """A storage whose policy is to refuse."""

    waits = False

    async def take(self, levels: Sequence[Level]) -> list[Reading]:
        raise StorageDown("10.0.0.7:6379 refused the connection")


async def test_without_its_storage_a_limited_call_is_refused_without_an_address() -> None:
    limits = limiter(f"{ON}global = {{ limit = 9, interval = 1 }}", Broken())
    error = await refused(limits, Facts(ANN), 0)
    assert isinstance(error, Overloaded)
    assert "10.0.0.7" not in error.message
    assert data(error) == {"executed": "no"}
