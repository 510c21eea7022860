"""A whole edge on a real bus: its listeners, its certificate, its keys."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from libs.common import keyring, log, subjects
from libs.common.bus import Bus
from libs.common.codec import encode
from libs.common.config import Config, load
from libs.common.errors import ConfigError
from libs.common.kv import Bucket
from libs.common.messages.catalog import Listing
from libs.common.service import Context, Options
from services.edge.main import build
from tests.broker import Broker, free_port
from tests.services.connector.http.test_tls import Authority
from tests.services.edge.conftest import LEGACY

pytestmark = pytest.mark.anyio

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(1, 33))).decode()


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys of the environment, and what is hidden in logs is forgotten after the test."""
    monkeypatch.delenv(keyring.VARIABLE, raising=False)
    monkeypatch.setattr(log, "_secrets", set())


@pytest.fixture(autouse=True)
async def fleet(other: Bus) -> None:
    """The buckets that other services own."""
    await Bucket(other, subjects.SERVERS, owner=True).open()
    await Bucket(other, subjects.CATALOG, owner=True).put("git", encode(Listing("git", "1")))


def configured(tmp_path: Path, text: str = "") -> Config:
    path = tmp_path / "nexus.toml"
    path.write_text(f'{text}\n[mcp.servers.git]\ncmd = ["git"]\n')
    return load(path, env={})


