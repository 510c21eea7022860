from __future__ import annotations

import pytest
from msgspec import Raw

from services.connector.ours import stripped


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'{"_meta":{"nexus/executed":"no","x":1},"a":1}', b'{"_meta":{"x":1},"a":1}'),
        (b'{"_meta":{"nexus\\u002fexecuted":"no"},"text":"nexus/"}', b'{"_meta":{},"text":"nexus/"}'),
        (b'{"_meta":{"x": 1}, "text":"nexus/executed"}', b'{"_meta":{"x": 1}, "text":"nexus/executed"}'),
        (b'{"content": [1.50]}', b'{"content": [1.50]}'),
        (b'["nexus/"]', b'["nexus/"]'),
        (b'{"_meta":["nexus/"]}', b'{"_meta":["nexus/"]}'),
    ],
)
def test_a_server_cannot_say_what_only_the_gateway_says(sent: bytes, kept: bytes) -> None:
    assert bytes(stripped(Raw(sent))) == kept
