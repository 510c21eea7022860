from __future__ import annotations

import pytest

from tests.libs.common.config.conftest import TIME, Read, Wrong

NAMES = ["a__b", "..", "*", ">", "a.b", "a b", "", "_a", "-a", "a_", "é", "a" * 33, "$SYS", "a/b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_could_be_mistaken_for_something_else_is_refused(wrong: Wrong, name: str) -> None:
    (line,) = wrong(f'[mcp.servers."{name}"]\ncmd = ["x"]\n')
    assert "is no name for a server: 1 to 32 of A-Z a-z 0-9 _ -" in line
    assert name in line


@pytest.mark.parametrize("name", ["sse", "messages"])
def test_a_name_that_is_a_path_of_the_gateway_is_refused(wrong: Wrong, name: str) -> None:
    (line,) = wrong(f'[mcp.servers.{name}]\ncmd = ["x"]\n')
    assert f"{name}" in line
    assert "is no name for a server: clients of MCP 2024-11-05 use its path" in line


@pytest.mark.parametrize("name", ["a", "A1", "git-hub", "local_tool", "0", "a" * 32, "a-"])
def test_a_plain_name_is_taken(read: Read, name: str) -> None:
    assert read(f'[mcp.servers."{name}"]\ncmd = ["x"]\n').mcp.servers[name].name == name


def test_the_other_mistakes_of_an_ill_named_server_are_reported_too(wrong: Wrong) -> None:
    assert len(wrong('[mcp.servers.a__b]\ncmd = []\nera = "old"\n')) == 3


def test_a_name_inside_the_table_is_an_unknown_key(wrong: Wrong) -> None:
    (line,) = wrong('[mcp.servers.a]\ncmd = ["x"]\nname = "b"\n')
    assert line == "mcp.servers.a.name: unknown key; the name of a server is that of its table"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('command = "npx"', "found neither, expected `cmd` (a child process) or `url` (a server over HTTP)"),
        ('command = "npx"', 'did you mean "cmd"?'),
        ('uri = "https://x"', 'did you mean "url"?'),
        ("", "found neither"),
        ('cmd = ["x"]\nurl = "https://x"', "found both, expected either `cmd`"),
    ],
)
def test_a_server_is_a_child_process_or_remote(wrong: Wrong, table: str, said: str) -> None:
    (line,) = wrong(f"[mcp.servers.a]\n{table}\n")
    assert line.startswith("mcp.servers.a: ")
    assert said in line


def test_a_server_that_is_no_table_is_named(wrong: Wrong) -> None:
    (line,) = wrong('[mcp.servers]\na = "npx"')
    assert line.startswith("mcp.servers.a: found no table, expected a table with `cmd`")


