from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from services.edge.auth.keys import KeySet, read_keys
from services.edge.auth.refusal import AuthRefused, KeysUnavailable, Unauthorized
from services.edge.auth.tokens import Authority, Token, Verifier
from tests.services.edge.auth.issuer import KINDS, NAME, RESOURCE, Issuer, other_key, weak_key

pytestmark = pytest.mark.anyio


def verifier(*issuers: Issuer, lifetime: float = 86_400) -> Verifier:
    return Verifier(
        [Authority(frozenset((each.name,)), KeySet(each.name, None, each.fetch)) for each in issuers],
        lifetime,
    )


async def judged(issuer: Issuer, token: str) -> Token:
    return await verifier(issuer).verify(token)


async def refused(issuer: Issuer, token: str) -> AuthRefused:
    with pytest.raises(AuthRefused) as caught:
        await judged(issuer, token)
    return caught.value


@pytest.mark.parametrize("algorithm", sorted(KINDS))
async def test_a_token_of_the_issuer_is_good(algorithm: str) -> None:
    issuer = Issuer(key=KINDS[algorithm][0], algorithm=algorithm)
    token = await judged(issuer, issuer.token(scope="a b"))
    assert token.claims["sub"] == "alice"
    assert token.audiences == {RESOURCE}


async def test_a_token_without_a_key_id_may_be_signed_by_any_key() -> None:
    issuer = Issuer()
    issuer.kid = None
    assert (await judged(issuer, issuer.token())).claims["iss"] == NAME


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e308},
        {"exp": time.time() - 61},
        {"exp": time.time() + 90_000},
        {"nbf": time.time() + 600},
        {"nbf": "later"},
        {"iss": None},
        {"iss": "https://idp.evil"},
        {"iss": f"{NAME}/"},
        {"iss": NAME.upper()},
        {"iss": [NAME]},
        {"sub": None},
        {"sub": ""},
    ],
    ids=lambda claims: next(iter(claims)),
)
async def test_a_wrong_claim_is_refused(claims: dict[str, Any]) -> None:
    issuer = Issuer()
    assert (await refused(issuer, _unchecked(issuer, **claims))).error == "unauthorized"


async def test_a_subject_that_is_no_text_is_refused() -> None:
    issuer = Issuer()
    assert isinstance(await refused(issuer, _unchecked(issuer, sub=123)), Unauthorized)


async def test_clocks_may_differ_by_a_minute() -> None:
    issuer = Issuer()
    assert await judged(issuer, issuer.token(exp=time.time() - 50, nbf=time.time() + 50))


async def test_a_token_of_another_key_is_refused() -> None:
    issuer, forger = Issuer(), Issuer(key=other_key())
    assert isinstance(await refused(issuer, forger.token()), Unauthorized)


async def test_the_key_of_one_issuer_signs_nothing_for_another() -> None:
    a, b = Issuer("https://a.example", "a"), Issuer("https://b.example", "b", other_key())
    with pytest.raises(Unauthorized):
        await verifier(a, b).verify(b.token(iss=a.name))
    assert (await verifier(a, b).verify(b.token())).claims["iss"] == b.name


async def test_two_issuers_may_keep_their_keys_at_one_url() -> None:
    a, b = Issuer("https://a.example"), Issuer("https://b.example")
    keys = KeySet("url", None, a.fetch)
    both = Verifier([Authority(frozenset((each.name,)), keys) for each in (a, b)], 86_400)
    for each in (a, b):
        assert (await both.verify(each.token())).claims["iss"] == each.name
    with pytest.raises(Unauthorized):
        await both.verify(a.token(iss="https://c.example"))


async def test_an_unsigned_token_is_refused() -> None:
    issuer = Issuer()
    body = issuer.token().split(".")[1]
    header = _part({"alg": "none", "kid": "k1"})
    assert isinstance(await refused(issuer, f"{header}.{body}."), Unauthorized)


async def test_a_public_key_is_no_secret_for_a_mac() -> None:
    issuer = Issuer()
    signed = f"{_part({'alg': 'HS256', 'kid': 'k1'})}.{issuer.token().split('.')[1]}"
    mac = hmac.new(issuer.public_pem(), signed.encode(), hashlib.sha256).digest()
    token = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert isinstance(await refused(issuer, token), Unauthorized)


async def test_a_key_of_one_kind_is_used_with_its_own_algorithms_only() -> None:
    issuer = Issuer()
    rs, es = issuer.token(), Issuer(key=KINDS["ES256"][0], algorithm="ES256")
    mixed = ".".join((_part({"alg": "ES256", "kid": "k1"}), *rs.split(".")[1:]))
    assert isinstance(await refused(issuer, mixed), Unauthorized)
    assert isinstance(await refused(es, rs), Unauthorized)


def test_a_short_rsa_key_is_not_used() -> None:
    weak = Issuer(key=weak_key())
    assert read_keys(json.dumps({"keys": [weak.jwk, Issuer(kid="good").jwk]}).encode())[0].kid == "good"


@pytest.mark.parametrize(
    "kid",
    ["../../../../dev/null", "' OR 1=1--", "k" * 1_000_000, "\x00", "unknown"],
    ids=["path", "sql", "long", "nul", "unknown"],
)
async def test_a_key_id_is_only_ever_compared(kid: str) -> None:
    issuer = Issuer()
    assert isinstance(await refused(issuer, issuer.token({"kid": kid})), AuthRefused)


async def test_a_key_id_that_is_no_text_is_refused() -> None:
    issuer = Issuer()
    forged = ".".join((_part({"alg": "RS256", "kid": {"a": 1}}), *issuer.token().split(".")[1:]))
    assert (await refused(issuer, forged)).description == "invalid token"


@pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c"])
async def test_keys_in_a_header_are_never_used(header: str) -> None:
    issuer, forger = Issuer(), Issuer(key=other_key())
    value: Any = {"jwk": forger.jwk, "x5c": ["MIIB"]}.get(header, "http://127.0.0.1:1/keys")
    assert isinstance(await refused(issuer, forger.token({header: value})), Unauthorized)
    assert forger.fetched == 0


@pytest.mark.parametrize(
    "token", ["x", "a.b", "a.b.c", "....", "e30.e30.", "bnVsbA.bnVsbA.", "\x7f.\x7f.\x7f"]
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    assert (await refused(Issuer(), token)).description == "invalid token"


async def test_without_any_key_nothing_can_be_judged() -> None:
    issuer = Issuer()
    issuer.down = True
    assert isinstance(await refused(issuer, issuer.token()), KeysUnavailable)


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _unchecked(issuer: Issuer, **claims: Any) -> str:
    """Signed, whatever the claims are: the library refuses to write some of them."""
    now = time.time()
    said = {"iss": issuer.name, "sub": "alice", "aud": RESOURCE, "exp": now + 300, **claims}
    body = _part({key: value for key, value in said.items() if value is not None})
    signed = f"{_part({'alg': 'RS256', 'kid': 'k1', 'typ': 'JWT'})}.{body}"
    signature = issuer.key.sign(signed.encode(), PKCS1v15(), SHA256())
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
