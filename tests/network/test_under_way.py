"""What is under way: :mod:`spaceswarm_proxy.network.under_way`."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.network.under_way import UnderWay


class UnderWayTests(SynchronousTestCase):
    """Counting what has not fired yet."""

    def setUp(self) -> None:
        self.under_way = UnderWay()

    def test_nothing(self) -> None:
        """When there is nothing, nobody waits."""
        self.assertIsNone(self.successResultOf(self.under_way.none()))

    def test_all(self) -> None:
        """Who waits is told when the last one has fired, well or not; each result stays what it is."""
        first: Deferred[str] = Deferred()
        second: Deferred[str] = Deferred()
        for each in (first, second):
            self.assertIs(each, self.under_way.add(each))
        waiting = [self.under_way.none() for _ in range(2)]
        first.callback("result")
        self.assertEqual("result", self.successResultOf(first))
        for waiter in waiting:
            self.assertNoResult(waiter)
        second.errback(ZeroDivisionError())
        self.failureResultOf(second, ZeroDivisionError)
        for waiter in waiting:
            self.assertIsNone(self.successResultOf(waiter))

    def test_over_already(self) -> None:
        """What has fired before is under way no more."""
        done: Deferred[None] = Deferred()
        done.callback(None)
        self.under_way.add(done)
        self.successResultOf(self.under_way.none())

    def test_cancelled(self) -> None:
        """Who waits may stop waiting; that cancels nothing else."""
        work: Deferred[None] = Deferred()
        self.under_way.add(work)
        cancelled, kept = self.under_way.none(), self.under_way.none()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertNoResult(work)
        work.callback(None)
        self.successResultOf(kept)
