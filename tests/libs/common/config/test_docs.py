from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.common.config.durations import parse_duration
from libs.common.config.keys import known_keys
from libs.common.config.limits import Pool, Storage
from libs.common.config.refused import REFUSED
from tests.libs.common.config.conftest import TIME, Read, Wrong

DOCS = Path(__file__).parents[4] / "docs" / "configuration.md"
TEXT = DOCS.read_text(encoding="utf-8")
ROWS = {
    key: cells
    for key, *cells in re.findall(r"^\| `([a-z_.*]+)` \| (.+?) \| (.+?) \| (.+) \|$", TEXT, re.MULTILINE)
}
EXAMPLES = re.findall(r"```toml\n(.+?)```", TEXT, re.DOTALL)
RATES = [key for key, cells in ROWS.items() if cells[0] in ("rate", "table of rates")]
SECTIONS = {"server", "mcp", "mcp.servers.*"}
"""Tables that have a section of their own instead of a row."""


def in_rate(key: str) -> bool:
    """Whether a key is one of the two of a rate, which is described as a type."""
    table, _, name = key.rpartition(".")
    return name in ("limit", "interval") and table.removesuffix(".*") in RATES


def described(key: str) -> bool:
    """Whether a key needs a row of its own; an exporter of one signal has the keys of the general one."""
    return key not in SECTIONS and not in_rate(key) and re.match(r"telemetry\.\w+\.exporters\.", key) is None


@pytest.mark.parametrize("key", [key for key in known_keys() if described(key)])
def test_every_key_has_its_row_in_the_docs(key: str) -> None:
    assert key in ROWS


def test_the_docs_name_no_key_that_does_not_exist() -> None:
    assert set(ROWS) <= set(known_keys())
    assert set(REFUSED) & set(ROWS) == set()


@pytest.mark.parametrize(
    "section",
    ["[server]", "[server.rate_limits]", "[mcp]", "[mcp.servers.NAME]", "[nats]", "[seal]", "[telemetry]"],
)
def test_every_table_has_its_section(section: str) -> None:
    assert re.search(rf"^## .*`{re.escape(section)}`", TEXT, re.MULTILINE)


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_every_refused_key_is_listed(key: str) -> None:
    assert f"`{key}`" in TEXT[TEXT.index("## Not supported yet") :]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_can_be_loaded(read: Read, example: str) -> None:
    key = "A" * 43
    variables = dict.fromkeys(re.findall(r"env\.(\w+)", example), key)
    assert read(example if "[mcp.servers." in example else f"{example}\n{TIME}", env=variables).mcp.servers


def test_the_mistakes_in_the_docs_are_the_ones_reported(wrong: Wrong) -> None:
    text = '[server]\nhelth = {}\n[mcp.servers.git]\ncmd = "git-mcp"\nenv = { TOKEN = "{{ env.TOKEN }}" }\n'
    for line in wrong(text):
        assert f"nexus.toml: {line}\n" in TEXT


def defaults(at: str, table: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number of a table and those below it; booleans are numbers that the page writes as words."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from defaults(f"{at}.{name}", value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{at}.{name}", value


def parsed(text: str) -> float | str:
    try:
        return parse_duration(text)
    except ValueError:
        return text


def test_the_defaults_in_the_docs_are_the_real_ones(read: Read) -> None:
    config = read(TIME)
    server, mcp, time = config.server, config.mcp, config.mcp.servers["time"]
    documented = {key: cells[1].strip('`"') for key, cells in ROWS.items()}
    assert documented["server.listen_address"] == str(server.listen_address)
    assert documented["server.max_body_size"] == f"{server.max_body_size // 2**20}MiB"
    assert parse_duration(documented["server.drain_timeout"]) == server.drain_timeout
    assert documented["server.health.path"] == server.health.path
    for key, value in Storage(type="memory").model_dump(exclude={"type", "url", "tls", "pool"}).items():
        assert parsed(documented[f"server.rate_limits.storage.{key}"]) == value
    for key, value in Pool().model_dump().items():
        assert parsed(documented[f"server.rate_limits.storage.pool.{key}"]) == value
    for key, value in defaults("telemetry", config.telemetry.model_dump()):
        assert parsed(documented[key]) == value
    assert documented["mcp.path"] == mcp.path
    assert parse_duration(documented["mcp.call_timeout"]) == mcp.call_timeout
    assert parse_duration(documented["mcp.relist_interval"]) == mcp.relist_interval
    assert parse_duration(documented["mcp.servers.*.start_timeout"]) == time.start_timeout
    assert documented["mcp.servers.*.era"] == time.era
    assert documented["nats.url"] == config.nats.url.get_secret_value()
