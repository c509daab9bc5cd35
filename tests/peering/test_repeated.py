"""What is done over and over: :mod:`spaceswarm_proxy.peering.repeated`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.peering.repeated import Repeated
from spaceswarm_proxy.peering.schedule import Schedule


class RepeatedTests(SynchronousTestCase):
    """Three times, a second apart."""

    def setUp(self) -> None:
        self.schedule = Schedule()
        self.now = 10.0
        self.done: list[tuple[int | str, float]] = []
        self.repeated = Repeated(self.schedule, self.step, 3, 1.0, lambda now: self.done.append(("end", now)))

    def step(self, time: int) -> None:
        self.done.append((time, self.now))

    def run_until(self, end: float) -> None:
        while (deadline := self.schedule.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.schedule.advance(self.now)
        self.now = end

    def test_times(self) -> None:
        """It begins when it is to, and ends after the last pause."""
        self.repeated.begin(12.0)
        self.run_until(20)
        self.assertEqual([(1, 12.0), (2, 13.0), (3, 14.0), ("end", 15.0)], self.done)

    def test_stop(self) -> None:
        """Once it is stopped nothing is done any more, and the end is not told."""
        self.repeated.begin(12.0)
        self.run_until(13.5)
        self.repeated.stop()
        self.run_until(20)
        self.assertEqual([(1, 12.0), (2, 13.0)], self.done)
        self.assertIsNone(self.schedule.next_deadline())

    def test_stopped_by_itself(self) -> None:
        """A step may be the last one by its own decision."""
        repeated = Repeated(self.schedule, lambda time: repeated.stop(), 3, 1.0, lambda now: self.fail("told"))
        repeated.begin(12.0)
        self.run_until(20)
        self.assertIsNone(self.schedule.next_deadline())
