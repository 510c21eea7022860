"""The sink that a table of the configuration asks for."""

from __future__ import annotations

from typing import assert_never

from libs.common.config.collectors import OtlpSink, SplunkSink, SyslogSink
from libs.common.config.sinks import FileSink, RedisSink, StdoutSink, WebhookSink
from libs.common.config.sinks import Sink as Table
from services.auditor.sinks.sink import Sink

ACKNOWLEDGED = 8
"""Batches at a time for a receiver whose word takes seconds: 400 events a second where it takes 10 s."""


def lanes(table: Table) -> int:
    """How many batches a sink gets at a time."""
    return ACKNOWLEDGED if isinstance(table, SplunkSink) and table.acknowledge else 1


def make_sink(table: Table) -> Sink:
    """Not connected yet. Raises `ConfigError` for files it needs and cannot use."""
    # Each imports its client, which only whoever uses it should pay for.
    match table:
        case FileSink():
            from services.auditor.sinks.file import File

            return File(table)
        case StdoutSink():
            from services.auditor.sinks.stdout import Stdout

            return Stdout(table)
        case WebhookSink():
            from services.auditor.sinks.webhook import Webhook

            return Webhook(table)
        case SplunkSink():
            from services.auditor.sinks.splunk import Splunk

            return Splunk(table)
        case SyslogSink():
            from services.auditor.sinks.syslog import Syslog

            return Syslog(table)
        case OtlpSink():
            from services.auditor.sinks.otlp import Otlp

            return Otlp(table)
        case RedisSink():
            from services.auditor.sinks.redis import Redis

            return Redis(table)
        case _:
            assert_never(table)
