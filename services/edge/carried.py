"""Headers of a client that go on to a server, because a rule of that server sends them on."""

from __future__ import annotations

import re
from collections.abc import Iterable

from libs.common.errors import InvalidRequest
from services.edge.headers import Headers

VALUE_MAX = 1024
"""Characters of one value."""
_VALUE = re.compile(rf"[\x20-\x7e]{{0,{VALUE_MAX}}}")


def carried(names: Iterable[str], headers: Headers) -> Headers:
    """The headers with these names.

    Raises `InvalidRequest` for a value that cannot go on: left out, a default would take its place.
    """
    found = {name: headers[name] for name in sorted(names) if name in headers}
    for name, value in found.items():
        if not _VALUE.fullmatch(value):
            raise InvalidRequest(
                f"the header {name!r} goes on to a server: at most {VALUE_MAX} printable ASCII characters"
            )
    return found
