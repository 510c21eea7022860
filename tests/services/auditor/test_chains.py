"""What is missing of a chain, and what only came late."""

from __future__ import annotations

from typing import Any

import msgspec

from services.auditor.chains import CHAINS_MAX, FORGET, MISSING_MAX, SETTLE, Chains, Gap
from services.auditor.seen import GAP, Metadata, Nexus, Place, Seen, Unmapped

UID = "01J00000000000000000000000"
"""Of a chain that began in June of 2024."""
BORN = 1_717_986_918.0


def seen(seq: int, *, uid: str = UID, prev: str = "", code: str = "mcp.request", **facts: Any) -> Seen:
    place = Place(uid, seq, prev or f"h{seq - 1}", f"h{seq}")
    return Seen(0, Metadata(code), Unmapped(Nexus(place, facts=msgspec.Raw(msgspec.json.encode(facts)))))


def learnt(chains: Chains, *numbers: int, at: float = 0.0) -> Chains:
    for number in numbers:
        chains.learn(seen(number), at)
    return chains


def test_a_whole_chain_has_no_gap_however_often_it_is_read() -> None:
    chains = learnt(Chains(), 1, 2, 3, 1, 2, 3, 4)
    assert list(chains.gaps(1e12)) == []
    assert (chains.heads[UID].seq, chains.heads[UID].hash) == (4, "h4")


def test_a_gap_is_told_once_and_only_when_nothing_can_come_any_more() -> None:
    chains = learnt(Chains(), 1, 2, 5, 6, at=100)
    assert list(chains.gaps(100 + SETTLE - 1)) == []
    assert list(chains.gaps(100 + SETTLE)) == [Gap(UID, 3, 4)]
    assert list(chains.gaps(1e12)) == []


def test_what_came_late_was_never_missing() -> None:
    chains = learnt(Chains(), 1, 6, 4, 2, 3, 5)
    assert list(chains.gaps(1e12)) == []


def test_of_a_gap_that_was_filled_in_part_the_rest_is_told() -> None:
    chains = learnt(Chains(), 1, 10, 5)
    assert list(chains.gaps(1e12)) == [Gap(UID, 2, 4), Gap(UID, 6, 9)]


def test_what_a_process_itself_says_it_lost_is_not_told_again() -> None:
    chains = learnt(Chains(), 1, 2, 6)
    chains.learn(seen(7, code=GAP, first=3, last=5, count=3), 0)
    assert list(chains.gaps(1e12)) == []


def test_an_event_that_names_another_predecessor_breaks_the_chain() -> None:
    chains = learnt(Chains(), 1, 2)
    chains.learn(seen(3, prev="another"), 0)
    assert list(chains.gaps(0)) == [Gap(UID, 3, 3, broken=True)]


def test_a_chain_met_in_the_middle_is_taken_as_it_comes() -> None:
    chains = learnt(Chains(), 50, 51)
    assert list(chains.gaps(1e12)) == []


def test_a_chain_that_began_while_the_auditor_read_needs_its_first_event() -> None:
    chains = learnt(Chains(since=BORN - 1000), 3, 4)
    assert list(chains.gaps(1e12)) == [Gap(UID, 1, 2)]


def test_a_checkpoint_has_only_what_moved() -> None:
    chains = learnt(Chains(), 1, 2)
    assert set(chains.moved()) == {UID}
    chains.vouch(chains.moved())
    assert chains.moved() == {}
    learnt(chains, 3)
    assert set(chains.moved()) == {UID}


def test_many_gaps_of_one_chain_take_bounded_memory() -> None:
    chains = learnt(Chains(), *range(1, 10_001, 2))
    assert len(chains.heads[UID].missing) == MISSING_MAX
    assert chains.heads[UID].missing[-1].last == 10_000 - 2


def test_old_chains_go_and_so_do_the_oldest_of_too_many() -> None:
    chains = Chains()
    for number in range(CHAINS_MAX + 10):
        chains.learn(seen(1, uid=f"{number:026}"), float(number))
    chains.prune(0)
    assert len(chains.heads) == CHAINS_MAX
    assert f"{9:026}" not in chains.heads
    chains.prune(FORGET + CHAINS_MAX + 8)
    assert set(chains.heads) == {f"{CHAINS_MAX + 9:026}"}


def test_what_is_no_id_of_a_chain_takes_no_room() -> None:
    chains = Chains()
    chains.learn(seen(1, uid="x" * 1_000_000), 0)
    assert not chains.heads
