"""What a request that calls no tool is about, and how it ended. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from libs.common import log
from libs.common.audit.events import Outcome
from libs.common.errors import NULL, Executed, InvalidParams
from services.edge import verdicts
from services.edge.envelope import trace_context
from services.edge.era import LISTEN
from services.edge.evidence import app_of
from services.edge.message import INITIALIZE, Message
from services.edge.visitor import CLIENT_CANCELLED, CLIENT_LEFT, LEFT, Visitor

CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
REFUSED = "the arguments did not fit; nothing was run"
_TARGETED = frozenset({"prompts/get", "resources/read", "resources/subscribe", "resources/unsubscribe"})
TEXT_MAX = 512
"""Characters of a name or a URI that are looked at."""


def target(message: Message) -> dict[str, str]:
    """The resource or prompt that is asked for or completed; of a URI nothing that may be secret."""
    params = message.params
    if message.method == "completion/complete":
        reference = params.get("ref")
        params = reference if isinstance(reference, dict) else {}
    elif message.method not in _TARGETED:
        return {}
    name, uri = params.get("name"), params.get("uri")
    if isinstance(uri, str):
        return {"uri": shown(bare(uri))}
    return {"name": shown(name)} if isinstance(name, str) else {}


def bare(uri: str) -> str:
    """A URI without credentials, query and fragment."""
    try:
        parts = urlsplit(uri[:TEXT_MAX])
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@lru_cache(maxsize=2048)
def _cleaned(text: str) -> str:
    return log.clean(text)


def shown(text: str) -> str:
    """The beginning of a stranger's text, without what is known to be secret."""
    return _cleaned(text[:TEXT_MAX])


def program(visitor: Visitor) -> str:
    """The name that the client's program gives itself: for its session, or in the message."""
    if visitor.info != NULL:
        return app_of(visitor.info)
    message = visitor.message
    if message is None:
        return ""
    holder: Any = message.params
    if message.method != INITIALIZE:
        holder = holder.get("_meta")
    info = holder.get("clientInfo" if message.method == INITIALIZE else CLIENT_INFO) if holder else None
    name = info.get("name") if isinstance(info, dict) else None
    return name if isinstance(name, str) else ""


def trace(visitor: Visitor) -> str:
    """The `traceparent` of the message."""
    try:
        params = {} if visitor.message is None else visitor.message.params
        return trace_context(params, visitor.headers).parent
    except InvalidParams:
        return ""


def ended(visitor: Visitor) -> tuple[Outcome, int, str]:
    """The outcome, the HTTP status and a sentence."""
    executed: Executed = "unknown" if visitor.server else "no"
    failure = visitor.failure
    if visitor.cancelled:
        return verdicts.aborted(executed), visitor.status(None), CLIENT_CANCELLED
    if visitor.gone and not _stands(visitor):
        return verdicts.aborted(executed), LEFT, CLIENT_LEFT
    if visitor.gone:
        return Outcome("ok", 0, "none", "yes"), 200, CLIENT_LEFT
    if failure is not None:
        return verdicts.failed(failure), visitor.status(failure), verdicts.reason(failure)
    if visitor.refused:
        return Outcome("ok", 0, "error", "no"), visitor.status(None), REFUSED
    return Outcome("ok", 0, "none", "yes"), visitor.status(None), ""


def _stands(visitor: Visitor) -> bool:
    """Whether it is a stream that ends when its client leaves."""
    message = visitor.message
    return visitor.streamed and (visitor.verb == "GET" or (message is not None and message.method == LISTEN))
