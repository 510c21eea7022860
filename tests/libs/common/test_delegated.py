"""Tokens of callers on the bus: what opens one, and what does not."""

from __future__ import annotations

import time

import pytest

from libs.common.delegated import SEALED_MAX, fingerprint, open_token, seal_token
from libs.common.identity import Principal
from libs.common.seal import Keyring, SealBroken

KEYS = Keyring([bytes(32)], SEALED_MAX)
ANN = Principal("ann", "https://login.example", credential="c1")
NOW = time.time()


def sealed(token: str = "secret", until: float = NOW + 60) -> str:
    return seal_token(KEYS, token, ANN, "git", until)


def test_a_token_is_opened_for_its_caller_and_its_server() -> None:
    assert open_token(KEYS, sealed(), ANN, "git", NOW) == "secret"


def test_the_longest_token_that_is_let_in_can_be_sealed() -> None:
    longest = "x" * 8192
    assert open_token(KEYS, sealed(longest), ANN, "git", NOW) == longest


@pytest.mark.parametrize(
    ("caller", "server", "now"),
    [
        (Principal("ben", "https://login.example", credential="c1"), "git", NOW),
        (Principal("ann", "https://other.example", credential="c1"), "git", NOW),
        (Principal("ann", "https://login.example", credential="c2"), "git", NOW),
        (ANN, "time", NOW),
        (ANN, "git", NOW + 61),
    ],
    ids=["subject", "issuer", "credential", "server", "time"],
)
def test_nobody_else_nowhere_else_and_not_later(caller: Principal, server: str, now: float) -> None:
    with pytest.raises(SealBroken):
        open_token(KEYS, sealed(), caller, server, now)


@pytest.mark.parametrize("text", ["", "secret", "AAAA" * 20])
def test_what_was_never_sealed_is_not_opened(text: str) -> None:
    with pytest.raises(SealBroken):
        open_token(KEYS, text, ANN, "git", NOW)


def test_a_token_of_another_fleet_is_not_opened() -> None:
    with pytest.raises(SealBroken):
        open_token(Keyring([b"\1" * 32]), sealed(), ANN, "git", NOW)


def test_a_fingerprint_tells_tokens_apart_and_does_not_show_them() -> None:
    assert fingerprint("secret-a") != fingerprint("secret-b")
    assert fingerprint("secret-a") == fingerprint("secret-a")
    assert "secret" not in fingerprint("secret-a")
