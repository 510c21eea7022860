from __future__ import annotations

import pytest

from tests.libs.common.config.conftest import TIME, Read, Wrong

SECRET = "hunter2hunter2"
URL = '[mcp.servers.a]\nurl = "https://x.example"\n'

SPOILT = [
    f'seal.keys = ["{SECRET}"]',
    f'seal.keys = "{SECRET}"',
    f'seal.kees = ["{SECRET}"]',
    f'nats.url = "http://u:{SECRET}@x"',
    f'nats.url = ["{SECRET}"]',
    f'nats.url = {{ "{SECRET}" = "{SECRET}" }}',
    f'{URL}auth = "{SECRET}"',
    f'{URL}auth.tokn = "{SECRET}"',
    f'{URL}auth.token = ["{SECRET}"]',
    f'{URL}auth.token = "{SECRET}\\n"',
    f'{URL}headers = "{SECRET}"',
    f'{URL}headers = ["{SECRET}"]',
    f'{URL}headers = [{{ rule = "insert", name = "x", value = "{SECRET}\\n" }}]',
    f'{URL}headers = [{{ rule = "insert", name = "x", value = ["{SECRET}"] }}]',
    f'mcp.headers = "{SECRET}"',
    f'server.rate_limits = {{ enabled = true, storage = {{ type = "redis", url = "http://u:{SECRET}@x" }} }}',
    f'server.rate_limits.storage.urll = "redis://u:{SECRET}@x"',
    f'telemetry.exporters.otlp.grpc.headers = "{SECRET}"',
    f'telemetry.exporters.otlp.grpc.headers = {{ a = ["{SECRET}"] }}',
    f'telemetry.exporters.otlp.http.headers = [{{ name = "a", value = "{SECRET}", x = 1 }}]',
    f'telemetry.logs.exporters.otlp.http.headers = [{{ name = "a", value = "{SECRET}\\n" }}]',
    f'[mcp.servers.a]\ncmd = ["x"]\nenv = "KEY={SECRET}"',
    f'[mcp.servers.a]\ncmd = ["x"]\nenv = {{ KEY = ["{SECRET}"] }}',
    f'[mcp.servers.a]\nurl = "ftp://user:{SECRET}@x.example"',
    f'[mcp.servers.a]\nurl = "https://x.example"\napi_key = "{SECRET}"',
]


@pytest.mark.parametrize("text", SPOILT)
def test_a_secret_in_the_file_is_in_no_error(wrong: Wrong, text: str) -> None:
    report = "\n".join(wrong(f"{text}\n{TIME}"))
    assert report
    assert SECRET not in report


PLACES = [
    "server.listen_address",
    "server.health.path",
    "server.health.listen",
    "server.max_body_size",
    "server.drain_timeout",
    "mcp.path",
    "mcp.call_timeout",
    "nats.url",
    "mcp.servers.a.url",
    "mcp.servers.a.message_url",
    "mcp.servers.a.protocol",
    "mcp.servers.a.era",
    "mcp.servers.a.timeout",
    "mcp.servers.b.stderr",
    "mcp.servers.b.instances",
    "mcp.servers.a.unknown",
    "mcp.servers.a.auth",
    "mcp.servers.a.tls",
    "mcp.enabled",
    "mcp.servers.c",
    "mcp",
]


@pytest.mark.parametrize("place", PLACES)
def test_what_a_variable_holds_is_in_no_error(wrong: Wrong, place: str) -> None:
    lines = {f"{place}": '"{{ env.S }}"'}
    lines |= {} if place == "mcp" else {"mcp.servers.b.cmd": '["x"]'}
    if place.startswith("mcp.servers.a") and place != "mcp.servers.a.url":
        lines["mcp.servers.a.url"] = '"https://x.example"'
    report = "\n".join(
        wrong("\n".join(f"{key} = {value}" for key, value in lines.items()), env={"S": f"{SECRET} /"})
    )
    assert report.startswith(place)
    assert SECRET not in report


def test_a_path_from_a_variable_is_not_shown_when_it_clashes(wrong: Wrong) -> None:
    text = f'mcp.path = "{{{{ env.S }}}}"\nserver.health.path = "{{{{ env.S }}}}"\n{TIME}'
    assert SECRET not in "\n".join(wrong(text, env={"S": f"/{SECRET}"}))


def test_the_text_of_a_configuration_shows_no_secret(read: Read) -> None:
    config = read(
        f"""
        nats.url = "nats://u:{SECRET}@bus"
        mcp.headers = [{{ rule = "insert", name = "x", value = "{SECRET}" }}]
        [mcp.servers.a]
        url = "https://x.example"
        auth.token = "{SECRET}"
        [mcp.servers.b]
        cmd = ["x"]
        env = {{ KEY = "{SECRET}" }}
        """
    )
    assert SECRET not in repr(config)
    assert SECRET not in str(config)
    assert SECRET not in config.model_dump_json()
