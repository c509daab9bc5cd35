"""Tests of spaceswarm_proxy.udx.rate."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.flights import Flight
from spaceswarm_proxy.udx.rate import DeliveryRate

#: Seconds that the path is long, a little less than a packet takes.
LENGTH = 0.0999


class Bench(SynchronousTestCase):
    """Packets that take a tenth of a second to be acknowledged."""

    def setUp(self) -> None:
        self.rate = DeliveryRate()
        self.flying = 0
        self.next = 0

    def send(self, count: int, now: float) -> Flight:
        flight = Flight(self.next, count, b"x" * count, 1, False)
        self.rate.sent(flight, self.flying, now)
        flight.sent_at = now
        self.flying += count
        self.next += count
        return flight

    def arrive(self, *flights: Flight, now: float, since: float = -inf) -> tuple[int, float, bool]:
        """:returns: what one acknowledgement of all these says."""
        for flight in flights:
            self.flying -= flight.count
            self.rate.arrived(flight, since, now)
        return self.rate.take(LENGTH, now)


class DeliveryRateTests(Bench):
    """How fast packets arrive."""

    def test_first(self) -> None:
        """Ten packets that are there after a tenth of a second make a hundred a second."""
        total_at_sending, rate, limited = self.arrive(self.send(10, 5.0), now=5.1)
        self.assertEqual((0, 100.0, False), (total_at_sending, round(rate, 6), limited))
        self.assertEqual(10, self.rate.delivered)

    def test_slow_acknowledgements(self) -> None:
        """The slower of sending and arriving counts."""
        first, second = self.send(10, 5.0), self.send(10, 5.0)
        self.arrive(first, now=5.1)
        self.assertAlmostEqual(20 / 0.2, self.arrive(second, now=5.2)[1])

    def test_bunched_acknowledgements(self) -> None:
        """Many that are told of at once are not faster than they were sent."""
        flights = [self.send(10, 5.0 + 0.1 * number) for number in range(5)]
        _, rate, _ = self.arrive(*flights, now=5.5)
        self.assertAlmostEqual(50 / 0.5, rate)

    def test_too_soon(self) -> None:
        """What comes sooner than the path is long says nothing."""
        self.assertEqual(0.0, self.arrive(self.send(10, 5.0), now=5.05)[1])

    def test_little_to_send(self) -> None:
        """Whatever is sent after there was too little to send is marked, until that is through."""
        first = self.send(10, 5.0)
        self.rate.ran_dry(self.flying)
        second = self.send(10, 5.05)
        self.assertFalse(self.arrive(first, now=5.1)[2])
        self.assertTrue(self.arrive(second, now=5.15)[2])
        self.assertFalse(self.arrive(self.send(10, 5.2), now=5.3)[2])

    def test_told_late(self) -> None:
        """What was told of long after it had arrived counts as delivered, but not as fast."""
        old = self.send(100, 5.0)
        self.arrive(self.send(10, 5.1), now=5.2)
        young = self.send(10, 5.2)
        _, rate, _ = self.arrive(old, young, now=5.3, since=5.1)
        self.assertEqual(120, self.rate.delivered)
        self.assertAlmostEqual(10 / 0.1, rate)

    def test_nothing(self) -> None:
        """Without news there is nothing to be said."""
        self.assertEqual((0, 0.0, False), self.rate.take(0.1, 5.0))
