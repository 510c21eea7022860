"""The contract of the facts, for whoever wants to consume them: `python -m libs.common.asyncapi`.

It prints what `docs/asyncapi.json` holds, made by FastStream from the models of `libs/common/facts.py`.
"""

from __future__ import annotations

import json
import sys

from faststream.nats import NatsBroker
from faststream.specification import AsyncAPI

from libs.common.facts import FACTS, STREAM

URL = "nats://nats:4222"
"""The bus as compose names it; every installation has its own."""
VERSION = "1"
"""That of the subjects: `nexus.v1.fact.>`."""
ABOUT = "What happened behind the gateway, kept for a day in the JetStream stream FACTS."


def document() -> str:
    """An AsyncAPI 3 document as JSON, the same text on every machine."""
    broker = NatsBroker(URL, logger=None)
    for fact in FACTS:
        broker.publisher(
            fact.subject, stream=STREAM, schema=fact, title=fact.__name__, description=fact.__doc__
        )
    spec = AsyncAPI(broker, title="Nexus facts", version=VERSION, description=ABOUT).to_specification()
    # FastStream keeps publishers in a set, so their order is no order.
    return json.dumps(spec.to_jsonable(), indent=2, ensure_ascii=False, sort_keys=True)


if __name__ == "__main__":
    sys.stdout.write(f"{document()}\n")
