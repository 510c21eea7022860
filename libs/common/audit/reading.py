"""Events read back: the members that readers of the trail decide by. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from libs.common.audit.chain import Head
from libs.common.codec import UNREADABLE, decoder
from libs.common.errors import Executed


class Place(Struct, frozen=True):
    """Where an event stands in its chain."""

    uid: str
    seq: int
    prev: str
    hash: str


class ReadOutcome(Struct, frozen=True):
    """The layers of an outcome, as `events.Outcome` has them."""

    transport: str = "none"
    jsonrpc: int = 0
    tool: str = "none"
    executed: Executed = "no"


class Nexus(Struct, frozen=True):
    """What OCSF has no place for; times in milliseconds."""

    chain: Place
    deadline: int = 0
    outcome: ReadOutcome | None = None
    facts: Mapping[str, object] = {}
    token_hash: str = ""


class Unmapped(Struct, frozen=True):
    nexus: Nexus


class Metadata(Struct, frozen=True):
    uid: str
    event_code: str
    sequence: int = 0
    correlation_uid: str = ""
    tenant_uid: str = ""
    log_provider: str = ""


class Named(Struct, frozen=True):
    name: str = ""
    uid: str = ""


class Session(Struct, frozen=True):
    uid: str = ""
    issuer: str = ""


class Actor(Struct, frozen=True):
    user: Named = Named()
    session: Session = Session()
    app_name: str = ""
    app_uid: str = ""


class Api(Struct, frozen=True):
    operation: str = ""
    service: Named = Named()


class Source(Struct, frozen=True):
    ip: str = ""


class Read(Struct, frozen=True):
    """One event; members it does not have are empty. `time` in milliseconds since the epoch."""

    metadata: Metadata
    unmapped: Unmapped
    time: int = 0
    class_uid: int = 0
    status_id: int = 0
    status_code: str = ""
    action_id: int = 0
    actor: Actor = Actor()
    api: Api = Api()
    resources: list[Named] = []
    src_endpoint: Source = Source()

    @property
    def chain(self) -> Place:
        return self.unmapped.nexus.chain

    @property
    def head(self) -> Head:
        return Head(self.chain.uid, self.chain.seq, self.chain.hash)


_read: msgspec.json.Decoder[Read] = decoder(Read)


def read(line: bytes) -> Read | None:
    """The event in one line of NDJSON, None if there is none that can be read."""
    try:
        return _read.decode(line)
    except (*UNREADABLE, msgspec.ValidationError):
        return None


def digest(line: bytes, said: str) -> str:
    """The hash an event should have; `said` is the one it names.

    Of the bytes as they are; if they were written anew on their way, of their canonical form (RFC 8785).
    """
    member = b'"hash":"%b",' % said.encode()
    if line.count(member) == 1:
        found = hashlib.sha256(line.strip().replace(member, b"")).hexdigest()
        if found == said:
            return found
    try:
        event = json.loads(line)
        del event["unmapped"]["nexus"]["chain"]["hash"]
        text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    except (*UNREADABLE, ValueError, KeyError, TypeError):
        return ""
