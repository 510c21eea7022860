from __future__ import annotations

import asyncio

import pytest
from anyio import fail_after

from services.edge.auth import keys as module
from services.edge.auth.keys import KeySet
from tests.services.edge.auth.issuer import Issuer

pytestmark = pytest.mark.anyio


async def test_a_set_is_fetched_once_however_many_ask() -> None:
    issuer = Issuer()
    issuer.gate.clear()
    keys = KeySet("url", None, issuer.fetch)
    asking = [asyncio.create_task(keys.find("k1")) for _ in range(50)]
    await asyncio.sleep(0)
    issuer.gate.set()
    with fail_after(5):
        found = await asyncio.gather(*asking)
    assert issuer.fetched == 1
    assert all(len(each) == 1 for each in found)


async def test_unknown_key_ids_ask_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer()
    keys = KeySet("url", None, issuer.fetch)
    for number in range(1000):
        assert not await keys.find(f"unknown{number}")
    assert issuer.fetched == 1
    monkeypatch.setattr(module, "COOLDOWN", 0.0)
    await keys.find("unknown")
    assert issuer.fetched == 2


async def test_a_new_key_is_found_by_the_token_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COOLDOWN", 0.0)
    issuer = Issuer()
    keys = KeySet("url", None, issuer.fetch)
    assert await keys.find("k1")
    issuer.rotate("k2")
    assert await keys.find("k2")
    assert not await keys.find("k1")


async def test_who_waits_for_the_first_keys_does_not_put_off_the_next_ones() -> None:
    issuer = Issuer()
    issuer.gate.clear()
    keys = KeySet("url", None, issuer.fetch)
    first = asyncio.create_task(keys.refresh())
    waiting = asyncio.create_task(keys.find("k1"))
    await asyncio.sleep(0)
    issuer.gate.set()
    with fail_after(5):
        assert await waiting
    await first
    issuer.rotate("k2")
    assert await keys.find("k2")
    assert issuer.fetched == 2


async def test_keys_stay_good_while_the_issuer_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COOLDOWN", 0.0)
    issuer = Issuer()
    keys = KeySet("url", None, issuer.fetch)
    assert await keys.find("k1")
    issuer.down = True
    await keys.refresh()
    assert await keys.find("k1")
    assert not await keys.find("unknown")
    assert keys.known


async def test_the_set_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer()
    keys = KeySet("url", 0.01, issuer.fetch)
    task = asyncio.create_task(keys.run())
    with fail_after(5):
        while issuer.fetched < 3:
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await keys.close()


async def test_an_issuer_that_is_down_at_the_start_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    issuer = Issuer()
    issuer.down = True
    keys = KeySet("url", None, issuer.fetch)
    task = asyncio.create_task(keys.run())
    with fail_after(5):
        while issuer.fetched < 2:
            await asyncio.sleep(0.005)
        issuer.down = False
        await task
    assert keys.known


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 1}', b"\xff", b"[" * 5000])
async def test_a_set_that_cannot_be_read_changes_nothing(document: bytes) -> None:
    answers = [await Issuer().fetch("url"), document]

    async def fetch(url: str) -> bytes:
        return answers.pop(0)

    keys = KeySet("url", None, fetch)
    await keys.refresh()
    await keys.refresh()
    assert await keys.find("k1")


async def test_an_issuer_in_trouble_is_not_asked_for_every_request() -> None:
    issuer = Issuer()
    issuer.down = True
    keys = KeySet("url", None, issuer.fetch)
    for number in range(20):
        assert await keys.find(f"k{number}") == ()
    assert issuer.fetched == 1
