"""The gateway as a user starts it: one command, one folder with a nexus.toml, and nothing left at the end."""

from __future__ import annotations

import functools
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread
import httpx
import psutil

from tests.broker import free_port

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
CANARY = "NEXUS_SYSTEM_TEST"
READY_WITHIN = 45.0
STOP_WITHIN = 20.0
TAIL = 60
"""Lines of the gateway's log shown when a test fails."""
FAULTS = ("Traceback (most recent call last)", "was never retrieved", "was never awaited", "unexpected error")
"""What no log may hold, however bad the peers are."""

Server = Mapping[str, Any]
Ready = dict[str, Any]


class Gateway:
    """One gateway in a folder of its own. An async context manager: ready on entering, gone on leaving.

    `servers` are the tables of `mcp.servers`, `flags` what the command gets, `needs` the servers to wait for,
    `token` what readiness is asked with.
    `health` where readiness is told of all servers, if it is not told to everybody.
    """

    def __init__(
        self,
        folder: Path,
        servers: Mapping[str, Server],
        *flags: str,
        needs: tuple[str, ...] | None = None,
        settings: str = "",
        port: int = 0,
        token: str = "",
        health: str = "",
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}/mcp"
        self.health = health or self.address
        self.config = folder / "nexus.toml"
        self.config.write_text(settings + "".join(table(name, each) for name, each in servers.items()))
        self.needs = tuple(servers) if needs is None else needs
        self.process: subprocess.Popen[bytes] | None = None
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._flags = flags
        self._log = folder / "gateway.log"
        self._canary = secrets.token_hex(8)
        self._seen: set[psutil.Process] = set()

    async def __aenter__(self) -> Self:
        try:
            self.start()
            await self.ready(*self.needs)
        except BaseException as error:
            error.add_note(self.tail())
            self.kill()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.tail())
            self.kill()
            return
        await self.stop()

    def start(self) -> None:
        """Run the command; returns at once."""
        said = ("--log", "info", "--log-style", "text")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "--config", str(self.config), *said, "-l", self.address, *self._flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, CANARY: self._canary},
                start_new_session=True,
            )

    async def ready(self, *names: str, within: float = READY_WITHIN) -> Ready:
        """The readiness page, once every server named is ready."""

        def all_ready(page: Ready) -> bool:
            return bool(page["ready"]) and all(page["servers"][name]["state"] == "ready" for name in names)

        return await self.until(all_ready, within)

    async def until(self, enough: Callable[[Ready], bool], within: float = READY_WITHIN) -> Ready:
        """The first readiness page that satisfies `enough`; fails with the last one seen."""
        page: Ready = {}
        try:
            with anyio.fail_after(within):
                async with httpx.AsyncClient(trust_env=False, timeout=5, headers=self._headers) as client:
                    while True:
                        assert self.process is None or self.process.poll() is None, "the gateway has ended"
                        with suppress(httpx.HTTPError, ValueError):
                            page = (await client.get(f"http://{self.health}/ready")).json()
                            if "servers" in page and enough(page):
                                return page
                        await anyio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not so within {within:g} s; the last readiness page: {page}") from None

    async def said(self, text: str, within: float = 10.0) -> None:
        """Wait until the log holds `text`."""
        await eventually(lambda: text in self.log(), within, f"the log never said {text!r}")

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def tail(self) -> str:
        """The end of the log, for whoever reads a failed test."""
        return "the gateway's log ends:\n" + "\n".join(deque(self.log().splitlines(), TAIL))

    def services(self, role: str) -> list[psutil.Process]:
        """The processes of one role, oldest first."""
        found = [each for each in self._children() if _argument(each, 3) == role]
        return sorted(found, key=psutil.Process.create_time)

    def broker(self) -> psutil.Process:
        """The nats-server of this gateway."""
        (found,) = [each for each in self._children() if "nats-server" in _argument(each, 0)]
        return found

    async def killed(self, process: psutil.Process) -> None:
        """Kill one process as the kernel would, and wait for its end."""
        self.remember()
        process.kill()
        await gone([process], 5)

    def remember(self) -> None:
        """Note every process there is now: what is orphaned later is still found."""
        if self.process is not None:
            with suppress(psutil.NoSuchProcess):
                root = psutil.Process(self.process.pid)
                self._seen |= {root, *root.children(recursive=True)}

    def left(self) -> list[psutil.Process]:
        """Processes of this gateway that live: seen once, marked, or started with a path of its folder."""
        return [each for each in {*self._seen, *self._marked()} if lives(each)]

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end, and check that it ended well and completely."""
        if self.process is None:
            return
        self.remember()
        process, self.process = self.process, None
        process.send_signal(number)
        try:
            code = await anyio.to_thread.run_sync(functools.partial(process.wait, STOP_WITHIN))
            assert code == 0, f"exit status {code}\n{self.tail()}"
            await self.vanished(2)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            error.add_note(self.tail())
            self.process = process
            self.kill()
            raise
        faults = [fault for fault in FAULTS if fault in self.log()]
        assert not faults, f"{faults} in the log:\n{self.log()}"

    async def vanished(self, within: float) -> None:
        """Wait until no process of this gateway is left."""
        await eventually(lambda: not self.left(), within, lambda: f"still there: {self.left()}")

    def kill(self) -> None:
        """End everything at once; for tests that have failed already."""
        self.remember()
        for each in self.left():
            with suppress(psutil.NoSuchProcess):
                each.kill()
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def _children(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children()

    def _marked(self) -> set[psutil.Process]:
        found = set()
        for each in psutil.process_iter():
            with suppress(psutil.Error):
                if self._is_ours(each):
                    found.add(each)
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        """By its arguments, which everybody may read, or by its environment, which services keep private."""
        if any(str(self.folder) in argument for argument in process.cmdline()):
            return True
        try:
            return process.environ().get(CANARY) == self._canary
        except psutil.AccessDenied:
            return False


COMMAND = (PYTHON, "-m", "libs.cli.main")


def nexus(*arguments: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    given = ["--config", str(config)] if config else []
    return subprocess.run(
        [*COMMAND, *arguments, *given], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )


async def eventually(
    enough: Callable[[], bool], within: float, complaint: str | Callable[[], str] = "it never happened"
) -> None:
    """Look until `enough` says so: for what only the file system or the process table tells."""
    try:
        with anyio.fail_after(within):
            while not enough():
                await anyio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(complaint if isinstance(complaint, str) else complaint()) from None


async def gone(processes: list[psutil.Process], within: float) -> None:
    """Wait until none of `processes` runs."""
    await eventually(lambda: not any(map(lives, processes)), within, f"still there: {processes}")


@contextmanager
def only(edge: psutil.Process, others: list[psutil.Process]) -> Iterator[None]:
    """While the others are stopped, every new connection is taken by `edge`."""
    stopped = [each for each in others if each != edge]
    for each in stopped:
        each.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for each in stopped:
            each.send_signal(signal.SIGCONT)


def lives(process: psutil.Process) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _argument(process: psutil.Process, index: int) -> str:
    try:
        return process.cmdline()[index]
    except (psutil.Error, IndexError):
        return ""


def table(name: str, keys: Server) -> str:
    shown = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
    lines = [f"{key} = {_value(value)}" for key, value in keys.items()]
    return "\n".join([f"\n[mcp.servers.{shown}]", *lines, ""])


def _value(value: Any) -> str:
    """TOML of a value: JSON, but for tables."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items()) + " }"
    return json.dumps(value, default=str)
