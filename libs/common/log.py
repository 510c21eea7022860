"""Logs: one line per event, as JSON, plain text or colour; secrets never.

Secrets are registered by whoever reads them; their text is replaced wherever it would be printed.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Literal

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from libs.common.telemetry.current import marks

Style = Literal["color", "text", "json"]
Level = Literal["off", "error", "warn", "info", "debug", "trace"]

LEVELS: dict[str, int] = {
    "off": logging.CRITICAL + 10,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
}
VALUE_MAX = 2_000
"""Characters of one logged value; what a peer sent may be a megabyte."""
HIDDEN = "<secret>"
EXCEPTION_MAX = 20_000
"""Characters of one trace, of which the last are kept."""
SECRET_MIN = 6
"""Shorter texts are not hidden: values like `true` or `debug` would blank half of every line."""
OURS = frozenset({"level", "timestamp", "service"})
"""What nobody else has written."""

_secrets: set[str] = set()
_chatty = ("nats", "faststream", "httpx", "httpcore", "asyncio", "uvicorn.access", "uvicorn.error")


def hide(secret: str) -> None:
    """Never print `secret` again, nor the ways in which Python and JSON quote it."""
    if len(secret) >= SECRET_MIN:
        _secrets.update((secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]))


def configure(level: Level = "info", style: Style = "color", service: str = "") -> None:
    """Send this process's logs, and those of its libraries, to stderr in one shape."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service),
        _placed,
    ]
    renderers: list[Processor] = [structlog.processors.format_exc_info, _tidy, _renderer(style)]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(LEVELS[level])
    for name in _chatty:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def default_style() -> Style:
    """Colour where a person watches, text elsewhere."""
    return "color" if sys.stderr.isatty() else "text"


def _renderer(style: Style) -> Processor:
    if style == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=True)
    return structlog.dev.ConsoleRenderer(colors=style == "color", pad_event_to=28)


def _named(service: str) -> Processor:
    def add(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if service:
            event["service"] = service
        return event

    return add


def _placed(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.update(marks())
    return event


def fields(record: logging.LogRecord) -> EventDict:
    """What a log line says, its `event` among it, fit to leave the process: without secrets, bounded."""
    if isinstance(record.msg, dict):
        event: EventDict = dict(record.msg)
    else:
        event = {"event": record.getMessage(), "logger": record.name}
    if record.exc_info and "exc_info" not in event:
        event["exc_info"] = record.exc_info
    return _tidy(None, "", structlog.processors.format_exc_info(None, "", event))


def _tidy(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if key not in OURS:
            event[key] = trace(value) if key == "exception" else _cleaned(value)
    return event


def _cleaned(value: object) -> object:
    match value:
        case str():
            return clean(value)
        case None | bool() | int() | float():
            return value
        case dict():
            return {clean(str(key)): _cleaned(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_cleaned(each) for each in value]
        case _:
            return clean(str(value))


def clean(text: str) -> str:
    """`text` on one line: without secrets and control characters, at most `VALUE_MAX` long (CWE-117)."""
    text = hidden(text)
    if len(text) > VALUE_MAX:
        text = f"{text[:VALUE_MAX]}…"
    return _printable(text)


def trace(text: str) -> str:
    """The end of a trace, its lines kept but indented, so that none can pass for an event of its own."""
    text = hidden(text)
    if len(text) > EXCEPTION_MAX:
        text = f"…{text[-EXCEPTION_MAX:]}"
    return "\n".join(f"  {_printable(line)}" for line in text.split("\n"))


def hidden(text: str) -> str:
    """`text` without secrets. Longer ones first: one may be the beginning of another."""
    for secret in sorted(_secrets, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
