"""A peer at a blind relay: :mod:`spaceswarm_proxy.peering.relay_client`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import ClosedError, MessageError, RelayAbortedError, SpaceswarmError
from spaceswarm_proxy.peering.blind_relay import PROTOCOL, Pair, RelayMessage, Unpair
from spaceswarm_proxy.peering.relay_client import PAIRING_TIMEOUT, RelayClient
from tests.crypto.connect_vectors import VECTORS
from tests.peering.muxes import End, Owner, deliver_all
from tests.peering.relays import TOKEN

WIRE = VECTORS["protomux"]["blindRelayClient"]
KEY = bytes.fromhex(WIRE["channelId"])


class ClientTests(SynchronousTestCase):
    """One client, and a relay that says what the test wants."""

    def setUp(self) -> None:
        self.end, self.relay_end = End(), End()
        self.client = RelayClient(self.end.mux, KEY, 0.0)
        self.answers: list[tuple[int | SpaceswarmError, float]] = []
        self.relay = Owner()

    def connect(self) -> None:
        self.channel = self.relay_end.mux.open(PROTOCOL, KEY, self.relay, 0.0)
        self.settle()

    def settle(self, now: float = 0.0) -> None:
        deliver_all(self.end, self.relay_end, now)

    def answered(self, answer: int | SpaceswarmError, now: float) -> None:
        self.answers.append((answer, now))

    def pair(self, token: bytes = TOKEN, stream_id: int = 7, now: float = 0.0) -> None:
        self.client.pair(token, True, stream_id, self.answered, now)

    def relay_says(self, type: int, body: bytes, now: float = 1.0) -> None:
        self.channel.send(type, body)
        self.settle(now)

    def refused(self, text: str, now: float) -> None:
        """The only answer was that it came to nothing."""
        [(problem, when)] = self.answers
        self.assertIsInstance(problem, RelayAbortedError)
        self.assertIn(text, str(problem))
        self.assertEqual((now, None), (when, self.client.next_deadline()))

    def test_vectors(self) -> None:
        """What is sent is what the reference sends, before the relay has said anything."""
        self.client.pair(TOKEN, True, 0x01020304, self.answered, 0.0)
        self.client.unpair(TOKEN)
        self.client.close()
        expected = WIRE["open"] + WIRE["pair"] + WIRE["unpair"] + WIRE["close"]
        self.assertEqual(expected, [message.hex() for message in self.end.sent])

    def test_paired(self) -> None:
        """The relay's answer is told, once."""
        self.connect()
        self.pair()
        self.settle()
        self.assertEqual((RelayMessage.PAIR, Pair(True, TOKEN, 7).encode()), self.relay.told[-1])
        for _ in range(2):
            self.relay_says(RelayMessage.PAIR, Pair(True, TOKEN, 99).encode())
        self.assertEqual([(99, 1.0)], self.answers)
        self.assertIsNone(self.client.next_deadline())

    def test_of_others(self) -> None:
        """Answers to what was not asked, to the other place, or of types from the future are passed over."""
        self.connect()
        self.pair()
        self.relay_says(RelayMessage.PAIR, Pair(False, TOKEN, 99).encode())
        self.relay_says(RelayMessage.PAIR, Pair(True, bytes(32), 99).encode())
        self.relay_says(RelayMessage.UNPAIR, Unpair(bytes(32)).encode())
        self.relay_says(9, b"whatever")
        self.assertEqual([], self.answers)

    def test_twice(self) -> None:
        """A token can be paired once at a time."""
        self.pair()
        self.assertRaises(ValueError, self.pair)

    def test_too_late(self) -> None:
        """A pairing that takes too long is given up, here and at the relay; the others go on."""
        self.connect()
        self.pair()
        self.pair(bytes(32), now=1.0)
        self.client.advance(PAIRING_TIMEOUT - 0.1)
        self.assertEqual((PAIRING_TIMEOUT, []), (self.client.next_deadline(), self.answers))
        self.client.advance(PAIRING_TIMEOUT)
        self.assertEqual(PAIRING_TIMEOUT + 1.0, self.client.next_deadline())
        self.settle()
        self.assertEqual((RelayMessage.UNPAIR, Unpair(TOKEN).encode()), self.relay.told[-1])
        self.relay_says(RelayMessage.PAIR, Pair(True, bytes(32), 99).encode())
        self.relay_says(RelayMessage.PAIR, Pair(True, TOKEN, 99).encode())
        (problem, when), late = self.answers
        self.assertIsInstance(problem, RelayAbortedError)
        self.assertEqual((PAIRING_TIMEOUT, (99, 1.0)), (when, late))

    def test_unpaired(self) -> None:
        """Who gives a place up is told nothing more."""
        self.connect()
        self.pair()
        self.client.unpair(TOKEN)
        self.relay_says(RelayMessage.PAIR, Pair(True, TOKEN, 99).encode())
        self.assertEqual(([], None), (self.answers, self.client.next_deadline()))
        self.pair()

    def test_refused_pairing(self) -> None:
        """The relay may say at once that it will not be."""
        self.connect()
        self.pair()
        self.relay_says(RelayMessage.UNPAIR, Unpair(TOKEN).encode())
        self.refused("refuses", 1.0)

    def test_relay_leaves(self) -> None:
        """When the relay closes the channel, all that was asked has come to nothing, and no more can be asked."""
        self.connect()
        self.pair()
        self.channel.close()
        self.settle(2.0)
        self.refused("left", 2.0)
        self.assertTrue(self.client.is_closed)
        self.assertRaises(ClosedError, self.pair)

    def test_no_relay(self) -> None:
        """Somebody who is no relay refuses the channel."""
        self.pair()
        self.settle(2.0)
        self.refused("lost", 2.0)

    def test_relay_lies(self) -> None:
        """What is no message of a relay ends the connection, and the pairings with it."""
        self.connect()
        self.pair()
        self.channel.send(RelayMessage.PAIR, b"\x01short")
        self.assertRaises(MessageError, self.settle, 3.0)
        self.refused("lost", 3.0)

    def test_closed(self) -> None:
        """Who leaves is told nothing more."""
        self.connect()
        self.pair()
        self.client.close()
        self.settle()
        self.assertEqual(("closed", None), self.relay.told[-1])
        self.client.advance(1000.0)
        self.assertEqual([], self.answers)
