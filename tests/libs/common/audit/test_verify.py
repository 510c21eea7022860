from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable

import pytest

from libs.common.audit.chain import Chain, Head
from libs.common.audit.checkpoint import Signer
from libs.common.audit.events import Event
from libs.common.audit.verify import Finding, verify

SIGNER = Signer(b"s" * 32)
Change = Callable[[list[bytes]], list[bytes]]


def trail(events: int = 9, chain: Chain | None = None) -> list[bytes]:
    chain = chain or Chain("edge-1")
    return [chain.seal(Event(code="mcp.request", operation=f"tools/{n}")).line for n in range(1, events + 1)]


def broken(lines: list[bytes], *keys: bytes) -> list[tuple[str, int]]:
    return [(each.wrong, each.seq) for each in verify(lines, keys) if each.broken]


def edited(line: bytes) -> bytes:
    return line.replace(b"tools/4", b"tools/X")


def rehashed(line: bytes) -> bytes:
    """An edit by somebody who knows how the hash is made."""
    event = json.loads(edited(line))
    place = event["unmapped"]["nexus"]["chain"]
    del place["hash"]
    text = json.dumps(event, sort_keys=True, separators=(",", ":"))
    place["hash"] = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps(event, sort_keys=True, separators=(",", ":")).encode()


def test_what_was_written_has_no_findings() -> None:
    assert list(verify(trail())) == []


def test_lines_that_were_formatted_anew_still_verify() -> None:
    assert list(verify([json.dumps(json.loads(line), indent=None).encode() for line in trail()])) == []


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda lines: lines[:3] + lines[4:], "removed"),
        (lambda lines: [*lines[:3], edited(lines[3]), *lines[4:]], "altered"),
        (lambda lines: [*lines[:3], rehashed(lines[3]), *lines[4:]], "altered"),
        (lambda lines: lines[:3] + lines[4:6] + [lines[3]] + lines[6:], "reordered"),
        (lambda lines: [*lines[:6], lines[3], *lines[6:]], "doubled"),
    ],
    ids=["removed", "edited", "edited with its hash", "reordered", "doubled"],
)
def test_u3_the_fourth_event_is_named_exactly(change: Change, wrong: str) -> None:
    lines = trail()
    uid = json.loads(lines[3])["metadata"]["uid"]
    found = list(verify(change(lines)))
    assert [(each.wrong, each.seq) for each in found] == [(wrong, 4)]
    assert wrong == "removed" or found[0].uid == uid
    assert found[0].broken == (wrong in ("removed", "altered"))
    assert "event 4" in str(found[0])


def test_u3_several_that_were_removed_are_one_finding() -> None:
    lines = trail()
    assert [(each.seq, each.last) for each in verify(lines[:2] + lines[6:])] == [(3, 6)]


def test_u3_a_chain_without_its_beginning_is_said_only_where_all_lines_are_there() -> None:
    lines = trail()[3:]
    assert [(each.wrong, each.seq, each.last) for each in verify(lines)] == [("removed", 1, 3)]
    assert list(verify(lines, whole=False)) == []


def checkpointed(signer: Signer = SIGNER) -> tuple[list[bytes], list[bytes]]:
    """A chain of nine, and a checkpoint of it."""
    chain, auditor = Chain("edge-1"), Chain("auditor-1")
    lines = trail(chain=chain)
    return lines, [auditor.seal(event).line for event in signer.events([chain.head])]


def test_u3_a_tail_that_was_cut_off_is_named_by_the_checkpoint() -> None:
    lines, signed = checkpointed()
    assert list(verify(lines + signed, [SIGNER.public])) == []
    found = list(verify(lines[:7] + signed, [SIGNER.public]))
    assert [(each.wrong, each.seq, each.last) for each in found] == [("removed", 8, 9)]


def test_u3_a_tail_that_was_written_anew_is_not_what_the_checkpoint_names() -> None:
    lines, signed = checkpointed()
    chain = json.loads(lines[0])["unmapped"]["nexus"]["chain"]["uid"]
    forger = Chain("edge-1")
    forger.uid = chain
    assert broken(trail(chain=forger) + signed, SIGNER.public) == [("altered", 9)]


def test_u3_a_checkpoint_that_somebody_else_signed_is_forged() -> None:
    lines, signed = checkpointed(Signer(b"x" * 32))
    assert broken(lines + signed, SIGNER.public) == [("forged", 1)]


def test_u3_a_successor_names_the_tail_of_its_predecessor() -> None:
    first = Chain("edge-1")
    lines = trail(chain=first)
    second = Chain("edge-1", first.head)
    facts = {"before": {"chain": first.uid, "seq": first.seq}}
    lines.append(second.seal(Event(code="service.started", facts=facts)).line)
    assert list(verify(lines)) == []
    assert broken(lines[:8] + lines[9:]) == [("removed", 9)]


