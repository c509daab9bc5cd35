"""How often punching at random may go on: :mod:`spaceswarm_proxy.peering.random_punches`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.peering.random_punches import INTERVAL, RandomPunches


class RandomPunchesTests(SynchronousTestCase):
    """One node's attempts."""

    def test_one_at_a_time(self) -> None:
        """While one is under way no other begins; nor within 20 seconds after it."""
        punches = RandomPunches()
        self.assertTrue(punches.allowed(0))
        punches.begin()
        self.assertFalse(punches.allowed(1000))
        punches.end(1000)
        self.assertFalse(punches.allowed(1000 + INTERVAL - 0.1))
        self.assertTrue(punches.allowed(1000 + INTERVAL))

    def test_withdraw(self) -> None:
        """One that does not begin after all costs nobody a pause."""
        punches = RandomPunches()
        punches.begin()
        punches.withdraw()
        self.assertTrue(punches.allowed(0))

    def test_limit(self) -> None:
        """Limit and pause can be others."""
        punches = RandomPunches(limit=2, interval=1)
        punches.begin()
        self.assertTrue(punches.allowed(0))
        punches.begin()
        self.assertFalse(punches.allowed(0))
        punches.end(5)
        self.assertEqual((False, True, 1), (punches.allowed(5), punches.allowed(6), punches.under_way))
