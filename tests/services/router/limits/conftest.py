"""Storages on a real Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from libs.common.config import Storage
from services.router.limits.connect import connect
from services.router.limits.limit import Level, limited
from services.router.limits.remote import Remote
from tests.valkey import Valkey

SECOND = 1_000_000


def level(limit: int, seconds: float, *, key: str = "k", scope: str = "user", smooth: bool = False) -> Level:
    return Level(scope, key, limited(limit, round(seconds * SECOND), smooth=smooth))


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    """A client beside ours, to look at what is stored."""
    client = Redis.from_url(valkey.url)
    yield client
    await client.aclose()


@asynccontextmanager
async def storing(url: str, **changed: Any) -> AsyncIterator[Remote]:
    given = {"key_prefix": "test:", "call_timeout": 5, **changed}
    remote = connect(Storage.model_validate({"type": "redis", "url": url, **given}))
    yield remote
    await remote.close()


@pytest.fixture
async def remote(valkey: Valkey) -> AsyncIterator[Remote]:
    async with storing(valkey.url) as remote:
        yield remote
