"""Which limits a call counts to: from the configuration and the facts of a request to levels, cached."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import get_args

from msgspec import Struct
from msgspec.json import encode

from libs.common.config import Config, PerUser, Rate, RateLimits, Rates, ServerRates
from libs.common.identity import Principal, Tier
from libs.common.networks import network
from services.router.limits.limit import SECOND, Level, limited

CACHED = 4096
"""Callers times tools whose levels are remembered."""
GATEWAY = frozenset({"global", "ip", "user", "tier"})
"""Scopes of all that a caller does, whatever it calls: over them, HTTP itself answers 429."""


class Facts(Struct, frozen=True):
    """What limits look at. `server` and `tool` are empty where none is meant, or none that exists."""

    principal: Principal
    server: str = ""
    tool: str = ""


class Rules:
    """The limits of one configuration."""

    def __init__(self, config: Config) -> None:
        limits = config.server.rate_limits or RateLimits(enabled=True)
        servers = config.mcp.servers.items() if limits.enabled else ()
        self._gateway = limits if limits.enabled else RateLimits(enabled=False)
        self._smooth = limits.mode == "smooth"
        self._tiers = {tier: getattr(self._gateway.tiers, tier) for tier in get_args(Tier)}
        self._servers: Mapping[str, ServerRates] = {
            name: server.rate_limits for name, server in servers if server.rate_limits is not None
        }
        self.cached = lru_cache(maxsize=CACHED)(self._levels)

    def levels(self, facts: Facts) -> tuple[Level, ...]:
        """What the call counts to. Only names that have limits are remembered: others are any text."""
        rates = self._servers.get(facts.server)
        server, tools = (facts.server, rates.tools) if rates is not None else ("", {})
        return self.cached(Facts(facts.principal, server, facts.tool if facts.tool in tools else ""))

    @property
    def tools(self) -> dict[str, frozenset[str]]:
        """The tools with limits of their own, by server."""
        return {name: frozenset(rates.tools) for name, rates in self._servers.items()}

    def __bool__(self) -> bool:
        """Whether any call could count to anything."""
        own = self._gateway
        users = own.per_user is not None and (own.per_user.limit or own.per_user.groups)
        rated = (own.overall, own.per_ip, users, own.per_group, *self._tiers.values(), self._servers)
        return any(rated)

    def _levels(self, facts: Facts) -> tuple[Level, ...]:
        rates = self._servers.get(facts.server)
        of_server = self._server(rates, facts) if rates is not None else ()
        return (*self._everywhere(facts.principal), *of_server)

    def _everywhere(self, principal: Principal) -> Iterator[Level]:
        own = self._gateway
        if own.overall is not None:
            yield self._level("global", own.overall)
        if own.per_ip is not None:
            yield self._level("ip", own.per_ip, network(principal.address))
        rate = self._tiers.get(tier := principal.tier)
        if rate is not None:
            yield self._level("tier", rate, tier, *_user(principal))
        yield from self._callers("", own.per_user, own.per_group, principal)

    def _server(self, rates: ServerRates, facts: Facts) -> Iterator[Level]:
        yield from self._rates("server", rates, facts.principal, facts.server)
        tool = rates.tools.get(facts.tool)
        if tool is not None:
            yield from self._rates("tool", tool, facts.principal, facts.server, facts.tool)

    def _rates(self, scope: str, rates: Rates, principal: Principal, *where: str) -> Iterator[Level]:
        rate = _rate(rates)
        if rate is not None:
            yield self._level(scope, rate, *where)
        yield from self._callers(f"{scope}/", rates.per_user, rates.per_group, principal, *where)

    def _callers(
        self,
        prefix: str,
        per_user: PerUser | None,
        per_group: Mapping[str, Rate],
        principal: Principal,
        *where: str,
    ) -> Iterator[Level]:
        rate = None if per_user is None else _own(per_user, principal.groups)
        if rate is not None:
            yield self._level(f"{prefix}user", rate, *where, *_user(principal))
        for group in dict.fromkeys(principal.groups):
            if group in per_group:
                yield self._level(f"{prefix}group", per_group[group], *where, group)

    def _level(self, scope: str, rate: Rate, *who: str) -> Level:
        """What came from outside is hashed: a key has a bounded length and nobody can choose one."""
        limit = limited(rate.limit, max(1, round(rate.interval * SECOND)), smooth=self._smooth)
        said = encode((scope, who, limit.limit, limit.window, limit.burst))
        return Level(scope, hashlib.blake2b(said, digest_size=16).hexdigest(), limit)


def _user(principal: Principal) -> tuple[str, ...]:
    """Who counts as one user: callers without a name are told apart by where they call from."""
    if principal.tier == "anonymous":
        return (network(principal.address),)
    return (principal.issuer, principal.subject)


def _rate(rates: Rates | PerUser) -> Rate | None:
    if rates.limit is None or rates.interval is None:
        return None
    return Rate(limit=rates.limit, interval=rates.interval)


def _own(per_user: PerUser, groups: tuple[str, ...]) -> Rate | None:
    rates = [per_user.groups[group] for group in groups if group in per_user.groups]
    if not rates:
        return _rate(per_user)
    return max(rates, key=lambda rate: (rate.limit / rate.interval, rate.limit))
