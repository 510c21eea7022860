"""Whatever stands at a key, the answer is a configuration or a ConfigError, and never a secret."""

from __future__ import annotations

import re

import pytest

from libs.common.config.keys import known_keys
from libs.common.config.refused import REFUSED
from libs.common.errors import ConfigError
from tests.libs.common.config.conftest import Read

SECRET = "hunter2hunter2"
ODD = [
    '""',
    "-1",
    "0.5",
    "nan",
    "true",
    "1979-05-27T07:32:00Z",
    "[]",
    "{}",
    "[[1]]",
    '[{ a = "x" }]',
    "9" * 400,
]
ODD += ['"{{ env.S }}"', '["{{ env.S }}"]', '{ a = "{{ env.S }}" }', '"\\u0000"', '"//"', '"http://["']

NAMED = re.compile(r"(servers|tools|groups?)\.\*")
"""Tables whose keys are names; after other keys a `*` is a position."""


@pytest.mark.parametrize("key", sorted({*known_keys(), *REFUSED}))
def test_any_value_at_any_key_is_taken_or_refused_in_words(read: Read, key: str) -> None:
    answers = []
    for value in ODD:
        place = NAMED.sub(r"\1.s", key)
        if ".*" in place:
            head, tail = place.split(".*", 1)
            text = f"{head} = [{{ {tail.lstrip('.')} = {value} }}]" if tail else f"{head} = [{value}]"
        else:
            text = f"{place} = {value}"
        try:
            answers.append(str(read(text, env={"S": SECRET}, secrets=True)))
        except ConfigError as error:
            answers.append(str(error))
    assert all("mistake" in answer or answer.startswith("server=") for answer in answers)
    assert not any(SECRET in answer for answer in answers if "mistake" in answer)
