"""`nexus audit` against a real broker with events in it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import typer

from libs.cli import audit, broker, connect, events
from libs.cli.audit import Span, moment
from libs.cli.events import Filter, heading, row
from libs.common import subjects
from libs.common.audit.chain import Chain
from libs.common.audit.checkpoint import Signer
from libs.common.audit.events import Event, Outcome
from libs.common.bus import Bus
from libs.common.errors import BusUnavailable, ConfigError
from libs.common.identity import Principal
from libs.common.service import Options
from services.auditor.stream import Limits, Streams

pytestmark = pytest.mark.anyio

SEED = b"s" * 32
SIGNER = Signer(SEED)
TOML = f"""
[audit]
signing_key = "{base64.b64encode(SEED).decode()}"
[mcp.servers.time]
cmd = ["x"]
"""
ANN = Principal("ann")


@dataclass
class Place:
    """A folder with a gateway's broker in it, and what was recorded there."""

    options: Options
    bus: Bus
    chain: Chain
    lines: list[bytes] = field(default_factory=list)

    async def record(self, event: Event, target: str = "api_activity") -> None:
        sealed = self.chain.seal(event)
        self.lines.append(sealed.line)
        headers = {"Nats-Msg-Id": sealed.uid}
        await self.bus.jetstream().publish(subjects.audit(target), sealed.line, headers=headers)

    async def fill(self) -> None:
        """Ten requests, five refused logins, and a checkpoint of them."""
        for number in range(10):
            outcome = Outcome("ok", 0, "ok", "yes")
            await self.record(
                Event(code="mcp.request", principal=ANN, operation=f"m{number}", outcome=outcome, status=200)
            )
        for _ in range(5):
            await self.record(Event(code="auth.refused", status=401), "authentication")
        for event in SIGNER.events([self.chain.head]):
            await self.record(event, "application_lifecycle")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    (tmp_path / "nexus.toml").write_text(TOML)
    started = await broker.start(tmp_path / ".nexus" / "nats")
    bus = Bus(started.url("auditor"), "auditor")
    await bus.connect()
    await Streams(bus, Limits(3600, 2**24)).make()
    yield Place(Options(tmp_path / "nexus.toml"), bus, Chain("edge-1"))
    await bus.close()
    await started.stop()


async def run(command: Callable[..., Any], *args: Any, **more: Any) -> int:
    """A command in a thread, as it has an event loop of its own; its exit status."""
    try:
        await anyio.to_thread.run_sync(partial(command, *args, **more))
    except typer.Exit as end:
        return end.exit_code
    return 0


async def test_export_prints_events_as_they_were_recorded(
    place: Place, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    await place.fill()
    await run(audit.export, place.options, Span(since=moment("1h")))
    assert capsysbinary.readouterr().out.splitlines() == place.lines
    await run(audit.export, place.options, Span(since=moment("1h"), classes=["authentication"]))
    assert capsysbinary.readouterr().out.splitlines() == place.lines[10:15]
    await run(audit.export, place.options, Span(since=moment("1h"), until=moment("30m")))
    assert capsysbinary.readouterr().out == b""


async def test_verify_finds_nothing_wrong_with_what_nobody_touched(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await place.fill()
    assert await run(audit.verify, place.options, [], [], whole=False) == 0
    assert capsys.readouterr().out == "16 events: all as they were written\n"
    (tmp_path / "audit.ndjson").write_bytes(b"\n".join(place.lines) + b"\n")
    files = [str(tmp_path / "audit.ndjson")]
    assert await run(audit.verify, place.options, files, [SIGNER.public.hex()], whole=True) == 0


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda lines: lines[4].replace(b'"m4"', b'"mX"'), "altered: chain {chain} event 5"),
        (lambda lines: b"", "removed: chain {chain} event 5"),
    ],
)
async def test_verify_names_the_event_that_was_harmed_and_the_status_is_1(
    place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[list[bytes]], bytes],
    said: str,
) -> None:
    await place.fill()
    place.lines[4] = harm(place.lines)
    (tmp_path / "audit.ndjson").write_bytes(b"\n".join(place.lines) + b"\n")
    assert await run(audit.verify, place.options, [str(tmp_path / "audit.ndjson")], [], whole=False) == 1
    assert said.format(chain=place.chain.uid) in capsys.readouterr().out


