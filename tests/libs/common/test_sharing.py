"""Whose a session is, and where it is kept: what routers and connectors must agree on."""

from __future__ import annotations

from libs.common.config import Sharing
from libs.common.identity import Principal
from libs.common.messages.calls import Client
from libs.common.sharing import keeper, owner

ANN, BEN = Principal("ann", "https://a.example"), Principal("ann", "https://b.example")
MODERN, LEGACY = Client("2026-07-28"), Client("2025-11-25", session="5e55")
WORKERS = [f"w{number}" for number in range(5)]
KEYS = [f"key {number}" for number in range(1000)]


def test_a_shared_session_is_nobodys() -> None:
    assert owner("shared", ANN, LEGACY) == ""


def test_one_subject_of_two_issuers_is_two_owners() -> None:
    sharings: tuple[Sharing, ...] = ("per-principal", "per-session")
    for sharing in sharings:
        assert owner(sharing, ANN, MODERN) != owner(sharing, BEN, MODERN)


def test_a_session_of_a_client_is_an_owner_only_where_it_should_be() -> None:
    assert owner("per-principal", ANN, LEGACY) == owner("per-principal", ANN, MODERN)
    assert owner("per-session", ANN, LEGACY) == owner("per-session", BEN, LEGACY)
    assert owner("per-session", ANN, LEGACY) != owner("per-session", ANN, MODERN)


def test_no_client_can_name_itself_like_a_principal() -> None:
    forged = Client("2025-11-25", session=f"{ANN.key}")
    assert owner("per-session", BEN, forged) != owner("per-session", ANN, MODERN)


def test_everybody_agrees_who_keeps_a_session_whatever_order_they_heard_of_workers_in() -> None:
    for key in KEYS:
        assert keeper("git", key, WORKERS) == keeper("git", key, WORKERS[::-1])


def test_workers_share_the_sessions_evenly() -> None:
    kept = [keeper("git", key, WORKERS) for key in KEYS]
    assert all(150 < kept.count(worker) < 250 for worker in WORKERS)
    assert kept != [keeper("time", key, WORKERS) for key in KEYS]


def test_only_the_sessions_of_a_worker_that_left_move() -> None:
    for key in KEYS:
        before = keeper("git", key, WORKERS)
        after = keeper("git", key, WORKERS[1:])
        assert after == before or before == WORKERS[0]
