from __future__ import annotations

import re
import time
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from libs.common.apikeys import Record, hash_key, new_key, write_records
from libs.common.messages.calls import CallServer
from libs.common.policy import Policy, Rule, Rules
from services.edge.address import Proxies
from services.edge.auth.apikeys import ApiKeys
from services.edge.auth.authenticate import Authenticate
from services.edge.auth.claims import claim_texts
from services.edge.auth.client import Identification, from_claim, from_header
from tests.services.edge.auth.doors import guarded, listed, oauth
from tests.services.edge.auth.issuer import RESOURCE, Issuer
from tests.services.edge.conftest import LEGACY

pytestmark = pytest.mark.anyio

METADATA = f"{RESOURCE}/.well-known/oauth-protected-resource"


async def test_a_good_token_opens_the_gateway() -> None:
    issuer = Issuer()
    async with guarded(issuer) as edge:
        assert (await listed(edge, f"Bearer {issuer.token()}")).status_code == 200
        assert (await listed(edge, f"bEARER {issuer.token()}")).status_code == 200


@pytest.mark.parametrize(
    ("authorization", "description"),
    [
        (None, "missing token"),
        ("Bearer", "missing token"),
        ("Basic YTpi", "token must be prefixed with Bearer"),
        ("Bearer  two spaces", "invalid token"),
        ("Bearer x", "invalid token"),
        ("Bearer " + "a" * 9000, "invalid token"),
    ],
)
async def test_what_is_wrong_with_credentials_is_told(authorization: str | None, description: str) -> None:
    async with guarded(Issuer()) as edge:
        answer = await listed(edge, authorization)
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/json")
        assert answer.json() == {"error": "invalid_token", "error_description": description}
        assert not edge.gateway.seen


async def test_a_refused_token_says_no_more_than_that() -> None:
    issuer = Issuer()
    async with guarded(issuer) as edge:
        answer = await listed(edge, f"Bearer {issuer.token(aud='https://other.example')}")
        assert (answer.status_code, answer.json()) == (401, {"error": "unauthorized"})
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_client_without_a_token_learns_where_to_get_one() -> None:
    async with guarded(Issuer(), required=("mcp", "tools")) as edge:
        answer = await listed(edge, None)
        assert answer.headers["www-authenticate"] == (
            f'Bearer resource_metadata="{METADATA}/mcp", scope="mcp tools"'
        )
        single = await listed(edge, None, "/mcp/demo")
        assert f'resource_metadata="{METADATA}/mcp/demo"' in single.headers["www-authenticate"]


async def test_a_token_without_a_required_scope_is_sent_for_more() -> None:
    issuer = Issuer()
    async with guarded(issuer, required=("mcp", "tools")) as edge:
        answer = await listed(edge, f"Bearer {issuer.token(scope='mcp')}")
        assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
        assert re.search(r'error="insufficient_scope".*scope="mcp tools"', answer.headers["www-authenticate"])
        assert (await listed(edge, f"Bearer {issuer.token(scope='tools mcp x')}")).status_code == 200
        assert (await listed(edge, f"Bearer {issuer.token(scp=['tools', 'mcp'])}")).status_code == 200


def test_a_challenge_names_all_scopes_that_a_request_needs() -> None:
    who = Authenticate(oauth(Issuer(), required=("mcp",)), None, None)
    ((_, said),) = who.challenge("/mcp/demo", ("notes", "mcp"), "insufficient_scope")
    assert said.endswith(b'scope="mcp notes"')


@pytest.mark.parametrize(
    ("audience", "aggregate", "demo", "other"),
    [
        (RESOURCE, 200, 200, 200),
        (f"{RESOURCE}/mcp", 200, 200, 200),
        (f"{RESOURCE}/mcp/demo", 401, 200, 401),
        (["x", RESOURCE], 200, 200, 200),
        (f"{RESOURCE}/", 401, 401, 401),
        (RESOURCE.upper(), 401, 401, 401),
        ([], 401, 401, 401),
        (None, 401, 401, 401),
        (7, 401, 401, 401),
    ],
    ids=str,
)
async def test_a_token_is_good_for_its_resource_and_what_is_below(
    audience: Any, aggregate: int, demo: int, other: int
) -> None:
    issuer = Issuer()
    async with guarded(issuer) as edge:
        token = f"Bearer {issuer.token(aud=audience)}"
        found = [(await listed(edge, token, path)).status_code for path in ("/mcp", "/mcp/demo", "/mcp/git")]
        assert found[:2] == [aggregate, demo]
        assert (found[2] == 401) == (other == 401)


async def test_an_expected_audience_takes_the_place_of_the_resource() -> None:
    issuer = Issuer()
    async with guarded(issuer, audience=frozenset({"nexus"})) as edge:
        assert (await listed(edge, f"Bearer {issuer.token(aud='nexus')}")).status_code == 200
        assert (await listed(edge, f"Bearer {issuer.token()}")).status_code == 401
    async with guarded(issuer, skip_audience=True) as edge:
        assert (await listed(edge, f"Bearer {issuer.token(aud=None)}")).status_code == 200


