"""What a model passes to the gateway's own tools, read; what is wrong with it, in words it can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct, ValidationError, convert

from libs.common.codec import encode

T = TypeVar("T", bound=Struct)
SHOWN_MAX = 60
"""Characters of a wrong value that are repeated."""

_MISSING = re.compile(r"missing required field `(\w+)`")
_PLACE = re.compile(r"at `\$\.(\w+)")


def read(given: object, kind: type[T], expected: Mapping[str, str]) -> T | str:
    """`given` as the struct `kind`, or a sentence that names the argument that is wrong and what it must be.

    `expected` has the words for each argument. One that `kind` does not have is wrong as well: a misspelt one
    would otherwise be left out without a word.
    """
    if not isinstance(given, dict):
        return "The arguments must be a JSON object."
    names = kind.__struct_encode_fields__
    strange = [name for name in given if name not in names]
    if strange:
        return f"There is no argument {_shown(strange[0])}; there are {', '.join(names)}."
    try:
        return convert(given, kind)
    except ValidationError as error:
        return _explained(str(error), given, expected)


def _explained(problem: str, given: Mapping[str, object], expected: Mapping[str, str]) -> str:
    if missing := _MISSING.search(problem):
        name = missing[1]
        return f'"{name}" is missing: it must be {expected[name]}.'
    place = _PLACE.search(problem)
    name = place[1] if place else ""
    if name not in given or name not in expected:
        return problem[:300]
    return f'"{name}" must be {expected[name]}; it was {_shown(given[name])}.'


def _shown(value: object) -> str:
    text = encode(value).decode()
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…"
