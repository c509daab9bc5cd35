"""Tests of spaceswarm_proxy.udx.endpoint."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.errors import ClosedError, StreamResetError
from spaceswarm_proxy.udx.endpoint import UDXEndpoint
from spaceswarm_proxy.udx.packet import DATA, encode_header
from tests.dht.stepping import LOOPBACK, arrived, plain_socket
from tests.network.support import Recorder
from tests.udx.shell_support import MessageRecorder, UDXTestCase


class EndpointTests(UDXTestCase):
    """Two of them, and a plain socket."""

    def setUp(self) -> None:
        super().setUp()
        self.near, self.far = self.pipes.near, self.pipes.far
        self.plain = plain_socket()
        self.addCleanup(self.plain.close)

    def accept(self, **options: Any) -> MessageRecorder:
        """The far one waits for a stream, of which its number is 2."""
        protocol = MessageRecorder()
        self.far.accept(2, 1, lambda: protocol, **options)
        return protocol

    def connect(self, **options: Any) -> Any:  # type: ignore[override]
        """The near one has its other end."""
        protocol = MessageRecorder()
        self.near.connect(1, 2, *self.far.address, protocol, **options)
        return protocol

    def send(self, *datagrams: bytes) -> None:
        """Datagrams from elsewhere to the far one."""
        for data in datagrams:
            self.plain.sendto(data, tuple(self.far.address))
        self.pump()

    def test_accept(self) -> None:
        """Who waits is connected to wherever the first packet comes from, and answers there."""
        far = self.accept()
        near = self.connect()
        self.assertFalse(far.made)
        near.transport.write(b"hello")
        self.pump()
        self.assertEqual((far.made, far.received), (True, b"hello"))
        far.transport.write(b"who are you?")
        self.pump()
        self.assertEqual(near.received, b"who are you?")

    def test_addresses(self) -> None:
        """The transports have the addresses of the sockets."""
        far, near = self.accept(), self.connect()
        near.transport.write(b"hello")
        self.pump()
        near_address, far_address = (IPv4Address("UDP", *end.address) for end in (self.near, self.far))
        self.assertEqual((near.transport.getHost(), near.transport.getPeer()), (near_address, far_address))
        self.assertEqual((far.transport.getHost(), far.transport.getPeer()), (far_address, near_address))

    def test_first_numbers(self) -> None:
        """The numbers of the first packets may be agreed on; they begin again at 0 after 32 bits."""
        last = (1 << 32) - 1
        far, near = self.accept(first=7, remote_first=last), self.connect(first=last, remote_first=7)
        near.transport.write(bytes(5000))
        self.pump()
        self.assertEqual(far.received, bytes(5000))

    def test_message_first(self) -> None:
        """A message may be the first packet."""
        far, near = self.accept(), self.connect()
        near.transport.send_message(b"knock")
        self.pump()
        self.assertEqual(far.messages, [b"knock"])

    def test_build_that_fails(self) -> None:
        """When no protocol can be made that is logged; the stream still waits for the next packet."""
        answers = iter([lambda: 1 // 0, MessageRecorder])
        built: list[Any] = []
        self.far.accept(2, 1, lambda: built.append(next(answers)()) or built[0])
        near = self.connect()
        near.transport.write(b"hello")
        self.pump()
        self.assertEqual((built, len(self.flushLoggedErrors(ZeroDivisionError))), ([], 1))
        self.elapse_until(lambda: built)
        self.elapse_until(lambda: built[0].received == b"hello")

    def test_foreign(self) -> None:
        """What is no packet, or of no stream of ours, leads to nothing."""
        self.accept()
        stray = encode_header(DATA, 0, 77, 0, 0, 0) + b"for nobody"
        self.send(b"", b"hello", bytes(100), b"\xff", b"\xff\x01", b"\xff" * 30, stray, stray[:19])
        self.assertEqual(arrived(self.plain), [])
        self.assertGreater(self.far.runner.core.strays, 0)

    def test_address_taken(self) -> None:
        """Where somebody else listens it cannot, and nothing is left of the attempt."""
        with self.assertRaises(CannotListenError):
            UDXEndpoint(self.reactor, port=self.near.address.port)
        self.assertEqual(len(self.reactor.readers), 2)

    def test_number_taken(self) -> None:
        """Two streams of an endpoint cannot have the same number."""
        self.connect()
        with self.assertRaises(ValueError):
            self.connect()

    def test_close(self) -> None:
        """All streams are lost, also those that nobody has connected to; the remotes are told; nothing may follow."""
        self.near.accept(9, 10, Protocol)
        far, near = self.accept(), self.connect()
        near.transport.write(b"hello")
        self.pump()
        done = self.near.close()
        self.assertIsInstance(near.lost.value, ClosedError)
        self.finish(done)
        self.assertIsInstance(far.lost.value, StreamResetError)
        self.finish(self.near.close())
        with self.assertRaises(ClosedError):
            self.near.connect(5, 6, LOOPBACK, 9, Protocol())

    def test_close_after_an_abort(self) -> None:
        """A protocol whose stream was aborted just before is told before the close is over."""
        near = self.connect()
        near.transport.abortConnection()
        done = self.near.close()
        self.finish(done)
        self.assertIsNotNone(near.lost)

    def test_closed_by_a_packet(self) -> None:
        """The endpoint may be closed from inside a protocol."""

        class Closing(Recorder):
            def dataReceived(closing, data: bytes) -> None:
                super().dataReceived(data)
                self.far.close()

        far = Closing()
        self.far.accept(2, 1, lambda: far)
        near = self.connect()
        near.transport.write(b"close")
        self.pump()
        self.assertEqual((far.received, far.lost.type), (b"close", ClosedError))
        self.assertIsInstance(near.lost.value, StreamResetError)

    def test_other_source(self) -> None:
        """Packets of a stream may come from anywhere; the answers go to its remote."""
        far, near = self.accept(), self.connect()
        near.transport.write(b"hello, ")
        self.pump()
        self.send(encode_header(DATA, 0, 2, 1 << 20, 1, 0) + b"world")
        self.assertEqual((far.received, arrived(self.plain)), (b"hello, world", []))
        self.assertEqual(self.far.runner.core._streams[2].address, address_of(*self.near.address))