async def test_verify_of_the_stream_names_what_somebody_put_there(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    await place.fill()
    forged = Chain("edge-2")
    for event in Signer(b"x" * 32).events([forged.head]):
        await place.bus.jetstream().publish("audit.v1.application_lifecycle", forged.seal(event).line)
    assert await run(audit.verify, place.options, [], [], whole=False) == 1
    assert "forged: chain" in capsys.readouterr().out


async def test_the_key_is_that_of_the_configuration_or_of_the_fleet(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await run(audit.key, place.options)
    assert capsys.readouterr().out == f"{SIGNER.public.hex()}\n"
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "nexus.toml").write_text('[mcp.servers.time]\ncmd = ["x"]\n')
    with pytest.raises(ConfigError, match="there is no key"):
        await run(audit.key, Options(bare / "nexus.toml"))


async def test_a_key_that_is_none_is_refused(place: Place) -> None:
    with pytest.raises(ConfigError, match="64 hex digits"):
        await run(audit.verify, place.options, [], ["abc"], whole=False)


async def test_tail_shows_what_comes_and_only_what_is_wanted(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    async with audit.connected(place.options) as bus:
        came: list[bytes] = []

        async def follow() -> None:
            async for line in audit._events(bus, Span(), live=True):
                came[len(came) :] = [line]

        task = asyncio.create_task(follow())
        with anyio.fail_after(10):
            while len(await bus.jetstream().consumers_info(subjects.AUDIT_STREAM)) == 0:
                await anyio.sleep(0.01)
            await place.fill()
            while len(came) < len(place.lines):
                await anyio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
    assert came == place.lines
    wanted = Filter(["code=auth.*", "status=401"])
    assert [line for line in came if wanted.takes(line)] == place.lines[10:15]


async def test_a_reader_can_read_its_tenant_with_what_is_printed(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await run(audit.reader, place.options, "acme-siem", "acme")
    text = capsys.readouterr().out
    assert "user: acme-siem" in text
    assert "password: $NATS_ACME_SIEM_PASSWORD" in text
    info = await place.bus.jetstream().consumer_info(subjects.AUDIT_STREAM, "acme-siem")
    (wanted,) = info.config.filter_subjects or [info.config.filter_subject]
    assert wanted
    assert wanted.startswith("audit.v1.*.")
    assert f'"{wanted}"' in text
    with pytest.raises(ConfigError, match="a reader's name"):
        await run(audit.reader, place.options, "edge", "")


@pytest.mark.parametrize("text", ["x", "=y", ""])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no filter"):
        Filter([text])


def test_a_moment_is_a_duration_ago_or_a_time() -> None:
    assert moment("2026-04-19T22:14:08+00:00") == 1_776_636_848
    assert moment("1h") - moment("2h") == pytest.approx(3600, abs=1)
    with pytest.raises(ValueError, match="nonsense"):
        moment("nonsense")


def test_a_row_is_one_line_with_what_matters() -> None:
    outcome = Outcome("failed", executed="unknown")
    event = Event(
        code="mcp.tool.call.completed", principal=ANN, server="time", tool="now", outcome=outcome, duration=12
    )
    line = row(Chain("edge-1").seal(event).line)
    for part in ("mcp.tool.call.completed", "ann", "time/now", " 12 ", "executed unknown"):
        assert part in line
    assert "…" not in line
    assert heading().split() == ["time", "event", "user", "what", "status", "ms", "outcome"]
    assert row(json.dumps({}).encode())


async def test_a_user_of_the_bus_that_may_not_read_is_told_so(place: Place) -> None:
    other = broker.running(place.options.config.parent / ".nexus" / "nats", "router")
    with pytest.raises(BusUnavailable, match=r"the message bus refused: .*permissions violation"):
        await run(audit.export, Options(place.options.config, nats=other), Span())


async def test_without_a_gateway_the_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "CONNECT_WITHIN", 0.3)
    (tmp_path / "nexus.toml").write_text(TOML)
    options = Options(tmp_path / "nexus.toml", nats="nats://127.0.0.1:1")
    with pytest.raises(Exception, match="is the gateway running"):
        await run(audit.export, options, Span())


ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202e"
HOSTILE = [
    b"no json " + ESCAPE.encode(),
    b"\xff\xfe",
    b'{"time":1e400}',
    b'{"time":"now"}',
    b'{"time":99999999999999999999}',
    b"[" * 100_000,
    b"[1]",
    json.dumps({"time": 1, "message": ESCAPE, "actor": {"user": {"uid": ESCAPE}}}).encode(),
    f'{{"message":"\x9b31m\x7f\u202e{"x" * 5000}"}}'.encode(),
]


@pytest.mark.parametrize("line", HOSTILE)
def test_f6_nothing_in_an_event_reaches_the_terminal_but_text(line: bytes) -> None:
    assert row(line).isprintable()
    assert events.plain(line).isprintable()
    assert not Filter(["code=auth.*"]).takes(line)


def test_an_event_printed_as_it_is_is_the_same_json() -> None:
    event = {"message": ESCAPE, "name": "Zoë 日本 🎉"}
    line = json.dumps(event, ensure_ascii=False).replace("\\u202e", "\u202e").encode()
    assert json.loads(events.plain(line)) == event


async def test_f6_findings_in_a_hostile_file_are_text_on_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sealed = Chain("edge-1").seal(Event(code="mcp.request"))
    event = json.loads(sealed.line)
    event["metadata"]["uid"] = event["unmapped"]["nexus"]["chain"]["uid"] = ESCAPE + "\n3 events: all well"
    (tmp_path / "bad.ndjson").write_bytes(json.dumps(event).encode() + b"\n" + b"x" * 5_000_000)
    options = Options(tmp_path / "nexus.toml")
    assert await run(audit.verify, options, [str(tmp_path / "bad.ndjson")], [], whole=False) == 1
    told = capsys.readouterr()
    assert all(line.isprintable() for line in (told.out + told.err).split("\n"))
    assert sum(line.startswith("3 events") for line in told.out.splitlines()) == 0
