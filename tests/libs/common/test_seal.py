from __future__ import annotations

import base64
import string

import pytest

from libs.common.seal import Keyring, SealBroken

OLD = bytes(range(32))
NEW = bytes(range(1, 33))
BINDING = ("session", "issuer|alice", "/mcp")


def sealed(*keys: bytes, expires: float = 1000.0) -> str:
    return Keyring(keys or (OLD,)).seal(b"payload", binding=BINDING, expires=expires)


def test_a_sealed_payload_opens_with_the_same_binding() -> None:
    assert Keyring([OLD]).open(sealed(), binding=BINDING, now=999.0) == b"payload"


def test_a_token_is_visible_ascii_of_the_base64url_alphabet() -> None:
    assert set(sealed()) <= set(string.ascii_letters + string.digits + "-_")


def test_two_tokens_of_one_payload_differ() -> None:
    assert sealed() != sealed()


@pytest.mark.parametrize(
    "binding",
    [
        ("session", "issuer|mallory", "/mcp"),
        ("session", "issuer|alice", "/mcp/git"),
        ("cursor", "issuer|alice", "/mcp"),
        ("session", "issuer|alice/", "mcp"),
        ("session", "issuer|alice"),
    ],
)
def test_a_token_does_not_open_with_another_binding(binding: tuple[str, ...]) -> None:
    with pytest.raises(SealBroken):
        Keyring([OLD]).open(sealed(), binding=binding, now=0.0)


def test_a_token_ends_at_its_expiry() -> None:
    with pytest.raises(SealBroken):
        Keyring([OLD]).open(sealed(expires=10.0), binding=BINDING, now=10.0)


def test_no_flipped_bit_goes_unnoticed() -> None:
    token = sealed()
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    ring = Keyring([OLD])
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(SealBroken):
            ring.open(base64.urlsafe_b64encode(flipped).rstrip(b"=").decode(), binding=BINDING, now=0.0)


def test_a_token_has_only_one_spelling() -> None:
    ring = Keyring([OLD])
    token = ring.seal(b"12", binding=BINDING, expires=1000.0)
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    assert len(token) % 4, "the last character must have unused bits for this test to mean something"
    neighbour = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    for spelling in (neighbour, token + "=", token + "\n", " " + token):
        with pytest.raises(SealBroken):
            ring.open(spelling, binding=BINDING, now=0.0)


@pytest.mark.parametrize("token", ["", "A", "AAAA", "é" * 60, "!" * 60, "A" * 100_000])
def test_what_was_never_a_token_is_refused_like_a_forged_one(token: str) -> None:
    with pytest.raises(SealBroken) as refused:
        Keyring([OLD]).open(token, binding=BINDING, now=0.0)
    assert str(refused.value) == "the token is not valid here"


def test_after_a_rotation_old_tokens_open_and_new_ones_use_the_new_key() -> None:
    rotated = Keyring([NEW, OLD])
    assert rotated.open(sealed(OLD), binding=BINDING, now=0.0) == b"payload"
    assert Keyring([NEW]).open(sealed(NEW, OLD), binding=BINDING, now=0.0) == b"payload"


def test_a_dropped_key_opens_nothing() -> None:
    with pytest.raises(SealBroken):
        Keyring([NEW]).open(sealed(OLD), binding=BINDING, now=0.0)


@pytest.mark.parametrize("keys", [[], [b"short"], [OLD, b"x" * 33]])
def test_a_key_ring_refuses_keys_of_another_size(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Keyring(keys)
