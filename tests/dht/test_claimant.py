"""What nodes are sent of a peer: :mod:`spaceswarm_proxy.dht.claimant`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keeper import OwnKeys
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM
from spaceswarm_proxy.dht.claimant import Claimant
from spaceswarm_proxy.dht.commands import ANNOUNCE, UNANNOUNCE
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.values import Announce
from spaceswarm_proxy.errors import LinkLostError
from tests.dht.signing import signed
from tests.peering.patient_keys import PatientKeys

PAIR = KeyPair.from_seed(b"p" * 32)
TARGET, ID, TOKEN = (bytes([number]) * 32 for number in range(3))
RELAYS = (address_of("10.0.0.1", 1),)
NOW = 7.0


def known(id: bytes | None = ID, token: bytes | None = TOKEN) -> Response:
    return Response(b"tt", bytes(6), id, token, [], 0, None)


class ClaimantTests(SynchronousTestCase):
    """Announces and what takes them back."""

    def setUp(self) -> None:
        self.told: list[tuple[Any, float]] = []

    def decided(self, command: Any, now: float) -> None:
        self.told.append((command, now))

    def test_announce(self) -> None:
        """A node is told what any node believes, for its id and token, with relays and bump."""
        Claimant(HYPERSWARM, OwnKeys(PAIR), TARGET).announce(known(), self.decided, NOW, RELAYS, 5)
        value = signed(HYPERSWARM, PAIR, TARGET, ID, TOKEN, RELAYS, bump=5)
        self.assertEqual([(Command.make(False, ANNOUNCE, TARGET, value.encode()), NOW)], self.told)
        self.assertTrue(Announce.parse(value.encode()).verified(HYPERSWARM, TARGET, ID, TOKEN))

    def test_unannounce(self) -> None:
        """So it is when that is taken back."""
        Claimant(SPACESWARM, OwnKeys(PAIR), TARGET).unannounce(known(), self.decided, NOW)
        value = signed(SPACESWARM, PAIR, TARGET, ID, TOKEN, withdrawn=True)
        self.assertEqual([(Command.make(False, UNANNOUNCE, TARGET, value.encode()), NOW)], self.told)

    def test_no_token(self) -> None:
        """For a node without an id or a token nothing is signed."""
        keys = PatientKeys(PAIR)
        for answer in (known(id=None), known(token=None)):
            Claimant(SPACESWARM, keys, TARGET).announce(answer, self.decided, NOW)
        self.assertEqual(([(None, NOW)] * 2, 0), (self.told, keys.asked))

    def test_later(self) -> None:
        """It is told when it is signed, or why it is not."""
        keys, problem = PatientKeys(PAIR), LinkLostError()
        claimant = Claimant(SPACESWARM, keys, TARGET)
        claimant.unannounce(known(), self.decided, NOW)
        claimant.unannounce(known(), self.decided, NOW)
        self.assertEqual([], self.told)
        keys.answer(8.0, problem)
        keys.answer(9.0)
        self.assertEqual([problem, 8.0, 9.0], [*self.told[0], self.told[1][1]])
        self.assertIsInstance(self.told[1][0], Command)
