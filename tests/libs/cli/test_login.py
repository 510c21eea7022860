"""A whole login: an authorization server, a browser, the bus, and a grant that a connector can use."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import anyio
import anyio.to_thread
import httpx
import pytest
import typer

from libs.cli import broker
from libs.cli import login as command
from libs.cli.login import login
from libs.common import keyring
from libs.common.bus import Bus
from libs.common.config import load
from libs.common.errors import ConfigError
from libs.common.oauth.challenge import Challenge
from libs.common.oauth.tokens import GrantFailed
from libs.common.oauth.vault import Grant, Vault
from libs.common.service import Options, snapshots
from tests.broker import Broker, free_port
from tests.services.connector.http.peer import Asked, Peer, Reply, serving

pytestmark = pytest.mark.anyio
KEY = b"k" * 32
Say = Callable[[dict[str, str]], dict[str, Any]]


class Site:
    """A server that wants tokens and its authorization server, in one."""

    def __init__(self) -> None:
        self.peer: Peer
        self.asked: list[dict[str, str]] = []
        self.registered: list[dict[str, Any]] = []
        self.forms: list[dict[str, str]] = []
        self.back: Say = lambda query: {"code": "c0de", "state": query["state"]}
        self.about: dict[str, Any] = {}

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.peer.port}"

    async def script(self, asked: Asked, reply: Reply) -> None:
        path, _, query = asked.path.partition("?")
        if path == "/mcp":
            await reply.json({}, status=401, www_authenticate='Bearer scope="read"')
        elif path == "/.well-known/oauth-protected-resource/mcp":
            await reply.json(
                {"resource": self.peer.url, "authorization_servers": [self.origin], **self.about}
            )
        elif path == "/.well-known/oauth-authorization-server":
            await reply.json(self._document())
        elif path == "/register":
            self.registered.append(json.loads(asked.body))
            await reply.json(
                {**self.registered[-1], "client_id": f"client-{len(self.registered)}"}, status=201
            )
        elif path == "/authorize":
            self.asked.append(dict(parse_qsl(query)))
            home = f"{self.asked[-1]['redirect_uri']}?{urlencode(self.back(self.asked[-1]))}"
            await reply.json({}, status=302, location=home)
        elif path == "/token":
            self.forms.append(dict(parse_qsl(asked.body.decode())))
            await reply.json({"access_token": "access", "refresh_token": "again", "expires_in": 3600})
        else:
            await reply.json({}, status=404)

    def _document(self) -> dict[str, Any]:
        ends = {f"{name}_endpoint": f"{self.origin}/{path}" for name, path in ENDS.items()}
        return {"issuer": self.origin, "response_types_supported": ["code"], **ends}


ENDS = {"authorization": "authorize", "token": "token", "registration": "register"}


async def visit(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True, timeout=10) as browser:
        await browser.get(url)


class Desk:
    """Where the operator sits: a configuration, a key, and the bus of the gateway."""

    def __init__(self, folder: Path, bus: Broker, url: str, more: str = "") -> None:
        self.path = folder / "nexus.toml"
        self.path.write_text(f'[mcp.servers.peer]\nurl = "{url}"\nauth.type = "oauth"\n{more}')
        self.options = Options(self.path, nats=bus.url)
        self.bus = bus.url
        self.url = url

    async def login(self, show: Callable[[str], Awaitable[None]] = visit, name: str = "peer") -> Grant:
        await login(self.options, load(self.path), name, port=0, show=show)
        return await self.kept()

    async def kept(self, note: Challenge | None = None) -> Grant:
        """What is in the vault; `note` is put into it first."""
        bus = Bus(self.bus, "connector")
        await bus.connect()
        vault = Vault(bus, (KEY,))
        async with snapshots(vault.snapshot):
            if note is not None:
                assert await vault.replace("peer", self.url, challenge=note)
            found = vault.read("peer", self.url)
        await bus.close()
        assert found is not None
        return found


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keyring.VARIABLE, base64.b64encode(KEY).decode())


async def test_a_login_ends_in_a_grant_that_says_all_a_connector_needs(
    tmp_path: Path, broker: Broker
) -> None:
    site = Site()
    async with serving(site.script) as site.peer:
        grant = await Desk(tmp_path, broker, site.peer.url).login()
    assert (grant.client.id, grant.client.method) == ("client-1", "none")
    assert (grant.token.access, grant.token.refresh) == ("access", "again")
    assert (grant.endpoint, grant.issuer) == (f"{site.origin}/token", site.origin)
    assert (grant.resource, grant.asked) == (site.peer.url, "read")
    assert site.asked[0]["code_challenge_method"] == "S256"
    assert site.forms[0]["resource"] == site.peer.url


async def test_what_was_refused_is_asked_for_beside_what_was_granted(tmp_path: Path, broker: Broker) -> None:
    site = Site()
    async with serving(site.script) as site.peer:
        desk = Desk(tmp_path, broker, site.peer.url)
        await desk.login()
        await desk.kept(Challenge(403, "insufficient_scope", "write"))
        grant = await desk.login()
        assert grant.asked == "read write"
        assert grant.challenge is None
        await desk.kept(Challenge(403, "insufficient_scope", "write"))
        with pytest.raises(GrantFailed, match="which were granted"):
            await desk.login()
    assert len(site.asked) == 2


async def test_configured_scopes_and_a_client_of_ones_own_are_used(tmp_path: Path, broker: Broker) -> None:
    site = Site()
    own = 'auth.client_id = "me"\nauth.client_secret = "s3cret"\nauth.scopes = ["a", "b"]'
    async with serving(site.script) as site.peer:
        grant = await Desk(tmp_path, broker, site.peer.url, own).login()
    assert site.registered == []
    assert "s3cret" not in str(site.asked)
    assert (site.asked[0]["client_id"], site.asked[0]["scope"]) == ("me", "a b")
    assert (grant.client.method, grant.client.secret) == ("client_secret_basic", "s3cret")


async def test_a_state_that_is_not_ours_ends_the_login_before_the_code_is_used(
    tmp_path: Path, broker: Broker
) -> None:
    site = Site()
    site.back = lambda query: {"code": "forged", "state": "forged"}
    async with serving(site.script) as site.peer:
        with pytest.raises(GrantFailed, match="State"):
            await Desk(tmp_path, broker, site.peer.url).login()
    assert site.forms == []


async def test_a_refusal_of_the_user_is_told(tmp_path: Path, broker: Broker) -> None:
    site = Site()
    site.back = lambda query: {"error": "access_denied", "state": query["state"]}
    async with serving(site.script) as site.peer:
        with pytest.raises(GrantFailed, match="access_denied"):
            await Desk(tmp_path, broker, site.peer.url).login()


async def test_another_authorization_server_than_the_configured_one_gets_nothing(
    tmp_path: Path, broker: Broker
) -> None:
    site = Site()
    async with serving(site.script) as site.peer:
        desk = Desk(tmp_path, broker, site.peer.url, 'auth.issuer = "https://login.example"')
        with pytest.raises(GrantFailed, match=r"auth\.issuer"):
            await desk.login()
    assert (site.registered, site.asked) == ([], [])


@pytest.mark.parametrize("issuer", ["https://169.254.169.254", "http://10.0.0.1"])
async def test_an_authorization_server_at_a_private_address_is_not_asked(
    tmp_path: Path, broker: Broker, issuer: str
) -> None:
    site = Site()
    site.about = {"authorization_servers": [issuer]}
    async with serving(site.script) as site.peer:
        with pytest.raises(GrantFailed, match=r"not public|http://"):
            await Desk(tmp_path, broker, site.peer.url).login()


async def test_a_server_without_logins_is_refused_with_those_that_have_them(
    tmp_path: Path, broker: Broker
) -> None:
    with pytest.raises(ConfigError, match=r"these do: peer"):
        await Desk(tmp_path, broker, "https://x.example/mcp").login(name="other")


async def test_the_broker_of_a_local_run_is_found_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "nats"
    assert broker_running(folder) is None
    started = await broker.start(folder)
    try:
        assert broker_running(folder) == started.url("connector")
    finally:
        await started.stop()
    assert broker_running(folder) is None


def broker_running(folder: Path) -> str | None:
    return broker.running(folder, "connector")


async def test_the_command_ends_with_a_sentence_and_not_with_a_trace(
    tmp_path: Path, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site()
    site.back = lambda query: {"error": "access_denied", "state": query["state"]}

    def log_in(port: int) -> None:
        with pytest.raises(typer.Exit):
            command.run(desk.options, "peer", port=port, browser=False)

    async def operator() -> None:
        while not (page := re.search(r"http://\S+/authorize\S+", shown := capsys.readouterr().out)):
            assert not shown or "authorize" in shown
            await anyio.sleep(0.02)
        await visit(page[0])

    async with serving(site.script) as site.peer:
        desk = Desk(tmp_path, broker, site.peer.url)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(operator)
                await anyio.to_thread.run_sync(log_in, free_port())
        assert (
            'no login at "peer": the authorization server refused: access_denied' in capsys.readouterr().err
        )
        with socket.create_server(("127.0.0.1", 0)) as taken:
            await anyio.to_thread.run_sync(log_in, taken.getsockname()[1])
    assert "choose another with --port" in capsys.readouterr().err
