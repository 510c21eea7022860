"""What a security team is told of sinks and fields is what the code does."""

from __future__ import annotations

import re

import pytest

from libs.common.audit.events import KINDS
from libs.common.config.sinks import KINDS as TYPES
from services.auditor.formats.cef import cef_line
from services.auditor.formats.logrecord import log_record
from services.auditor.formats.severity import severity_of
from services.auditor.formats.view import View
from tests.docs.pages import blocks, rows, section, spans, text
from tests.services.auditor.formats.corpus import encoded
from tests.services.auditor.formats.parsers import read_cef

PAGE = text("docs/siem.md")
FIELDS = [cells for cells in rows(section(PAGE, "Fields")) if cells[0] != "meaning"]
RULES = [code for page, code in blocks("yaml") if page == "docs/siem.md"]
DERIVED = {"metadata.event_code", "time", "action_id", "status_id"}
"""Fields that formats write in words or forms of their own."""


def pairs(column: int) -> list[tuple[str, str]]:
    """(OCSF path, name) wherever a column names a field."""
    found = [(spans(cells[1])[0], spans(cells[column])[:1]) for cells in FIELDS]
    return [(path, names[0]) for path, names in found if names and path not in DERIVED]


def planted(path: str) -> bytes:
    """An event with a value of its own at `path`, and nowhere else."""
    value: object = 4711 if path in ("duration", "metadata.sequence", "http_response.code") else "planted"
    for name in reversed(path.split(".")):
        value = [value] if name == "0" else {name: value}
    assert isinstance(value, dict)
    return encoded("x", **value)


@pytest.mark.parametrize(("path", "key"), pairs(2))
def test_each_field_is_in_cef_where_the_table_says(path: str, key: str) -> None:
    extension = read_cef(cef_line(View(planted(path)))).extension
    assert extension[key] in ("planted", "4711")


@pytest.mark.parametrize(("path", "name"), pairs(5))
def test_each_field_is_an_attribute_where_the_table_says(path: str, name: str) -> None:
    data = planted(path)
    values = {each.key: each.value for each in log_record(View(data), data).attributes}
    assert values[name].string_value == "planted" or values[name].int_value == 4711


def test_every_type_of_sink_is_compared_and_shown() -> None:
    compared = {
        spans(cells[0])[0] for cells in rows(section(PAGE, "What at-least-once means")) if spans(cells[0])
    }
    shown = {
        kind
        for page, code in blocks("toml")
        if page == "docs/siem.md"
        for kind in re.findall(r'type = "(\w+)"', code)
    }
    assert compared == shown == set(TYPES)


@pytest.mark.parametrize("rule", RULES)
def test_every_detection_looks_for_events_that_there_are(rule: str) -> None:
    known = {span for cells in FIELDS for span in spans(cells[1])} | {
        "severity_id",
        "class_uid",
        "resources.name",
    }
    fields = re.findall(r"^    ([a-z_.]+)(?:\|\w+)?:", rule, re.MULTILINE)
    grouped = re.findall(r"group-by: \[([a-z_.]+)\]|field: ([a-z_.]+)", rule)
    assert {*fields, *(name for pair in grouped for name in pair if name)} <= known
    assert set(re.findall(r"metadata\.event_code: (\S+)", rule)) <= set(KINDS)


def test_the_scales_of_severity_are_the_ones_told() -> None:
    scale = [severity_of(number) for number in range(1, 6)]
    said = re.sub(r"\s+", " ", section(PAGE, "Fields"))
    assert f"are {', '.join(str(each.cef) for each in scale)} in CEF" in said
    assert f"{', '.join(str(each.syslog) for each in scale)} in syslog" in said
    assert [each.telemetry for each in scale] == [9, 12, 13, 17, 19]
