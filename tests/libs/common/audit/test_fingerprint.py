from __future__ import annotations

import hmac
import os
import re

import pytest

from libs.common.audit.checkpoint import signing_seed
from libs.common.audit.fingerprint import Fingerprints, derived

PRINTS = Fingerprints(b"k" * 32)


def test_a_fingerprint_is_sixteen_digits_that_depend_on_the_key() -> None:
    one, other = PRINTS.of("token"), Fingerprints(b"x" * 32).of("token")
    assert re.fullmatch("[0-9a-f]{16}", one)
    assert one == PRINTS.of(b"token") != other


def test_each_purpose_has_a_key_of_its_own() -> None:
    assert len({derived(b"k" * 32, purpose) for purpose in ("fingerprint", "checkpoint")} | {b"k" * 32}) == 3
    assert signing_seed(None, b"k" * 32) == derived(b"k" * 32, "checkpoint")
    assert signing_seed(b"g" * 32, b"k" * 32) == b"g" * 32


def test_arguments_leave_their_size_their_names_and_a_digest() -> None:
    found = PRINTS.payload(b'{"password":"hunter2","user":{"name":"x"}}')
    assert (found.size, found.keys, found.fields) == (42, ("password", "user"), ())
    assert "hunter2" not in repr(found)


def test_only_fields_that_a_rule_allows_show_their_value() -> None:
    found = PRINTS.payload(
        b'{"password":"hunter2","user":{"n":1},"city":"\\u00c5s"}', ("user", "city", "zip")
    )
    assert found.fields == (("user", '{"n":1}'), ("city", "Ås"))


@pytest.mark.parametrize("raw", [b"", b"null", b"[1,2]", b"{", b'"text"', b"\xff", b"[" * 100_000])
def test_what_is_no_object_has_no_names(raw: bytes) -> None:
    found = PRINTS.payload(raw, ("a",))
    assert (found.size, found.keys, found.fields) == (len(raw), (), ())


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 100_000])
def test_a_fingerprint_is_the_beginning_of_an_hmac(size: int) -> None:
    data = os.urandom(size)
    whole = hmac.digest(derived(b"k" * 32, "fingerprint"), data, "sha256").hex()
    assert PRINTS.of(data) == whole[:16]
