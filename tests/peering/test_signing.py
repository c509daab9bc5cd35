"""Signatures for several nodes: :mod:`spaceswarm_proxy.peering.signing`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.commands import ANNOUNCE
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.writes import Decided
from spaceswarm_proxy.errors import LinkLostError
from spaceswarm_proxy.peering.asking import Question
from spaceswarm_proxy.peering.schedule import Schedule
from spaceswarm_proxy.peering.signing import SIGNING_TIMEOUT, Signing

NODES = [address_of("10.0.0.1", port) for port in (1, 2, 3)]
COMMAND = Command.make(False, ANNOUNCE, bytes(32), b"v")
TOKEN = b"t" * 32
KNOWN = [(address, Response(b"tt", bytes(6), bytes(32), TOKEN, [], 0, None)) for address in NODES]


class SigningTests(SynchronousTestCase):
    """From the nodes to what they are asked."""

    def setUp(self) -> None:
        self.schedule = Schedule()
        #: What was told, and who is to decide.
        self.told: list[Any] = []
        self.asked: list[Decided] = []
        self.signing = Signing(self.schedule, lambda questions, now: self.told.append((questions, now)))

    def claim(self, answer: Response, decided: Decided, now: float) -> None:
        self.asked.append(decided)

    def begin(self) -> None:
        self.signing.begin(KNOWN, self.claim, 0.0)

    def test_at_once(self) -> None:
        """What is decided at once is told at once, and leaves no timer."""
        self.signing.begin(KNOWN, lambda answer, decided, now: decided(COMMAND, now), 5.0)
        self.assertEqual([([Question(address, COMMAND, TOKEN) for address in NODES], 5.0)], self.told)
        self.assertEqual(0, len(self.schedule))

    def test_nobody(self) -> None:
        """Of no nodes there is nothing to ask."""
        self.signing.begin([], self.claim, 5.0)
        self.assertEqual([([], 5.0)], self.told)

    def test_later(self) -> None:
        """It is told when nobody is missing, in the order in which it was decided; without those that get nothing."""
        self.begin()
        for which, outcome in ((2, COMMAND), (1, LinkLostError()), (0, COMMAND)):
            self.assertEqual([], self.told)
            self.asked[which](outcome, 1.0)
        self.assertEqual([([Question(NODES[2], COMMAND, TOKEN), Question(NODES[0], COMMAND, TOKEN)], 1.0)], self.told)
        self.assertEqual(0, len(self.schedule))

    def test_in_time(self) -> None:
        """What was not decided in time does not count, nor does what is decided twice."""
        self.begin()
        for _ in range(2):
            self.asked[0](COMMAND, 1.0)
        self.schedule.advance(SIGNING_TIMEOUT)
        self.assertEqual([([Question(NODES[0], COMMAND, TOKEN)], SIGNING_TIMEOUT)], self.told)
        for decided in self.asked:
            decided(COMMAND, 9.0)
        self.assertEqual(1, len(self.told))

    def test_stopped(self) -> None:
        """Once it is stopped nobody is told."""
        self.begin()
        self.signing.stop()
        self.assertEqual(0, len(self.schedule))
        for decided in self.asked:
            decided(COMMAND, 1.0)
        self.assertEqual([], self.told)
