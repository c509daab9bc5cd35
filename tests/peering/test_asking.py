"""Requests that belong together: :mod:`spaceswarm_proxy.peering.asking`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.commands import PING
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.errors import RequestTimeoutError, SuspendedError
from spaceswarm_proxy.peering.asking import Asking, Question
from tests.dht.world import Alone

ONE, OTHER = address_of("10.0.0.1", 1001), address_of("10.0.0.2", 1002)
COMMAND = Command.make(True, PING)


class AskingTests(SynchronousTestCase):
    """One owner's requests."""

    def setUp(self) -> None:
        self.alone = Alone()
        self.asking = Asking(self.alone.core)
        self.answers: list[Any] = []

    def heard(self, answer: Any, now: float) -> None:
        self.answers.append(answer)

    def ask(self, *addresses: bytes) -> None:
        for address in addresses:
            self.asking.ask(address, COMMAND, self.heard, self.alone.now)

    def test_answered(self) -> None:
        """Each answer is told, and then the request is none any more."""
        self.ask(ONE, OTHER)
        for request in self.alone.take_sent():
            self.alone.answer(request)
        self.assertEqual([Response, Response], list(map(type, self.answers)))
        self.assertFalse(self.asking)

    def test_timeout(self) -> None:
        """So is that there is none."""
        self.ask(ONE)
        self.alone.run(10)
        self.assertEqual([RequestTimeoutError], list(map(type, self.answers)))
        self.assertFalse(self.asking)

    def test_not_now(self) -> None:
        """While the node asks nobody the problem is told at once."""
        self.alone.core.suspend(self.alone.now)
        self.ask(ONE)
        self.assertEqual([SuspendedError], list(map(type, self.answers)))

    def test_forgotten(self) -> None:
        """Nothing is told of what was forgotten, and nothing of it is left in the node."""
        self.ask(ONE, OTHER)
        sent = self.alone.take_sent()
        self.asking.forget()
        self.assertEqual(0, self.alone.core.requests_under_way())
        for request in sent:
            self.alone.answer(request)
        self.alone.run(10)
        self.assertEqual([], self.answers)

    def ask_all(self, *addresses: bytes) -> None:
        questions = [Question(address, COMMAND) for address in addresses]
        self.asking.ask_all(questions, self.heard, self.alone.now)

    def test_all(self) -> None:
        """When nobody is missing it is told who has answered what."""
        self.ask_all(ONE, OTHER)
        first, _ = self.alone.take_sent()
        self.alone.answer(first)
        self.assertEqual([], self.answers)
        self.alone.run(10)
        [answers] = self.answers
        self.assertEqual([ONE], [address for address, _ in answers])

    def test_all_of_none(self) -> None:
        """Nobody is missing where nobody is asked, or can be."""
        self.ask_all()
        self.alone.core.suspend(self.alone.now)
        self.ask_all(ONE, OTHER)
        self.assertEqual([[], []], self.answers)
