from __future__ import annotations

import json

from libs.common import asyncapi
from libs.common.facts import FACTS
from tests.docs.pages import text


def test_the_contract_of_the_facts_is_current() -> None:
    made = f"{asyncapi.document()}\n"
    assert text("docs/asyncapi.json") == made, "run: python -m libs.common.asyncapi > docs/asyncapi.json"


def test_the_contract_has_every_fact_with_its_fields() -> None:
    document = json.loads(text("docs/asyncapi.json"))
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {fact.subject for fact in FACTS}
    for fact in FACTS:
        schema = document["components"]["schemas"][fact.__name__]
        assert set(schema["properties"]) == set(fact.model_fields)
