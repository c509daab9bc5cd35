"""Turns of equal length: :mod:`spaceswarm_proxy.dht.turns`."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.turns import Turns


class TurnsTests(SynchronousTestCase):
    """How many have ended."""

    def test_on_schedule(self) -> None:
        """A turn ends when it is due; that it is noticed late does not put off the next."""
        turns = Turns(10.0, 100.0)
        self.assertEqual([0, 1, 0, 1, 0], [turns.ended(now) for now in (109.9, 110.0, 119.9, 128.0, 129.9)])
        self.assertEqual(130.0, turns.due)

    def test_restart(self) -> None:
        """One may begin at another time."""
        turns = Turns(10.0, 100.0)
        turns.restart(105.0)
        self.assertEqual([0, 1], [turns.ended(now) for now in (114.9, 115.0)])

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 100), max_size=20))
    def test_all_of_them(self, steps: list[int]) -> None:
        """Whenever one looks, none is left out and none is told twice."""
        turns, now, ended = Turns(8.0, 0.0), 0.0, 0
        for step in steps:
            now += step
            ended += turns.ended(now)
            self.assertEqual(now // 8, ended)
