"""Tests for ``spaceswarm_proxy.websocket.timers``."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.websocket.timers import Deadline, Liveness


class DeadlineTests(SynchronousTestCase):
    """One time limit."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.done: list[str] = []
        self.deadline = Deadline(self.clock)

    def test_reached(self) -> None:
        """The action happens at its time, once."""
        self.deadline.start(5, lambda: self.done.append("a"))
        self.clock.advance(4.9)
        self.assertEqual(self.done, [])
        self.clock.pump([0.1, 10])
        self.assertEqual(self.done, ["a"])

    def test_replaced(self) -> None:
        """A second start takes the place of the first."""
        self.deadline.start(5, lambda: self.done.append("a"))
        self.deadline.start(7, lambda: self.done.append("b"))
        self.clock.pump([5, 5])
        self.assertEqual(self.done, ["b"])

    def test_stopped(self) -> None:
        """After a stop nothing happens and no timer is left; a second stop is harmless."""
        self.deadline.start(5, lambda: self.done.append("a"))
        self.deadline.stop()
        self.deadline.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_restarted_by_its_action(self) -> None:
        """The action may start the next."""
        self.deadline.start(1, lambda: self.deadline.start(1, lambda: self.done.append("b")))
        self.clock.pump([1, 1])
        self.assertEqual(self.done, ["b"])


class LivenessTests(SynchronousTestCase):
    """Pings, and giving up."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log: list[tuple[str, float]] = []
        self.liveness = self.watch(30, 20)

    def watch(self, interval: float, timeout: float) -> Liveness:
        def note(what: str) -> None:
            self.log.append((what, self.clock.seconds()))

        return Liveness(self.clock, interval, timeout, lambda: note("ping"), lambda: note("dead"))

    def test_silent(self) -> None:
        """A silent remote is pinged after the interval and given up after the timeout, once."""
        self.liveness.start()
        self.clock.pump([10] * 12)
        self.assertEqual(self.log, [("ping", 30), ("dead", 50)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answers(self) -> None:
        """One that does nothing but answer is pinged every interval, and kept."""
        self.liveness.start()
        for _ in range(4):
            self.clock.advance(30)
            self.liveness.heard()
        self.assertEqual(self.log, [("ping", 30), ("ping", 60), ("ping", 90), ("ping", 120)])

    def test_busy(self) -> None:
        """One that sends of its own accord is not pinged."""
        self.liveness.start()
        for _ in range(30):
            self.clock.advance(10)
            self.liveness.heard()
        self.assertEqual(self.log, [])

    def test_excused(self) -> None:
        """Silence does not count while the remote cannot be heard, and afterwards its time begins anew."""
        self.liveness.start()
        self.clock.advance(30)
        self.liveness.excuse()
        self.liveness.excuse()
        self.clock.pump([10] * 20)
        self.liveness.expect()
        self.clock.pump([10] * 20)
        self.assertEqual(self.log, [("ping", 30)])
        self.liveness.expect()
        self.clock.pump([10] * 20)
        (pinged, at), (_, dead) = self.log[1:]
        self.assertEqual((pinged, dead - at), ("ping", 20))

    def test_stopped(self) -> None:
        """After a stop no timer is left, and what is heard starts none."""
        self.liveness.start()
        self.clock.advance(30)
        self.liveness.stop()
        self.liveness.heard()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_disabled(self) -> None:
        """With an interval of 0 nothing is watched."""
        self.watch(0, 20).start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
