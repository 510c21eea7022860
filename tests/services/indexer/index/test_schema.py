"""The words of an input schema, and schemas that are hostile."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest

from services.indexer.index.schema import PARAMETERS_MAX, TEXT_MAX, parameters


def test_names_descriptions_and_enum_strings_are_given() -> None:
    schema = {
        "type": "object",
        "properties": {
            "unit": {"type": "string", "description": "Scale", "enum": ["celsius", "kelvin", 3, None]},
            "place": {"type": "string"},
        },
    }
    assert parameters(schema) == (("unit", "Scale celsius kelvin"), ("place", ""))


def test_nested_objects_items_and_alternatives_are_walked() -> None:
    schema = {
        "properties": {
            "filter": {"type": "object", "properties": {"author": {"description": "Who wrote it"}}},
            "tags": {"type": "array", "items": {"enum": ["red"], "properties": {"colour": {}}}},
        },
        "anyOf": [{"properties": {"either": {"const": "this"}}}],
    }
    assert dict(parameters(schema)) == {
        "filter": "",
        "author": "Who wrote it",
        "tags": "red",
        "colour": "",
        "either": "this",
    }


def test_a_reference_inside_the_schema_is_followed_and_one_outside_is_not() -> None:
    schema = {
        "$defs": {"Place": {"properties": {"city": {"description": "Town"}}}},
        "properties": {
            "where": {"$ref": "#/$defs/Place"},
            "other": {"$ref": "http://127.0.0.1:1/schema.json"},
            "lost": {"$ref": "#/nowhere"},
        },
    }
    assert [name for name, _ in parameters(schema)] == ["where", "city", "other", "lost"]


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema: dict[str, Any] = {"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}}
    assert 2 <= len(parameters(schema)) <= PARAMETERS_MAX
    loop: dict[str, Any] = {"$ref": "#/$defs/loop", "$defs": {"loop": {"$ref": "#/$defs/loop"}}}
    assert parameters(loop) == ()


def test_a_property_called_like_a_keyword_is_a_name() -> None:
    assert parameters({"properties": {"type": {"description": "Kind"}}}) == (("type", "Kind"),)


def test_size_is_bounded() -> None:
    wide = {"properties": {f"p{place}": {"description": "x" * 10_000} for place in range(10_000)}}
    found = parameters(wide)
    assert len(found) == PARAMETERS_MAX
    assert all(len(text) <= TEXT_MAX for _, text in found)


def test_depth_is_bounded() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5_000):
        schema = {"properties": {"deeper": schema}}
    assert len(parameters(schema)) < 10


def test_a_wide_tree_of_alternatives_ends_soon() -> None:
    node: dict[str, Any] = {"properties": {}}
    for _ in range(6):
        node = {"anyOf": [node] * 100}
    assert parameters(node) == ()


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        3,
        "text",
        [],
        {},
        {"properties": []},
        {"properties": {"a": None}},
        {"anyOf": {}},
        {"$ref": 3},
    ],
)
def test_what_is_no_schema_gives_no_words(schema: object) -> None:
    assert parameters(schema) in ((), (("a", ""),))


def test_alternatives_without_end_that_refer_to_each_other_cost_nothing() -> None:
    many = [{"$ref": "#/$defs/a"}] * 300_000
    start = process_time()
    assert parameters({"anyOf": many, "$defs": {"a": {"anyOf": many}}}) == ()
    assert process_time() - start < 0.1