STDIO = [
    ("cmd = []", "cmd: found an array of 0, expected a program and its arguments"),
    ('cmd = [""]', "cmd: found an array of 1, expected a program and its arguments"),
    ('cmd = ["x", 1]', "cmd[1]: found 1, expected text"),
    ('cmd = ["x"]\nenv = ["A=1"]', "env: found an array of 1, expected a table"),
    ('cmd = ["x"]\nenv = { A = 1 }', "env.A: found <secret>, expected text"),
    ('cmd = ["x"]\nenv = { "A=B" = "1" }', "expected the name of an environment variable"),
    ('cmd = ["x"]\ncwd = 1', "cwd: found 1, expected text: the path of a file or folder"),
    ('cmd = ["x"]\nstderr = "Pipe"', 'did you mean "pipe"?'),
    (
        'cmd = ["x"]\nstderr = { path = "/x" }',
        'stderr: found a table, expected "null", "inherit", "pipe" or {',
    ),
    ('cmd = ["x"]\nstderr = { file = "" }', "stderr: found a table, expected"),
    ('cmd = ["x"]\nstderr = true', "stderr: found true, expected"),
    ('cmd = ["x"]\nstderr = []', "stderr: found an array of 0, expected"),
    ('cmd = ["x"]\ninstances = 0', "instances: found 0, expected a whole number of at least 1"),
    ('cmd = ["x"]\ninstances = true', "instances: found true, expected a whole number"),
    ('cmd = ["x"]\ninstances = 1.0', "instances: found 1.0, expected a whole number"),
    ('cmd = ["x"]\ninstances = "per-wroker"', 'did you mean "per-worker"?'),
    ('cmd = ["x"]\nsharing = "private"', 'sharing: found "private", expected "shared" or "per-principal" or'),
    ('cmd = ["x"]\nsharing = "per-session"\nmax_sessions = 0', "expected a whole number of at least 1"),
    ('cmd = ["x"]\nmax_sessions = 8', 'max_sessions: bounds nothing where sharing is "shared"'),
    ('cmd = ["x"]\ninstances = 2\nsharing = "per-principal"', 'instances: is for sharing = "shared"'),
    ('cmd = ["x"]\nera = "new"', 'era: found "new", expected "auto" or "modern" or "legacy"'),
    ('cmd = ["x"]\nstart_timeout = 0', "start_timeout: found 0, expected a duration longer than zero"),
    ('cmd = ["x"]\nheaders = []', "headers: unknown key; it belongs to a server with `url`"),
    ('cmd = ["x"]\nstdout = "pipe"', "stdout: unknown key"),
]
URL = 'url = "https://x.example"\n'
HTTP = [
    ("url = 1", "url: found 1, expected text"),
    ('url = "x.example/mcp"', 'expected a URL that begins with "http://"'),
    ('url = "ftp://x.example"', 'expected a URL that begins with "http://"'),
    ('url = "https://"', 'expected a URL that begins with "http://"'),
    ('url = "https://x.example:port"', 'expected a URL that begins with "http://"'),
    ('url = "https://x example"', 'expected a URL that begins with "http://"'),
    (f'{URL}message_url = "/messages"', 'message_url: found "/messages", expected a URL'),
    (f'{URL}protocol = "http"', 'protocol: found "http", expected "streamable-http" or "sse"'),
    (f'{URL}cmds = ["x"]', "cmds: unknown key"),
    (f'{URL}cwd = "/"', "cwd: unknown key; it belongs to a server with `cmd`"),
    (f"{URL}auth = {{}}", "auth.token: is missing: this key is required"),
    (f'{URL}auth = {{ token = "" }}', "auth.token: found <secret>, expected a token"),
    (f'{URL}auth = {{ token = "a\\nb" }}', "auth.token: found <secret>, expected a token: text on one line"),
    (f'{URL}auth = "x"', "auth: found <secret>, expected a table"),
    (f"{URL}tls.verify_cert = true", 'tls.verify_cert: unknown key; did you mean "verify_certs"?'),
    (
        f'{URL}tls.client_cert_path = "/c"',
        "tls.client_key_path: is missing: a client certificate and its key go",
    ),
    (
        f'{URL}tls.client_key_path = "/k"',
        "tls.client_cert_path: is missing: a client certificate and its key go",
    ),
    (f"{URL}tls.ca_bundle = 1", "tls.ca_bundle: found 1, expected text: the path of a file or folder"),
    (
        f'{URL}headers = [{{ rule = "replace", name = "a", value = "b" }}]',
        'headers[0].rule: expected "insert" or "forward"',
    ),
    (
        f'{URL}headers = [{{ rule = "insert", name = "a b", value = "b" }}]',
        'headers[0].name: found "a b", expected',
    ),
    (
        f'{URL}headers = [{{ rule = "insert", name = "a", value = "b\\r\\nc" }}]',
        "headers[0].value: found <secret>",
    ),
    (f'{URL}headers = [{{ rule = "insert", name = "a" }}]', "headers[0].value: is missing"),
]


@pytest.mark.parametrize(("table", "said"), STDIO + HTTP)
def test_a_mistake_in_a_server_says_where_and_what_was_expected(wrong: Wrong, table: str, said: str) -> None:
    (line,) = wrong(f"[mcp.servers.a]\n{table}\n")
    assert line.startswith("mcp.servers.a.")
    assert said in line


def test_two_names_for_one_certificate_file_are_refused(wrong: Wrong) -> None:
    lines = wrong(f'[mcp.servers.a]\n{URL}tls = {{ ca_bundle = "/a", root_ca_cert_path = "/b" }}\n')
    assert lines == [
        "mcp.servers.a.tls.ca_bundle: means the same as root_ca_cert_path; remove one of the two"
    ]


def test_a_mistake_in_one_server_does_not_hide_those_of_another(wrong: Wrong) -> None:
    lines = wrong(f'{TIME}era = 1\n[mcp.servers.b]\nurl = "x"\n[mcp.servers.c]\n[mcp.servers.d]\ncmd = []\n')
    assert [line.split(":")[0] for line in lines] == [
        "mcp.servers.b.url",
        "mcp.servers.c",
        "mcp.servers.d.cmd",
        "mcp.servers.time.era",
    ]