def with_gap(first: int, last: int) -> tuple[list[bytes], Chain]:
    """Nine events, and one that says some of them were lost; their chain."""
    chain = Chain("edge-1")
    lines = trail(chain=chain)
    facts = {"first": first, "last": last, "refused": False}
    return [*lines, chain.seal(Event(code="audit.gap", facts=facts)).line], chain


def vouched(chain: Chain) -> list[bytes]:
    return [Chain("auditor-1").seal(event).line for event in SIGNER.events([chain.head])]


def test_events_that_could_not_be_written_are_lost_and_nobody_is_to_blame() -> None:
    lines, chain = with_gap(4, 5)
    found = list(verify([*lines[:3], *lines[5:], *vouched(chain)], [SIGNER.public]))
    assert [(each.wrong, each.seq, each.last, each.broken) for each in found] == [("lost", 4, 5, False)]


def test_u3_a_gap_that_somebody_has_put_in_hides_no_removal() -> None:
    chain = Chain("edge-1")
    lines = trail(chain=chain)
    signed = vouched(chain)
    facts = {"first": 4, "last": 5, "refused": False}
    forged = chain.seal(Event(code="audit.gap", facts=facts)).line
    found = list(verify([*lines[:3], *lines[5:], forged, *signed], [SIGNER.public]))
    assert [(each.wrong, each.seq, each.last) for each in found] == [("removed", 4, 5)]
    assert "no checkpoint vouches for" in found[0].why


def test_u3_what_a_gap_does_not_name_was_removed() -> None:
    lines, chain = with_gap(4, 5)
    found = list(verify([*lines[:2], *lines[6:], *vouched(chain)], [SIGNER.public]))
    assert [(each.wrong, each.seq, each.last) for each in found] == [
        ("removed", 3, 3),
        ("lost", 4, 5),
        ("removed", 6, 6),
    ]


@pytest.mark.parametrize(("first", "last"), [(1, 10**15), (5, 4), (-(10**15), 9), (4, 11)])
def test_a_gap_that_cannot_be_is_no_way_to_break_the_verifier(first: int, last: int) -> None:
    lines, chain = with_gap(first, last)
    found = list(verify([*lines[:3], *lines[4:], *vouched(chain)], [SIGNER.public]))
    assert [(each.seq, each.last) for each in found] == [(4, 4)]


def test_numbers_far_off_cost_neither_time_nor_memory() -> None:
    lines = trail()
    far = []
    for number in range(200):
        event = json.loads(lines[0])
        place = event["unmapped"]["nexus"]["chain"]
        place |= {"seq": 9_999_000, "uid": f"{number:026}"}
        del place["hash"]
        text = json.dumps(event, sort_keys=True, separators=(",", ":"))
        place["hash"] = hashlib.sha256(text.encode()).hexdigest()
        far.append(json.dumps(event, sort_keys=True, separators=(",", ":")).encode())
    tracemalloc.start()
    found = broken(lines + far)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 200
    assert peak < 32 * 2**20


@pytest.mark.parametrize(
    "line",
    [b"no json", b"{}", b"[1]", b"\xff", b'{"metadata":{"uid":1}}', b"[" * 100_000],
)
def test_a_line_that_is_no_event_is_named_by_its_number(line: bytes) -> None:
    lines = trail()
    found = list(verify([*lines[:2], line, *lines[2:]]))
    assert [(each.wrong, each.line) for each in found] == [("unreadable", 3)]


@pytest.mark.parametrize("place", ['"seq":4', '"hash":"'])
def test_a_place_that_cannot_be_is_no_way_to_break_the_verifier(place: str) -> None:
    lines = trail()
    lines[3] = lines[3].replace(place.encode(), b'"seq":4000000000000' if "seq" in place else b'"hash":"zz')
    found = list(verify(lines))
    assert {(each.wrong, each.seq) for each in found} >= {("removed", 4)}


def test_a_finding_is_a_sentence() -> None:
    found = Finding("removed", "C", 3, 6, why="later ones of its chain are there")
    assert str(found) == "removed: chain C event 3 to 6: later ones of its chain are there"


def test_many_chains_take_several_checkpoints() -> None:
    heads = [Head(f"{number:026}", 3, "ab" * 32) for number in range(120)]
    events = list(SIGNER.events(heads))
    assert len(events) == 3
    auditor = Chain("auditor-1")
    lines = [auditor.seal(event).line for event in events]
    assert broken(lines, SIGNER.public)[0] == ("removed", 1)
    assert len(broken(lines, SIGNER.public)) == 120
