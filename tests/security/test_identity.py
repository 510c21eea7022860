"""Tokens and who they say a caller is: A1, A2, A3, A5, A9, A10, A11."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from libs.common.apikeys import Record, hash_key, new_key, write_records
from libs.common.config import load
from libs.common.errors import ConfigError
from services.edge.auth.apikeys import ApiKeys
from services.edge.auth.authenticate import Authenticate
from tests.services.edge.auth.doors import RESOURCES, guarded, listed, oauth
from tests.services.edge.auth.issuer import KINDS, Issuer, other_key, weak_key
from tests.services.edge.conftest import LEGACY, Edge, running

pytestmark = pytest.mark.anyio


async def refused(edge: Edge, token: str, path: str = "/mcp/demo") -> dict[str, Any]:
    answer = await listed(edge, f"Bearer {token}", path)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "resource_metadata=" in answer.headers["www-authenticate"]
    assert token not in answer.text
    assert edge.gateway.seen == []
    return dict(answer.json())


@pytest.mark.parametrize("audience", ["other", "https://nexus.example.com.evil", [], None, {"a": 1}])
async def test_a1_a_token_for_somebody_else_is_refused(issuer: Issuer, audience: Any) -> None:
    async with guarded(issuer) as edge:
        await refused(edge, issuer.token(aud=audience))


def test_a1_oauth_without_a_resource_does_not_start(tmp_path: Path) -> None:
    config = tmp_path / "nexus.toml"
    config.write_text(
        '[server.oauth]\nurl = "https://idp.example/jwks"\n[mcp.servers.time]\ncmd = ["time"]\n'
    )
    with pytest.raises(ConfigError, match=r"server\.oauth\.protected_resource"):
        load(config)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256"])
async def test_a2_a_key_of_another_kind_signs_nothing(issuer: Issuer, algorithm: str) -> None:
    forger = Issuer(key=KINDS[algorithm][0], algorithm=algorithm)
    async with guarded(issuer) as edge:
        if forger.key is issuer.key:
            assert (await listed(edge, f"Bearer {forger.token()}")).status_code == 200
        else:
            await refused(edge, forger.token())


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a2_a_short_key_a_long_token_and_a_far_end_are_refused() -> None:
    weak = Issuer(key=weak_key())
    async with guarded(weak) as edge:
        await refused(edge, weak.token())
    strong = Issuer()
    async with guarded(strong) as edge:
        await refused(edge, strong.token(padding="x" * 9000))
        await refused(edge, strong.token(exp=time.time() + 30 * 86_400))


@pytest.mark.parametrize(
    "header",
    [{"jku": "http://127.0.0.1:1/"}, {"x5u": "http://127.0.0.1:1/"}, {"kid": "../../../../dev/null"}],
    ids=["jku", "x5u", "kid"],
)
async def test_a3_nothing_in_a_header_leads_to_a_key(issuer: Issuer, header: dict[str, Any]) -> None:
    async with guarded(issuer) as edge:
        await refused(edge, Issuer(key=other_key()).token(header))
        assert issuer.fetched <= 1


@pytest.mark.parametrize(
    "claims",
    [{"exp": None}, {"iss": "https://idp.evil"}, {"nbf": time.time() + 600}, {"sub": None}],
    ids=["exp", "iss", "nbf", "sub"],
)
async def test_a5_a_claim_that_is_missing_or_wrong_is_refused(issuer: Issuer, claims: dict[str, Any]) -> None:
    async with guarded(issuer) as edge:
        await refused(edge, issuer.token(**claims))


async def test_a9_a_token_that_ended_is_refused_although_it_was_good(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.edge.auth.tokens.LEEWAY", 0.0)
    async with guarded(issuer) as edge:
        token = f"Bearer {issuer.token(exp=int(time.time()) + 2)}"
        assert (await listed(edge, token)).status_code == 200
        with anyio.fail_after(10):
            while (await listed(edge, token)).status_code == 200:
                await anyio.sleep(0.05)
        assert (await listed(edge, token)).status_code == 401


async def test_a9_a_revoked_key_is_refused_although_it_was_good(tmp_path: Path) -> None:
    key, path = new_key(), tmp_path / "keys.json"
    write_records(path, {"ci": Record(hash_key(key), "robot")})
    keys = ApiKeys([], path)
    keys.reload()
    who = Authenticate(None, keys, None)
    async with running(identify=who) as edge:
        assert (await listed(edge, f"Bearer {key}")).status_code == 200
        write_records(path, {})
        assert keys.reload()
        who.forget()
        assert (await listed(edge, f"Bearer {key}")).status_code == 401


async def test_a9_refusals_are_never_remembered(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edge.auth.keys.UNKNOWN", 0.0)
    issuer.down = True
    who = Authenticate(oauth(issuer), None, None)
    async with running(identify=who, resources=RESOURCES) as edge:
        token = issuer.token()
        assert (await listed(edge, f"Bearer {token}")).status_code == 500
        issuer.down = False
        assert (await listed(edge, f"Bearer {token}")).status_code == 200


@pytest.mark.parametrize("path", ["/authorize", "/token", "/register", "/oauth/token"])
async def test_a10_the_gateway_issues_no_tokens(issuer: Issuer, path: str) -> None:
    async with guarded(issuer) as edge:
        for verb in ("GET", "POST"):
            assert (await edge.http.request(verb, path)).status_code == 404
        document = (await edge.http.get("/.well-known/oauth-protected-resource/mcp")).json()
        assert "offline_access" not in str(document)
        assert set(document) >= {"resource", "authorization_servers"}


@pytest.mark.parametrize(
    "path",
    ["/health/../mcp", "//mcp", "/mcp%2f", "/%6dcp", "/health;/mcp", "/ready/../mcp/demo", "/mcp/./demo"],
)
async def test_a11_no_spelling_of_a_path_gets_around_the_entrance(issuer: Issuer, path: str) -> None:
    async with guarded(issuer) as edge:
        for verb in ("POST", "GET", "DELETE", "HEAD", "OPTIONS", "TRACE"):
            answer = await edge.http.request(verb, edge.url + path, headers=LEGACY)
            assert answer.status_code in (401, 404, 405)
        assert edge.gateway.seen == []
