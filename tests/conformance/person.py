"""The operator of the gateway, where there is authorization: configures it, logs in, and does so again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx
from mcp.shared.exceptions import MCPError

from libs.cli.login import login
from libs.common.config import load
from tests.conformance.inline import SERVER

if TYPE_CHECKING:
    from tests.conformance.scenario import Task

LOGINS = 4
"""One more than any scenario allows."""
TRIED_WITHIN = 8.0
"""Seconds in which the gateway has tried the server again after a login."""
DOCUMENT = "https://conformance-test.local/client-metadata.json"


def authentication(name: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """The `auth` table of the server in a scenario; empty where it wants none."""
    if not name.startswith("auth/"):
        return {}
    given = {"client_id": context["client_id"]} if "client_id" in context else {}
    if name == "auth/client-credentials-jwt":
        return {**given, "type": "client-credentials", "private_key": context["private_key_pem"]}
    if "client_secret" in context:
        given["client_secret"] = context["client_secret"]
    if name == "auth/client-credentials-basic":
        return {**given, "type": "client-credentials"}
    if "issuer" in context:
        given["issuer"] = context["issuer"]
    return {**given, "type": "oauth"} if given else {"type": "oauth", "client_metadata_url": DOCUMENT}


async def use_as_operator(task: Task) -> None:
    """Log in whenever the gateway says that somebody has to, and use the server in between."""
    from tests.conformance.scenario import use_tools

    config = load(task.gateway.options.config)
    for _ in range(LOGINS):
        await login(task.gateway.options, config, SERVER, port=0, show=_visit)
        try:
            async with asyncio.timeout(TRIED_WITHIN):
                await task.gateway.until("ready")
            await use_tools(task)
        except (TimeoutError, MCPError, ExceptionGroup):
            continue
        return
    raise SystemExit(f"still refused after {LOGINS} logins")


async def _visit(url: str) -> None:
    """The browser: whoever it is at, it agrees at once and comes back."""
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True, timeout=30) as browser:
        await browser.get(url)
