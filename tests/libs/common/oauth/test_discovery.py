"""From a server to whoever gives tokens for it, and the lies on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from libs.common.oauth import discovery
from libs.common.oauth.tokens import GrantFailed
from libs.common.outbound import FetchFailed, Reply

pytestmark = pytest.mark.anyio
SERVER = "https://mcp.example/team/mcp"
METADATA = {"resource": SERVER, "authorization_servers": ["https://as.example"]}
ISSUER = {"issuer": "https://as.example", "token_endpoint": "https://as.example/token"}


class Web:
    """Documents by URL; None is a host that cannot be reached."""

    def __init__(self, **documents: Any) -> None:
        self.documents = documents
        self.asked: list[str] = []

    async def get(self, url: str) -> Reply:
        self.asked.append(url.removeprefix("https://"))
        found = self.documents.get(self.asked[-1], b"")
        if found is None:
            raise FetchFailed("as.example cannot be found")
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        return Reply(200 if found else 404, {}, body)


async def test_the_metadata_are_looked_for_where_a_challenge_says_then_by_path_then_at_the_root() -> None:
    web = Web(
        **{
            "mcp.example/.well-known/oauth-protected-resource": {
                **METADATA,
                "resource": "https://mcp.example",
            }
        }
    )
    found = await discovery.resource(SERVER, web.get, "https://mcp.example/named")
    assert found.authorization_servers == ("https://as.example",)
    assert web.asked == [
        "mcp.example/named",
        "mcp.example/.well-known/oauth-protected-resource/team/mcp",
        "mcp.example/.well-known/oauth-protected-resource",
    ]


@pytest.mark.parametrize(
    "resource",
    [
        "https://evil.example/team/mcp",
        "http://mcp.example/team/mcp",
        "https://mcp.example/tea",
        SERVER + "/more",
    ],
)
async def test_metadata_of_another_resource_are_refused(resource: str) -> None:
    place = "mcp.example/.well-known/oauth-protected-resource/team/mcp"
    with pytest.raises(GrantFailed, match="another resource"):
        await discovery.resource(SERVER, Web(**{place: {**METADATA, "resource": resource}}).get)


async def test_a_server_that_names_nobody_is_told_what_to_configure() -> None:
    with pytest.raises(GrantFailed, match=r"auth\.issuer"):
        await discovery.resource(SERVER, Web().get)
    place = "mcp.example/.well-known/oauth-protected-resource/team/mcp"
    with pytest.raises(GrantFailed, match=r"auth\.issuer"):
        await discovery.resource(SERVER, Web(**{place: {"resource": SERVER}}).get)


@pytest.mark.parametrize("junk", [b"<html>", b"[]", b"\xff", b'{"resource": 1}'])
async def test_a_document_that_is_none_is_passed_over(junk: bytes) -> None:
    place = "mcp.example/.well-known/oauth-protected-resource"
    web = Web(**{f"{place}/team/mcp": junk, place: {**METADATA, "resource": "https://mcp.example/"}})
    assert (await discovery.resource(SERVER, web.get)).resource == "https://mcp.example/"


async def test_an_issuer_with_a_path_has_three_places_for_its_document() -> None:
    web = Web(
        **{"as.example/t/.well-known/openid-configuration": {**ISSUER, "issuer": "https://as.example/t"}}
    )
    found = await discovery.issuer("https://as.example/t", web.get)
    assert found.token_endpoint == "https://as.example/token"
    assert web.asked == [
        "as.example/.well-known/oauth-authorization-server/t",
        "as.example/.well-known/openid-configuration/t",
        "as.example/t/.well-known/openid-configuration",
    ]


async def test_a_document_that_names_another_issuer_is_refused() -> None:
    web = Web(
        **{"as.example/.well-known/oauth-authorization-server": {**ISSUER, "issuer": "https://evil.example"}}
    )
    with pytest.raises(GrantFailed, match="another one"):
        await discovery.issuer("https://as.example", web.get)


async def test_only_the_slash_of_an_empty_path_makes_no_difference_between_issuers() -> None:
    assert discovery.same("https://as.example", "https://as.example/")
    assert not discovery.same("https://as.example/t", "https://as.example/t/")
    assert not discovery.same("https://as.example", "https://AS.example")


async def test_a_host_that_cannot_be_reached_is_named() -> None:
    web = Web(**{"as.example/.well-known/oauth-authorization-server": None})
    with pytest.raises(GrantFailed, match=r"as\.example cannot be found"):
        await discovery.issuer("https://as.example", web.get)


async def test_a_server_that_names_what_is_no_url_gets_no_token() -> None:
    lie = {**METADATA, "resource": "http://["}
    web = Web(**{"mcp.example/.well-known/oauth-protected-resource/team/mcp": lie})
    with pytest.raises(GrantFailed, match="no URL"):
        await discovery.resource(SERVER, web.get)
    with pytest.raises(GrantFailed, match="no URL"):
        await discovery.issuer("https://[", web.get)


def test_an_audience_that_is_no_url_is_left_as_it_is() -> None:
    assert discovery.canonical("http://[") == "http://["
