"""Tests of spaceswarm_proxy.dht.round_trips."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.round_trips import RoundTrips
from tests.dht.strategies import addresses

NODE, OTHER = b"\x01" * 6, b"\x02" * 6


class NoChance(Random):
    """A source that always gives the least."""

    def random(self) -> float:
        return 0.0


class MostChance(Random):
    """A source that always gives nearly the most."""

    def random(self) -> float:
        return 1 - 2**-53


class TimeoutTests(SynchronousTestCase):
    """How long an answer is waited for."""

    def setUp(self) -> None:
        self.times = RoundTrips(NoChance())

    def waits(self, address: bytes = NODE, now: float = 0.0, attempts: int = 5) -> list[float]:
        return [self.times.timeout(address, attempt, now) for attempt in range(1, attempts + 1)]

    def test_unknown(self) -> None:
        """For a node that nothing is known of, each attempt waits twice as long as the one before, to a bound."""
        self.assertEqual(self.waits(attempts=7), [0.3, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0])

    def test_first(self) -> None:
        """After the first answer it is twice the time that it took, times the attempt."""
        self.times.measured(NODE, 0.5, 0.0)
        self.assertEqual(self.waits(), [1.0, 2.0, 3.0, 4.0, 4.0])
        self.assertEqual(self.waits(OTHER), [0.3, 0.5, 1.0, 2.0, 4.0])

    def test_smoothed(self) -> None:
        """Each answer moves the average by an eighth, and the variance by a quarter, of what it is off."""
        self.times.measured(NODE, 0.5, 0.0)
        self.times.measured(NODE, 1.0, 0.0)
        average = 0.5 + 0.5 / 8
        variance = 0.25 + (1.0 - average - 0.25) / 4
        self.assertAlmostEqual(self.waits()[0], average + 2 * variance)

    def test_steady(self) -> None:
        """Where all answers take the same time, the wait comes near to that time."""
        for _ in range(60):
            self.times.measured(NODE, 0.8, 0.0)
        self.assertAlmostEqual(self.waits()[0], 0.8, places=3)

    def test_old(self) -> None:
        """What is older than ten minutes is not known any more, and the next answer begins anew."""
        self.times.measured(NODE, 0.5, 0.0)
        self.assertEqual(self.waits(now=600.0)[0], 1.0)
        self.assertEqual(self.waits(now=600.5)[0], 0.3)
        self.times.measured(NODE, 1.5, 600.5)
        self.assertEqual(self.waits(now=600.5)[0], 3.0)

    def test_spread(self) -> None:
        """A random part of a quarter of a second at most is added."""
        spread = RoundTrips(MostChance())
        self.times.measured(NODE, 0.5, 0.0)
        spread.measured(NODE, 0.5, 0.0)
        for address, attempt in ((NODE, 1), (OTHER, 2)):
            more = spread.timeout(address, attempt, 0.0) - self.times.timeout(address, attempt, 0.0)
            self.assertAlmostEqual(more, 0.255)

    @settings(deadline=None, max_examples=100)
    @given(
        st.lists(st.tuples(addresses, st.floats(0, 100), st.floats(0, 1000)), max_size=20),
        st.integers(1, 10),
        st.integers(0, 9),
    )
    def test_bounds(self, answers: list[tuple[bytes, float, float]], attempt: int, seed: int) -> None:
        """Whatever was measured, a wait is 0.3 to 4 seconds, and not shorter for a later attempt."""
        times, now = RoundTrips(Random(seed)), 0.0
        still = RoundTrips(NoChance())
        for address, seconds, wait in answers:
            now += wait
            times.measured(address, seconds, now)
            still.measured(address, seconds, now)
        for address in (NODE, *(address for address, _, _ in answers)):
            self.assertTrue(0.3 <= times.timeout(address, attempt, now) <= 4.0)
            self.assertLessEqual(still.timeout(address, attempt, now), still.timeout(address, attempt + 1, now))

    def test_most(self) -> None:
        """Of any number of nodes only so many are known: those that were measured last."""
        everybody = [number.to_bytes(6, "big") for number in range(6000)]
        for number, address in enumerate(everybody):
            self.times.measured(address, 1.0, 0.0)
            if number == 4000:
                self.times.measured(everybody[0], 1.0, 0.0)
            self.assertLessEqual(len(self.times._times), 4096)
        self.assertEqual(self.times._times.keys(), {everybody[0], *everybody[-4095:]})
