from __future__ import annotations

from benchmarks.gateway.entrance import entrance


def test_credentials_that_were_seen_cost_a_fraction_of_new_ones() -> None:
    costs = {each.credentials: each.cost for each in entrance(200)}
    assert 0 < costs["token, seen within a minute"] < costs["RS256 token, not seen before"] / 4
    assert 0 < costs["API key, seen within a minute"] < costs["ES256 token, not seen before"] / 4
