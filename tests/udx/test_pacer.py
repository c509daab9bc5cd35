"""Tests of spaceswarm_proxy.udx.pacer."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.pacer import Pacer

quick = settings(deadline=None, max_examples=100)


class PacerTests(SynchronousTestCase):
    """When packets may leave."""

    def setUp(self) -> None:
        self.pacer = Pacer()

    def send(self, rate: float, now: float, waited: bool = False, quiet: bool = False) -> int:
        """Send all that may leave.  :returns: how many that is."""
        count = self.pacer.allowance(rate, quiet, waited, now)
        self.pacer.sent(count)
        return count

    def test_no_rate(self) -> None:
        """Before a rate is known, all may leave."""
        self.assertLess(1_000_000, self.send(0.0, 5.0))
        self.assertLess(1_000_000, self.send(0.0, 5.0))

    def test_a_millisecond(self) -> None:
        """What leaves at once is a millisecond's worth, and what lateness adds; then it is waited for as long."""
        self.assertTrue(30 <= self.send(10_000.0, 5.0) <= 31)
        self.assertEqual(0, self.send(10_000.0, 5.0))
        now = self.pacer.next
        self.assertLess(abs(5.001 - now), 0.0002)
        self.assertTrue(10 <= self.send(10_000.0, now) <= 11)

    @quick
    @given(st.floats(10, 1e6), st.lists(st.floats(0.0, 0.004), min_size=1, max_size=200))
    def test_keeps_the_rate(self, rate: float, delays: list[float]) -> None:
        """However late its turns come, it does not exceed the rate by more than a bunch, and waits after each."""
        self.pacer = Pacer()
        began = now = 1000.0
        sent = 0
        for delay in delays:
            now = max(now, self.pacer.next) + delay
            sent += self.send(rate, now, waited=True)
            self.assertLess(now, self.pacer.next)
        self.assertLessEqual(sent, rate * (now - began + 0.052) + 4)

    def test_catches_up(self) -> None:
        """What a late timer costs is made up for, however late it always is."""
        for late in (0.0005, 0.003, 0.02):
            now = began = self.pacer.next + 1.0
            sent = self.send(5_000.0, now)
            for _ in range(1000):
                now = self.pacer.next + late
                sent += self.send(5_000.0, now, waited=True)
            self.assertLess(abs(5_000.0 - sent / (now - began)), 150)

    def test_after_a_silence(self) -> None:
        """Where nothing waited, a silence is not made up for."""
        self.send(1000.0, 5.0)
        self.assertLessEqual(self.send(1000.0, 9.0), 4)

    def test_quiet(self) -> None:
        """When nothing is on the way, a few packets need not wait."""
        self.send(100.0, 5.0)
        self.assertEqual(0, self.send(100.0, 5.0))
        self.assertEqual(2, self.send(100.0, 5.0, quiet=True))
