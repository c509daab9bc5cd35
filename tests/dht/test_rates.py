"""Tests of spaceswarm_proxy.dht.rates."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.rates import MAX_REQUESTS_OF_HOST, RequestRates

SOURCE, OTHER = address_of("10.0.0.1", 1), address_of("10.0.0.2", 1)


def allowed(rates: RequestRates, count: int, now: float, source: bytes = SOURCE) -> int:
    """How many of so many requests are within the limit."""
    return sum([rates.allows(source, now) for _ in range(count)])


class RequestRatesTests(SynchronousTestCase):
    """How many requests a host may make."""

    def test_limit(self) -> None:
        """So many are within the limit in a second, and so many again in the next one."""
        rates = RequestRates(MAX_REQUESTS_OF_HOST)
        for now in (1000.0, 1001.0, 1002.5, 5000.0):
            self.assertEqual(allowed(rates, 3 * MAX_REQUESTS_OF_HOST, now), MAX_REQUESTS_OF_HOST)
            self.assertEqual(allowed(rates, 10, now + 0.9), 0)

    def test_hosts(self) -> None:
        """A host's ports count together, and hosts apart."""
        rates = RequestRates(5)
        self.assertEqual(
            [rates.allows(address_of("10.0.0.1", port), 0.0) for port in range(1, 8)], [True] * 5 + [False] * 2
        )
        self.assertEqual(allowed(rates, 10, 0.0, OTHER), 5)

    def test_most_hosts(self) -> None:
        """Of any number of hosts only so many are counted; when there are more, all begin again."""
        rates = RequestRates(1)
        rates.allows(SOURCE, 0.0)
        for number in range(65535):
            rates.allows(number.to_bytes(4, "big") + b"\x01\x00", 0.0)
        self.assertEqual(len(rates._counts), 65536)
        self.assertTrue(rates.allows(SOURCE, 0.0))
        self.assertEqual(len(rates._counts), 1)

    @settings(deadline=None, max_examples=80)
    @given(st.integers(1, 5), st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=60))
    def test_bounds(self, limit: int, requests: list[tuple[bool, int]]) -> None:
        """No host has more than twice the limit in any second, and none is refused that keeps to it."""
        rates, now = RequestRates(limit), 0.0
        made: dict[bytes, list[tuple[float, bool]]] = {SOURCE: [], OTHER: []}
        for other, eighths in requests:
            now += eighths / 8
            source = OTHER if other else SOURCE
            recent = [good for when, good in made[source] if when > now - 1.0]
            good = rates.allows(source, now)
            made[source].append((now, good))
            self.assertLessEqual(sum(recent) + good, 2 * limit)
            if len(recent) < limit:
                self.assertTrue(good)
