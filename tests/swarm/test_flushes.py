"""Tests of ``spaceswarm_proxy.swarm.flushes``."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.swarm.flushes import Flushes


class FlushesTests(SynchronousTestCase):
    """Each waits for what was outstanding."""

    def test_settle(self) -> None:
        """It fires when all of its items are settled, in whatever order, however often."""
        flushes: Flushes[str] = Flushes()
        both, one = flushes.wait("ab"), flushes.wait("b")
        flushes.settle("b")
        flushes.settle("b")
        self.assertIs(self.successResultOf(one), True)
        self.assertNoResult(both)
        flushes.settle("a")
        self.assertIs(self.successResultOf(both), True)
        self.assertIs(self.successResultOf(flushes.wait("")), True)
        self.assertEqual(len(flushes), 0)

    def test_finish(self) -> None:
        """All can be told that it is over; one may cancel another meanwhile."""
        flushes: Flushes[str] = Flushes()
        first, second = flushes.wait("a"), flushes.wait("b")
        first.addCallback(lambda _: second.cancel())
        flushes.finish(False)
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)
