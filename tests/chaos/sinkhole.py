"""A receiver of the audit trail over HTTP that stalls, takes half, fails and hangs up."""

from __future__ import annotations

import asyncio
import json
import random
from types import TracebackType
from typing import Self

from aiohttp import web

STALL = 2.0


class Sinkhole:
    """An HTTP server that takes NDJSON. An async context manager: it listens while entered."""

    def __init__(self, chance: random.Random, *, calm: bool = False) -> None:
        self.lines: list[bytes] = []
        """Every event it has got, those of requests it then failed as well."""
        self.down = False
        """Whether it takes nothing."""
        self.calm = calm
        """Whether it behaves from now on."""
        self.port = 0
        self._chance = chance
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=2**26)
        application.router.add_post("/", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def table(self) -> str:
        """The sink of the configuration that delivers here."""
        return f'\n[audit.sinks.webhook]\ntype = "webhook"\nurl = "http://127.0.0.1:{self.port}/"\n'

    async def _take(self, request: web.Request) -> web.Response:
        if self.down:
            return web.Response(status=503)
        body = await request.read()
        lines = body.splitlines()
        trouble = (
            "none" if self.calm else self._chance.choice(("none",) * 6 + ("stall", "half", "fail", "reset"))
        )
        match trouble:
            case "stall":
                await asyncio.sleep(STALL)
            case "half":
                # What it has kept comes once more, as the sender cannot know.
                self.lines += lines[: len(lines) // 2]
                return web.Response(status=500)
            case "fail":
                return web.Response(status=503, text=json.dumps({"error": "not now"}))
            case "reset":
                assert request.transport is not None
                request.transport.abort()
                return web.Response(status=500)
        self.lines += lines
        return web.Response(status=200)
