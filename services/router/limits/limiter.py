"""Whether a call is within its limits: the one question the router asks."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.errors import Overloaded, RateLimited, TooManyRequests
from libs.common.meters import families
from libs.common.telemetry.current import SPAN
from services.router.limits.limit import SECOND, Level, Reading, Storage, StorageDown
from services.router.limits.rules import GATEWAY, Facts, Rules

_OF = {
    "global": "this gateway",
    "ip": "your address",
    "tier": "your tier",
    "user": "you",
    "group": "your group",
    "server": "this server",
    "tool": "this tool",
}


class Limiter:
    """Rules, and the storage that counts by them."""

    def __init__(self, rules: Rules, storage: Storage) -> None:
        self._rules = rules
        self._storage = storage

    @property
    def waits(self) -> bool:
        """Whether `take` may have to wait for somebody else."""
        return self._storage.waits

    async def take(self, facts: Facts) -> None:
        """Count one call at all of its levels. Raises `RateLimited` and then has counted it at none."""
        levels = self._rules.levels(facts)
        if not levels:
            return
        try:
            readings = await self._storage.take(levels)
        except StorageDown:
            _count(levels)
            raise Overloaded("the limits of this call cannot be checked at the moment; try again") from None
        _count(levels, readings)
        _tell(levels, readings)
        if any(reading.wait for reading in readings):
            raise _refusal(levels, readings)


def _count(levels: Sequence[Level], readings: Sequence[Reading] = ()) -> None:
    """How each level decided; without readings none of them was asked."""
    if not readings:
        for level in levels:
            families.DECISIONS.cell(level.scope, "unchecked").add()
    for level, reading in zip(levels, readings, strict=False):
        families.DECISIONS.cell(level.scope, "refused" if reading.wait else "allowed").add()


def _tell(levels: Sequence[Level], readings: Sequence[Reading]) -> None:
    """What every limit said, in the span of the request if there is one; whose limit it is stays here."""
    span = SPAN.get()
    if span is None:
        return
    for level, reading in zip(levels, readings, strict=True):
        said: dict[str, str | int] = {
            "rate_limit.scope": level.scope,
            "rate_limit.limit": level.limit.limit,
            "rate_limit.interval_ms": -(-level.limit.window // 1000),
            "rate_limit.allowed": not reading.wait,
            "rate_limit.remaining": reading.remaining,
        }
        if reading.wait:
            said["rate_limit.retry_after_ms"] = -(-reading.wait // 1000)
        span.event("rate_limit", said)


def _refusal(levels: Sequence[Level], readings: Sequence[Reading]) -> RateLimited:
    """Of the limits that refuse, the one that refuses longest: before that, another try is for nothing."""
    level, reading = max(zip(levels, readings, strict=True), key=lambda each: each[1].wait)
    limit, wait = level.limit.limit, -(-reading.wait // 1000)
    kind = TooManyRequests if level.scope in GATEWAY else RateLimited
    window = level.limit.window / SECOND
    return kind(
        f"rate limit exceeded: {limit} in {window:g} s for {_named(level.scope)}; "
        f"try again in {wait / 1000:g} s",
        scope=level.scope,
        limit=limit,
        interval_ms=-(-level.limit.window // 1000),
        retry_after_ms=wait,
    )


def _named(scope: str) -> str:
    return " on ".join(_OF[part] for part in reversed(scope.split("/")))
