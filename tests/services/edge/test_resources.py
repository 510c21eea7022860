"""Resources of all servers through the aggregate."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from libs.common.codec import decode, encode
from libs.common.messages.calls import CallServer, Request
from tests.services.edge.conftest import Edge
from tests.services.edge.shelves import server

pytestmark = pytest.mark.anyio

NONE: dict[str, Any] = {"tools": {}}


@pytest.fixture(autouse=True)
def shelves(edge: Edge) -> None:
    """Two servers with the same file, and a third whose name cannot begin a URI."""
    edge.catalog.list(server("demo", capabilities=NONE))
    edge.catalog.list(
        server("ark", resources=("file:///log", "ark://deck"), templates=("file:///{name}", "ark://{+path}"))
    )
    edge.catalog.list(
        server("2nd_zoo", resources=("file:///log",), templates=("file:///{name}", "zoo://{id}/food"))
    )


async def uris(edge: Edge, method: str, member: str, key: str) -> list[str]:
    return [each[key] for each in (await edge.modern(method)).json()["result"][member]]


async def read(edge: Edge, uri: str) -> Any:
    return (await edge.modern("resources/read", uri=uri)).json()


def reached(request: Request) -> tuple[str, str]:
    assert isinstance(request, CallServer)
    return request.server, decode(request.params)["uri"]


async def test_a_uri_is_listed_as_it_is_unless_a_server_before_has_it(edge: Edge) -> None:
    found = await uris(edge, "resources/list", "resources", "uri")
    assert found == ["file:///log", "ark://deck", "ark+file:///log"]


async def test_templates_likewise(edge: Edge) -> None:
    found = await uris(edge, "resources/templates/list", "resourceTemplates", "uriTemplate")
    assert found == ["file:///{name}", "zoo://{id}/food", "ark://{+path}", "ark+file:///{name}"]


@pytest.mark.parametrize(
    ("uri", "server", "own"),
    [
        ("file:///log", "2nd_zoo", "file:///log"),
        ("ark+file:///log", "ark", "file:///log"),
        ("ark://deck", "ark", "ark://deck"),
        ("ark://any/where", "ark", "ark://any/where"),
        ("zoo://7/food", "2nd_zoo", "zoo://7/food"),
        ("file:///other", "2nd_zoo", "file:///other"),
        ("ark+file:///other", "ark", "file:///other"),
        ("x..2nd.zoo+odd:1", "2nd_zoo", "odd:1"),
        ("ark+odd:1", "ark", "odd:1"),
    ],
)
async def test_a_uri_leads_to_its_server(edge: Edge, uri: str, server: str, own: str) -> None:
    await read(edge, uri)
    assert [reached(each) for each in edge.gateway.seen] == [(server, own)]


@pytest.mark.parametrize("uri", ["odd:1", "zoo://7/8/food", "zoo:///food", "demo+odd:1", "nobody+odd:1", ""])
async def test_a_uri_that_leads_nowhere_is_not_found(edge: Edge, uri: str) -> None:
    answer = await edge.modern("resources/read", uri=uri)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, -32602)
    assert error["data"]["uri"] == uri
    assert edge.gateway.seen == []


async def test_an_unknown_uri_goes_to_the_only_server_with_resources(edge: Edge) -> None:
    edge.catalog.list(server("ark", capabilities=NONE))
    await read(edge, "odd:1")
    assert [reached(each) for each in edge.gateway.seen] == [("2nd_zoo", "odd:1")]


async def test_of_two_templates_the_more_literal_one_is_meant(edge: Edge) -> None:
    edge.catalog.list(server("a", templates=("{+anything}",)))
    await read(edge, "zoo://7/food")
    await read(edge, "anything:at all")
    assert [reached(each) for each in edge.gateway.seen] == [
        ("2nd_zoo", "zoo://7/food"),
        ("a", "anything:at all"),
    ]


async def test_what_is_read_has_the_uri_that_was_asked_for(edge: Edge) -> None:
    edge.gateway.results["resources/read"] = Raw(
        b'{"contents":[{"uri":"file:///log","text":"1.50","n":1.50},{"uri":"file:///log#2"}],"x-kept":1.50}'
    )
    answer = await edge.modern("resources/read", uri="ark+file:///log")
    assert b'"n":1.50}' in answer.content
    result = answer.json()["result"]
    assert [each["uri"] for each in result["contents"]] == ["ark+file:///log", "ark+file:///log#2"]
    assert result["x-kept"] == 1.5
    plain = (await read(edge, "file:///log"))["result"]
    assert plain["contents"][0]["uri"] == "file:///log"


@pytest.mark.parametrize(
    "result", [b'{"contents":5}', b"5", b'{"contents":[{"uri":5}]}', b'{"contents":[5]}']
)
async def test_a_result_without_uris_is_the_servers_fault(edge: Edge, result: bytes) -> None:
    edge.gateway.results["resources/read"] = Raw(result)
    assert (await read(edge, "ark+file:///log"))["error"]["code"] == -31022


async def test_a_question_of_a_server_is_no_content(edge: Edge) -> None:
    asks = {"resultType": "input_required", "requestState": "s"}
    edge.gateway.results["resources/read"] = Raw(encode(asks))
    assert (await read(edge, "ark+file:///log"))["result"]["requestState"] == "s"


async def test_a_read_needs_a_uri(edge: Edge) -> None:
    headers = await edge.session()
    assert (await edge.legacy(headers, "resources/read", uri=5)).json()["error"]["code"] == -32602
