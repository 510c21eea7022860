"""What it costs an edge to know who calls: credentials it has seen within a minute, and new ones."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from libs.common.apikeys import Record, hash_key, new_key
from services.edge.auth.apikeys import ApiKeys
from services.edge.auth.authenticate import Authenticate, Oauth
from services.edge.auth.keys import KeySet
from services.edge.auth.resource import Resources
from services.edge.auth.tokens import Authority, Verifier
from services.edge.gateway import Anonymous, Identify, Visit

RESOURCE = "https://nexus.example.com"
ISSUER = "https://idp.example.com"
WARM_MAX = 15.0
COLD_MAX = 300.0
ROUNDS = 5
_KEYS: dict[str, tuple[Any, Any]] = {
    "RS256": (rsa.generate_private_key(public_exponent=65537, key_size=2048), RSAAlgorithm),
    "ES256": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
}


class Entrance(msgspec.Struct):
    """CPU microseconds of one request over one of a gateway without authentication; the cheapest round."""

    credentials: str
    cost: float
    budget: float


def entrance(times: int = 2000) -> list[Entrance]:
    """Every kind of credentials, `times` in each round."""
    return asyncio.run(_entrance(times))


async def _entrance(times: int) -> list[Entrance]:
    open_door = await _cheapest(Anonymous(), "", times)
    key = new_key()
    robots = Authenticate(None, ApiKeys([Record(hash_key(key), "robot")], None), None)
    signed = {name: _door(name) for name in _KEYS}
    costs = [
        ("token, seen within a minute", await _cheapest(*signed["RS256"], times), WARM_MAX),
        ("API key, seen within a minute", await _cheapest(robots, key, times), WARM_MAX),
    ]
    for name, (who, token) in signed.items():
        found = await _cheapest(who, token, max(times // 20, 1), before=who.forget)
        costs.append((f"{name} token, not seen before", found, COLD_MAX))
    return [Entrance(name, cost - open_door, budget) for name, cost, budget in costs]


def _door(algorithm: str) -> tuple[Authenticate, str]:
    """One issuer that signs by `algorithm`, and a token of it."""
    private, kind = _KEYS[algorithm]
    document = json.dumps({"keys": [{**kind.to_jwk(private.public_key(), as_dict=True), "kid": "k"}]})

    async def fetch(url: str) -> bytes:
        return document.encode()

    oauth = Oauth(
        verifier=Verifier([Authority(frozenset((ISSUER,)), KeySet("", None, fetch))], 86_400),
        resources=Resources(RESOURCE, "/mcp", (ISSUER,)),
        audience=frozenset(),
        skip_audience=False,
        required=("mcp",),
        premium="is_admin",
    )
    now = int(time.time())
    said = {"iss": ISSUER, "sub": "alice", "aud": f"{RESOURCE}/mcp", "exp": now + 3600, "scope": "mcp notes"}
    return Authenticate(oauth, None, None), jwt.encode(said, private, algorithm, {"kid": "k"})


async def _cheapest(
    who: Identify, secret: str, times: int, before: Callable[[], None] | None = None
) -> float:
    headers = {"authorization": f"Bearer {secret}"}
    await who(Visit(headers, "/mcp"))
    return min([await _round(who, headers, times, before or _nothing) for _ in range(ROUNDS)])


async def _round(
    who: Callable[[Visit], Awaitable[object]], headers: dict[str, str], times: int, before: Callable[[], None]
) -> float:
    start = time.process_time()
    for _ in range(times):
        before()
        await who(Visit(headers, "/mcp"))
    return (time.process_time() - start) / times * 1e6


def _nothing() -> None:
    pass
