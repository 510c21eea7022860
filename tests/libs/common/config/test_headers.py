"""Header rules: what each kind takes, and the names that none but `insert` may have."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from libs.common.config import ForwardHeader, InsertHeader, RemoveHeader, RenameHeader
from tests.libs.common.config.conftest import TIME, Read, Wrong

FAR = '[mcp.servers.far]\nurl = "http://example.com/mcp"\n'
CLOSED = (
    *("authorization", "Cookie", "set-cookie", "proxy-authorization", "Proxy-X", "host", "content-type"),
    *("content-length", "Content-Language", "transfer-encoding", "connection", "te", "trailer", "upgrade"),
    *("keep-alive", "expect", "Accept", "accept-encoding", "mcp-session-id", "Mcp-Param-Region"),
    *("last-event-id", "x-forwarded-for", "X-Forwarded-Host", "forwarded", "x-real-ip", "X_Real_IP"),
    *("X-Nexus-CSRF-Protection", "traceparent", "tracestate", "mcp_session_id"),
)


def test_each_kind_of_rule_is_taken_over_in_order(read: Read) -> None:
    rules = """[
        { rule = "insert", name = "Authorization", value = "Basic {{ env.KEY }}" },
        { rule = "forward", name = "X-Tenant", rename = "X-Customer", default = "{{ env.KEY }}" },
        { rule = "forward", name = "X-Team" },
        { rule = "remove", name = "User-Agent" },
        { rule = "rename", name = "A", to = "B" },
    ]"""
    config = read(f"mcp.headers = {rules.replace(chr(10), '')}\n{TIME}", env={"KEY": "k"})
    assert config.mcp.headers == (
        InsertHeader(rule="insert", name="Authorization", value=SecretStr("Basic k")),
        ForwardHeader(rule="forward", name="X-Tenant", rename="X-Customer", default=SecretStr("k")),
        ForwardHeader(rule="forward", name="X-Team"),
        RemoveHeader(rule="remove", name="User-Agent"),
        RenameHeader(rule="rename", name="A", to="B"),
    )


def test_a_default_is_resolved_only_where_it_is_used(read: Read) -> None:
    rule = '{ rule = "forward", name = "X-A", default = "{{ env.KEY }}" }'
    assert read(f"mcp.headers = [{rule}]\n{TIME}", secrets=False).mcp.headers


def test_servers_over_http_get_what_their_rules_and_those_of_all_send_on(read: Read) -> None:
    common = 'mcp.headers = [{ rule = "forward", name = "X-All", rename = "X-Every" }]'
    own = 'headers = [{ rule = "forward", name = "X-One" }, { rule = "insert", name = "X-Two", value = "2" }]'
    assert read(f"{common}\n{FAR}{own}\n{TIME}").forwarded() == {"far": {"x-all", "x-one"}}
    assert read(f"{FAR}{TIME}").forwarded() == {}


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("name", 'rule = "forward", name = "{}"'),
        ("rename", 'rule = "forward", name = "X-A", rename = "{}"'),
        ("name", 'rule = "remove", name = "{}"'),
        ("name", 'rule = "rename", name = "{}", to = "X-A"'),
        ("to", 'rule = "rename", name = "X-A", to = "{}"'),
    ],
)
def test_credentials_and_framing_are_closed_to_rules(wrong: Wrong, key: str, rule: str, name: str) -> None:
    text = f"{FAR}headers = [{{ {rule.format(name)} }}]\n"
    (line,) = wrong(text)
    assert line.startswith(f'mcp.servers.far.headers[0].{key}: found "{name}", expected another header: ')


def test_the_reason_is_said(wrong: Wrong) -> None:
    (line,) = wrong(f'mcp.headers = [{{ rule = "forward", name = "Cookie" }}]\n{TIME}')
    assert line.startswith("mcp.headers[0].name:")
    assert "it carries credentials" in line


def test_a_rule_of_no_kind_is_told_all_there_are(wrong: Wrong) -> None:
    lines = wrong(f'mcp.headers = [{{ rule = "replace", name = "X-A", value = "1" }}]\n{TIME}')
    assert lines == ['mcp.headers[0].rule: expected "insert" or "forward" or "remove" or "rename"']


def test_a_key_of_another_kind_is_named_and_its_value_hidden(wrong: Wrong) -> None:
    rules = (
        '{ rule = "remove", name = "X-A", value = "hush" }, { rule = "forward", name = "X", default = [] }'
    )
    lines = wrong(f"mcp.headers = [{rules}]\n{TIME}")
    assert lines[0] == "mcp.headers[0].value: unknown key; it belongs to a header rule of another kind"
    assert "hush" not in str(lines)
    assert lines[1].startswith("mcp.headers[1].default:")


def test_a_default_is_one_line(wrong: Wrong) -> None:
    (line,) = wrong(f'mcp.headers = [{{ rule = "forward", name = "X", default = "a\\r\\nb" }}]\n{TIME}')
    assert "mcp.headers[0].default: found <secret>, expected the value of an HTTP header" in line
