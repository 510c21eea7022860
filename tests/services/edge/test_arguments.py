"""What a model is told of arguments that do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from services.edge.arguments import read
from services.edge.tools import EXPECTED, ExecuteArguments, SearchArguments

TEXTS = "at most 32 texts, each of at most 1024 characters"


def searched(**given: Any) -> SearchArguments | str:
    return read({"query": "x", **given}, SearchArguments, EXPECTED)


def test_arguments_that_fit_are_taken() -> None:
    assert searched() == SearchArguments("x")
    every = {"keywords": ["a"], "limit": 50, "server": "git", "read_only": True, "detail": "names"}
    assert searched(**every) == SearchArguments("x", ["a"], 50, "git", True, "names")
    assert searched(server="", detail="") == SearchArguments("x")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"limit": 51}, '"limit" must be a whole number from 1 to 50; it was 51.'),
        ({"limit": 0}, '"limit" must be a whole number from 1 to 50; it was 0.'),
        ({"limit": "10"}, '"limit" must be a whole number from 1 to 50; it was "10".'),
        ({"limit": 2.5}, '"limit" must be a whole number from 1 to 50; it was 2.5.'),
        ({"keywords": ["a", 1]}, f'"keywords" must be {TEXTS}; it was ["a",1].'),
        ({"keywords": "git"}, f'"keywords" must be {TEXTS}; it was "git".'),
        (
            {"server": ["git"]},
            '"server" must be the name of a server, of at most 64 characters; it was ["git"].',
        ),
        ({"read_only": None}, '"read_only" must be true or false; it was null.'),
        ({"read_only": 1}, '"read_only" must be true or false; it was 1.'),
        ({"detail": "all"}, '"detail" must be "names", "summary" or "full"; it was "all".'),
    ],
)
def test_an_argument_that_does_not_fit_is_named_with_what_is_expected(
    given: dict[str, Any], said: str
) -> None:
    assert searched(**given) == said


def test_an_argument_that_does_not_exist_is_named_with_those_that_do() -> None:
    there = "query, keywords, limit, server, read_only, detail"
    assert searched(readonly=True) == f'There is no argument "readonly"; there are {there}.'


def test_a_tool_is_not_run_without_the_arguments_that_were_meant_for_it() -> None:
    given = {"name": "git__log", "args": {"max": 3}}
    said = 'There is no argument "args"; there are name, arguments.'
    assert read(given, ExecuteArguments, EXPECTED) == said


def test_a_missing_argument_is_named() -> None:
    said = '"name" is missing: it must be the exact name of a tool.'
    assert read({}, ExecuteArguments, EXPECTED) == said


@pytest.mark.parametrize("given", [None, [], "query", 7])
def test_arguments_that_are_no_object_are_told_so(given: object) -> None:
    assert read(given, SearchArguments, EXPECTED) == "The arguments must be a JSON object."


def test_a_wrong_value_is_repeated_no_further_than_it_helps() -> None:
    said = searched(limit="9" * 5000)
    assert isinstance(said, str)
    assert len(said) < 120
    strange = searched(**{"y" * 5000: 1})
    assert isinstance(strange, str)
    assert len(strange) < 200


def test_every_argument_has_its_words() -> None:
    assert {*SearchArguments.__struct_fields__, *ExecuteArguments.__struct_fields__} == set(EXPECTED)
