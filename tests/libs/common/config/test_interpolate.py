from __future__ import annotations

import pytest

from libs.common.config.interpolate import interpolate
from tests.libs.common.config.conftest import TIME, Read, Wrong

ENV = {"A": "one", "B_2": "two", "EMPTY": "", "NESTED": "{{ env.A }}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{ env.A }}", "one"),
        ("{{env.A}}", "one"),
        ("{{   env.A\t}}", "one"),
        ("<{{ env.A }}-{{ env.B_2 }}>", "<one-two>"),
        ("{{ env.A }}{{ env.A }}", "oneone"),
        ("x{{ env.EMPTY }}y", "xy"),
        ("{{ env.NESTED }}", "{{ env.A }}"),
        ("{{ env.MY-VAR }}", "{{ env.MY-VAR }}"),
        ("{ { env.A } }", "{ { env.A } }"),
        ("{{{ env.A }}}", "{one}"),
        ("{{ env.A", "{{ env.A"),
        ("{{ }}", "{{ }}"),
    ],
)
def test_placeholders_take_the_value_of_their_variable(text: str, result: str) -> None:
    document, mistakes = interpolate({"k": text}, ENV, secrets=True)
    assert document == {"k": result}
    assert mistakes == []


def test_strings_are_reached_in_tables_and_arrays_and_nothing_else_changes() -> None:
    document = {"t": {"{{ env.A }}": ["{{ env.A }}", {"x": "{{ env.A }}"}]}, "n": 1, "b": True, "f": 0.5}
    assert interpolate(document, ENV, secrets=True)[0] == {
        "t": {"{{ env.A }}": ["one", {"x": "one"}]},
        "n": 1,
        "b": True,
        "f": 0.5,
    }


@pytest.mark.parametrize(
    "text", ["{{ foo.A }}", "{{ A }}", "{{ env.A.B }}", "{{ env }}", "{{ env. }}", "{{ .A }}"]
)
@pytest.mark.parametrize("secrets", [True, False])
def test_only_the_env_scope_exists(wrong: Wrong, text: str, secrets: bool) -> None:
    (line,) = wrong(f"[mcp.servers.time]\ncmd = ['x', '{text}']", env=ENV, secrets=secrets)
    assert line.startswith(f"mcp.servers.time.cmd[1]: found {text}, expected {{{{ env.NAME }}}}")


def test_every_unset_variable_is_reported_with_its_place(wrong: Wrong) -> None:
    lines = wrong(
        """
        [nats]
        url = "nats://{{ env.BUS_USER }}@bus"
        [mcp.servers.db]
        cmd = ["psql-mcp", "--host={{ env.DB_HOST }}"]
        env = { PGUSER = "{{ env.DB_USER }}", PGPORT = "{{ env.DB_PORT }}" }
        """,
        env={"DB_PORT": "5432"},
    )
    assert [line.split(":")[0] for line in lines] == [
        "mcp.servers.db.cmd[1]",
        "mcp.servers.db.env.PGUSER",
        "nats.url",
    ]
    assert "the environment variable DB_HOST to be set" in lines[0]
    assert "the environment variable DB_USER to be set" in lines[1]
    assert "the environment variable BUS_USER to be set" in lines[2]


DEFERRED = """
[mcp]
headers = [{ rule = "insert", name = "x-a", value = "{{ env.NO }}" }]
[mcp.servers.child]
cmd = ["run", "{{ env.NO }}"]
env = { KEY = "{{ env.NO }}" }
cwd = "{{ env.NO }}/work"
stderr = { file = "{{ env.NO }}/log" }
[mcp.servers.far]
url = "{{ env.NO }}"
message_url = "{{ env.NO }}/messages"
auth.token = "{{ env.NO }}"
headers = [{ rule = "insert", name = "x-a", value = "{{ env.NO }}" }]
tls.root_ca_cert_path = "{{ env.NO }}"
"""


def test_a_process_without_downstreams_needs_none_of_their_variables(read: Read, wrong: Wrong) -> None:
    servers = read(DEFERRED, secrets=False).mcp.servers
    assert sorted(servers) == ["child", "far"]
    assert len(wrong(DEFERRED)) == DEFERRED.count("{{")


def test_a_process_without_downstreams_never_reads_their_values(read: Read) -> None:
    config = read(DEFERRED, env={"NO": "https://secret.example"}, secrets=False)
    assert "secret.example" not in str(config.model_dump(mode="python"))
    assert config.mcp.servers["far"].model_dump()["auth"]["token"].get_secret_value() == "{{ env.NO }}"


def test_what_every_process_uses_is_always_resolved(read: Read, wrong: Wrong) -> None:
    text = '[mcp.servers.s]\ncmd = ["x"]\ntimeout = "{{ env.T }}"\nera = "{{ env.E }}"\n'
    assert read(text, env={"T": "7s", "E": "modern"}, secrets=False).mcp.servers["s"].timeout == 7
    assert len(wrong(text, secrets=False)) == 2


def test_a_value_from_the_environment_is_checked_like_any_other(wrong: Wrong) -> None:
    lines = wrong(
        f'[server]\nlisten_address = "{{{{ env.ADDRESS }}}}"\n{TIME}', env={"ADDRESS": "localhost:1"}
    )
    assert lines[0].startswith('server.listen_address: found "{{ env.ADDRESS }}", expected an IP address')
