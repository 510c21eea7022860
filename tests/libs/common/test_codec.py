"""JSON of others: decoded where it fits, refused in a known way where it does not."""

from __future__ import annotations

import random

import msgspec
import pytest
from msgspec import Raw, Struct

from libs.common.codec import UNREADABLE, decode, decoder, encode, members, raw


class Point(Struct):
    x: int
    y: float = 0.5


def test_a_decoder_takes_its_type_and_skips_what_it_does_not_know() -> None:
    assert decoder(Point).decode(b'{"x":1,"z":[1]}') == Point(1, 0.5)


def test_raw_is_encoded_once_and_embedded_as_it_is() -> None:
    once = raw({"x": 1.5})
    assert bytes(once) == b'{"x":1.5}'
    assert encode({"in": once}) == b'{"in":{"x":1.5}}'


def test_members_are_left_as_they_came() -> None:
    found = members(b' {"a": 1.50 , "b":[ ]}')
    assert {name: bytes(value) for name, value in found.items()} == {"a": b"1.50", "b": b"[ ]"}
    assert members(Raw(b"{}")) == {}


@pytest.mark.parametrize("text", [b"[]", b"7", b"null", b'"x"'])
def test_what_is_no_object_has_no_members(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        members(text)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", b'{"x":"\xff"}', b"[" * 100_000, b'{"x":1e999}', b'{"x":"1"}', b'{"y":1}', b"\x00"],
)
def test_whatever_cannot_be_read_is_one_of_the_known_errors(text: bytes) -> None:
    with pytest.raises(UNREADABLE):
        decoder(Point).decode(text)


def test_noise_raises_nothing_unforeseen() -> None:
    chance = random.Random(3)
    read = 0
    for _ in range(20_000):
        text = bytearray(b'{"x":1,"y":2.5,"text":"\xc3\xa4","deep":[[{"a":null}]]}')
        for _ in range(chance.randrange(1, 4)):
            text[chance.randrange(len(text))] = chance.randrange(256)
        for read_as in (decoder(Point).decode, decode, members):
            try:
                read_as(bytes(text))
            except UNREADABLE:
                continue
            read += 1
    assert 0 < read < 60_000
