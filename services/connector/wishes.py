"""What listeners want to hear of a server: the wish of one, and of all together."""

from __future__ import annotations

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from libs.common import codec
from libs.common.errors import InvalidParams
from services.connector.session import Params

NAMES_MAX = 100
"""Resources that one listener may follow, and tasks."""


class Filter(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a listener wants to hear."""

    tools_list_changed: bool = False
    prompts_list_changed: bool = False
    resources_list_changed: bool = False
    resource_subscriptions: tuple[str, ...] = ()
    task_ids: tuple[str, ...] = ()


class Interest(Struct, frozen=True):
    """What all listeners together follow; every change of it has a new number."""

    number: int = 0
    uris: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()


_filter: Decoder[Filter] = codec.decoder(Filter)


def wanted_by(params: Params) -> Filter:
    """The filter of a `subscriptions/listen`. Raises `InvalidParams` for one that is odd or too long."""
    try:
        wanted = _filter.decode(params.get("notifications", Raw(b"null")))
    except DecodeError as error:
        raise InvalidParams(f'"notifications" must say what to listen to: {error}') from None
    if len(wanted.resource_subscriptions) > NAMES_MAX or len(wanted.task_ids) > NAMES_MAX:
        raise InvalidParams(f"at most {NAMES_MAX} resources and tasks can be followed by one stream")
    return wanted


def within(uri: str, followed: str) -> bool:
    """Whether news of `uri` are for who follows `followed`: the same, or a part of it."""
    if not followed or not uri.startswith(followed):
        return False
    rest = uri[len(followed) :]
    return not rest or followed[-1] in "/?#" or rest[0] in "/?#"
