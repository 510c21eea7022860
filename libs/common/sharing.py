"""Whose a session with a server is, and which worker keeps it. Pure: routers and connectors must agree."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b

from libs.common.config import Keeping
from libs.common.identity import Principal
from libs.common.messages.calls import Client


def owner(sharing: Keeping, principal: Principal, client: Client) -> str:
    """The key of the session that a call belongs on; empty where all share one.

    A client of 2026-07-28 has no session of its own, so its principal's counts.
    """
    if sharing == "shared":
        return ""
    if sharing == "per-token":
        return f"token {principal.key} {principal.credential}"
    if sharing == "per-session" and client.session:
        return f"session {client.session}"
    return f"principal {principal.key}"


def keeper(server: str, key: str, workers: Collection[str]) -> str:
    """The one of `workers` (not empty) that keeps the session `key`, by rendezvous hashing.

    When a worker goes, only its own sessions move; when one comes, it takes its share from all.
    """
    return max(workers, key=lambda worker: blake2b(f"{server}\n{key}\n{worker}".encode()).digest())
