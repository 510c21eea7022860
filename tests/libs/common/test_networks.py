from __future__ import annotations

import pytest

from libs.common.networks import network


@pytest.mark.parametrize(
    ("address", "counts"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("not an address", "not an address"),
    ],
)
def test_whoever_has_many_addresses_of_version_6_counts_as_one(address: str, counts: str) -> None:
    assert network(address) == counts