@asynccontextmanager
async def serving(
    broker: Broker, tmp_path: Path, text: str = "", listen: str | None = None, **client: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an edge with this text after `[server]`, once it answers."""
    port = free_port()
    config = configured(tmp_path, f'[server]\nlisten_address = "127.0.0.1:{port}"\n{text}')
    bus = Bus(broker.url, "edge")
    await bus.connect()
    scheme = "https" if config.server.tls else "http"
    base = f"{scheme}://127.0.0.1:{listen.rpartition(':')[2] if listen else port}"
    options = Options(tmp_path / "nexus.toml", listen=listen)
    try:
        async with (
            build(Context("edge", "e1", config, bus, options, broker.url)),
            httpx.AsyncClient(base_url=base, **{"verify": False, **client}) as http,
        ):
            await answering(http, "/mcp")
            yield http
    finally:
        await bus.close()


async def answering(http: httpx.AsyncClient, path: str) -> None:
    with anyio.fail_after(10):
        while True:
            try:
                await http.get(path)
            except httpx.ConnectError:
                await anyio.sleep(0.01)
            else:
                return


async def initialize(http: httpx.AsyncClient) -> dict[str, str]:
    """The headers of a new session."""
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    answer = await http.post("/mcp", json=body, headers=LEGACY)
    assert answer.status_code == 200, answer.text
    return {**LEGACY, "mcp-session-id": answer.headers["mcp-session-id"]}


async def list_tools(http: httpx.AsyncClient, headers: dict[str, str]) -> int:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    return (await http.post("/mcp", json=body, headers=headers)).status_code


async def test_health_and_mcp_share_a_listener(broker: Broker, tmp_path: Path) -> None:
    async with serving(broker, tmp_path) as http:
        assert (await http.get("/health")).json()["status"] == "healthy"
        ready = (await http.get("/ready")).json()
        assert (ready["bus"], ready["servers"]["git"]["state"]) == ("connected", "stopped")
        assert await list_tools(http, await initialize(http)) == 200


async def test_health_can_have_a_listener_of_its_own_without_mcp(broker: Broker, tmp_path: Path) -> None:
    apart = free_port()
    text = f'health.listen = "127.0.0.1:{apart}"\nhealth.path = "/alive"\n'
    async with (
        serving(broker, tmp_path, text) as http,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{apart}") as health,
    ):
        await answering(health, "/alive")
        assert (await health.get("/alive")).status_code == 200
        assert (await health.get("/ready", headers={"host": "edge.cluster"})).status_code == 200
        assert (await health.post("/mcp")).status_code == 404
        assert (await http.get("/alive")).status_code == 404
        assert (await http.get("/ready")).status_code == 404


async def test_health_can_be_off(broker: Broker, tmp_path: Path) -> None:
    async with serving(broker, tmp_path, "health.enabled = false\n") as http:
        assert (await http.get("/health")).status_code == 404


async def test_a_flag_moves_the_listener(broker: Broker, tmp_path: Path) -> None:
    async with serving(broker, tmp_path, listen=f"127.0.0.1:{free_port()}") as http:
        assert (await http.get("/health")).status_code == 200


async def test_a_certificate_makes_the_listener_speak_tls_alone(broker: Broker, tmp_path: Path) -> None:
    issued = Authority(tmp_path).own
    text = f'tls = {{ certificate = "{issued.cert}", key = "{issued.key}" }}\n'
    trust = ssl.create_default_context(cafile=str(issued.cert))
    trust.check_hostname = False
    async with serving(broker, tmp_path, text, verify=trust) as http:
        assert await list_tools(http, await initialize(http)) == 200
        async with httpx.AsyncClient() as plain:
            with pytest.raises(httpx.TransportError):
                await plain.get(f"http://127.0.0.1:{http.base_url.port}/health")


async def test_edges_with_the_same_key_know_each_others_sessions(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keyring.VARIABLE, KEY)
    async with serving(broker, tmp_path) as first:
        session = await initialize(first)
    monkeypatch.setenv(keyring.VARIABLE, f"{OTHER},{KEY}")
    async with serving(broker, tmp_path) as rotated:
        assert await list_tools(rotated, session) == 200
        younger = await initialize(rotated)
    monkeypatch.setenv(keyring.VARIABLE, KEY)
    async with serving(broker, tmp_path) as old:
        assert await list_tools(old, session) == 200
        assert await list_tools(old, younger) == 404


async def test_keys_of_the_configuration_go_before_those_handed_down(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keyring.VARIABLE, KEY)
    async with serving(broker, tmp_path) as handed:
        session = await initialize(handed)
    async with serving(broker, tmp_path, f'[seal]\nkeys = ["{OTHER}"]\n') as written:
        assert await list_tools(written, session) == 404


async def test_without_a_key_sessions_end_with_the_edge_and_it_says_so(
    broker: Broker, tmp_path: Path
) -> None:
    with capture_logs() as logs:
        async with serving(broker, tmp_path) as first:
            session = await initialize(first)
            assert await list_tools(first, session) == 200
        async with serving(broker, tmp_path) as second:
            assert await list_tools(second, session) == 404
    assert sum("no seal.keys" in log["event"] for log in logs) == 2


@pytest.mark.parametrize("keys", ["short", "c2hvcnQ=", f"{KEY},nonsense", "ä" * 44])
async def test_a_key_that_is_none_is_a_configuration_error_that_does_not_repeat_it(
    bus: Bus, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str
) -> None:
    monkeypatch.setenv(keyring.VARIABLE, keys)
    context = Context("edge", "e1", configured(tmp_path), bus, Options(tmp_path), broker.url)
    with pytest.raises(
        ConfigError, match=f"{keyring.VARIABLE} must hold base64 of 32 random bytes"
    ) as caught:
        async with build(context):
            pass
    assert keys not in str(caught.value)


async def test_a_cancel_from_another_edge_and_a_thousand_pieces_of_junk_are_survived(
    broker: Broker, tmp_path: Path, bus: Bus
) -> None:
    with capture_logs() as logs:
        async with serving(broker, tmp_path) as http:
            for number in range(1000):
                await bus.publish(subjects.CANCEL, bytes([number % 256]) * (number % 7))
            await bus.publish(subjects.CANCEL, b"[" * 100_000)
            await bus.publish(subjects.CANCEL, json.dumps({"session": "s", "request": 1}).encode())
            await bus.settled()
            assert (await http.get("/health")).status_code == 200
    assert "unreadable cancel" in {log["event"] for log in logs}
