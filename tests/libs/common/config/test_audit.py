"""The tables `audit`, and what a rule of the audit says of who may."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.common.audit.trail import spool_of
from libs.common.config import Capture
from libs.common.identity import ANONYMOUS, Principal
from tests.libs.common.config.conftest import TIME, Read, Wrong

GROUPS = """
[server]
trusted_proxies = ["127.0.0.1"]
[server.client_identification]
enabled = true
client_id.http_header = "X-Client"
group_id.http_header = "X-Group"
"""


def test_a_rule_of_the_audit_alone_lets_nobody_in(read: Read) -> None:
    tool = '[mcp.servers.time.tools.now]\naudit = { capture = "redacted", fields = ["zone"] }\n'
    config = read(f'{TIME}allow = ["ops"]\n{tool}{GROUPS}')
    policy = config.policy()
    assert not policy.allows(ANONYMOUS, "time", "now")
    assert policy.allows(Principal("alice", groups=("ops",)), "time", "now")
    assert config.mcp.servers["time"].tools["now"].audit == Capture(capture="redacted", fields=("zone",))


def test_the_spool_is_beside_the_file_unless_something_else_is_said(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nexus.toml"
    assert spool_of(read(TIME).audit, file) == tmp_path / ".nexus" / "audit"
    assert spool_of(read(f'{TIME}[audit]\nspool = "/var/spool/nexus"').audit, file) == Path(
        "/var/spool/nexus"
    )
    monkeypatch.setenv("NEXUS_AUDIT_SPOOL", "/mnt/spool")
    assert spool_of(read(TIME).audit, file) == Path("/mnt/spool")


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ('mode = "loose"', "mode"),
        ('signing_key = "short"', "signing_key"),
        ('max_age = "0s"', "max_age"),
        ("spool_max_size = 0", "spool_max_size"),
        ("replica = 3", "replicas"),
        ('sinks.siem = { type = "fax" }', "type"),
    ],
)
def test_what_is_wrong_in_the_table_is_named(wrong: Wrong, table: str, key: str) -> None:
    assert [key in line for line in wrong(f"{TIME}[audit]\n{table}\n")] == [True]
