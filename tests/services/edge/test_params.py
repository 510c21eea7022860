from __future__ import annotations

import httpx
import pytest
from msgspec.structs import replace

from libs.common.codec import raw
from libs.common.messages.catalog import Listing
from services.edge.params import Mirrored
from tests.services.edge.conftest import Edge, modern_body, modern_headers
from tests.services.edge.stub import DEMO

pytestmark = pytest.mark.anyio

REGION = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}


def listing(digest: str = "2") -> Listing:
    return replace(DEMO, digest=digest, tools=(raw({"name": "echo", "inputSchema": REGION}), *DEMO.tools[1:]))


async def call(edge: Edge, *, region: str | None, tool: str = "echo", **headers: str) -> httpx.Response:
    arguments = {} if region is None else {"region": region}
    body = modern_body("tools/call", name=tool, arguments=arguments)
    return await edge.http.post("/mcp/demo", json=body, headers=modern_headers("tools/call", tool, **headers))


@pytest.mark.parametrize(
    ("region", "header"), [("eu", "eu"), ("eu", "=?base64?ZXU=?="), ("ü", "=?base64?w7w=?="), (None, None)]
)
async def test_a_header_that_repeats_its_argument_is_accepted(
    edge: Edge, region: str | None, header: str | None
) -> None:
    edge.catalog.listings["demo"] = listing()
    headers = {} if header is None else {"mcp-param-region": header}
    assert (await call(edge, region=region, **headers)).status_code == 200


@pytest.mark.parametrize(
    ("region", "header"), [("eu", "us"), ("eu", None), (None, "eu"), ("eu", "=?base64?!?=")]
)
async def test_a_header_that_contradicts_its_argument_is_refused(
    edge: Edge, region: str | None, header: str | None
) -> None:
    edge.catalog.listings["demo"] = listing()
    headers = {} if header is None else {"mcp-param-region": header}
    answer = await call(edge, region=region, **headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
    assert edge.gateway.seen == []


async def test_a_header_no_schema_asks_for_is_ignored(edge: Edge) -> None:
    edge.catalog.listings["demo"] = listing()
    answer = await call(edge, region=None, tool="slow_but_unlisted", **{"mcp-param-region": "eu"})
    assert answer.status_code == 200


def test_schemas_are_read_again_when_the_listing_changes() -> None:
    mirrored = Mirrored()
    assert mirrored.schema(DEMO, "echo") is None
    assert mirrored.schema(listing(), "echo") == REGION
    assert mirrored.schema(listing(), "slow") is None
    assert mirrored.schema(replace(DEMO, digest="3"), "echo") is None


@pytest.mark.parametrize(
    "tool", [b'"x-mcp-header"', b'{"x-mcp-header": 1}', b'{"name": [], "inputSchema": "x-mcp-header"}']
)
def test_a_tool_that_makes_no_sense_asks_for_nothing(tool: bytes) -> None:
    odd = replace(DEMO, digest="4", tools=(type(DEMO.tools[0])(tool), *listing().tools))
    assert Mirrored().schema(odd, "echo") == REGION
