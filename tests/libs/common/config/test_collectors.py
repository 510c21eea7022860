"""The tables of sinks for Splunk, syslog and OpenTelemetry."""

from __future__ import annotations

import pytest

from libs.common.config.collectors import OtlpSink, SplunkSink, SyslogSink
from tests.libs.common.config.conftest import TIME, Read, Wrong

SPLUNK = 'type = "splunk"\nurl = "https://splunk:8088"\ntoken = "{{ env.TOKEN }}"'
SYSLOG = 'type = "syslog"\nurl = "tls://siem.example.com"'
OTLP = 'type = "otlp"\nendpoint = "http://otel:4317"'


def table(*lines: str) -> str:
    return "\n".join(("[audit.sinks.siem]", *lines, TIME))


def test_a_sink_needs_no_more_than_where_it_goes(read: Read) -> None:
    splunk = read(table(SPLUNK), env={"TOKEN": "canary"}).audit.sinks["siem"]
    assert isinstance(splunk, SplunkSink)
    assert splunk.token.get_secret_value() == "canary"
    assert "canary" not in repr(splunk)
    syslog = read(table(SYSLOG)).audit.sinks["siem"]
    assert isinstance(syslog, SyslogSink)
    assert (syslog.target, syslog.secure) == (("siem.example.com", 6514), True)
    otlp = read(table(OTLP)).audit.sinks["siem"]
    assert isinstance(otlp, OtlpSink)
    assert otlp.protocol == "grpc"


@pytest.mark.parametrize(
    ("url", "target", "secure"),
    [
        ("tcp://10.0.0.5", ("10.0.0.5", 601), False),
        ("tcp://10.0.0.5:514/", ("10.0.0.5", 514), False),
        ("tls://[2001:db8::1]:6515", ("2001:db8::1", 6515), True),
    ],
)
def test_an_address_of_syslog_has_the_usual_port(
    read: Read, url: str, target: tuple[str, int], secure: bool
) -> None:
    sink = read(table('type = "syslog"', f'url = "{url}"')).audit.sinks["siem"]
    assert isinstance(sink, SyslogSink)
    assert (sink.target, sink.secure) == (target, secure)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((SPLUNK, 'ack_timeout = "50s"'), "ack_timeout: expected a duration of at most 45 s"),
        ((SPLUNK, 'channel = "x"'), "channel: expected a GUID"),
        ((SPLUNK, 'facility = "audit"'), "facility: unknown key"),
        (('type = "splunk"', 'url = "https://splunk:8088"'), "token: is missing"),
        (('type = "syslog"', 'url = "udp://siem:514"'), "url: expected the address of a receiver"),
        (('type = "syslog"', 'url = "tls://siem:6514/path"'), "url: expected the address of a receiver"),
        (('type = "syslog"', 'url = "siem:6514"'), "url: expected the address of a receiver"),
        ((SYSLOG, 'format = "leef"'), 'format: expected "json" or "cef"'),
        ((SYSLOG, 'facility = "mail"'), "facility: expected"),
        ((SYSLOG, 'app_name = "two words"'), "app_name: expected printable ASCII"),
        ((SYSLOG, 'structured_data_id = "nexus"'), "structured_data_id: expected a name and the number"),
        ((SYSLOG, 'structured_data_id = "a]b@1"'), "structured_data_id: expected a name and the number"),
        ((SYSLOG, 'replay_size = "lots"'), "replay_size: expected a number of bytes"),
        ((OTLP, 'protocol = "http/json"'), 'protocol: expected "grpc" or "http"'),
        ((OTLP, 'headers = { "a b" = "x" }'), "headers.a b: expected the name of an HTTP header"),
        ((OTLP, 'tls.client_cert_path = "c.pem"'), "tls.client_key_path: is missing"),
        (('type = "kafka"', "brokers = []"), 'type: expected "file" or "stdout"'),
    ],
)
def test_a_mistake_names_the_key_and_what_belongs_there(
    wrong: Wrong, lines: tuple[str, ...], said: str
) -> None:
    report = "\n".join(wrong(table(*lines), env={"TOKEN": "canary"}))
    key, _, expected = said.partition(": ")
    assert report.replace('"a b"', "a b").startswith(f"audit.sinks.siem.{key}: ")
    assert expected in report
    assert "canary" not in report


@pytest.mark.parametrize("key", ["token", "url", "headers", "type"])
def test_a_wrong_value_beside_a_secret_shows_none(wrong: Wrong, key: str) -> None:
    lines = {"type": '"splunk"', "url": '"https://splunk:8088"', "token": '"canary-in-file"'}
    report = "\n".join(wrong(table(*(f"{name} = {value}" for name, value in {**lines, key: "7"}.items()))))
    assert f"audit.sinks.siem.{key}" in report
    assert "canary" not in report
