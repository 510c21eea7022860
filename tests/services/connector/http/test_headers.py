from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import SecretStr

from libs.common import codec
from libs.common.config import ForwardHeader, HeaderRule, InsertHeader, RemoveHeader, RenameHeader
from services.connector import headers


def rule(name: str, value: str) -> InsertHeader:
    return InsertHeader(rule="insert", name=name, value=SecretStr(value))


def table(*properties: tuple[str, Any]) -> headers.Mirrors:
    return headers.mirrors(codec.raw({"type": "object", "properties": dict(properties)}))


def marked(name: Any, kind: Any = "string") -> dict[str, Any]:
    return {"type": kind, "x-mcp-header": name}


def laid(*rules: HeaderRule, **sent: str) -> headers.Headers:
    return headers.Laid({"user-agent": "nexus/1"}, rules).of(sent)


def test_a_later_rule_beats_an_earlier_one_and_what_is_ours() -> None:
    rules = [rule("X-A", "1"), rule("User-Agent", "x"), rule("x-a", "2")]
    assert laid(*rules) == {"user-agent": "x", "x-a": "2"}


def test_a_header_is_sent_on_over_an_earlier_one_only_if_there_is_one() -> None:
    who = ForwardHeader(rule="forward", name="Who", rename="X-Who")
    rules: list[HeaderRule] = [rule("X-Who", "gateway"), who]
    assert laid(*rules)["x-who"] == "gateway"
    assert laid(*rules, who="ann") == {"user-agent": "nexus/1", "x-who": "ann"}


def test_a_header_that_no_rule_names_is_not_sent_on() -> None:
    assert laid(rule("X-A", "1"), stray="x") == {"user-agent": "nexus/1", "x-a": "1"}


def test_a_default_stands_for_what_the_client_did_not_send() -> None:
    tenant = ForwardHeader(rule="forward", name="Tenant", default=SecretStr("none"))
    assert laid(tenant)["tenant"] == "none"
    assert laid(tenant, tenant="")["tenant"] == ""


def test_removing_and_renaming_see_only_what_came_before() -> None:
    away, other = RemoveHeader(rule="remove", name="X-A"), RenameHeader(rule="rename", name="X-A", to="X-B")
    assert laid(rule("x-a", "1"), away, rule("X-C", "3")) == {"user-agent": "nexus/1", "x-c": "3"}
    assert laid(away, rule("X-A", "1"))["x-a"] == "1"
    assert laid(rule("X-B", "2"), rule("X-A", "1"), other) == {"user-agent": "nexus/1", "x-b": "1"}
    assert laid(rule("X-B", "2"), other, rule("X-A", "1"))["x-b"] == "2"


@pytest.mark.parametrize("value", ["", "plain", "a b", "file:///x?y=1", "=?base64?no"])
def test_a_safe_value_goes_as_it_is(value: str) -> None:
    assert headers.safe(value) == value


@pytest.mark.parametrize(
    "value", [" lead", "trail ", "tab\t", "line\r\nx: y", "żółw", "\x7f", "=?base64?eA==?="]
)
def test_an_unsafe_value_goes_in_base64(value: str) -> None:
    sent = headers.safe(value)
    assert base64.b64decode(sent.removeprefix("=?base64?").removesuffix("?=")).decode() == value
    assert sent.isascii()
    assert sent.isprintable()


def test_a_modern_request_names_version_method_and_target() -> None:
    params = {"name": codec.raw("tool ą")}
    assert headers.routing("2026-07-28", "tools/call", params) == {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "=?base64?dG9vbCDEhQ==?=",
    }
    assert headers.routing("v", "resources/read", {"uri": codec.raw("a://b")})["mcp-name"] == "a://b"
    assert headers.routing("v", "tasks/get", {"taskId": codec.raw("t")})["mcp-name"] == "t"
    assert "mcp-name" not in headers.routing("v", "tools/list", {"name": codec.raw("x")})


def test_marked_arguments_are_mirrored() -> None:
    found = table(
        ("region", marked("Region")),
        ("count", marked("Count", "integer")),
        ("dry", marked("Dry", "boolean")),
        ("where", {"type": "object", "properties": {"city": marked("City")}}),
        ("none", marked("None")),
        ("gone", marked("Gone")),
    )
    arguments = {"region": "eu ", "count": 5, "dry": False, "where": {"city": "Łódź"}, "none": None}
    assert headers.mirrored(found, {"arguments": codec.raw(arguments)}) == {
        "mcp-param-Region": "=?base64?ZXUg?=",
        "mcp-param-Count": "5",
        "mcp-param-Dry": "false",
        "mcp-param-City": "=?base64?xYHDs2TFug==?=",
    }
    assert headers.mirrored(found, {"arguments": codec.raw({"where": "flat", "region": ["x"]})}) == {}


def test_a_schema_without_marks_mirrors_nothing() -> None:
    assert table(("a", {"type": "string", "default": {"x-mcp-header": "no"}})) == ()
    assert headers.mirrors(codec.raw({"type": "object"})) == ()


@pytest.mark.parametrize(
    "schema",
    [
        {"x-mcp-header": "Root", "type": "string"},
        {"properties": {"a": marked("Bad Name")}},
        {"properties": {"a": marked("")}},
        {"properties": {"a": marked(5)}},
        {"properties": {"a": marked("X\r\nY")}},
        {"properties": {"a": marked("N", "number")}},
        {"properties": {"a": marked("N", ["string", "null"])}},
        {"properties": {"a": marked("Same"), "b": marked("same")}},
        {"properties": {"a": {"type": "array", "items": marked("Deep")}}},
        {"anyOf": [{"properties": {"a": marked("Any")}}]},
        {"$defs": {"d": marked("Def")}},
    ],
)
def test_a_schema_with_a_wrong_mark_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="header"):
        headers.mirrors(codec.raw(schema))


def tool(name: str, *properties: tuple[str, Any]) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object", "properties": dict(properties)}, "x-more": 1}


def test_tools_that_could_only_be_called_wrongly_are_taken_out_of_a_page() -> None:
    good, bad = tool("good", ("a", marked("Region"))), tool("bad", ("a", marked("no name")))
    page = codec.raw({"tools": [bad, good, {"name": "plain"}], "nextCursor": "c"})
    kept, broken = headers.sound(page)
    assert codec.decode(kept) == {"tools": [good, {"name": "plain"}], "nextCursor": "c"}
    assert broken == ["bad"]


@pytest.mark.parametrize(
    "page", [{"tools": [tool("a", ("a", marked("A")))]}, {"tools": "x-mcp-header"}, "x-mcp-header"]
)
def test_a_page_without_such_tools_stays_as_it_came(page: Any) -> None:
    raw = codec.raw(page)
    assert headers.sound(raw) == (raw, [])
