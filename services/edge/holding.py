"""What other replicas ask of this one, because it holds a client's stream."""

from __future__ import annotations

import structlog
from msgspec.json import Decoder
from nats.aio.msg import Msg

from libs.common.codec import UNREADABLE, decoder
from libs.common.connection import Handler
from libs.common.messages.streams import Held, MessagePosted
from services.edge.journal import Journals
from services.edge.lines import Lines

log = structlog.get_logger("edge")

_held: Decoder[Held] = decoder(Held)


def holding(journals: Journals, lines: Lines) -> Handler:
    """Answers what arrives on `subjects.held`."""

    async def on_held(msg: Msg) -> None:
        try:
            held = _held.decode(msg.data)
        except UNREADABLE as error:
            log.warning("unreadable message for a stream", error=str(error))
            return
        if isinstance(held, MessagePosted):
            await msg.respond(lines.take(held))
        else:
            goes_on = await journals.asked(held.stream, leave=held.leave)
            await msg.respond(b"1" if goes_on else b"0")

    return on_held
