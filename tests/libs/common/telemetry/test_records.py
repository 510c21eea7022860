"""Log lines of a process of its own, on its standard error and at a real collector."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from tests.collector import Collector, attributes

pytestmark = pytest.mark.anyio

SECRET = "hunter2-longer"
HEAVY = (
    *(f"opentelemetry.{part}" for part in ("sdk", "exporter", "instrumentation")),
    *("grpc", "requests", "google"),
)
OWN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PROGRAM = """\
import asyncio, logging
import structlog
from libs.common import log, telemetry
from libs.common.telemetry import current
from tests.libs.common.telemetry.tables import table

log.hide({secret!r})
log.configure("debug", {style!r}, "edge-1")
here, library = structlog.get_logger("test"), logging.getLogger("library")

async def main():
    handle = telemetry.begin(table({url!r}, **{keys!r}), "edge-1")
{body}
    await handle.close()

asyncio.run(main())
"""


async def said(url: str, *body: str, style: str = "json", keys: dict[str, Any] | None = None) -> list[str]:
    """The lines on the standard error of a process that runs `body` with telemetry."""
    lines = "\n".join(f"    {line}" for line in body)
    program = PROGRAM.format(body=lines, url=url, style=style, secret=SECRET, keys=keys or {})
    command = [sys.executable, "-c", program]
    done = await anyio.to_thread.run_sync(
        lambda: subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def named(records: Sequence[LogRecord], body: str) -> LogRecord:
    (found,) = [each for each in records if each.body.string_value == body]
    return found


async def test_a_line_arrives_with_its_severity_its_values_and_its_place(collector: Collector) -> None:
    await said(
        collector.url,
        f"current.TRACE.set({OWN!r})",
        "here.warning('slow', server='git', seconds=1.5, found=['a'])",
        "library.error('no %s', 'disk')",
    )
    first, second = named(collector.logs, "slow"), named(collector.logs, "no disk")
    assert (first.severity_text, first.severity_number, second.severity_text) == ("WARN", 13, "ERROR")
    assert (first.trace_id.hex(), first.span_id.hex()) == (OWN[3:35], OWN[36:52])
    values = attributes(first.attributes)
    assert (values["server"], values["seconds"], values["service"]) == ("git", 1.5, "edge-1")
    assert values["code.function.name"].endswith("main")
    assert attributes(second.attributes)["logger"] == "library"


async def test_secrets_and_control_characters_are_hidden_as_on_stderr(collector: Collector) -> None:
    await said(
        collector.url,
        f"here.error({SECRET!r} + '\\x1b[2J', said=[{{'k': {SECRET!r}}}])",
        "try: raise ValueError('x' + " + repr(SECRET) + ")",
        "except ValueError: here.exception('failed')",
    )
    failed = attributes(named(collector.logs, "failed").attributes)
    assert "ValueError" in failed["exception.stacktrace"]
    assert SECRET not in collector.text()
    assert "\x1b" not in collector.text()


@pytest.mark.parametrize("style", ["json", "text"])
async def test_lines_of_a_request_carry_its_trace_and_its_span_if_it_is_recorded(
    collector: Collector, style: str
) -> None:
    lines = await said(
        collector.url,
        "here.info('outside')",
        f"current.TRACE.set({OWN!r})",
        "here.info('recorded')",
        f"current.TRACE.set({OWN[:-1] + '0'!r})",
        "library.warning('passing')",
        style=style,
    )
    outside, recorded, passing = lines
    assert OWN[3:35] not in outside
    assert OWN[3:35] in recorded
    assert OWN[36:52] in recorded
    assert OWN[3:35] in passing
    assert OWN[36:52] not in passing


async def test_what_the_exporters_say_is_not_sent_in_turn(collector: Collector) -> None:
    body = "logging.getLogger('opentelemetry.exporter').error('Failed to export')"
    lines = await said(collector.url, body, "here.info('fine')")
    assert [each.body.string_value for each in collector.logs] == ["fine"]
    assert [json.loads(line)["event"] for line in lines] == ["fine"]


async def test_a_collector_that_refuses_is_told_of_once_for_each_signal() -> None:
    # Long enough for a second try: it is the first one that failed whose reason is told.
    lines = await said(
        "http://127.0.0.1:9",
        "for number in range(20): here.info('line'); await asyncio.sleep(0.02)",
        keys={"otlp": {"timeout": 4}, "metrics": {"exporters": {"otlp": {"enabled": False}}}},
    )
    events = [json.loads(line) for line in lines]
    (word,) = [each for each in events if each["event"] != "line"]
    assert word["event"].startswith("telemetry does not arrive")
    assert (word["signal"], word["collector"], word["level"]) == ("logs", "127.0.0.1:9", "warning")
    assert "refused" in word["reason"]


async def test_what_cannot_be_set_up_is_told_and_the_rest_works(collector: Collector, tmp_path: Path) -> None:
    broken = {
        "protocol": "grpc",
        "endpoint": "https://x:1",
        "grpc": {"tls": {"ca": str(tmp_path / "no.pem")}},
    }
    lines = await said(
        collector.url,
        "assert handle.tracing is None",
        "here.info('fine')",
        keys={"tracing": {"exporters": {"otlp": broken}}},
    )
    first, second = (json.loads(line) for line in lines)
    assert first["event"].startswith("telemetry cannot be set up")
    assert (first["signal"], second["event"]) == ("tracing", "fine")
    assert "no.pem" in first["reason"]
    named(collector.logs, "fine")


async def test_without_telemetry_nothing_of_it_is_loaded() -> None:
    program = (
        "import sys, libs.common.service, services.edge.main, services.router.main, services.connector.main, "
        "services.indexer.main\n"
        "from libs.common import telemetry\nfrom libs.common.config.telemetry import Telemetry\n"
        "assert telemetry.begin(Telemetry(), 'x') is telemetry.OFF\n"
        f"print(sorted(each for each in sys.modules if each.startswith({HEAVY})))"
    )
    done = await anyio.to_thread.run_sync(
        lambda: subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
