"""Tests of spaceswarm_proxy.udx.round_trips."""

from __future__ import annotations

from math import inf

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.round_trips import MAX_TIMEOUT, MIN_TIMEOUT, WINDOW, RoundTrips

quick = settings(deadline=None, max_examples=100)


class RoundTripsTests(SynchronousTestCase):
    """Samples in, estimates out."""

    def test_nothing_known(self) -> None:
        """Before the first sample, one second is waited."""
        times = RoundTrips()
        self.assertEqual((None, 1.0, inf), (times.smoothed, times.timeout, times.shortest))

    def test_first(self) -> None:
        """The first sample is taken as it is."""
        times = RoundTrips()
        times.add(0.4, 1.0)
        self.assertEqual((0.4, 0.2, 0.4), (times.smoothed, times.deviation, times.shortest))
        self.assertAlmostEqual(1.2, times.timeout)

    def test_next(self) -> None:
        """The others count an eighth, and a fourth."""
        times = RoundTrips()
        times.add(0.4, 1.0)
        times.add(0.8, 2.0)
        assert times.smoothed is not None
        self.assertAlmostEqual(0.45, times.smoothed)
        self.assertAlmostEqual(0.25, times.deviation)
        self.assertEqual(0.4, times.shortest)

    def test_sleep(self) -> None:
        """A sample that says that the machine slept counts for no more than is usual."""
        times = RoundTrips()
        times.add(0.1, 1.0)
        times.add(3600.0, 3601.0)
        assert times.smoothed is not None
        self.assertLess(times.smoothed, 0.15)

    def test_window(self) -> None:
        """The shortest is forgotten in time."""
        times = RoundTrips()
        times.add(0.1, 0.0)
        for second in range(1, 1000):
            times.add(0.3, float(second))
            self.assertEqual(0.1 if second <= WINDOW else 0.3, times.shortest)

    @quick
    @given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 100)), min_size=1, max_size=300))
    def test_bounds(self, samples: list[tuple[float, float]]) -> None:
        """Whatever comes, the time-out stays in its bounds, the shortest is none too long, and little is kept."""
        times, now = RoundTrips(), 0.0
        for sample, pause in samples:
            now += pause
            times.add(sample, now)
            self.assertTrue(MIN_TIMEOUT <= times.timeout <= MAX_TIMEOUT)
            self.assertLessEqual(times.shortest, max(sample, 0.0))
            self.assertLess(len(times._minima or ()), 20)
