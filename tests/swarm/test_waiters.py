"""Tests of ``spaceswarm_proxy.swarm.waiters`` and ``flushes``."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.swarm.flushes import Flushes
from spaceswarm_proxy.swarm.waiters import Waiters


class WaitersTests(SynchronousTestCase):
    """Many wait for one thing."""

    def test_fire(self) -> None:
        """All who wait get the value; who comes later waits for the next."""
        waiters: Waiters[int] = Waiters()
        first, second = waiters.wait(), waiters.wait()
        waiters.fire(1)
        third = waiters.wait()
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (1, 1))
        waiters.fail(KeyError())
        self.failureResultOf(third, KeyError)

    def test_cancel(self) -> None:
        """One who leaves does not disturb the others."""
        waiters: Waiters[int] = Waiters()
        first, second = waiters.wait(), waiters.wait()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(len(waiters), 1)
        waiters.fire(2)
        self.assertEqual(self.successResultOf(second), 2)

    def test_cancel_while_firing(self) -> None:
        """One may be cancelled by another's callback."""
        waiters: Waiters[int] = Waiters()
        first, second = waiters.wait(), waiters.wait()
        first.addCallback(lambda _: second.cancel())
        waiters.fire(3)
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)


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
