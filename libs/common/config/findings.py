"""Turns what pydantic found into mistakes that name the key, the value and the word that was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from libs.common.config.keys import known_keys
from libs.common.config.model import TAGS
from libs.common.config.refused import REFUSED
from libs.common.config.report import Key, Mistake, dotted, found_at, matches

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "int_type": "a whole number",
    "model_type": "a table",
    "path_type": "text: the path of a file or folder",
    "string_type": "text",
    "tuple_type": "an array",
}


def find_mistakes(document: dict[str, Any], error: ValidationError) -> Iterator[Mistake]:
    """One mistake for each thing pydantic refused, with what `document`, not interpolated, says there."""
    for detail in error.errors(include_url=False, include_input=False):
        key = tuple(part for part in detail["loc"] if part not in (*TAGS, "[key]"))
        if detail["type"] == "extra_forbidden":
            yield Mistake(key, "", hint=_nearest(key, document), problem="unknown key")
        elif detail["type"] == "missing":
            yield Mistake(key, "", problem="is missing: this key is required", missing=True)
        else:
            yield _wrong(key, detail, found_at(document, key))


def _wrong(key: Key, detail: ErrorDetails, found: str | None) -> Mistake:
    context = detail.get("ctx", {})
    if detail["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        said = " or ".join(f'"{choice}"' for choice in choices)
    else:
        choices = context.get("choices", [])
        said = context.get("text") or _EXPECTED.get(detail["type"], detail["msg"])
    return Mistake(key, said, found, _meant(found.strip('"') if found else "", choices))


def _meant(word: str, choices: list[str]) -> str | None:
    near = get_close_matches(word.lower(), choices, n=1)
    return f'did you mean "{near[0]}"?' if near else None


def _nearest(key: Key, document: dict[str, Any]) -> str | None:
    """The known key beside an unknown one that looks most like it; else where a key of that name belongs."""
    name = str(key[-1])
    patterns = [tuple(pattern.split(".")) for pattern in (*known_keys(), *REFUSED)]
    beside = [pattern[-1] for pattern in patterns if matches(pattern[:-1], key[:-1])]
    if name in beside:
        return _other_kind(key, document)
    homes = [pattern for pattern in patterns if pattern[-1] == name]
    homes = [home for home in homes if home[0] == key[0]] or homes
    if len(homes) == 1:
        return f'did you mean "{dotted(_filled(homes[0], key))}"?'
    return _meant(name, [word for word in beside if word != "*"])


def _filled(pattern: tuple[str, ...], key: Key) -> Key:
    """The pattern with the names that `key` has in the places of its `*`."""
    names = (*key, *("*" for _ in pattern))
    return tuple(name if part == "*" else part for part, name in zip(pattern, names, strict=False))


def _other_kind(key: Key, document: dict[str, Any]) -> str:
    if key[-3:-2] == ("headers",):
        return "it belongs to a header rule of another kind"
    stdio = found_at(document, (*key[:-1], "cmd")) is not None
    return "it belongs to a server with `url`" if stdio else "it belongs to a server with `cmd`"
