"""Tests of spaceswarm_proxy.swarm.dialling."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.swarm.dialling import MOST, SLOW, Dialling

LIMIT = 2


class DiallingTests(SynchronousTestCase):
    """Who counts, and for how long."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.room = 0
        self.dialling: Dialling[int] = Dialling(self.clock, LIMIT, self.has_room)

    def has_room(self) -> None:
        self.room += 1

    def add(self, *items: int) -> None:
        for item in items:
            self.dialling.add(item)

    def test_full(self) -> None:
        """There may be so many, and again as soon as one has ended."""
        self.add(1)
        self.assertFalse(self.dialling.is_full)
        self.add(2)
        self.assertTrue(self.dialling.is_full)
        self.dialling.discard(1)
        self.assertFalse(self.dialling.is_full)
        self.assertEqual([2], list(self.dialling))

    def test_slow(self) -> None:
        """One that takes long counts no more, which is told, and is still there."""
        self.add(1, 2)
        self.clock.advance(SLOW - 0.1)
        self.assertEqual((True, 0), (self.dialling.is_full, self.room))
        self.clock.advance(0.1)
        self.assertEqual((False, 2), (self.dialling.is_full, self.room))
        self.assertEqual((2, True), (len(self.dialling), 1 in self.dialling))

    def test_slow_ends(self) -> None:
        """The end of one that did not count makes no more room, however often it is told."""
        self.add(1)
        self.clock.advance(SLOW)
        self.dialling.discard(1)
        self.dialling.discard(1)
        self.add(2)
        self.assertFalse(self.dialling.is_full)
        self.add(3)
        self.assertTrue(self.dialling.is_full)

    def test_bounded(self) -> None:
        """However slow they all are, there are never more than so many."""
        for item in range(MOST * LIMIT):
            self.assertFalse(self.dialling.is_full)
            self.add(item)
            self.clock.advance(SLOW)
        self.assertTrue(self.dialling.is_full)

    def test_nothing_left(self) -> None:
        """When all have ended, no timer is left."""
        self.add(1, 2)
        self.dialling.discard(1)
        self.dialling.discard(2)
        self.assertEqual([], self.clock.getDelayedCalls())
