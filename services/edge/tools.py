"""The two tools of the aggregate as clients see them: names, words and schemas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from libs.common.codec import raw

SEARCH = "search"
EXECUTE = "execute"
LIMIT_MAX = 50
KEYWORDS_MAX = 32
TEXT_MAX = 1024
"""Characters of a query or a keyword."""
SERVER_MAX = 64

Text = Annotated[str, Meta(max_length=TEXT_MAX)]


class SearchArguments(Struct):
    """The arguments of `search`; at least one of `query` and `keywords` is needed."""

    query: Text = ""
    keywords: Annotated[list[Text], Meta(max_length=KEYWORDS_MAX)] = []
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] = 10
    server: Annotated[str, Meta(max_length=SERVER_MAX)] = ""
    read_only: bool = False
    detail: Literal["", "names", "summary", "full"] = ""
    """Empty is a summary, or all of a tool that is asked for by its exact name."""


class ExecuteArguments(Struct):
    """The arguments of `execute`; a tool without parameters may be called without `arguments`."""

    name: str
    arguments: dict[str, Any] = {}


EXPECTED = {
    "query": f"text of at most {TEXT_MAX} characters",
    "keywords": f"at most {KEYWORDS_MAX} texts, each of at most {TEXT_MAX} characters",
    "limit": f"a whole number from 1 to {LIMIT_MAX}",
    "server": f"the name of a server, of at most {SERVER_MAX} characters",
    "read_only": "true or false",
    "detail": '"names", "summary" or "full"',
    "name": "the exact name of a tool",
    "arguments": "an object: the tool's own arguments",
}
"""What each argument has to be, in words."""

_ITEM: dict[str, Any] = {
    "type": "object",
    "required": ["name", "description", "score"],
    "properties": {
        "name": {"type": "string", "description": f"The exact name to pass to `{EXECUTE}`."},
        "description": {"type": "string"},
        "input_schema": {"description": "The JSON Schema that the tool's arguments must satisfy."},
        "score": {"type": "number", "description": "Higher is better; comparable within one answer only."},
        "server": {"type": "string"},
        "title": {"type": "string"},
        "annotations": {"description": "What the server says of the tool's effects; a hint, not a promise."},
        "output_schema": {"description": "The JSON Schema of the tool's structured result."},
        "why": {"description": "Why it was found: words that matched, how misspelt ones were read."},
    },
}

# No `anyOf` for "query or keywords": tool-calling APIs refuse it at the top of an input schema.
_SEARCH: dict[str, Any] = {
    "name": SEARCH,
    "title": "Search tools",
    "description": (
        "Find tools by what they do. Returns the best matches first, each with its exact name "
        f"(server__tool), its description and the schema of its arguments. Call this before `{EXECUTE}`. "
        "An exact name as the query returns that tool in full."
    ),
    "inputSchema": {
        "type": "object",
        "title": "SearchParameters",
        "properties": {
            "query": {
                "type": "string",
                "maxLength": TEXT_MAX,
                "description": "What you want to do, for example: read a file from a repository.",
            },
            "keywords": {
                "type": "array",
                "maxItems": KEYWORDS_MAX,
                "items": {"type": "string", "maxLength": TEXT_MAX},
                "description": 'Words to look for, for example: ["git", "commit", "history"].',
            },
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": LIMIT_MAX,
                "default": 10,
                "description": "How many tools to return at most.",
            },
            "server": {"type": "string", "description": "Search this server only."},
            "read_only": {"type": "boolean", "description": "Only tools that claim to change nothing."},
            "detail": {
                "type": "string",
                "enum": ["names", "summary", "full"],
                "default": "summary",
                "description": "names: a line each, cheap for a broad look. full: with output schemas.",
            },
        },
    },
    "annotations": {"readOnlyHint": True},
}

_FOUND: dict[str, Any] = {
    "type": "object",
    "title": "SearchResponse",
    "required": ["results"],
    "properties": {
        "results": {"type": "array", "items": _ITEM},
        "did_you_mean": {"description": "Names to try where nothing matches: tools, servers."},
    },
}

_EXECUTE: dict[str, Any] = {
    "name": EXECUTE,
    "title": "Execute a tool",
    "description": (
        f"Run one tool that `{SEARCH}` has found. The name must be copied from a search result, "
        "and the arguments must fit that tool's input schema."
    ),
    "inputSchema": {
        "type": "object",
        "title": "ExecuteParameters",
        "description": "Which tool to run, and with what.",
        "required": ["name", "arguments"],
        "properties": {
            "name": {
                "type": "string",
                "description": "The tool's exact name from a search result, for example: git__commit.",
            },
            "arguments": {
                "type": "object",
                "additionalProperties": True,
                "description": 'The tool\'s own arguments, for example: {"message": "Fix the build"}.',
            },
        },
    },
    "annotations": {"destructiveHint": True, "openWorldHint": True},
}


def own_tools(*, structured: bool) -> tuple[Raw, Raw]:
    """Their definitions; an output schema is promised only where structured content is sent."""
    search = {**_SEARCH, "outputSchema": _FOUND} if structured else _SEARCH
    return raw(search), raw(_EXECUTE)
