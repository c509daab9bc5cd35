"""What the user of an encrypted connection sees: :mod:`spaceswarm_proxy.secret.transport`."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.crypto.datagram_box import OVERHEAD
from spaceswarm_proxy.errors import LimitError, NotSupportedError, ValueTooLargeError
from spaceswarm_proxy.interfaces import IByteCounts, IMessageTransport, IRecordTransport, PeerAddress
from spaceswarm_proxy.secret.connection import Settings
from tests.crypto.connect_vectors import CLIENT, SERVER
from tests.secret.ends import LABEL, Alone, Pair, RecordProtocol, alone, datagram_pipe, known, unknown
from tests.transport_support import HalfCloseableProtocol

KEPT = b"\x00 and \xff"


class WhoTests(SynchronousTestCase):
    """Who is at the two ends."""

    def test_keys(self) -> None:
        """Each end knows both public keys; the hash is the same at both, and the label too."""
        for make in (known, unknown):
            pair = Pair(make=make).settle()
            near, far = pair.near.transport, pair.far.transport
            self.assertEqual((CLIENT.public_key, SERVER.public_key), (near.public_key, near.remote_public_key))
            self.assertEqual((SERVER.public_key, CLIENT.public_key), (far.public_key, far.remote_public_key))
            self.assertEqual((64, near.handshake_hash), (len(far.handshake_hash), far.handshake_hash))
            self.assertEqual((LABEL, LABEL), (near.label, far.label))

    def test_addresses(self) -> None:
        """Peer and host are known by key, and by who has opened the connection; nobody is between them."""
        pair = Pair().settle()
        for transport, initiator in ((pair.near.transport, True), (pair.far.transport, False)):
            for address, key in (
                (transport.getPeer(), transport.remote_public_key),
                (transport.getHost(), transport.public_key),
            ):
                self.assertIsInstance(address, PeerAddress)
                self.assertEqual((key, initiator), (address.public_key, address.initiator))
                self.assertTrue(address.end_to_end)

    def test_kept(self) -> None:
        """All that is still known when the connection is over."""
        end = alone()
        end.transport.abortConnection()
        end.clock.advance(0)
        self.assertEqual((CLIENT.public_key, LABEL), (end.transport.remote_public_key, end.transport.label))

    def test_told(self) -> None:
        """Whoever has asked is told when the protocol has been told that it is over."""
        end, told = alone(), []
        end.transport.lost = lambda transport: told.append((transport, end.protocol.calls[-1]))
        end.transport.abortConnection()
        end.clock.advance(0)
        self.assertEqual([(end.transport, "lost")], told)

    def test_interfaces(self) -> None:
        """It is a transport as protocols expect it, and more."""
        transport = Pair().settle().near.transport
        for interface in (IMessageTransport, IRecordTransport, IByteCounts, IConsumer, IPushProducer):
            verifyObject(interface, transport)
        self.assertTrue(ITCPTransport.providedBy(transport))


class RecordTests(SynchronousTestCase):
    """Boundaries."""

    def test_one_by_one(self) -> None:
        """A protocol that asks for it is given each write by itself; any other all that has come, joined."""
        words = [b"one", KEPT, b"three"]
        for far, expected in ((RecordProtocol(), words), (HalfCloseableProtocol(), [b"".join(words)])):
            end = alone(protocol=far)
            for word in words:
                end.remote.send(word)
            end.exchange()
            self.assertEqual(["made", *expected], far.calls)

    def test_paused_between(self) -> None:
        """Between two of them the protocol may pause; the rest is held, also when more comes, and nothing is lost."""
        end = alone(protocol=RecordProtocol(dataReceived=lambda transport: transport.pauseProducing()))
        words = [b"one", b"two", b"three", b"four"]
        for word in words[:3]:
            end.remote.send(word)
        end.exchange()
        self.assertEqual(words[:1], end.protocol.calls[1:])
        end.remote.send(words[3])
        end.exchange()
        for count in range(1, 5):
            self.assertEqual(words[:count], end.protocol.calls[1:])
            end.transport.resumeProducing()
            end.clock.advance(0)

    def test_lost_between(self) -> None:
        """After ``loseConnection`` the rest is not delivered; after an end of the remote's it is, and then the end."""
        end = alone(protocol=RecordProtocol(dataReceived=lambda transport: transport.loseConnection()))
        end.remote.send(b"one")
        end.remote.send(b"two")
        end.exchange()
        self.assertEqual(["made", b"one"], end.protocol.calls)
        end = alone(protocol=RecordProtocol(dataReceived=lambda transport: transport.pauseProducing()))
        end.remote.send(b"one")
        end.remote.send(b"two")
        end.exchange()
        end.connection.readConnectionLost()
        for _ in range(2):
            end.transport.resumeProducing()
            end.clock.advance(0)
        self.assertEqual(["made", b"one", b"two", "read lost"], end.protocol.calls)

    def test_empty(self) -> None:
        """Empty ones are keep-alives, and never delivered."""
        end = alone(protocol=RecordProtocol())
        end.remote.send(b"")
        end.remote.send(b"x")
        end.remote.send(b"")
        end.exchange()
        self.assertEqual(["made", b"x"], end.protocol.calls)

    def test_write_record(self) -> None:
        """A record is one message, whatever its size; one over the limit is refused, and nothing of it sent."""
        end = alone(settings=Settings((LABEL,), max_message=100_000))
        self.assertEqual(100_000, end.transport.max_record)
        end.transport.write_record(bytes(100_000))
        problem = self.assertRaises(ValueTooLargeError, end.transport.write_record, bytes(100_001))
        self.assertEqual(("max_record", 100_000), (problem.name, problem.limit))
        self.assertEqual([bytes(100_000)], end.exchange())


