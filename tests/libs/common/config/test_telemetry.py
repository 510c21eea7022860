from __future__ import annotations

from typing import Any

import pytest

from libs.common.config.telemetry import Otlp, Signal
from tests.libs.common.config.conftest import TIME, Read, Wrong

SIGNALS: tuple[Signal, ...] = ("tracing", "metrics", "logs")
OTLP = "telemetry.exporters.otlp"
ON = f"{OTLP}.enabled = true\n"


def ways(read: Read, text: str) -> dict[str, Otlp | None]:
    telemetry = read(f"{text}\n{TIME}").telemetry
    return {signal: telemetry.otlp(signal) for signal in SIGNALS}


def test_the_defaults_are_exactly_these(read: Read) -> None:
    batch = {
        "scheduled_delay": 5.0,
        "max_queue_size": 2048,
        "max_export_batch_size": 512,
        "max_concurrent_exports": 1,
    }
    otlp: dict[str, Any] = {"enabled": False, "endpoint": None, "protocol": "grpc", "timeout": 60.0}
    otlp |= {"batch_export": batch, "grpc": {"headers": {}, "tls": None}, "http": {"headers": {}}}
    per_span = ("max_events_per_span", "max_attributes_per_span", "max_links_per_span")
    per_part = ("max_attributes_per_event", "max_attributes_per_link")
    assert read(TIME).telemetry.model_dump() == {
        "service_name": None,
        "resource_attributes": {},
        "exporters": {"otlp": otlp},
        "tracing": {
            "exporters": None,
            "sampling": 0.15,
            "parent_based_sampler": False,
            "collect": dict.fromkeys(per_span + per_part, 128),
            "propagation": {"trace_context": True, "aws_xray": False},
        },
        "metrics": {"exporters": None},
        "logs": {"exporters": None},
    }


def test_nothing_is_sent_unless_an_exporter_is_enabled(read: Read) -> None:
    assert ways(read, f'{OTLP}.endpoint = "http://collector:4317"') == dict.fromkeys(SIGNALS)


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_signal_can_be_switched_off_alone_and_on_alone(read: Read, signal: str) -> None:
    off = ways(read, f"{ON}telemetry.{signal}.exporters.otlp.enabled = false")
    on = ways(read, f"telemetry.{signal}.exporters.otlp.enabled = true")
    assert {name for name, otlp in off.items() if otlp is None} == {signal}
    assert {name for name, otlp in on.items() if otlp is not None} == {signal}


def test_what_a_signal_leaves_out_is_that_of_all_signals(read: Read) -> None:
    batch = "batch_export.max_queue_size"
    found = ways(
        read,
        f'{ON}{OTLP}.endpoint = "http://c:1"\n{OTLP}.timeout = 3\n{OTLP}.{batch} = 7\n'
        f'{OTLP}.http.headers.a = "secret"\n'
        "telemetry.logs.exporters.otlp.batch_export.scheduled_delay = 1\n"
        'telemetry.logs.exporters.otlp.protocol = "http"',
    )["logs"]
    assert found is not None
    assert (found.url, found.timeout, found.protocol) == ("http://c:1", 3, "http")
    assert (found.batch_export.max_queue_size, found.batch_export.scheduled_delay) == (7, 1)
    assert found.http.headers["a"].get_secret_value() == "secret"


def test_headers_are_not_sent_to_another_collector(read: Read) -> None:
    text = f'{ON}{OTLP}.http.headers.a = "secret"\ntelemetry.logs.exporters.otlp.endpoint = "http://else:1"'
    found = ways(read, text)
    assert found["logs"] is not None
    assert found["tracing"] is not None
    assert (list(found["logs"].http.headers), list(found["tracing"].http.headers)) == ([], ["a"])


def test_each_protocol_has_its_own_port(read: Read) -> None:
    grpc, http = ways(read, ON)["logs"], ways(read, f'{ON}{OTLP}.protocol = "http"')["logs"]
    assert [each and each.url for each in (grpc, http)] == ["http://localhost:4317", "http://localhost:4318"]


@pytest.mark.parametrize(
    "headers", ['{ x-a = "1", x-b = "2" }', '[{ name = "x-a", value = "1" }, { name = "x-b", value = "2" }]']
)
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_headers_are_a_table_or_an_array(read: Read, protocol: str, headers: str) -> None:
    otlp = read(f"{OTLP}.{protocol}.headers = {headers}\n{TIME}").telemetry.exporters.otlp
    found = getattr(otlp, protocol).headers
    assert {name: value.get_secret_value() for name, value in found.items()} == {"x-a": "1", "x-b": "2"}
    assert "'1'" not in repr(otlp)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'{OTLP}.grpc.headers = {{ grpc-timeout = "1" }}', "other headers"),
        (f'{OTLP}.grpc.headers = [{{ name = "GRPC-x", value = "1" }}]', "other headers"),
        (f'{OTLP}.http.headers = [{{ name = "a" }}]', "an array of"),
        (f'{OTLP}.http.headers = [{{ name = "a", value = "1" }}, {{ name = "a", value = "2" }}]', "once"),
        (f'{OTLP}.http.headers = {{ "a b" = "1" }}', "the name of an HTTP header"),
        (f'{OTLP}.protocol = "udp"', '"grpc" or "http"'),
        (f'{OTLP}.endpoint = "collector:4317"', "a URL"),
        (f"{OTLP}.batch_export.max_queue_size = 0", "at least 1"),
        ("telemetry.tracing.sampling = 1.1", "a share from 0.0 to 1.0"),
        ("telemetry.tracing.sampling = true", "a share from 0.0 to 1.0"),
        ("telemetry.tracing.collect.max_links_per_span = -1", "greater than or equal to 0"),
        ("telemetry.enabled = true", "unknown key"),
    ],
)
def test_what_cannot_be_is_named(wrong: Wrong, text: str, said: str) -> None:
    (line,) = wrong(f"{text}\n{TIME}")
    assert said in line
