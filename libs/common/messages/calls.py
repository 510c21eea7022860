"""The conversation of a call: edge → router → connector, and frames back to the edge.

MCP payloads are `msgspec.Raw`: validated once at the edge, then carried as they are.
Messages only ever grow: a field is added with a default, never renamed or removed.
"""

from __future__ import annotations

from msgspec import Raw, Struct

from libs.common.errors import NULL, Failure
from libs.common.identity import ANONYMOUS, Principal
from libs.common.messages.catalog import Listing
from libs.common.trace import NONE, Trace

EMPTY = Raw(b"{}")
WORKER = "nexus/worker"
"""In the `_meta` of a result: who holds the call that goes on once the client has answered."""
REFUSED = "nexus/refused"
"""In the place of a client's answer to a held call: the error it answered with."""


class Client(Struct, frozen=True, omit_defaults=True):
    """What the calling client said of itself."""

    version: str = ""
    """The MCP revision of the client's hop, e.g. `2025-11-25`."""
    capabilities: Raw = EMPTY
    info: Raw = NULL
    session: str = ""
    """The id of the session it speaks in; a client of 2026-07-28 has none."""


class ExecuteTool(Struct, frozen=True, omit_defaults=True, tag="execute", tag_field="t"):
    """Run the tool with this exposed name (`server__tool`); `params` holds `arguments` and `_meta`."""

    name: str
    deadline: float
    """Absolute, seconds since the epoch; every hop drops what is past it."""
    params: Raw = EMPTY
    principal: Principal = ANONYMOUS
    client: Client = Client()
    progress: bool = False
    """Whether the client asked for progress events."""
    worker: str = ""
    """The connector that holds the call this goes on with; empty for any."""
    trace: Trace = NONE
    """What the request belongs to; valid, and no longer in the `_meta` of `params`."""
    again: bool = False
    """Whether the edge repeats what provably was not executed: limits have counted it already."""
    token: str = ""
    """The caller's own, sealed for this server, where the server gets it."""
    own: str = ""
    """What the server calls the tool, where each caller has a list of its own."""
    headers: dict[str, str] = {}
    """Of the client's request: what rules for the server send on, lower-case."""


class CallServer(Struct, frozen=True, omit_defaults=True, tag="call", tag_field="t"):
    """Send one MCP request to one server, transparently."""

    server: str
    method: str
    deadline: float
    params: Raw = EMPTY
    principal: Principal = ANONYMOUS
    client: Client = Client()
    progress: bool = False
    worker: str = ""
    trace: Trace = NONE
    tool: str = ""
    """The tool of a `tools/call`, by the server's own name: what rules and limits are about."""
    again: bool = False
    token: str = ""
    headers: dict[str, str] = {}


class NotifyServer(Struct, frozen=True, omit_defaults=True, tag="notify", tag_field="t"):
    """Send one MCP notification to one server; answered once it is written."""

    server: str
    method: str
    deadline: float
    params: Raw = EMPTY
    principal: Principal = ANONYMOUS
    again: bool = False
    token: str = ""
    headers: dict[str, str] = {}


class ListServer(Struct, frozen=True, omit_defaults=True, tag="list", tag_field="t"):
    """Ask what one server lists to this caller; the answer is a `Listing`."""

    server: str
    deadline: float
    principal: Principal = ANONYMOUS
    token: str = ""
    again: bool = False


class SearchTools(Struct, frozen=True, omit_defaults=True, tag="search", tag_field="t"):
    """Find tools the caller may see, best first; the answer is a `ToolsFound`."""

    deadline: float
    query: str = ""
    keywords: tuple[str, ...] = ()
    limit: int = 10
    principal: Principal = ANONYMOUS
    again: bool = False
    digests: dict[str, str] = {}
    """Of the lists that servers show to this caller alone, by server."""
    listings: tuple[Listing, ...] = ()
    """Those lists, for an indexer that does not know them."""
    server: str = ""
    """The only server to search; empty for all."""
    read_only: bool = False
    """Whether to find only tools whose server says that they change nothing."""
    detail: str = ""
    """How much of each tool is wanted: `names`, `summary` or `full`; empty leaves it to the indexer."""
    trace: Trace = NONE


class ResolveTool(Struct, frozen=True, omit_defaults=True, tag="resolve", tag_field="t"):
    """Answer for a name nobody has: a tool result that names the nearest tools the caller may see."""

    name: str
    deadline: float
    principal: Principal = ANONYMOUS
    trace: Trace = NONE


class HoldCall(Struct, frozen=True, omit_defaults=True, tag="hold", tag_field="t"):
    """Ask whether a held call still waits for its client, so that it goes on waiting; or have it ended.

    The answer is an object; its member `over` is true if nothing is left to wait for but the result.
    """

    worker: str
    """The connector that holds it."""
    deadline: float
    state: Raw
    """The `requestState` it was given there."""
    principal: Principal = ANONYMOUS
    end: bool = False


Request = ExecuteTool | CallServer | NotifyServer | ListServer | SearchTools | HoldCall
"""What an edge may ask of a router."""
Query = SearchTools | ResolveTool
"""What a router may ask of an indexer."""


class Call(Struct, frozen=True, omit_defaults=True, tag="call", tag_field="t"):
    """What a connector runs. `tool` is the downstream's own tool name, put into `params.name` when set."""

    server: str
    method: str
    deadline: float
    params: Raw = EMPTY
    tool: str = ""
    principal: Principal = ANONYMOUS
    client: Client = Client()
    progress: bool = False
    notify: bool = False
    trace: Trace = NONE
    token: str = ""
    headers: dict[str, str] = {}


Order = Call | ListServer | HoldCall
"""What a router passes on to a connector."""


class CancelCall(Struct, frozen=True, omit_defaults=True, tag="cancel", tag_field="t"):
    """Stop the call with this id, and tell the downstream server."""

    call: str
    reason: str = ""


class CancelRequest(Struct, frozen=True, omit_defaults=True):
    """Between edges: a legacy client cancelled its request `request` (the JSON of its id)."""

    session: str
    request: Raw
    reason: str = ""


class ClientReply(Struct, frozen=True, omit_defaults=True):
    """Between edges: what a legacy client answered to a question; `error` is `null` if it did."""

    session: str
    token: str
    result: Raw = NULL
    error: Raw = NULL


class Alive(Struct, frozen=True, omit_defaults=True, tag="alive", tag_field="t"):
    """One sweep of a worker: it has accepted these calls and is still at them."""

    worker: str
    calls: tuple[str, ...]


class Event(Struct, frozen=True, omit_defaults=True, tag="event", tag_field="t"):
    """A notification or a server-to-client request that belongs to a call, raw."""

    message: Raw
    more: tuple[Raw, ...] = ()
    """What came soon after it, in order."""


class Result(Struct, frozen=True, omit_defaults=True, tag="result", tag_field="t"):
    """The end of a call: the JSON-RPC `result`, as the server sent it."""

    result: Raw


class Failed(Struct, frozen=True, omit_defaults=True, tag="failed", tag_field="t"):
    """The end of a call that failed."""

    error: Failure


Frame = Alive | Event | Result | Failed
