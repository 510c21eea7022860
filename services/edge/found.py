"""What a search has found, as a tool result: hits, or what to try next."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from libs.common.codec import encode, raw
from libs.common.errors import NULL
from libs.common.messages.search import Hit, ToolsFound
from services.edge.tools import SearchArguments


class Named(Struct, frozen=True):
    """A hit where only names were asked for, or which is too large for more: one line."""

    name: str
    score: float
    description: str


def result(found: ToolsFound, wanted: SearchArguments, *, structured: bool) -> Raw:
    """One text per hit, because some clients show a model only those, and the same structured."""
    hits = [_shown(hit) for hit in found.hits]
    texts = [encode(hit).decode() for hit in hits] or [advice(found, wanted)]
    answer: dict[str, Any] = {"content": [{"type": "text", "text": text} for text in texts]}
    if structured:
        answer["structuredContent"] = {"results": hits, **({} if hits else _meant(found))}
    if found.stranger:
        answer |= {"isError": True, "_meta": {"nexus/executed": "no"}}
    return raw(answer)


def _shown(hit: Hit) -> Hit | Named:
    return Named(hit.name, hit.score, hit.description) if hit.input_schema == NULL else hit


def advice(found: ToolsFound, wanted: SearchArguments) -> str:
    """What a model can do about a search that has found nothing."""
    servers, nearest = ", ".join(found.servers), ", ".join(found.nearest)
    if found.stranger:
        offered = f" Servers to search are: {servers}." if servers else ""
        return f'There is no server "{wanted.server}".{offered} Leave "server" out to search all of them.'
    if found.elsewhere:
        filters = " and ".join(_filters(wanted))
        return f"No tool matches with {filters}. Without, these do: {', '.join(found.elsewhere)}."
    said = "No tool matches."
    if nearest:
        said += f" The nearest names are: {nearest}."
    if servers:
        said += f" Servers to search are: {servers}."
    return f"{said} Try other or fewer words."


def _filters(wanted: SearchArguments) -> list[str]:
    server = [f'"server": "{wanted.server}"'] if wanted.server else []
    return server + (['"read_only": true'] if wanted.read_only else [])


def _meant(found: ToolsFound) -> dict[str, Any]:
    offered = {"tools": found.nearest or found.elsewhere, "servers": found.servers}
    told = {kind: names for kind, names in offered.items() if names}
    return {"did_you_mean": told} if told else {}
