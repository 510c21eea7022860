from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from libs.common.config import Address, HttpServer, InsertHeader, StderrFile, StdioServer, TokenAuth
from tests.libs.common.config.conftest import TIME, Read

SMALLEST = TIME + '[mcp.servers.api]\nurl = "https://api.example/mcp"\n'


def test_the_defaults_are_exactly_these(read: Read) -> None:
    found = read(SMALLEST).model_dump()
    del found["telemetry"]
    assert found.pop("nats")["url"].get_secret_value() == "nats://127.0.0.1:4222"
    access: dict[str, object] = {"allow": None, "deny": None, "required_scopes": (), "tools": {}}
    common = {
        "era": "auto",
        "timeout": None,
        "start_timeout": 30.0,
        "sharing": "shared",
        "max_sessions": 64,
        "rate_limits": None,
    } | access
    tls = {"verify_certs": True, "accept_invalid_hostnames": False}
    paths = {"root_ca_cert_path": None, "client_cert_path": None, "client_key_path": None}
    http = {"protocol": None, "message_url": None, "auth": None, "headers": (), "tls": tls | paths}
    stdio: dict[str, object] = {"cmd": ("time",), "env": {}, "cwd": None, "stderr": "null", "instances": 1}
    assert found == {
        "server": {
            "listen_address": Address("127.0.0.1", 8000),
            "tls": None,
            "health": {"enabled": True, "path": "/health", "listen": None},
            "metrics": {"enabled": None, "path": "/metrics"},
            "max_body_size": 4_194_304,
            "allowed_hosts": (),
            "allowed_origins": (),
            "drain_timeout": 30.0,
            "cors": None,
            "csrf": {"enabled": False, "header_name": "X-Nexus-CSRF-Protection"},
            "max_connections": 10_000,
            "max_connections_per_ip": 2_000,
            "oauth": None,
            "api_keys": {"file": None, "keys": {}},
            "client_identification": {
                "enabled": False,
                "client_id": {"jwt_claim": "sub"},
                "group_id": None,
                "validation": {"group_values": frozenset()},
            },
            "client_ip": {"x_real_ip": False, "x_forwarded_for_trusted_hops": None},
            "trusted_proxies": (),
            "rate_limits": None,
        },
        "mcp": {
            "enabled": True,
            "path": "/mcp",
            "enable_structured_content": True,
            "expose": "search",
            "pinned": (),
            "call_timeout": 60.0,
            "relist_interval": 300.0,
            "headers": (),
            "downstream_cache": {"max_size": 1000, "idle_timeout": 600.0},
            "servers": {
                "api": {"name": "api", "url": "https://api.example/mcp"} | common | http,
                "time": {"name": "time"} | common | stdio,
            },
        },
        "seal": {"keys": ()},
        "audit": {
            "enabled": True,
            "mode": "fast",
            "spool": None,
            "spool_max_size": 268_435_456,
            "max_age": 2_592_000.0,
            "max_size": 1_073_741_824,
            "replicas": 1,
            "signing_key": None,
            "checkpoint_interval": 60.0,
            "sinks": {},
        },
    }


FULL = """
[server]
listen_address = "[::1]:0"
max_body_size = "16 KiB"
allowed_hosts = ["Nexus.example.com", "[::1]:8000", "10.0.0.1"]
allowed_origins = ["https://App.example.com", "http://localhost:3000"]
drain_timeout = 0
tls = { certificate = "/c.pem", key = "/k.pem" }
health = { enabled = true, path = "/live", listen = "0.0.0.0:9000" }

[mcp]
path = "/gateway/mcp"
enable_structured_content = false
call_timeout = 90
relist_interval = "0"
headers = [{ rule = "insert", name = "X-All", value = "a" }]
expose = "search"
pinned = []

[mcp.servers.child]
cmd = ["python", "-m", "x", ""]
env = { A = "1" }
cwd = "/w"
stderr = { file = "/var/log/x" }
instances = "per-worker"
era = "legacy"
timeout = "2m"
start_timeout = 5.5

[mcp.servers.far]
protocol = "sse"
url = "http://example.com/sse"
message_url = "http://example.com/messages"
era = "modern"
auth.token = "t"
headers = [{ rule = "insert", name = "X-One", value = "b" }]
tls.verify_certs = false
tls.accept_invalid_hostnames = true
tls.ca_bundle = "/ca"
tls.client_cert_path = "/c"
tls.client_key_path = "/k"
sharing = "per-session"
max_sessions = 8

[nats]
url = "tls://user:pw@bus.example:4222"

[seal]
keys = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "__________________________________________8"]
"""


