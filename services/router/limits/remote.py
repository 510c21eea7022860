"""Counters in Redis or Valkey, shared by all routers: one script call a request, on the server's clock."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from libs.common.meters import families
from libs.common.telemetry.current import SPAN
from services.router.limits.limit import SECOND, Level, Reading, StorageDown, limited

SCRIPT = Path(__file__).with_name("take.lua").read_text(encoding="utf-8")
_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
_TAG = re.compile(r"[^{]*\{[^}]+\}")
"""A prefix that says itself which part of the key chooses the node of a cluster."""


_OPERATION = "check_and_consume"
_DONE, _FAILED = ("success", ""), ("error", "script_execution")
_ABOUT = {"db.system.name": "redis", "db.operation.name": "EVALSHA", "redis.operation": _OPERATION}

PROBE = Level("probe", "probe", limited(1_000_000, SECOND, smooth=True))


class Remote:
    """`Storage` on a server; no call takes longer than `timeout` seconds, then it is `StorageDown`."""

    def __init__(self, client: Redis, prefix: str, timeout: float, patience: float = 5.0) -> None:
        """`patience` is what `probe` has for an answer: it may have to connect, far away and by TLS."""
        self._client = client
        self._patience = patience
        self._prefix = prefix if _TAG.match(prefix) else f"{prefix}{{nexus}}:"
        self._timeout = timeout

    @property
    def waits(self) -> bool:
        return True

    async def take(self, levels: Sequence[Level], now: int | None = None) -> list[Reading]:
        """`now` (microseconds) stands in for the server's clock. Raises `StorageDown`."""
        return await self._take(levels, now, self._timeout)

    async def probe(self) -> None:
        """Raises `StorageDown` unless calls can be counted now, which a server out of memory cannot."""
        await self._take([PROBE], None, self._patience)

    async def warm(self, connections: int) -> None:
        """Open connections ahead of the calls that will want them. Raises `StorageDown`."""
        tries = (self.take([PROBE]) for _ in range(connections))
        for outcome in await asyncio.gather(*tries, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def close(self) -> None:
        await self._client.aclose()

    def look(self) -> None:
        """Set how many connections there are."""
        (free, _), (used, _) = self._client.connection_pool.get_connection_count()
        families.REDIS_FREE.cell().set(free)
        families.REDIS_USED.cell().set(used)

    async def _take(self, levels: Sequence[Level], now: int | None, timeout: float) -> list[Reading]:
        keys = [f"{self._prefix}{level.scope}:{level.key}" for level in levels]
        said = await self._bounded(keys, ["" if now is None else now, *_numbers(levels)], timeout)
        return [Reading(*said[at : at + 3]) for at in range(0, len(said), 3)]

    async def _bounded(self, keys: list[str], arguments: list[Any], timeout: float) -> list[int]:
        span = SPAN.get()
        if span is None:
            return await self._asked(keys, arguments, timeout)
        about: dict[str, str | int] = {**_ABOUT, "rate_limit.levels": len(keys)}
        with span.child(f"redis:{_OPERATION}", "client", about).active():
            return await self._asked(keys, arguments, timeout)

    async def _asked(self, keys: list[str], arguments: list[Any], timeout: float) -> list[int]:
        began, ended = time.perf_counter(), _FAILED
        try:
            async with asyncio.timeout(timeout):
                said = await self._run(keys, arguments)
        except TimeoutError:
            raise StorageDown(f"no answer within {timeout * 1000:.0f} ms") from None
        except (RedisError, OSError, RuntimeError) as error:
            # uvloop raises RuntimeError where a connection is written to that has just been closed.
            raise StorageDown(str(error) or type(error).__name__) from error
        else:
            ended = _DONE
            return said
        finally:
            families.REDIS.cell(_OPERATION, *ended).observe(time.perf_counter() - began)

    async def _run(self, keys: list[str], arguments: list[Any]) -> list[int]:
        try:
            said: list[int] = await self._client.evalsha(_SHA, len(keys), *keys, *arguments)
        except NoScriptError:
            said = await self._client.eval(SCRIPT, len(keys), *keys, *arguments)
        return said


def _numbers(levels: Sequence[Level]) -> Iterator[int]:
    for level in levels:
        limit = level.limit
        yield from (limit.limit, limit.window, limit.step, limit.burst)
