"""Edges with authentication in front, as a test wants it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from services.edge.auth.apikeys import ApiKeys
from services.edge.auth.authenticate import Authenticate, Oauth
from services.edge.auth.client import Identification
from services.edge.auth.keys import KeySet
from services.edge.auth.resource import Resources
from services.edge.auth.tokens import Authority, Verifier
from tests.services.edge.auth.issuer import NAME, RESOURCE, Issuer
from tests.services.edge.conftest import Edge, modern_body, modern_headers, running

RESOURCES = Resources(RESOURCE, "/mcp", (NAME,), ("mcp",))


def oauth(issuer: Issuer, **changed: Any) -> Oauth:
    verifier = Verifier([Authority(frozenset((issuer.name,)), KeySet("url", None, issuer.fetch))], 86_400)
    parts: dict[str, Any] = {
        "verifier": verifier,
        "resources": RESOURCES,
        "audience": frozenset(),
        "skip_audience": False,
        "required": (),
        "premium": "is_admin",
    }
    return Oauth(**{**parts, **changed})


@asynccontextmanager
async def guarded(
    issuer: Issuer | None,
    keys: ApiKeys | None = None,
    client: Identification | None = None,
    settings: dict[str, Any] | None = None,
    **changed: Any,
) -> AsyncIterator[Edge]:
    """An edge that lets in who has a token of `issuer` or one of `keys`."""
    who = Authenticate(None if issuer is None else oauth(issuer, **changed), keys, client)
    async with running(identify=who, resources=RESOURCES, **(settings or {})) as edge:
        yield edge


async def listed(edge: Edge, authorization: str | None, path: str = "/mcp", **headers: str) -> httpx.Response:
    """The answer to `tools/list` with this `Authorization`."""
    sent = {**modern_headers("tools/list"), **headers}
    if authorization is not None:
        sent["authorization"] = authorization
    return await edge.http.post(path, json=modern_body("tools/list"), headers=sent)