def test_every_key_is_taken_over(read: Read) -> None:
    config = read(FULL)
    server, mcp = config.server, config.mcp
    assert (str(server.listen_address), server.max_body_size, server.drain_timeout) == ("[::1]:0", 16_384, 0)
    assert server.allowed_hosts == ("nexus.example.com", "[::1]:8000", "10.0.0.1")
    assert server.allowed_origins == ("https://app.example.com", "http://localhost:3000")
    assert server.tls is not None
    assert (server.tls.certificate, server.tls.key) == (Path("/c.pem"), Path("/k.pem"))
    assert server.health.listen == Address("0.0.0.0", 9000)
    assert (mcp.path, mcp.enable_structured_content, mcp.call_timeout) == ("/gateway/mcp", False, 90)
    assert (mcp.relist_interval, mcp.headers[0].name) == (0, "X-All")
    assert config.nats.url.get_secret_value() == "tls://user:pw@bus.example:4222"
    assert config.seal.decoded() == (bytes(32), b"\xff" * 32)


def test_every_key_of_a_child_process_is_taken_over(read: Read) -> None:
    child = read(
        TIME + FULL[FULL.index("[mcp.servers.child]") : FULL.index("[mcp.servers.far]")]
    ).mcp.servers["child"]
    assert isinstance(child, StdioServer)
    assert (child.cmd, child.cwd) == (("python", "-m", "x", ""), Path("/w"))
    assert child.env["A"].get_secret_value() == "1"
    assert child.stderr == StderrFile(file=Path("/var/log/x"))
    assert (child.instances, child.era, child.timeout, child.start_timeout) == (
        "per-worker",
        "legacy",
        120,
        5.5,
    )


def test_every_key_of_a_remote_server_is_taken_over(read: Read) -> None:
    far = read(FULL[FULL.index("[mcp.servers.far]") : FULL.index("[nats]")]).mcp.servers["far"]
    assert isinstance(far, HttpServer)
    assert (far.url, far.protocol, far.era) == ("http://example.com/sse", "sse", "modern")
    assert far.message_url == "http://example.com/messages"
    assert isinstance(far.auth, TokenAuth)
    assert far.auth.token.get_secret_value() == "t"
    assert isinstance(far.headers[0], InsertHeader)
    assert (far.headers[0].name, far.headers[0].value.get_secret_value()) == ("X-One", "b")
    assert (far.tls.verify_certs, far.tls.accept_invalid_hostnames) == (False, True)
    assert (far.sharing, far.max_sessions) == ("per-session", 8)
    assert (far.tls.root_ca_cert_path, far.tls.client_cert_path) == (Path("/ca"), Path("/c"))


def test_inline_tables_may_span_lines_as_in_toml_1_1(read: Read) -> None:
    config = read('[mcp.servers.db]\ncmd = ["db"]\nenv = {\n  A = "1",\n  B = "2",\n}\n')
    server = config.mcp.servers["db"]
    assert isinstance(server, StdioServer)
    assert sorted(server.env) == ["A", "B"]


def test_servers_are_sorted_by_name(read: Read) -> None:
    text = "".join(f'[mcp.servers.{name}]\ncmd = ["x"]\n' for name in ("b", "a", "C"))
    assert list(read(text).mcp.servers) == ["C", "a", "b"]


def test_a_configuration_cannot_be_changed(read: Read) -> None:
    config = read(TIME)
    with pytest.raises(ValidationError):
        config.mcp.path = "/other"


def test_the_configuration_imports_no_transport_and_no_framework() -> None:
    heavy = "{'nats', 'fastapi', 'starlette', 'httpx', 'faststream', 'uvicorn'}"
    code = f"import sys, libs.common.config; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
