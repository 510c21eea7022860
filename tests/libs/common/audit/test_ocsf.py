from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from msgspec.structs import replace
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from libs.common import log
from libs.common.audit.chain import Chain
from libs.common.audit.events import KINDS, Event, Payload
from libs.common.audit.form import OCSF
from libs.common.audit.ocsf import EVENT_MAX
from libs.common.identity import Principal
from tests.libs.common.audit.samples import ALICE, full, samples

NASTY = 'x\r\nFORGED \x1b[31m\x00\u2028\u2029\u202e\x85\ud800\ufeff\x7f"'


@cache
def schemas() -> OcsfJsonSchemaEmbedded:
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(OCSF))


@cache
def validator(name: str, profiles: tuple[str, ...]) -> Draft202012Validator:
    return Draft202012Validator(schemas().get_class_schema(name, list(profiles)))


def written(event: Event) -> bytes:
    return Chain("edge-1").seal(event).line


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("event", samples(), ids=lambda event: event.code)
def test_u1_every_event_is_valid_ocsf(event: Event) -> None:
    found = json.loads(written(event))
    name = KINDS[event.code].name
    assert schemas().lookup_class_name_from_uid(found["class_uid"]) == name
    errors = validator(name, tuple(found["metadata"]["profiles"])).iter_errors(found)
    assert [f"{error.instance_path}: {error.message}" for error in errors] == []


@pytest.mark.parametrize("event", samples(), ids=lambda event: event.code)
def test_an_event_is_written_canonically(event: Event) -> None:
    line = written(event)
    assert canonical(json.loads(line)) == line


def nasty(text: str) -> Event:
    people = Principal(text, text, (text, text), client=text, address=text)
    payload = Payload(900_000, "0123456789abcdef", (text,) * 50, ((text, text),) * 50)
    facts = {text: [text] * 50, "server": text}
    return replace(
        full("mcp.tool.call.completed"),
        principal=people,
        tenant=text,
        app=text,
        address=text,
        user_agent=text,
        path=text,
        session=text,
        token=text,
        operation=text,
        server=text,
        tool=text,
        definition=text,
        rule=text,
        call=text,
        message=text,
        args=payload,
        result=payload,
        facts=facts,
    )


@pytest.mark.parametrize("code", KINDS)
@pytest.mark.parametrize("text", [NASTY, "x" * 2**20, "\u2028" * 5000, "😀" * 2**18, '"\\' * 2**18])
def test_f6_text_of_strangers_makes_one_line_of_bounded_length(text: str, code: Any) -> None:
    line = written(replace(nasty(text), code=code))
    assert len(line) <= EVENT_MAX
    assert line.decode().isprintable()
    assert len(line.decode().splitlines()) == 1
    assert canonical(json.loads(line)) == line


def test_f6_what_was_cut_says_how_long_it_was_and_its_digest() -> None:
    line = json.loads(written(replace(full("mcp.request"), user_agent="M" * 2**20)))
    agent = line["http_request"]["user_agent"]
    assert agent.startswith("M" * 512 + "…[1048576 characters, sha256 ")


def test_an_event_without_a_user_agent_has_its_status() -> None:
    assert json.loads(written(Event(code="mcp.request", status=404)))["http_response"] == {"code": 404}


def test_f7_a_secret_in_a_message_or_a_fact_is_blanked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_secrets", set())
    log.hide("canary-7f3a")
    said = "connection refused for canary-7f3a"
    event = replace(full("server.failed"), message=said, facts={"reason": said, "more": [said]})
    assert b"canary" not in written(event)
    assert b"canary" not in written(replace(event, code="audit.gap"))


def test_f9_large_arguments_leave_their_size_and_digest() -> None:
    groups = tuple(f"group {number} " + "x" * 100 for number in range(1000))
    event = replace(nasty("😀" * 5000), principal=replace(ALICE, groups=groups))
    nexus = json.loads(written(event))["unmapped"]["nexus"]
    assert nexus["args"]["bytes"] == 900_000
    assert nexus["args"]["hmac"] == "0123456789abcdef"


def test_a_name_of_a_group_cannot_make_a_second_one() -> None:
    event = replace(full("mcp.request"), principal=replace(ALICE, groups=('a","b', "c")))
    groups = json.loads(written(event))["actor"]["user"]["groups"]
    assert groups == [{"name": 'a","b'}, {"name": "c"}]


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (full("mcp.tool.call.completed"), 2, "tool"),
        (replace(full("mcp.tool.call.completed"), outcome=None), 1, None),
        (replace(full("mcp.tool.call.requested"), outcome=None), 0, None),
        (replace(full("mcp.request"), decision="denied"), 2, "denied"),
        (replace(full("mcp.request"), outcome=None, status=404), 2, "failed"),
    ],
)
def test_the_status_is_that_of_the_first_layer_that_failed(event: Event, status: int, code: str) -> None:
    found = json.loads(written(event))
    assert (found["status_id"], found.get("status_code")) == (status, code)
