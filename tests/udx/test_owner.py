"""Tests of spaceswarm_proxy.udx.owner."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import SpaceswarmError, StreamResetError
from spaceswarm_proxy.udx.owner import MAX_MESSAGES, News
from spaceswarm_proxy.udx.packet import MAX_DATAGRAM


class Listener:
    """Remembers what it is told, and does something at each word."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.react: Callable[[object], None] = lambda word: None

    def _tell(self, word: object) -> None:
        self.told.append(word)
        self.react(word)

    def stream_received(self, chunks: list[bytes]) -> None:
        self._tell(b"".join(chunks))

    def stream_ended(self) -> None:
        self._tell("ended")

    def stream_message(self, message: bytes) -> None:
        self._tell(("message", message))

    def stream_drained(self) -> None:
        self._tell("drained")

    def stream_moved(self) -> None:
        self._tell("moved")

    def stream_closed(self, problem: SpaceswarmError | None) -> None:
        self._tell(("closed", problem))


class NewsTests(SynchronousTestCase):
    """What is told."""

    def setUp(self) -> None:
        self.news = News()
        self.owner = self.news.owner = Listener()

    def note_all(self, over: bool = True) -> None:
        self.news.moved()
        self.news.drained()
        self.news.ended()
        self.news.message(b"one")
        self.news.message(b"two")
        self.news.arrived += [b"da", b"ta"]
        if over:
            self.news.over(None)

    def test_order(self) -> None:
        """Data first, the end of all last; each once."""
        self.note_all(over=False)
        self.news.tell()
        messages = [("message", b"one"), ("message", b"two")]
        self.assertEqual([b"data", *messages, "ended", "drained", "moved"], self.owner.told)
        self.news.tell()
        self.news.over(None)
        self.news.tell()
        self.assertEqual([("closed", None)], self.owner.told[6:])
        self.news.tell()
        self.assertEqual(7, len(self.owner.told))
        self.assertIsNone(self.news.owner)

    def test_over(self) -> None:
        """When it is over, nobody is told of room any more; but of what has come before."""
        self.note_all()
        self.news.tell()
        messages = [("message", b"one"), ("message", b"two")]
        self.assertEqual([b"data", *messages, "ended", ("closed", None)], self.owner.told)

    def test_first_problem(self) -> None:
        """It is over once; why, is what was said first."""
        problem = StreamResetError()
        self.news.over(problem)
        self.news.over(None)
        self.news.tell()
        self.assertEqual([("closed", problem)], self.owner.told)

    def test_leaves_at_any_word(self) -> None:
        """Whoever leaves at a word is told nothing after it."""
        words = 5
        for last in range(words):
            self.setUp()
            self.note_all()

            def leave(word: object, last: int = last) -> None:
                if len(self.owner.told) == last + 1:
                    self.news.owner = None

            self.owner.react = leave
            self.news.tell()
            self.assertEqual(last + 1, len(self.owner.told))

    def test_hands_over(self) -> None:
        """Whoever takes the stream over at a word is told the rest."""
        self.note_all()
        other = Listener()

        def hand_over(word: object) -> None:
            self.news.owner = other

        self.owner.react = hand_over
        self.news.tell()
        self.assertEqual([b"data"], self.owner.told)
        self.assertEqual([("message", b"one"), ("message", b"two"), "ended", ("closed", None)], other.told)

    def test_waits_for_an_owner(self) -> None:
        """Without an owner everything waits, messages only so many."""
        self.news.owner = None
        self.note_all()
        for _ in range(2 * MAX_MESSAGES):
            self.news.message(b"more")
        self.news.tell()
        self.news.owner = self.owner
        self.news.tell()
        self.assertEqual(MAX_MESSAGES + 3, len(self.owner.told))

    def test_large_message(self) -> None:
        """A message larger than the reference receives is lost."""
        self.news.message(bytes(MAX_DATAGRAM + 1))
        self.news.tell()
        self.assertEqual([], self.owner.told)

    def test_forget(self) -> None:
        """Whoever reads no more is told of no data, message or end, whether noted already or not."""
        self.note_all(over=False)
        self.assertEqual(4, self.news.forget())
        self.news.ended()
        self.news.tell()
        self.assertEqual(["drained", "moved"], self.owner.told)
