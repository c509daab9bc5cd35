"""Tests of benchmarks.slopes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.slopes import slope


class SlopeTests(SynchronousTestCase):
    """How fast something grows."""

    def test_steady(self) -> None:
        """What grows by one in ten seconds grows by six in a minute."""
        self.assertAlmostEqual(6.0, slope([0, 10, 20, 30], [5, 6, 7, 8]))

    def test_flat(self) -> None:
        """What goes up and down does not grow, nor does what stays as it is."""
        self.assertAlmostEqual(0.0, slope([0, 1, 2, 3], [1, 2, 2, 1]))
        self.assertEqual(0.0, slope([0, 1], [7, 7]))
