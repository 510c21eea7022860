from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from libs.common.bus import Bus
from libs.common.meters import families
from libs.common.meters.asking import Asking
from services.edge.app import create_health
from services.edge.metrics import metrics_routes
from services.edge.settings import Settings
from tests.services.edge.conftest import serving
from tests.services.edge.stub import StubCatalog

pytestmark = pytest.mark.anyio

SETTINGS = Settings(version="1", metrics_path="/metrics")


@asynccontextmanager
async def scraped(bus: Bus, *, guarded: bool = False) -> AsyncIterator[httpx.AsyncClient]:
    asking = Asking(bus)
    app = create_health(StubCatalog(), SETTINGS, None if guarded else asking)
    if guarded:
        app.router.routes += metrics_routes(asking, SETTINGS, guarded=True)
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        yield http


async def test_the_text_is_prometheus_0_0_4(bus: Bus) -> None:
    families.BUS.cell().set(1)
    async with scraped(bus) as http:
        answer = await http.get("/metrics", headers={"host": "edge.cluster"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert "nexus_bus_connected" in {each.name for each in text_string_to_metric_families(answer.text)}


async def test_one_process_alone_asks_nobody(bus: Bus) -> None:
    async with scraped(bus) as http:
        families.BUS.cell().set(1)
        await bus.close()
        async with asyncio.timeout(5):
            answer = await http.get("/metrics?scope=self")
    assert "nexus_bus_connected" in answer.text


async def test_head_has_the_headers_and_no_body(bus: Bus) -> None:
    async with scraped(bus) as http:
        answer = await http.head("/metrics")
        assert (answer.status_code, answer.content) == (200, b"")
        assert (await http.post("/metrics")).status_code == 405


@pytest.mark.parametrize(
    ("headers", "status"), [({"host": "evil.com"}, 421), ({"origin": "http://evil.com"}, 403)]
)
async def test_a_web_page_cannot_read_metrics_beside_mcp(
    bus: Bus, headers: dict[str, str], status: int
) -> None:
    async with scraped(bus, guarded=True) as http:
        assert (await http.get("/metrics", headers=headers)).status_code == status
        assert (await http.get("/metrics")).status_code == 200


async def test_there_are_none_where_nobody_wants_them(bus: Bus) -> None:
    app = create_health(StubCatalog(), Settings(version="1"), Asking(bus))
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/metrics")).status_code == 404
