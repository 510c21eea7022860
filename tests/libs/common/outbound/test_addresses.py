"""Public addresses, and every spelling of those that are not."""

from __future__ import annotations

import pytest

from libs.common.outbound.addresses import is_loopback, is_public

PUBLIC = ("1.1.1.1", "93.184.215.14", "2606:4700::1111", "64:ff9b::5db8:d70e", "::ffff:1.1.1.1")
PRIVATE = (
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.192", "192.88.99.1"),
    *("168.63.129.16", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *("2001::1", "2002:7f00:1::", "3fff::1", "100::1", "::127.0.0.1", "64:ff9b:1::1"),
    *("64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_hosts_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_private_reserved_or_a_metadata_service_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("text", ["", "example.com", "127.1", "0x7f.1", "2130706433"])
def test_text_that_is_no_address_is_not_public(text: str) -> None:
    assert not is_public(text)


def test_the_loopback_is_known_in_each_of_its_spellings() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("10.0.0.1", "::2", "1.1.1.1", "localhost")))
