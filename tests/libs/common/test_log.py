"""What a process writes to its standard error, byte by byte."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from libs.common import log

PROGRAM = """\
import logging, sys
import structlog
from libs.common import log

for secret in {secrets!r}:
    log.hide(secret)
log.configure({level!r}, {style!r}, "edge-1")
here = structlog.get_logger("test")
library = logging.getLogger("library")
{body}
"""

FAILING = """
try:
    raise ValueError({message!r})
except ValueError:
    {call}
"""


def said(body: str, style: str = "json", level: str = "debug", secrets: tuple[str, ...] = ()) -> str:
    """The standard error of a process that runs `body`."""
    program = PROGRAM.format(body=body, style=style, level=level, secrets=secrets)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stderr


def events(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said(*args, **kwargs).splitlines()]


def test_json_is_one_object_a_line_with_the_service_and_the_time() -> None:
    first, second = events('here.info("ready", tools=3)\nlibrary.warning("slow %s", "disk")')
    assert first.pop("timestamp").endswith("Z")
    assert second.pop("timestamp").endswith("Z")
    assert first == {"event": "ready", "level": "info", "service": "edge-1", "tools": 3}
    assert second == {"event": "slow disk", "level": "warning", "service": "edge-1", "logger": "library"}


HOSTILE = "a\nb\r\x1b[2Jc\x00\u2028\u202ed"


@pytest.mark.parametrize("style", ["json", "text"])
def test_control_characters_of_a_peer_stay_on_their_line_and_do_nothing(style: str) -> None:
    bodies = [
        f"here.info({HOSTILE!r})",
        f"here.info('x', said={HOSTILE!r})",
        f"here.info('x', said=[{{'k': {HOSTILE!r}}}])",
        f"here.info('x', said=ValueError({HOSTILE!r}))",
        f"library.warning('%s', {HOSTILE!r})",
    ]
    lines = said("\n".join(bodies), style).split("\n")
    assert len(lines) == len(bodies) + 1
    assert all(line.isprintable() for line in lines)
    assert all(r"\x1b[2J" in line.replace(r"\\", "\\") for line in lines[:-1])


def test_a_line_of_a_trace_cannot_pass_for_an_event() -> None:
    forged = "2026-01-01T00:00:00Z [info     ] paid"
    body = FAILING.format(message=f"x\n{forged}\x1b[31m", call='here.exception("failed")')
    head, *lines = said(body, "text").splitlines()
    assert "failed" in head
    assert f"  {forged}" + r"\x1b[31m" in lines
    assert all(line.startswith("  ") and line.isprintable() for line in lines)


def test_a_trace_is_one_line_of_json_with_its_lines_inside() -> None:
    (event,) = events(FAILING.format(message="x\ny", call='library.exception("failed")'))
    assert event["exception"].splitlines()[-2:] == ["  ValueError: x", "  y"]


SECRETS = ("hunter2-longer", "hunter2", 'quo"ted\\\n-key-')


QUOTED = [
    "here.info({0!r})",
    "here.info('x', said='Bearer ' + {0!r} + '.')",
    "here.info('x', said={{'headers': [{0!r}]}}, b={0!r}.encode())",
    "here.info('x', said={{{0!r}: 1}})",
    "here.info('x', said=repr({0!r}))",
    "import json; here.info('x', said=json.dumps({0!r}))",
    "here.info('x', said=KeyError({0!r}))",
    "library.error('got %s', {0!r})",
    FAILING.replace("{message!r}", "'no ' + {0!r}").replace("{call}", "here.exception('failed')"),
    FAILING.replace("{message!r}", "'no', {0!r}").replace("{call}", "library.exception('failed')"),
]


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_secret_is_never_written_however_it_is_quoted(style: str) -> None:
    bodies = [body.format(secret) for secret in SECRETS for body in QUOTED]
    text = said("\nhere.info('next one')\n".join(bodies), style, secrets=SECRETS)
    parts = text.split("next one")
    assert len(parts) == len(bodies)
    for part, body in zip(parts, bodies, strict=True):
        assert "<secret>" in part, body
    for fragment in ("hunter2", "longer", "quo", "-key-"):
        assert fragment not in text


def test_text_too_short_for_a_secret_is_left_alone() -> None:
    (event,) = events("here.info('it is true', ok='true')", secrets=("true", ""))
    assert (event["event"], event["ok"]) == ("it is true", "true")


def test_a_secret_that_is_a_common_word_blanks_no_field_of_our_own() -> None:
    (event,) = events("library.warning('x')", secrets=("warning", "edge-1"))
    assert (event["level"], event["service"]) == ("warning", "edge-1")


def test_a_megabyte_from_a_peer_is_cut() -> None:
    (event,) = events("here.info('x', said='y' * 1_000_000)")
    assert len(event["said"]) == log.VALUE_MAX + 1
    body = FAILING.format(message="", call="here.exception('failed')").replace(
        "''", "'y' * 1_000_000 + 'end'"
    )
    (event,) = events(body)
    assert len(event["exception"]) < log.EXCEPTION_MAX + 100
    assert event["exception"].endswith("end")


EVERY = "\n".join(f"here.{level}('{level}')" for level in ("critical", "error", "warning", "info", "debug"))


@pytest.mark.parametrize(
    ("level", "count"), [("off", 0), ("error", 2), ("warn", 3), ("info", 4), ("debug", 5), ("trace", 5)]
)
def test_a_level_shows_what_is_as_grave_and_off_shows_nothing(level: str, count: int) -> None:
    libraries = "\nlibrary.critical('x')\nlogging.getLogger('nats').critical('y')"
    assert len(said(EVERY, level=level).splitlines()) == count
    if level == "off":
        assert said(libraries, level="off") == ""


def test_chatty_libraries_say_only_what_is_wrong() -> None:
    body = "for name in ('nats', 'faststream', 'uvicorn.error'):\n    logging.getLogger(name).info('x')"
    assert said(body) == ""


def test_text_has_no_colour_and_colour_has() -> None:
    assert "\x1b" not in said("here.info('x')", "text")
    assert "\x1b" in said("here.info('x')", "color")
