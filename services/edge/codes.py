"""Errors of servers with sessions whose codes the modern era does not have (MCP 2026-07-28)."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from libs.common.codec import UNREADABLE, decode, decoder, raw
from libs.common.errors import CallFailed, DownstreamFailed, Failure, InvalidParams
from libs.common.messages.calls import Client

NOT_FOUND = -32002
URL_NEEDED = -32042
PAGES_MAX = 16
"""Pages one error may ask for."""


class _Pages(Struct):
    elicitations: list[dict[str, Any]] = []


_pages: Decoder[_Pages] = decoder(_Pages)


def modern_answer(failure: Failure, method: str, client: Client) -> Raw:
    """What a failure with such a code is to a modern client: a question, a failed tool, or another error.

    Raises `CallFailed` with whatever is an error in this era too.
    """
    if failure.verbatim and failure.code == NOT_FOUND:
        failure = replace(failure, code=InvalidParams.code)
    if not failure.verbatim or failure.code != URL_NEEDED:
        raise CallFailed(failure)
    pages = _read(failure.data)
    if pages and _opens(client):
        asked = {f"page{number}": _question(page) for number, page in enumerate(pages, 1)}
        return raw({"resultType": "input_required", "inputRequests": asked})
    told = f"{failure.message} (a page has to be opened first, which this client does not offer)"
    if method != "tools/call":
        raise DownstreamFailed(told)
    return raw({"content": [{"type": "text", "text": told}], "isError": True})


def _read(data: Raw) -> list[dict[str, Any]]:
    try:
        return _pages.decode(data).elicitations[:PAGES_MAX]
    except UNREADABLE:
        return []


def _question(page: dict[str, Any]) -> dict[str, Any]:
    return {"method": "elicitation/create", "params": {**page, "mode": "url"}}


def _opens(client: Client) -> bool:
    """Whether the client can send a person to an address."""
    modes = decode(client.capabilities).get("elicitation")
    return isinstance(modes, dict) and "url" in modes
