from __future__ import annotations

import time
from typing import Any

import pytest

from libs.common.errors import InvalidRequest, NexusError, NotAcceptable, ParseFailed, UnsupportedMediaType
from services.edge.body import (
    CONTAINERS_MAX,
    DEPTH_MAX,
    QUOTES_MAX,
    check_accept,
    check_type,
    parse_body,
)
from services.edge.settings import MIB


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"id": 18446744073709551617}', {"id": 2**64 + 1}),
        (b'["\\ud83d\\ude00"]', ["\U0001f600"]),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'"\\u0000"', "\0"),
        (b'["[[[[", "{{\\"{{\\\\"]', ["[[[[", '{{"{{\\']),
    ],
)
def test_json_is_read_as_it_is_meant(body: bytes, value: Any) -> None:
    assert parse_body(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} {}",
        b"[1,]",
        b"NaN",
        b"[-Infinity]",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc0\x80"',
        b'"\\ud800"',
        b'"raw\nline break"',
        b"1" * 5000,
        b"1e400",
        b"'single'",
    ],
)
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(ParseFailed):
        parse_body(body)


def test_the_deepest_allowed_nesting_is_read_and_one_more_is_refused() -> None:
    parse_body(nested(DEPTH_MAX))
    for body in (nested(DEPTH_MAX + 1), b"[{" * 40 + b"}]" * 40, b"[" * 100_000):
        with pytest.raises((InvalidRequest, ParseFailed)):
            parse_body(body)


def test_brackets_inside_strings_do_not_count() -> None:
    text = '[{"\\' * 1000
    body = b'["' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"]'
    assert parse_body(body) == [text]


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * (4 * MIB // 3) + b"1]",
        b"[" + b"[[]]," * (4 * MIB // 5) + b"1]",
        b'"' * 4 * MIB,
        b'"' + b'\\"' * 2 * MIB,
        b"[" * 70 + b'"' + b"a" * 4 * MIB,
        b"[" + b'"",' * (4 * MIB // 3) + b"1]",
        b"[" + b"1," * 2 * MIB + b"1]",
        nested(600_000),
    ],
)
def test_a_json_bomb_is_refused_without_holding_up_others(body: bytes) -> None:
    start = time.process_time()
    with pytest.raises((InvalidRequest, ParseFailed)):
        parse_body(body)
    assert time.process_time() - start < 0.25


def test_a_large_plain_body_is_no_bomb() -> None:
    rows = b",".join(b'{"name":"row","value":%d}' % n for n in range(CONTAINERS_MAX - 1))
    assert len(parse_body(b"[" + rows + b"]")) == CONTAINERS_MAX - 1
    assert rows.count(b'"') < QUOTES_MAX


@pytest.mark.parametrize(
    "value",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
    ],
)
def test_json_in_utf_8_is_the_accepted_type(value: str) -> None:
    check_type(value, None)
    check_type(value, "identity")


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (None, None),
        ("", None),
        ("text/plain", None),
        ("application/jsonx", None),
        ("application/x-www-form-urlencoded", None),
        ("text/plain; application/json", None),
        ("application/json; charset=utf-16", None),
        ("application/json;" + "x" * 5000, None),
        ("application/json", "gzip"),
        ("application/json", "gzip, gzip"),
        ("application/json", "br"),
    ],
)
def test_another_type_or_a_compressed_body_is_refused(value: str | None, encoding: str | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        check_type(value, encoding)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "*/*",
        "application/json, text/event-stream",
        "text/*;q=0.5, application/*",
        "text/html, Application/JSON;q=0.1, TEXT/event-stream",
        "application/json, text/event-stream;q=0.0001",
    ],
)
def test_a_client_that_takes_json_and_event_streams_is_served(value: str | None) -> None:
    check_accept(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "application/json",
        "text/event-stream",
        "text/html",
        "application/json, text/event-stream;q=0",
        "*",
        "*/*," + "a/b," * 500,
    ],
)
def test_a_client_that_takes_only_one_form_is_refused(value: str) -> None:
    with pytest.raises(NotAcceptable) as refused:
        check_accept(value)
    error: NexusError = refused.value
    assert error.http == 406
