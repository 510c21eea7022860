"""Servers that get tokens of callers, through the whole gateway: who sees what, and where a token goes."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator

import anyio
import pytest

from tests.system.delegated import World, bearer, world

pytestmark = [pytest.mark.anyio, pytest.mark.system]


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("delegated"), settings='[mcp]\nexpose = "all"\n') as made:
        yield made


async def test_each_caller_sees_what_its_own_token_lists(shared: World) -> None:
    ann, ben = shared.token("ann"), shared.token("ben")
    for token, who, other in ((ann, "ann", "ben"), (ben, "ben", "ann")):
        listed = await shared.tools(token)
        assert {f"plain__only-{who}", f"exchanging__only-{who}", "plain__whoami"} <= set(listed)
        assert not [name for name in listed if other in name]
        assert await shared.tools(token, "/plain") == ["whoami", f"only-{who}"]


async def test_search_finds_the_tools_of_the_caller_and_of_nobody_else(shared: World) -> None:
    ann, ben = shared.token("ann"), shared.token("ben")
    for token, who in ((ann, "ann"), (ben, "ben"), (ann, "ann")):
        found = await shared.search(token, "marker whoami only")
        described = {hit["description"] for hit in found if hit["server"] != "quick"}
        assert described == {f"marker of {who}"}
    assert await shared.search(ann, "echo"), "a child's tools are there for callers with a token as well"


async def test_execute_runs_under_the_authority_of_the_caller(shared: World) -> None:
    for who in ("ann", "ben"):
        token = shared.token(who)
        for server in ("plain", "exchanging"):
            result = await shared.execute(token, f"{server}__only-{who}")
            assert result["content"][0]["text"] == f"only-{who} by {who}"
            called = await shared.said(token, "tools/call", {"name": "whoami", "arguments": {}}, f"/{server}")
            assert called["content"][0]["text"] == f"whoami by {who}"


async def test_a_tool_of_another_caller_is_unknown(shared: World) -> None:
    await shared.tools(shared.token("ann"))
    result = await shared.execute(shared.token("ben"), "plain__only-ann")
    assert result["isError"]
    assert "There is no tool" in result["content"][0]["text"]
    assert not [
        asked
        for asked in shared.plain.messages("tools/call")
        if asked["params"]["name"] == "only-ann" and "ben" in str(asked)
    ]


async def test_a_token_for_another_audience_is_not_forwarded(shared: World) -> None:
    token = shared.token("cat", aud=[shared.gateway.url])
    assert not [name for name in await shared.tools(token) if name.startswith("plain__")]
    response = await shared.ask(token, "tools/call", {"name": "whoami", "arguments": {}}, "/plain")
    assert response.json()["error"]["data"]["executed"] == "no"
    assert token not in [bearer(asked) for asked in shared.plain.asked]
    assert "exchanging__only-cat" in await shared.tools(token)


async def test_a_token_reaches_only_the_server_it_is_forwarded_to(shared: World) -> None:
    token = shared.token("dan")
    await shared.execute(token, "plain__whoami")
    await shared.execute(token, "exchanging__whoami")
    assert token in [bearer(asked) for asked in shared.plain.asked]
    assert {bearer(asked) for asked in shared.exchanging.asked if "dan" in bearer(asked)} == {"for-dan"}
    assert token not in str([asked.headers for asked in shared.exchanging.asked])


async def test_a_token_is_exchanged_once(shared: World) -> None:
    token = shared.token("eve")
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(shared.execute, token, "exchanging__whoami")
    forms = [form for form in shared.forms if form["subject_token"] == token]
    assert len(forms) == 1
    assert forms[0]["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
    assert forms[0]["resource"] == shared.exchanging.url


async def test_ten_callers_at_once_never_meet_a_marker_of_another(shared: World) -> None:
    tokens = {f"user{number}": shared.token(f"user{number}") for number in range(10)}
    foreign: list[str] = []

    async def mix(who: str, token: str) -> None:
        dice = random.Random(who)
        for _ in range(50):
            kind, server = dice.randrange(4), dice.choice(("plain", "exchanging"))
            if kind == 0:
                text = str(await shared.tools(token))
            elif kind == 1:
                text = str(
                    [hit for hit in await shared.search(token, "marker only") if hit["server"] != "quick"]
                )
            elif kind == 2:
                text = str(await shared.execute(token, f"{server}__whoami"))
            else:
                text = str(await shared.said(token, "tools/list", {}, f"/{server}"))
            assert who in text
            foreign.extend(other for other in tokens if other != who and other in text)

    async with anyio.create_task_group() as tasks:
        for who, token in tokens.items():
            tasks.start_soon(mix, who, token)
    assert foreign == []
    spoken = {(bearer(asked)) for asked in shared.plain.asked}
    assert set(tokens.values()) <= spoken


async def test_a_failure_is_not_taken_for_an_empty_list(shared: World) -> None:
    token = shared.token("fay")
    shared.down = True
    listed = await shared.tools(token)
    shared.down = False
    assert "exchanging__only-fay" in listed
    assert not [name for name in listed if name.startswith("plain__")]
    with anyio.fail_after(10):
        while "plain__only-fay" not in await shared.tools(token):
            await anyio.sleep(0.1)


async def test_a_token_that_is_over_is_refused_everywhere(shared: World) -> None:
    token = shared.token("gus", exp=int(time.time()) - 120)
    assert (await shared.ask(token, "tools/list", {}, "/plain")).status_code == 401


async def test_no_log_holds_a_token_or_a_part_of_it(shared: World) -> None:
    token = shared.token("hal", canary="c4n4ry-in-the-token")
    await shared.tools(token)
    await shared.execute(token, "plain__whoami")
    shared.down = True
    await shared.ask(token, "tools/call", {"name": "whoami", "arguments": {}}, "/plain")
    shared.down = False
    log = shared.gateway.log()
    assert "tokens of callers are forwarded" in log
    assert len(log) > 1000
    for part in token.split("."):
        assert part not in log
    for each in shared.plain.asked:
        assert bearer(each) not in log
    stored = [path for path in (shared.gateway.folder / ".nexus").rglob("*") if path.is_file()]
    assert not [path for path in stored if token.split(".")[1].encode() in path.read_bytes()]