async def test_without_keys_of_the_issuer_the_gateway_says_so() -> None:
    issuer = Issuer()
    issuer.down = True
    async with guarded(issuer) as edge:
        answer = await listed(edge, f"Bearer {issuer.token()}")
        assert answer.status_code == 500
        assert answer.json()["error"] == "internal_server_error"
        assert (await listed(edge, "Bearer x")).status_code == 401


async def test_a_verified_token_is_not_verified_again_and_ends_in_time() -> None:
    issuer = Issuer()
    async with guarded(issuer) as edge:
        token = f"Bearer {issuer.token(exp=int(time.time()) - 58)}"
        assert (await listed(edge, token)).status_code == 200
        assert issuer.fetched == 1


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST", "PUT", "HEAD"])
async def test_every_method_needs_a_token(method: str) -> None:
    async with guarded(Issuer()) as edge:
        for path in ("/mcp", "/mcp/demo"):
            assert (await edge.http.request(method, path, headers=LEGACY)).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/health/../mcp",
        "//mcp",
        "/mcp%2f",
        "/%6dcp",
        "/health;/mcp",
        "/.well-known/oauth-protected-resource/../../mcp",
        "/mcp/",
    ],
)
async def test_no_way_of_writing_a_path_gets_around_the_entrance(path: str) -> None:
    async with guarded(Issuer()) as edge:
        for method in ("POST", "GET", "OPTIONS", "TRACE", "HEAD"):
            answer = await edge.http.request(method, edge.url + path, headers=LEGACY)
            assert answer.status_code in (401, 404, 405)
        assert not edge.gateway.seen


async def test_metadata_is_open_to_everybody_and_every_origin() -> None:
    async with guarded(Issuer()) as edge:
        for path, resource in (
            ("", RESOURCE),
            ("/mcp", f"{RESOURCE}/mcp"),
            ("/mcp/demo", f"{RESOURCE}/mcp/demo"),
        ):
            answer = await edge.http.get(f"/.well-known/oauth-protected-resource{path}")
            assert answer.json()["resource"] == resource
            assert answer.json()["authorization_servers"] == ["https://idp.example.com"]
            assert answer.headers["access-control-allow-origin"] == "*"
            preflight = await edge.http.options(f"/.well-known/oauth-protected-resource{path}")
            assert preflight.status_code == 204


async def test_the_gateway_is_no_authorization_server() -> None:
    async with guarded(Issuer()) as edge:
        for path in ("/authorize", "/register", "/token", "/.well-known/oauth-authorization-server"):
            assert (await edge.http.get(path)).status_code == 404


async def test_readiness_names_no_server_to_everybody() -> None:
    issuer = Issuer()
    only = Policy({"late": Rules(Rule(frozenset()))})
    async with guarded(issuer, settings={"policy": only}) as edge:
        assert (await edge.http.get("/ready")).json() == {"ready": True}
        page = await edge.http.get("/ready", headers={"authorization": f"Bearer {issuer.token()}"})
        assert list(page.json()["servers"]) == ["demo"]
        assert (await edge.http.get("/health")).status_code == 200


async def test_an_api_key_is_as_good_as_a_token(tmp_path: Path) -> None:
    key, path = new_key(), tmp_path / "keys.json"
    write_records(path, {"ci": Record(hash_key(key), "robot", ("dev",), tier="premium")})
    keys = ApiKeys([], path)
    assert keys.reload()
    async with guarded(None, keys) as edge:
        assert (await listed(edge, f"Bearer {key}", "/mcp/demo")).status_code == 200
        sent = edge.gateway.seen[-1]
        assert isinstance(sent, CallServer)
        assert (sent.principal.subject, sent.principal.groups, sent.principal.tier) == (
            "robot",
            ("dev",),
            "premium",
        )
        assert (await listed(edge, f"Bearer {new_key()}")).json() == {"error": "unauthorized"}
        assert (await listed(edge, None)).headers["www-authenticate"] == "Bearer"


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path, key = tmp_path / "keys.json", new_key()
    keys = ApiKeys([], path)
    assert not keys.reload()
    write_records(path, {"a": Record(hash_key(key), "a")})
    assert keys.reload()
    assert keys.find(key) is not None
    assert not keys.reload()
    path.write_text("no json")
    assert not keys.reload()
    assert keys.find(key) is not None
    path.unlink()
    assert keys.reload()
    assert keys.find(key) is None


GROUPS = Identification(from_claim("sub"), from_claim("realm.roles"), frozenset({"dev", "ops"}))


