from __future__ import annotations

import httpx
import pytest

from services.edge.app import create_health
from services.edge.settings import Settings
from tests.services.edge.conftest import Edge, running, serving
from tests.services.edge.stub import StubCatalog

pytestmark = pytest.mark.anyio


async def test_health_says_that_the_process_serves(edge: Edge) -> None:
    answer = await edge.http.get("/health", headers={"host": "any.name"})
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy", "service": "nexus-mcp"})


async def test_ready_shows_the_bus_and_every_server(edge: Edge) -> None:
    answer = await edge.http.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "bus": "connected",
        "servers": {
            "demo": {
                "state": "ready",
                "tools": 2,
                "since": 1.0,
                "error": "",
                "detail": "",
                "workers": ["w1"],
            },
            "late": {
                "state": "failed",
                "tools": 0,
                "since": 2.0,
                "error": "it exited with 3",
                "detail": "its last words",
                "workers": [],
            },
        },
    }


async def test_ready_is_503_without_the_bus(edge: Edge) -> None:
    edge.catalog.state = "reconnecting"
    answer = await edge.http.get("/ready")
    assert (answer.status_code, answer.json()["bus"]) == (503, "reconnecting")
    assert (await edge.http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"), [({"host": "evil.com"}, 421), ({"origin": "http://evil.com"}, 403)]
)
async def test_a_web_page_cannot_read_the_list_of_servers(
    edge: Edge, headers: dict[str, str], status: int
) -> None:
    answer = await edge.http.get("/ready", headers=headers)
    assert answer.status_code == status
    assert "demo" not in answer.text


async def test_health_can_be_elsewhere_or_nowhere() -> None:
    async with running(health_path=None, ready_path="/readyz") as edge:
        assert (await edge.http.get("/health")).status_code == 404
        assert (await edge.http.get("/readyz")).status_code == 200


async def test_a_listener_for_health_alone_answers_to_any_name() -> None:
    async with (
        serving(create_health(StubCatalog(), Settings(version="1"))) as url,
        httpx.AsyncClient(base_url=url, headers={"host": "edge.cluster"}) as http,
    ):
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/ready")).status_code == 200
        assert (await http.post("/mcp")).status_code == 404
