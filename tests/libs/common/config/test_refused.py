from __future__ import annotations

import pytest

from libs.common.config.refused import REFUSED
from tests.libs.common.config.conftest import TIME, Wrong

SERVER = "mcp.servers.time"
EXAMPLES = {
    "llm": "[llm.providers.openai]\napi_key = 's3cret'",
    "mcp.downstream_cache": "[mcp.downstream_cache]\nmax_size = 1000\nidle_timeout = '10m'",
}


def with_server(text: str) -> str:
    """The text with a server, whether the text opens that server's table itself or not."""
    header = f"[{SERVER}]"
    return (
        text.replace(header, f'{header}\nurl = "https://t.example"')
        if header in text
        else f"{text}\n{header}\n"
    )


@pytest.mark.parametrize("pattern", REFUSED)
def test_a_key_of_a_later_version_is_refused_by_name(wrong: Wrong, pattern: str) -> None:
    text = with_server(EXAMPLES[pattern])
    if "https" not in text:
        text += 'url = "https://t.example"'
    (line,) = wrong(text)
    key = pattern.replace("*", "time")
    assert line.startswith(f"{key}: is not supported yet" if key != "llm" else "llm: is out of scope")


def test_refused_keys_are_reported_beside_other_mistakes(wrong: Wrong) -> None:
    lines = wrong(f"llm = {{}}\nserver.typo = 1\nmcp.call_timeout = 'x'\n{TIME}")
    assert [line.split(":")[0] for line in lines] == [
        "llm",
        "mcp.call_timeout",
        "server.typo",
    ]


def test_a_refused_value_is_never_shown(wrong: Wrong) -> None:
    assert "s3cret" not in "\n".join(wrong(f"{EXAMPLES['llm']}\n{TIME}"))
