"""Small hand-made tools and short ways to ask for them."""

from __future__ import annotations

from collections.abc import Iterable

from services.indexer.index import Document, Index, parameters

NUMBERS = {
    "type": "object",
    "properties": {
        "a": {"type": "number", "description": "First number to add"},
        "b": {"type": "number", "description": "Second number to add"},
    },
    "required": ["a", "b"],
}


def document(
    server: str, tool: str, description: str = "", *, title: str = "", schema: object = None
) -> Document:
    return Document(f"{server}__{tool}", server, tool, title, description, parameters(schema))


ADDER = document("math_service", "adder", "Adds two numbers together", schema=NUMBERS)
FAILING = document("math_service", "failing_tool", "Always fails with an error")
PROCESSOR = document("text_service", "text_processor", "Changes the case of sentences")
CALCULATOR = document(
    "calc",
    "calculator",
    "Does arithmetic",
    title="Abacus",
    schema={
        "type": "object",
        "properties": {"operation": {"type": "string", "enum": ["multiply", "divide"]}},
        "additionalProperties": False,
    },
)
EVERY = (ADDER, FAILING, PROCESSOR, CALCULATOR)


def index(documents: Iterable[Document] = EVERY) -> Index:
    servers: dict[str, list[Document]] = {}
    for each in documents:
        servers.setdefault(each.server, []).append(each)
    made = Index()
    for server, tools in servers.items():
        made.replace(server, tools)
    return made


def found(made: Index, text: str, limit: int = 10) -> list[str]:
    return [match.tool for match in made.search(text, limit=limit)]
