"""A real OpenID provider (tests/real/provider.mjs): its own process and port, real keys, real logins."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import httpx

from tests.broker import free_port
from tests.system.gateway import ROOT, eventually
from tests.system.real import NODE

SCRIPT = ROOT / "tests" / "real" / "provider.mjs"
ROBOT = ("robot", "robot-secret")


class Provider:
    """Issues tokens for MCP paths of the origin `gateway`; may be stopped, and started with other keys."""

    def __init__(self, folder: Path, gateway: str, *scopes: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [NODE, str(SCRIPT), str(self.port), gateway, *scopes]
        self._log = folder / "provider.log"
        self._signed = 0
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        await self._signing()

    async def rotate(self) -> None:
        """Sign with a new key from now on."""
        assert self.process
        self.process.send_signal(signal.SIGHUP)
        await self._signing()

    def stop(self) -> None:
        """As by `kill -9`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    async def token(self, resource: str, *scopes: str) -> str:
        """An access token of the client "robot", by client credentials."""
        form = {"grant_type": "client_credentials", "resource": resource, "scope": " ".join(scopes)}
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.post(f"{self.url}/token", data=form, auth=ROBOT)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def settings(self, resource: str) -> str:
        """The tables of a gateway whose tokens come from here."""
        told = f'resource = "{resource}"\nauthorization_servers = ["{self.url}"]\n'
        return (
            f'[server.oauth]\nurl = "{self.url}/jwks"\nrequired_scopes = ["mcp"]\n'
            f"[server.oauth.protected_resource]\n{told}"
        )

    async def _signing(self) -> None:
        self._signed += 1

        def enough() -> bool:
            assert self.process is None or self.process.poll() is None, self._log.read_text()
            return self._log.read_text().count("signing with") >= self._signed

        await eventually(enough, 30, lambda: f"the provider did not sign anew:\n{self._log.read_text()}")
