"""The conversation about streams of legacy clients: what was sent on one, what is asked of its holder."""

from __future__ import annotations

from msgspec import Raw, Struct

from libs.common.identity import Principal


class Kept(Struct, frozen=True, omit_defaults=True):
    """JSON-RPC messages of one stream in their order: one message of the stream `EVENTS`."""

    first: int
    """The number of the first of them; the first of a stream is 1."""
    events: tuple[Raw, ...] = ()
    requests: tuple[Raw, ...] = ()
    """The JSON of the ids that the stream is to answer; none if it ended without an answer on purpose."""
    last: bool = False
    """Nothing comes after these."""


class StreamAsked(Struct, frozen=True, omit_defaults=True, tag="asked", tag_field="t"):
    """Its client is back, at another replica perhaps: keep at once what is not kept yet.

    Answered with `1` if the stream goes on, `0` if it is over or unknown.
    """

    stream: str
    leave: bool = False
    """The client has a new stream for this; nothing more needs to be kept of the old one."""


class MessagePosted(Struct, frozen=True, omit_defaults=True, tag="posted", tag_field="t"):
    """What a client of the older HTTP transport posted, brought to the stream of its session.

    Answered with `1` when it was taken, `0` if there is no such stream, `2` if that one has too much to do.
    """

    session: str
    message: Raw
    principal: Principal | None = None
    """Who posted it, with what that one may do now; None for whoever opened the stream."""
    address: str = ""
    """Where it was posted from."""
    agent: str = ""
    """The `User-Agent` it came with."""
    token: str = ""
    """The audit's fingerprint of the credentials."""


Held = StreamAsked | MessagePosted
"""What is asked of the edge that holds a stream."""
