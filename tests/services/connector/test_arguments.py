from __future__ import annotations

import json
import time
from typing import Any

import pytest
from msgspec import Raw

from libs.common.codec import raw
from libs.common.messages.catalog import Listing
from services.connector.arguments import SENTENCE_MAX, Checker


def problems(schema: Any, arguments: Any) -> list[str]:
    tool = raw({"name": "t", "inputSchema": schema})
    return Checker(Listing("s", "d", tools=(tool,))).problems("t", raw(arguments))


COUNT = {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}, "required": ["count"]}


def test_arguments_that_fit_have_no_problems() -> None:
    assert problems(COUNT, {"count": 3, "more": True}) == []


def test_a_wrong_argument_is_named_with_what_is_wanted() -> None:
    assert problems(COUNT, {"count": "ten"}) == ['arguments.count: "ten" is not of type "integer"']
    assert problems(COUNT, {}) == ['arguments: "count" is a required property']
    nested = {"properties": {"list": {"items": {"type": "string"}}}}
    assert problems(nested, {"list": ["a", 2]}) == ['arguments.list[1]: 2 is not of type "string"']


def test_at_most_five_problems_are_told() -> None:
    schema = {"additionalProperties": {"type": "integer"}}
    assert len(problems(schema, {str(number): "x" for number in range(50)})) == 5


def test_a_property_whose_name_is_a_number_is_named_like_any_other() -> None:
    schema = {"additionalProperties": {"additionalProperties": {"type": "integer"}}}
    assert problems(schema, {"7": {"a": "x"}}) == ['arguments.7.a: "x" is not of type "integer"']
    assert problems(schema, {"007": {"a": "x"}}) == ['arguments.7.a: "x" is not of type "integer"']


def test_long_values_and_names_are_cut() -> None:
    [told] = problems(COUNT, {"count": "secret" * 1000})
    assert len(told) < 150
    [told] = problems({"additionalProperties": False}, {"x" * 5000: 1})
    assert len(told) <= SENTENCE_MAX


def test_a_local_reference_is_followed() -> None:
    schema = {"properties": {"a": {"$ref": "#/$defs/a~1b"}}, "$defs": {"a/b": {"type": "integer"}}}
    assert problems(schema, {"a": "x"}) == ['arguments.a: "x" is not of type "integer"']


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        "string",
        {"type": "nonsense"},
        {"$schema": "http://127.0.0.1:9/schema"},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$ref": "#/$defs/missing"},
        {"properties": {"a": {"$ref": "#"}}, "type": "string"},
        {"pattern": "(?=lookahead)", "type": "string"},
        {"pattern": "a{1000}{1000}{1000}", "type": "string"},
        {"type": "string", "description": "x" * 70_000},
        {"type": "string", "allOf": [{} for _ in range(3000)]},
    ],
)
def test_a_schema_that_cannot_be_checked_checks_nothing(schema: Any) -> None:
    assert problems(schema, {"a": 1}) == []


def test_a_schema_whose_references_multiply_is_not_followed() -> None:
    levels = 60
    both = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)}
    schema = {"$defs": {**both, f"a{levels}": {"type": "string"}}, "$ref": "#/$defs/a0"}
    started = time.perf_counter()
    assert problems(schema, {}) == []
    assert time.perf_counter() - started < 1


def test_a_pattern_that_backtracks_elsewhere_runs_in_linear_time() -> None:
    schema = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    started = time.perf_counter()
    assert len(problems(schema, {"a": "a" * 50_000 + "b"})) == 1
    assert time.perf_counter() - started < 1


def test_large_arguments_that_are_all_wrong_are_answered_soon_with_one_problem() -> None:
    schema = {"properties": {"list": {"items": {"type": "string"}}}}
    started = time.perf_counter()
    assert problems(schema, {"list": list(range(300_000))}) == [
        'arguments.list[0]: 0 is not of type "string"'
    ]
    assert time.perf_counter() - started < 1


def test_a_tool_that_is_not_listed_is_not_checked() -> None:
    assert Checker(Listing("s", "d")).problems("t", Raw(b"{}")) == []


def test_arguments_nested_beyond_reason_are_left_to_the_server() -> None:
    checker = Checker(
        Listing("s", "d", tools=(Raw(json.dumps({"name": "t", "inputSchema": COUNT}).encode()),))
    )
    assert checker.problems("t", Raw(b"[" * 5000 + b"]" * 5000)) == []