async def test_groups_come_from_claims_also_several() -> None:
    issuer = Issuer()
    async with guarded(issuer, client=GROUPS) as edge:
        token = issuer.token(realm={"roles": ["dev", "ops"]}, is_admin=True)
        await listed(edge, f"Bearer {token}", "/mcp/demo")
        principal = edge.gateway.seen[-1].principal
        assert (principal.client, principal.groups, principal.tier) == ("alice", ("dev", "ops"), "premium")


async def test_a_group_that_does_not_exist_is_refused() -> None:
    issuer = Issuer()
    async with guarded(issuer, client=GROUPS) as edge:
        answer = await listed(edge, f"Bearer {issuer.token(realm={'roles': ['dev', 'root']})}")
        assert (answer.status_code, answer.json()) == (
            400,
            {"error": "invalid_group", "error_description": "The specified group is not valid"},
        )
        assert (await listed(edge, f"Bearer {issuer.token()}")).status_code == 200


async def test_a_client_without_an_id_is_refused() -> None:
    issuer = Issuer()
    client = Identification(from_claim("client_id"), None, frozenset())
    async with guarded(issuer, client=client) as edge:
        answer = await listed(edge, f"Bearer {issuer.token()}")
        assert (answer.status_code, answer.json()) == (
            400,
            {"error": "missing_client_id", "error_description": "Client identification is required"},
        )


async def test_a_header_names_a_client_only_if_a_proxy_sets_it() -> None:
    client = Identification(from_header("X-Client-Id"), None, frozenset())
    async with guarded(None, client=client) as edge:
        assert (await listed(edge, None, **{"x-client-id": "me"})).status_code == 400


@pytest.mark.parametrize("name", ["%0D%0Ax-evil:%20yes", "%22", "%E2%82%AC", "%00", "a" * 5000])
async def test_a_challenge_for_a_path_that_is_none_is_well_formed(name: str) -> None:
    async with guarded(Issuer()) as edge:
        answer = await listed(edge, None, f"/mcp/{name}")
    assert answer.status_code == 401
    assert "x-evil" not in answer.headers
    url = re.fullmatch(r'Bearer resource_metadata="([^"\s]+)"', answer.headers["www-authenticate"])
    assert url is not None
    assert len(url[1]) < 500


async def test_clients_that_only_a_proxy_tells_apart_do_not_share_sessions() -> None:
    client = Identification(from_header("x-client-id"), None, frozenset())
    proxies = Proxies((ip_network("127.0.0.0/8"),))
    async with guarded(None, client=client, settings={"proxies": proxies}) as edge:
        ours, theirs = ({"x-client-id": name} for name in ("one", "two"))
        edge.http.headers.update(ours)
        session = await edge.session()
        answers = [await edge.legacy({**session, **each}, "tools/list") for each in (ours, theirs)]
    assert [answer.status_code for answer in answers] == [200, 404]


def test_every_group_of_a_token_counts() -> None:
    groups = [f"g{number}" for number in range(500)]
    assert claim_texts({"groups": groups}, "groups") == tuple(groups)


@pytest.mark.parametrize(
    ("claims", "tenant"),
    [
        ({"org": {"id": "acme"}}, "acme"),
        ({"org": {"id": ["acme"]}}, "acme"),
        ({"org": {"id": ["acme", "evil"]}}, ""),
        ({"org": {"id": "a" * 257}}, ""),
        ({"org": "acme"}, ""),
        ({}, ""),
    ],
)
async def test_a_claim_names_the_tenant_if_it_names_one(claims: dict[str, Any], tenant: str) -> None:
    issuer = Issuer()
    async with guarded(issuer, tenant="org.id") as edge:
        await listed(edge, f"Bearer {issuer.token(**claims)}", "/mcp/demo")
        assert edge.gateway.seen[-1].principal.tenant == tenant


async def test_the_same_subject_in_two_tenants_is_two_callers() -> None:
    issuer = Issuer()
    async with guarded(issuer, tenant="org") as edge:
        tokens = {org: f"Bearer {issuer.token(org=org)}" for org in ("acme", "evil")}
        body = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t"}}
        opened = await edge.http.post(
            "/mcp",
            json={"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": body},
            headers={**LEGACY, "authorization": tokens["acme"]},
        )
        session = {**LEGACY, "mcp-session-id": opened.headers["mcp-session-id"]}
        own = await edge.legacy({**session, "authorization": tokens["acme"]}, "ping")
        foreign = await edge.legacy({**session, "authorization": tokens["evil"]}, "ping")
        assert (own.status_code, foreign.status_code) == (200, 404)


async def test_a_key_brings_its_tenant(tmp_path: Path) -> None:
    path, key = tmp_path / "keys.json", new_key()
    write_records(path, {"ci": Record(hash_key(key), "robot", tenant="acme")})
    keys = ApiKeys([], path)
    keys.reload()
    async with guarded(None, keys) as edge:
        await listed(edge, f"Bearer {key}", "/mcp/demo")
        assert edge.gateway.seen[-1].principal.tenant == "acme"
