"""The one timer of an encrypted connection: :mod:`spaceswarm_proxy.secret.timer`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.secret.timer import Timer
from spaceswarm_proxy.secret.watch import Due, Watch


class TimerTests(SynchronousTestCase):
    """When it tells of what is due."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[tuple[float, Due]] = []
        self.watch = Watch(0.0, 15, 5, 0)
        self.timer = Timer(self.clock, self.watch, self.tell)
        self.timer.set()

    def tell(self, due: Due) -> None:
        self.told.append((self.clock.seconds(), due))
        self.watch.wrote(self.clock.seconds())
        if due is Due.OPENING:
            self.timer.stop()

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)

    def test_tells(self) -> None:
        """It tells at the deadline, and goes on."""
        self.watch.opened(0.0)
        self.timer.set()
        self.advance(11)
        self.assertEqual([(5.0, Due.KEEP_ALIVE), (10.0, Due.KEEP_ALIVE)], self.told)

    def test_lazy(self) -> None:
        """A deadline that moves away costs nothing, and is kept."""
        self.watch.opened(0.0)
        self.timer.set()
        (call,) = self.clock.getDelayedCalls()
        self.advance(4)
        self.watch.wrote(4.0)
        self.timer.set()
        self.assertEqual([call], self.clock.getDelayedCalls())
        self.advance(4.75)
        self.assertEqual([], self.told)
        self.advance(0.25)
        self.assertEqual([(9.0, Due.KEEP_ALIVE)], self.told)

    def test_nothing_due(self) -> None:
        """Without a deadline there is no call."""
        self.watch.opened(0.0)
        self.watch.set_keep_alive(0)
        self.timer.set()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stopped(self) -> None:
        """Once stopped, also from inside, it stays so."""
        self.advance(20)
        self.timer.set()
        self.assertEqual(([(15.0, Due.OPENING)], []), (self.told, self.clock.getDelayedCalls()))
