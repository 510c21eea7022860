"""Forms, proofs and answers of token endpoints."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from libs.common.oauth import tokens
from libs.common.oauth.tokens import Client, GrantFailed, Token
from libs.common.outbound import Reply


def reply(value: object, status: int = 200) -> Reply:
    return Reply(status, {}, value if isinstance(value, bytes) else json.dumps(value).encode())


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_an_empty_scope_or_resource_is_not_sent() -> None:
    assert tokens.credentials("", "") == {"grant_type": "client_credentials"}
    assert tokens.renewal("r", "https://x") == {
        "grant_type": "refresh_token",
        "refresh_token": "r",
        "resource": "https://x",
    }


def test_an_exchange_names_whose_token_it_is_and_what_for() -> None:
    form = tokens.exchange("theirs", "read", "https://x")
    assert (form["subject_token"], form["resource"], form["scope"]) == ("theirs", "https://x", "read")
    assert form["grant_type"].endswith("token-exchange")


def test_basic_credentials_are_encoded_before_they_are_joined() -> None:
    form, headers = tokens.proof(Client("a:b", "c d"), "")
    assert not form
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"a%3Ab:c%20d"


def test_a_client_without_a_secret_only_says_its_name() -> None:
    assert tokens.proof(Client("me", method="none"), "") == ({"client_id": "me"}, {})
    posted = tokens.proof(Client("me", "s", "client_secret_post"), "")
    assert posted == ({"client_id": "me", "client_secret": "s"}, {})


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(ec.generate_private_key(ec.SECP256R1()), "ES256"), (rsa.generate_private_key(65537, 2048), "RS256")],
)
def test_a_key_signs_for_one_audience_and_one_minute(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, algorithm: str
) -> None:
    form, _ = tokens.proof(Client("me", method="private_key_jwt", key=pem(key)), "https://as.example")
    claims = jwt.decode(
        form["client_assertion"], key.public_key(), algorithms=[algorithm], audience="https://as.example"
    )
    assert (claims["iss"], claims["sub"]) == ("me", "me")
    assert claims["exp"] - claims["iat"] == 60


def test_what_is_no_key_is_refused_without_showing_it() -> None:
    with pytest.raises(GrantFailed, match="cannot sign") as told:
        tokens.proof(Client("me", method="private_key_jwt", key="hunter2"), "")
    assert "hunter2" not in str(told.value)


def test_a_token_is_replaced_a_little_before_its_end() -> None:
    assert tokens.read(reply({"access_token": "t", "expires_in": 3600}), now=1000) == Token("t", 4570.0)
    assert tokens.read(reply({"access_token": "t", "expires_in": "100"}), now=1000) == Token("t", 1090.0)
    unknown = tokens.read(reply({"access_token": "t"}), now=1000)
    assert unknown.fresh(10**12)
    assert not Token("t", 1090.0).fresh(1090.0)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", {}, {"access_token": ""}, {"access_token": "a\nb"}, {"access_token": 1}]
)
def test_an_answer_without_a_usable_token_is_no_token(body: object) -> None:
    with pytest.raises(GrantFailed):
        tokens.read(reply(body), now=0)


def test_a_token_of_another_kind_is_not_taken_for_a_bearer() -> None:
    with pytest.raises(GrantFailed, match="of a kind"):
        tokens.read(reply({"access_token": "t", "token_type": "DPoP"}), now=0)


def test_a_refusal_tells_the_code_and_nothing_else_that_was_said() -> None:
    with pytest.raises(GrantFailed, match="invalid_client") as told:
        tokens.read(reply({"error": "invalid_client", "error_description": "secret"}, 401), now=0)
    assert (told.value.code, "secret" in str(told.value)) == ("invalid_client", False)
    with pytest.raises(GrantFailed, match="HTTP 500") as told:
        tokens.read(reply({"error": "<script>"}, 500), now=0)
    assert told.value.code == ""


@pytest.mark.parametrize("lives", ["inf", "nan", "-1"])
def test_a_life_that_is_no_time_is_not_known(lives: str) -> None:
    """An infinite one could be sealed, and never be read again."""
    body = json.dumps({"access_token": "t", "expires_in": lives}).encode()
    assert tokens.read(Reply(200, {}, body), now=1000.0).renew_at == 0.0
