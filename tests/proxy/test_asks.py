"""Tests for ``spaceswarm_proxy.proxy.asks``: questions to a client, which may answer what it likes, or nothing."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import (
    ConnectCancelledError,
    ConnectTimeoutError,
    HandshakeError,
    LimitError,
    LinkLostError,
    SpaceswarmError,
)
from spaceswarm_proxy.proxy.asks import MAX_ASKS, PATIENCE, Asks
from spaceswarm_proxy.proxy.event import MAX_TEXT
from spaceswarm_proxy.proxy.wire import Event, EventType

ANSWER = EventType.ANSWER


class LinkStub:
    """What a link does with questions."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sent: list[int] = []

    def send(self, event: Event) -> None:
        assert event.request is not None
        self.sent.append(event.request)


class AsksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = LinkStub()
        self.asks = Asks(self.link)  # type: ignore[arg-type]

    def ask(self) -> Deferred[Event]:
        return self.asks.ask(Event(EventType.SIGN))

    def tick(self, seconds: float) -> None:
        self.link.clock.advance(seconds)
        self.asks.tick(self.link.clock.seconds())

    def test_answers(self) -> None:
        """Each question gets the answer with its number, in whatever order they come."""
        first, second = self.ask(), self.ask()
        self.assertEqual([1, 2], self.link.sent)
        self.asks.answered(Event(ANSWER, request=2, data=b"two"))
        self.assertNoResult(first)
        self.asks.answered(Event(ANSWER, request=1, data=b"one"))
        self.assertEqual([b"one", b"two"], [self.successResultOf(each).data for each in (first, second)])
        self.assertEqual(0, len(self.asks))

    def test_refused(self) -> None:
        """A code is a refusal, typed; whatever the client says, a bounded part of it is read."""
        for code, text, kind in (
            ("handshake-error", b"bad-tag", HandshakeError),
            ("limit", b"max=1", LimitError),
            ("limit", b"max=" + b"9" * 100_000, LimitError),
            ("no such code", b"\xff" * 1_000_000, SpaceswarmError),
        ):
            asked = self.ask()
            self.asks.answered(Event(ANSWER, request=self.link.sent[-1], code=code, data=text))
            problem = self.failureResultOf(asked, kind).value
            self.assertLess(len(str(problem)), MAX_TEXT + 100)

    def test_unasked(self) -> None:
        """An answer to nothing is nothing: no number, one that was never used, one that was answered."""
        asked = self.ask()
        self.asks.answered(Event(ANSWER, request=1, data=b"one"))
        for number in (None, 0, 1, 2, 2**69):
            self.asks.answered(Event(ANSWER, request=number, data=b"again"))
        self.assertEqual(b"one", self.successResultOf(asked).data)

    def test_time(self) -> None:
        """Each has its own time; what comes later is nothing."""
        first = self.ask()
        self.tick(PATIENCE - 1)
        second = self.ask()
        self.assertNoResult(first)
        self.tick(1)
        self.failureResultOf(first, ConnectTimeoutError)
        self.assertNoResult(second)
        self.asks.answered(Event(ANSWER, request=1))
        self.tick(PATIENCE)
        self.failureResultOf(second, ConnectTimeoutError)

    def test_bound(self) -> None:
        """So many wait at once; the next one fails, and is not sent."""
        asked = [self.ask() for _ in range(MAX_ASKS)]
        self.failureResultOf(self.ask(), LimitError)
        self.assertEqual(MAX_ASKS, len(self.link.sent))
        self.asks.answered(Event(ANSWER, request=7))
        asked.append(self.ask())
        self.assertNoResult(asked[-1])
        self.asks.lost(LinkLostError())
        self.assertEqual(1, sum(not isinstance(_result(each), Failure) for each in asked))

    def test_cancelled(self) -> None:
        """Who does not want to know any more is told that at once, and takes no room."""
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, ConnectCancelledError)
        self.asks.answered(Event(ANSWER, request=1))
        self.assertEqual(0, len(self.asks))

    def test_lost(self) -> None:
        """With the link all fail."""
        asked = [self.ask() for _ in range(3)]
        asked[0].addErrback(lambda _: asked[1].cancel())
        self.asks.lost(LinkLostError())
        self.failureResultOf(asked[1], ConnectCancelledError)
        self.failureResultOf(asked[2], LinkLostError)

    def test_cancelled_by_another(self) -> None:
        """What one is told may have another one cancelled; that one is told once."""
        asked = [self.ask(), self.ask()]
        asked[0].addErrback(lambda _: asked[1].cancel())
        self.tick(PATIENCE)
        self.failureResultOf(asked[1], ConnectCancelledError)

    def test_numbers(self) -> None:
        """Numbers go round before they get too large for anybody."""
        self.asks._last = 2**31 - 2
        asked = [self.ask(), self.ask()]
        self.assertEqual([2**31 - 1, 1], self.link.sent)
        self.asks.lost(LinkLostError())
        for each in asked:
            self.failureResultOf(each, LinkLostError)


def _result(done: Deferred[Any]) -> Any:
    results: list[Any] = []
    done.addBoth(results.append)
    return results[0]
