"""Clients that call through all of it and write down what they were told."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field

import httpx

from tests.system.wire import Message, answered, ask

WITHIN = 90.0
"""Seconds that a client waits for an answer: longer than any deadline of the gateway."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How a client calls: about `pause` seconds apart, tools that take some of `waits` milliseconds."""

    pause: float
    tools: tuple[str, ...] = ("one__run", "each__run")
    waits: tuple[int, ...] = (0, 0, 0, 5, 50, 400)


@dataclass(slots=True)
class Told:
    """What became of every call, by its id, as the clients know it."""

    answered: dict[str, str] = field(default_factory=dict)
    """`ok`, or the verdict of the error: `no`, `yes`, `unknown`."""
    broken: set[str] = field(default_factory=set)
    """Whose connection broke before an answer."""
    strange: list[str] = field(default_factory=list)
    """Answers that no gateway may give."""

    @property
    def finished(self) -> int:
        return len(self.answered) + len(self.broken)


async def client(
    name: str, calls: int, urls: list[str], told: Told, chance: random.Random, habit: Habit
) -> None:
    """Make `calls` calls one after the other, each to some edge."""
    limits = httpx.Limits(max_connections=4)
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN, limits=limits) as http:
        for each in range(calls):
            call = f"{name}-{each}"
            arguments = {"call_id": call, "ms": chance.choice(habit.waits)}
            params = {
                "name": "execute",
                "arguments": {"name": chance.choice(habit.tools), "arguments": arguments},
            }
            await _call(http, chance.choice(urls), call, params, told)
            await asyncio.sleep(habit.pause * chance.uniform(0.5, 1.5))


async def _call(http: httpx.AsyncClient, url: str, call: str, params: Message, told: Told) -> None:
    try:
        response = await ask(http, url, "tools/call", params)
        message = answered(response)
    except (httpx.HTTPError, ValueError, KeyError, IndexError):
        told.broken.add(call)
        return
    if "result" in message and message["result"]["content"][0]["text"] == call:
        told.answered[call] = "ok"
    elif "error" in message and "executed" in message["error"].get("data", {}):
        told.answered[call] = message["error"]["data"]["executed"]
    else:
        told.answered[call] = "unknown"
        told.strange.append(json.dumps(message)[:300])
