"""Tests for ``spaceswarm_proxy.proxy.dialler``: one server after the other."""

from __future__ import annotations

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import LinkLostError
from spaceswarm_proxy.proxy.dialler import DIAL_TIMEOUT, Dialler, default_backoff
from tests.proxy.client_world import PipeEndpoint


class DiallerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoints = [PipeEndpoint(self.clock), PipeEndpoint(self.clock)]
        self.problems: list[Exception] = []
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False
        self.wanted = True
        self.dialler = Dialler(
            self.clock, self.endpoints, self.backoff, factory, self.problems.append, lambda: self.wanted
        )

    def backoff(self, attempt: int) -> float:
        return 10.0 + attempt

    def attempts(self) -> list[list[float]]:
        """When each server was tried."""
        return [endpoint.attempts for endpoint in self.endpoints]

    def test_now(self) -> None:
        """At once is in the next turn, once; not while an attempt is under way."""
        self.endpoints[0].hangs = True
        self.dialler.now()
        self.dialler.now()
        self.assertEqual([[], []], self.attempts())
        self.clock.advance(0)
        self.dialler.now()
        self.clock.advance(1)
        self.assertEqual([[0.0], []], self.attempts())
        self.dialler.stop()

    def test_later(self) -> None:
        """The more failures, the later."""
        self.dialler.later()
        self.clock.advance(10)
        self.dialler.missed(next_server=False)
        self.dialler.missed(next_server=False)
        self.dialler.later()
        self.clock.advance(11)
        self.clock.advance(1)
        self.assertEqual([[10.0, 22.0], []], self.attempts())

    def test_next(self) -> None:
        """The next one is tried when it is told so, and after the last one the first."""
        for _ in range(3):
            self.dialler.now()
            self.clock.advance(0)
            self.clock.advance(1)
            self.dialler.missed(next_server=True)
        self.assertEqual([[0.0, 2.0], [1.0]], self.attempts())

    def test_failed(self) -> None:
        """An attempt that fails, or takes too long, is told; the next one may begin."""
        self.endpoints[0].refuses = True
        self.dialler.now()
        self.clock.advance(0)
        self.endpoints[0].refuses, self.endpoints[0].hangs = False, True
        self.dialler.now()
        self.clock.advance(0)
        self.clock.advance(DIAL_TIMEOUT)
        self.assertEqual([LinkLostError, LinkLostError], [type(each) for each in self.problems])
        self.dialler.now()
        self.clock.advance(0)
        self.assertEqual(3, len(self.endpoints[0].attempts))
        self.dialler.stop()

    def test_stopped(self) -> None:
        """One that was stopped is not told, and leaves nothing; it may be begun again."""
        self.dialler.now()
        self.dialler.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.endpoints[0].hangs = True
        self.dialler.now()
        self.clock.advance(0)
        self.dialler.stop()
        self.dialler.stop()
        self.assertEqual(([], []), (self.problems, self.clock.getDelayedCalls()))
        self.endpoints[0].hangs, self.endpoints[0].refuses = False, True
        self.dialler.now()
        self.clock.advance(0)
        self.assertEqual(1, len(self.problems))

    def test_nowhere(self) -> None:
        """Without servers there is nothing to do."""
        self.dialler.endpoints = []
        self.dialler.now()
        self.dialler.later()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_not_wanted(self) -> None:
        """Without anybody who wants a link neither; who is asked for the delay may have just said so."""

        def backoff(attempt: int) -> float:
            self.wanted = False
            return 1.0

        self.dialler.backoff = backoff
        self.dialler.later()
        self.dialler.now()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_backoff(self) -> None:
        """By default the first attempts follow each other closely, and none has to wait for more than a minute."""
        for attempt, most in ((0, 0.5), (1, 0.75), (50, 60.0)):
            times = [default_backoff(attempt) for _ in range(50)]
            self.assertTrue(all(most / 2 <= each <= most for each in times), (attempt, times))
