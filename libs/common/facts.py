"""What happened, kept while a service is down: FastStream on the JetStream stream `FACTS`.

Nobody waits for a fact. It is delivered at least once to each service that subscribes, to one replica of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

import structlog
from faststream.exceptions import NackMessage
from faststream.nats import JStream, NatsBroker, PullSub
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import APIError
from pydantic import BaseModel, ConfigDict, Field

from libs.common import subjects
from libs.common.bus import RECONNECT_WAIT, abandon, addresses
from libs.common.cancel import cancellable
from libs.common.errors import BusUnavailable, ResultTooLarge

log = structlog.get_logger("facts")

KEPT = 24 * 3600.0
"""Seconds a fact is kept."""
MAX_BYTES = 256 * 1024 * 1024
ACK_WAIT = 30.0
STOP_WITHIN = 2
MAX_DELIVER = 5

RETRY = 1.0
"""Seconds until a handler that raised gets the fact again."""


def stream(replicas: int = 1) -> JStream:
    """The stream of facts. FastStream marks one that it has made, so each connection needs its own."""
    return JStream(
        subjects.FACT_STREAM,
        subjects=[subjects.FACTS],
        max_age=KEPT,
        max_bytes=MAX_BYTES,
        num_replicas=replicas,
    )


STREAM = stream()


class Fact(BaseModel):
    """Something that happened; fields are only ever added, each with a default."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    subject: ClassVar[str]


class ToolsListed(Fact):
    """A downstream server listed what it has; sent after each start and each change."""

    subject = subjects.fact("tools", "listed")

    server: str = Field(description="Configured name of the server.")
    worker: str = Field(description="Connector that holds the session.")
    digest: str = Field(description="SHA-256 over all lists; equal lists have equal digests.")
    version: str = Field(default="", description="MCP revision negotiated with the server.")
    capabilities: dict[str, Any] = Field(default_factory=dict)
    info: dict[str, Any] | None = Field(default=None, description="The server's `serverInfo`.")
    instructions: str = ""
    tools: list[dict[str, Any]] = Field(default_factory=list, description="Whole tool definitions.")
    prompts: list[dict[str, Any]] = Field(default_factory=list)
    resources: list[dict[str, Any]] = Field(default_factory=list)
    templates: list[dict[str, Any]] = Field(default_factory=list)
    hints: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="`ttlMs` and `cacheScope` of the lists, by their member."
    )


class ServerStarted(Fact):
    """A connector opened a session to a downstream server."""

    subject = subjects.fact("server", "started")

    server: str
    worker: str
    kind: str = Field(description="`stdio`, `streamable-http` or `sse`.")
    version: str = Field(default="", description="MCP revision negotiated with the server.")


class ServerFailed(Fact):
    """A downstream session could not be opened, or ended by itself."""

    subject = subjects.fact("server", "failed")

    server: str
    worker: str
    reason: str
    retry_in: float = Field(description="Seconds until the next attempt.")


FACTS: tuple[type[Fact], ...] = (ToolsListed, ServerStarted, ServerFailed)

F = TypeVar("F", bound=Fact)


class Facts:
    """A role's own connection to the stream of facts. An async context manager."""

    def __init__(self, url: str, role: str, *, replicas: int = 1) -> None:
        self.broker = NatsBroker(
            addresses(url),
            name=f"nexus-{role}-facts",
            inbox_prefix=f"_INBOX_{role}",
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]  # slept, so a float is as good
            logger=None,
            apply_types=True,
        )
        self._role = role
        self._stream = stream(replicas)
        for fact in FACTS:
            self.broker.publisher(fact.subject, stream=self._stream, schema=fact)

    async def __aenter__(self) -> Facts:
        """Waits for the stream as long as it takes: a cluster that elects a leader has none for seconds."""
        while True:
            # FastStream does not try again by itself what has failed once.
            self._stream.declare = True
            try:
                await cancellable(self.broker.start())
            except (NatsError, APIError, TimeoutError) as error:
                log.info("waiting for the stream of facts", error=str(error) or type(error).__name__)
                await asyncio.sleep(RETRY)
            else:
                return self

    async def __aexit__(self, *_: object) -> None:
        connection = await self.broker.connect()
        # Not the broker's own `stop` alone: it drains, and nats-py waits 10 s for a connection that is lost
        # meanwhile, twice. Nothing is left to be drained once the handlers have ended.
        with suppress(NatsError):
            for subscriber in self.broker.subscribers:
                await subscriber.stop()
            await connection.flush(timeout=STOP_WITHIN)
        await abandon(connection)
        with suppress(NatsError):
            await self.broker.stop()

    async def publish(self, fact: Fact, *, timeout: float = 5.0) -> None:
        """Return when the stream has stored `fact`.

        Raises `BusUnavailable` if it did not in time, `ResultTooLarge` for a fact the bus cannot carry.
        """
        try:
            async with asyncio.timeout(timeout):
                stored = self.broker.publish(fact, fact.subject, stream=subjects.FACT_STREAM)
                await cancellable(stored)
        except MaxPayloadError:
            raise ResultTooLarge(f"{fact.subject} is larger than the message bus carries") from None
        except (NatsError, APIError, TimeoutError) as error:
            raise BusUnavailable(f"the message bus did not store {fact.subject}") from error

    def subscribe(self, kind: type[F], handler: Callable[[F], Awaitable[None]]) -> None:
        """Handle facts of one kind with the durable consumer of this role; call before entering.

        One at a time, in order; a handler that raises gets the fact again, at most five times in all.
        """

        async def handle(fact: F) -> None:
            try:
                await handler(fact)
            except Exception as error:
                log.warning("fact not handled", fact=fact.subject, error=str(error) or repr(error))
                raise NackMessage(delay=RETRY) from error

        handle.__annotations__["fact"] = kind
        name = f"{self._role}-{kind.subject.rpartition('fact.')[2].replace('.', '-')}"
        self.broker.subscriber(
            kind.subject,
            stream=self._stream,
            durable=name,
            pull_sub=PullSub(batch_size=1, timeout=5.0),
            config=ConsumerConfig(
                ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT, max_deliver=MAX_DELIVER, max_ack_pending=1
            ),
            # FastStream's own default would be an inbox that is not ours to read.
            inbox_prefix=f"_INBOX_{self._role}.".encode(),
            title=f"{self._role}: {kind.__name__}",
            description=kind.__doc__,
        )(handle)