class MessageTests(SynchronousTestCase):
    """Messages beside the stream."""

    def pair(self, **options: Any) -> Pair:
        return Pair(RecordProtocol(), RecordProtocol(), carriers=datagram_pipe, **options)

    def test_both_ways(self) -> None:
        """A carrier that has messages lends them to us, less what the encryption takes."""
        pair = self.pair().settle()
        pair.near.transport.send_message(b"ping")
        pair.far.transport.send_message(b"")
        pair.settle()
        self.assertEqual(["made", ("message", b"")], pair.near.protocol.calls)
        self.assertEqual(["made", ("message", b"ping")], pair.far.protocol.calls)
        self.assertEqual(1200 - OVERHEAD, pair.near.transport.max_message)

    def test_not_wanted(self) -> None:
        """A protocol that knows no messages hears of none."""
        pair = Pair(carriers=datagram_pipe).settle()
        pair.near.transport.send_message(b"ping")
        pair.settle()
        self.assertEqual(["made"], pair.far.protocol.calls)

    def test_too_long(self) -> None:
        """One over the limit is refused."""
        pair = self.pair().settle()
        pair.near.transport.send_message(bytes(1200 - OVERHEAD))
        self.assertRaises(ValueTooLargeError, pair.near.transport.send_message, bytes(1200 - OVERHEAD + 1))

    def test_not_supported(self) -> None:
        """Where the carrier has none, there are none."""
        transport = Pair().settle().near.transport
        self.assertEqual(0, transport.max_message)
        self.assertRaises(NotSupportedError, transport.send_message, b"ping")

    def test_forged(self) -> None:
        """What nobody with the key has sealed, or came before the keys, is not there."""
        pair = self.pair()
        pair.far.connection.message_received(bytes(100))
        pair.settle()
        for data in (b"", bytes(23), bytes(100)):
            pair.far.connection.message_received(data)
        self.assertEqual(["made"], pair.far.protocol.calls)

    def test_before_and_after(self) -> None:
        """Before the remote was heard, and after the end, they are lost."""
        end = Alone(known(True), known(False), RecordProtocol(), early=True)
        sent: list[bytes] = []
        end.carrier.max_message, end.carrier.send_message = 1000, sent.append
        end.transport.send_message(b"too early")
        end.exchange()
        end.transport.abortConnection()
        end.transport.send_message(b"too late")
        self.assertEqual([], sent)

    def test_exhausted(self) -> None:
        """When there can be no more of them, the connection ends."""
        end = alone(protocol=RecordProtocol())
        end.carrier.max_message, end.carrier.send_message = 1000, lambda _: None
        end.transport.send_message(b"one")
        sealer: Any = end.connection.session._sealer
        sealer._first = (sealer._counter + 1) % (1 << 64)
        end.transport.send_message(b"one too many")
        end.clock.advance(0)
        self.assertEqual((LimitError, True), (end.protocol.reason.type, end.carrier.aborted))


class CarrierTests(SynchronousTestCase):
    """Poorer carriers."""

    def test_no_abort(self) -> None:
        """A carrier that can't be aborted is closed."""

        class Poor(StringTransport):
            abortConnection = property()

        end = alone()
        poor: Any = Poor()
        end.connection._carrier = poor
        end.transport.abortConnection()
        self.assertTrue(poor.disconnecting)
