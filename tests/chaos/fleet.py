"""A whole gateway of separate processes on a cluster of three brokers, each of which may be killed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.broker import free_port
from tests.cluster import Cluster
from tests.system.gateway import COMMAND, ROOT

SLOTS = (
    "router-1",
    "router-2",
    "indexer-1",
    "connector-1",
    "connector-2",
    "auditor-1",
    "edge-1",
    "edge-2",
)
READY_WITHIN = 60.0
STOP_WITHIN = 20.0
TIMEOUT = 10
"""Seconds of a call: short, so that the reconciler has its turn."""
BACK_AFTER = 0.3
"""Seconds until somebody starts a killed process again, as an orchestrator would."""
SETTINGS = """
[server]
drain_timeout = 5
[mcp]
call_timeout = {timeout}
[nats]
replicas = 3
[audit]
spool = {spool}
checkpoint_interval = 5
[audit.sinks.file]
type = "file"
path = {file}
{servers}
"""
TRUTH = Path(__file__).with_name("truth.py")


@dataclass(slots=True)
class Slot:
    """One place of the fleet, and the process that fills it now."""

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0

    @property
    def role(self) -> str:
        return self.name.partition("-")[0]

    def start(self, environment: dict[str, str]) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=environment
            )


class Fleet:
    """Everything that runs. An async context manager: ready on entering, stopped in order on leaving."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.journal = folder / "executions"
        self.cluster = Cluster(folder)
        self.ports = {name: free_port() for name in SLOTS if name.startswith("edge")}
        self.config = folder / "nexus.toml"
        self.config.write_text(self._text() + settings)
        self._key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.slots = {name: self._slot(name) for name in SLOTS}
        self.deaths: list[str] = []
        self._struck: set[str] = set()

    async def __aenter__(self) -> Self:
        self.cluster.start()
        await self.cluster.ready()
        for slot in self.slots.values():
            slot.start(self._environment(slot))
        try:
            for name in self.ports:
                await self.ready(name)
        except BaseException:
            self._kill()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self._stop()
        self._kill()
        self.cluster.stop()

    def url(self, edge: str) -> str:
        return f"http://127.0.0.1:{self.ports[edge]}/mcp"

    async def ready(self, edge: str, within: float = READY_WITHIN) -> None:
        """Return when an edge sees every server ready."""
        async with asyncio.timeout(within), httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while True:
                with suppress(httpx.HTTPError, ValueError, KeyError):
                    page = (await client.get(f"http://127.0.0.1:{self.ports[edge]}/ready")).json()
                    if page["ready"] and {each["state"] for each in page["servers"].values()} == {"ready"}:
                        return
                await asyncio.sleep(0.1)

    def revive(self) -> None:
        """Start again what has ended by itself, as an orchestrator would."""
        for slot in self.slots.values():
            if slot.process is not None and slot.process.poll() is not None and slot.name not in self._struck:
                self.deaths.append(f"{slot.name} by itself")
                slot.start(self._environment(slot))

    async def strike(self, role: str, chance: random.Random) -> None:
        """Kill one process of `role` (`nats`: the leader of the audit stream), and start it again."""
        if role == "nats":
            await self._strike_broker()
            return
        slot = chance.choice([each for each in self.slots.values() if each.role == role])
        self._struck.add(slot.name)
        if slot.process is not None:
            slot.process.kill()
            await asyncio.to_thread(slot.process.wait, 10)
        self.deaths.append(slot.name)
        slot.kills += 1
        await asyncio.sleep(BACK_AFTER)
        slot.start(self._environment(slot))
        self._struck.discard(slot.name)

    async def _strike_broker(self) -> None:
        leader = await self.cluster.leader("AUDIT")
        self.cluster.kill(leader)
        self.deaths.append(f"nats-{leader}")
        # A second one must not go before this one is back: two of three are a quorum, one is not.
        await asyncio.sleep(1.0)
        await asyncio.to_thread(self.cluster.launch, leader)

    def _text(self) -> str:
        truth = [sys.executable, "-S", "-E", str(TRUTH), str(self.journal)]
        shown = ", ".join(f'"{each}"' for each in truth)
        servers = "".join(
            f"\n[mcp.servers.{name}]\ncmd = [{shown}]\n{more}"
            f'\n[mcp.servers.{name}.tools."*"]\naudit = {{ capture = "redacted", fields = ["call_id"] }}\n'
            for name, more in (("one", ""), ("each", 'instances = "per-worker"'))
        )
        return SETTINGS.format(
            timeout=TIMEOUT,
            spool=json.dumps(str(self.folder / "spool")),
            file=json.dumps(str(self.folder / "audit.ndjson")),
            servers=servers,
        )

    def _slot(self, name: str) -> Slot:
        role = name.partition("-")[0]
        command = [*COMMAND, role, "--config", str(self.config), "--nats", self.cluster.url]
        command += ["--log", "info", "--log-style", "text"]
        if role == "edge":
            command += ["--listen-address", f"127.0.0.1:{self.ports[name]}"]
        return Slot(name, command, self.folder / f"{name}.log")

    def _environment(self, slot: Slot) -> dict[str, str]:
        return {**os.environ, "NEXUS_SEAL_KEYS": self._key, "NEXUS_WORKER": slot.name}

    async def _stop(self) -> None:
        """In the order of a shutdown, so that what is last said is heard."""
        for role in ("edge", "router", "indexer", "connector", "auditor"):
            slots = [each for each in self.slots.values() if each.role == role and each.process is not None]
            for slot in slots:
                assert slot.process is not None
                slot.process.send_signal(signal.SIGTERM)
            for slot in slots:
                assert slot.process is not None
                with suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(slot.process.wait, STOP_WITHIN)

    def _kill(self) -> None:
        for slot in self.slots.values():
            if slot.process is not None:
                slot.process.kill()
                slot.process.wait(10)
