"""The encrypted stream as endpoints: :mod:`spaceswarm_proxy.secret.endpoints`."""

from __future__ import annotations

from functools import partial
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import HYPERSWARM
from spaceswarm_proxy.errors import ConnectCancelledError, ConnectError, HandshakeError
from spaceswarm_proxy.secret.connection import Settings
from spaceswarm_proxy.secret.endpoints import SecretClientEndpoint, SecretServerEndpoint
from tests.crypto.connect_vectors import CLIENT, SERVER
from tests.network.support import Collector, HalfCloseRecorder, Source
from tests.secret.ends import Carrier

STRANGER = KeyPair.generate()


class SocketTests(TestCase):
    """Over real sockets."""

    timeout = 30

    def setUp(self) -> None:
        self.reactor = or_global(None)
        self.listening = Collector(HalfCloseRecorder)
        self.connecting = Collector(HalfCloseRecorder)

    async def serve(self, **options: Any) -> int:
        """:returns: the port of a server."""
        carrier = TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")
        port: Any = await SecretServerEndpoint(carrier, SERVER, **options).listen(self.listening)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def connect(self, port: int, key_pair: KeyPair | None = CLIENT, **options: Any) -> Deferred[Any]:
        carrier = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        return SecretClientEndpoint(carrier, key_pair, **options).connect(self.connecting)

    async def over(self, *protocols: Any) -> None:
        """The connections end in good order."""
        for protocol in protocols:
            protocol.transport.loseConnection()
        for protocol in protocols:
            await protocol.loses()

    async def test_both_ways(self) -> None:
        """Much in both directions at once arrives as it was sent, then each direction's end."""
        port = await self.serve(client_keys={CLIENT.public_key})
        near = await self.connect(port, server_keys={SERVER.public_key})
        far = await self.listening.connected()
        blobs = bytes(range(256)) * 8000, bytes(range(255)) * 9000
        for end, blob in zip((near, far), blobs, strict=True):
            Source(end.transport, blob)
            end.transport.loseWriteConnection()
        for end, blob in zip((far, near), blobs, strict=True):
            await end.when(partial(getattr, end, "read_lost"))
            self.assertEqual(blob, bytes(end.received))
        for end in (near, far):
            await end.loses()
            self.assertTrue(end.clean)

    async def test_who(self) -> None:
        """Both factories are told whose connection it is."""
        near = await self.connect(await self.serve())
        far = await self.listening.connected()
        for collector, key, initiator in ((self.connecting, SERVER, True), (self.listening, CLIENT, False)):
            (address,) = collector.addresses
            self.assertEqual((key.public_key, initiator), (address.public_key, address.initiator))
        await self.over(near, far)

    async def test_ik(self) -> None:
        """The same with the pattern that needs the server's key."""
        port = await self.serve(pattern="IK", client_keys=[CLIENT.public_key])
        near = await self.connect(port, pattern="IK", server_keys=[SERVER.public_key])
        near.transport.write(b"hello")
        far = await self.listening.connected()
        await far.receives(b"hello")
        await self.over(near, far)

    async def test_nobody_in_particular(self) -> None:
        """A client without a key pair is somebody new each time."""
        port = await self.serve()
        protocols = [await self.connect(port, None) for _ in range(2)]
        protocols += [await self.listening.connected(index) for index in range(2)]
        one, two = (address.public_key for address in self.listening.addresses)
        self.assertNotEqual(one, two)
        await self.over(*protocols)

    async def test_wrong_server(self) -> None:
        """A server of another key is refused by the client, which has not said who it is."""
        port = await self.serve()
        problem = await self.assertFailure(self.connect(port, server_keys={STRANGER.public_key}), HandshakeError)
        self.assertEqual("unknown-key", problem.kind)
        self.assertEqual([], self.listening.built + self.connecting.built)

    async def test_wrong_client(self) -> None:
        """A client of another key is refused by the server."""
        for pattern in ("XX", "IK"):
            port = await self.serve(client_keys={STRANGER.public_key}, pattern=pattern)
            connecting = self.connect(port, server_keys={SERVER.public_key}, pattern=pattern)
            await self.assertFailure(connecting, ConnectError)
            self.assertEqual([], self.listening.built + self.connecting.built)

    async def test_another_network(self) -> None:
        """The labels must have one in common."""
        port = await self.serve(settings=Settings(HYPERSWARM.stream_labels))
        await self.assertFailure(self.connect(port), ConnectError)
        near = await self.connect(port, settings=Settings(HYPERSWARM.stream_labels))
        await self.over(near, await self.listening.connected())

    async def test_nobody_there(self) -> None:
        """The carrier's own failure is told as it is."""
        port: Any = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(self.listening)
        number = port.getHost().port
        await port.stopListening()
        await self.assertFailure(self.connect(number), ConnectionRefusedError)

    async def test_unix(self) -> None:
        """UNIX sockets can carry it as well, half-close and all."""
        directory = mkdtemp(prefix="secret")  # not trial's: such a path must be short
        self.addCleanup(rmtree, directory)
        path = f"{directory}/socket"
        port = await SecretServerEndpoint(UNIXServerEndpoint(self.reactor, path), SERVER).listen(self.listening)
        self.addCleanup(port.stopListening)
        near: Any = await SecretClientEndpoint(UNIXClientEndpoint(self.reactor, path)).connect(self.connecting)
        near.transport.write(b"question")
        near.transport.loseWriteConnection()
        far = await self.listening.connected()
        await far.when(lambda: far.read_lost)
        far.transport.write(b"answer")
        far.transport.loseConnection()
        await near.loses()
        self.assertEqual((b"question", b"answer"), (bytes(far.received), bytes(near.received)))
        await far.loses()


class ServerTests(SynchronousTestCase):
    """Clients that do not open."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.built: list[Any] = []

    def listen(self, **options: Any) -> Any:
        """:returns: what the carrier's connections are made with."""
        carrier = TCP4ServerEndpoint(self.reactor, 1)
        endpoint = SecretServerEndpoint(carrier, SERVER, reactor=self.reactor, **options)
        self.successResultOf(endpoint.listen(Factory.forProtocol(Protocol)))
        return self.reactor.tcpServers[-1][1]

    def come(self, factory: Any, host: str = "10.0.0.1") -> Carrier:
        """:returns: the transport of a client that says nothing."""
        carrier = Carrier()
        connection = factory.buildProtocol(type("Address", (), {"host": host})())
        connection.makeConnection(carrier)
        carrier.connection = connection
        return carrier

    def test_overdue(self) -> None:
        """Who does not open in time is cut off."""
        carrier = self.come(self.listen())
        self.reactor.advance(14.9)
        self.assertFalse(carrier.aborted)
        self.reactor.advance(0.1)
        self.assertTrue(carrier.aborted)

    def test_flood(self) -> None:
        """There is a limit to how many may be about to open; the oldest of the source that has the most makes room."""
        factory = self.listen(max_pending=5)
        quiet = self.come(factory, "10.9.9.9")
        flood = [self.come(factory) for _ in range(20)]
        self.assertEqual([True] * 16 + [False] * 4, [carrier.aborted for carrier in flood])
        self.assertFalse(quiet.aborted)

    def test_room_again(self) -> None:
        """Who has gone, or opened, is not counted any more."""
        factory = self.listen(max_pending=1)
        first = self.come(factory)
        first.connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(0, len(factory._pending))

    def test_stopped(self) -> None:
        """A server that stops gives up those that have not opened."""
        factory = self.listen()
        factory.doStart()
        carrier = self.come(factory)
        factory.doStop()
        self.assertEqual((True, []), (carrier.aborted, self.reactor.getDelayedCalls()))

    def test_wrapped_is_told(self) -> None:
        """The user's factory is started and stopped with the port."""
        carrier, calls = TCP4ServerEndpoint(self.reactor, 1), []
        factory = Factory.forProtocol(Protocol)
        factory.doStart = lambda: calls.append("start")  # type: ignore[method-assign]
        factory.doStop = lambda: calls.append("stop")  # type: ignore[method-assign]
        SecretServerEndpoint(carrier, SERVER, reactor=self.reactor).listen(factory)
        outer = self.reactor.tcpServers[-1][1]
        outer.doStart()
        outer.doStop()
        self.assertEqual(["start", "stop"], calls)


class ClientTests(SynchronousTestCase):
    """What a client gets."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def endpoint(self, **options: Any) -> SecretClientEndpoint:
        return SecretClientEndpoint(TCP4ClientEndpoint(self.reactor, "a.example", 1), reactor=self.reactor, **options)

    def test_interfaces(self) -> None:
        """They are endpoints."""
        verifyObject(IStreamClientEndpoint, self.endpoint())
        verifyObject(IStreamServerEndpoint, SecretServerEndpoint(TCP4ServerEndpoint(self.reactor, 1), SERVER))

    def test_cancelled(self) -> None:
        """To connect can be cancelled, before the carrier is there and after."""
        connecting = self.endpoint().connect(Factory.forProtocol(Protocol))
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError, Exception)
        connecting = self.endpoint().connect(Factory.forProtocol(Protocol))
        carrier = Carrier()
        self.reactor.tcpClients[-1][2].buildProtocol(None).makeConnection(carrier)
        connecting.cancel()
        self.failureResultOf(connecting, ConnectCancelledError)
        self.assertTrue(carrier.aborted)

    def test_bad_key(self) -> None:
        """A server's key that is none is told to who connects."""
        connecting = self.endpoint(pattern="IK", server_keys=[bytes(32)]).connect(Factory.forProtocol(Protocol))
        self.reactor.tcpClients[-1][2].buildProtocol(None).makeConnection(Carrier())
        self.failureResultOf(connecting, HandshakeError)

    def test_ik_needs_the_key(self) -> None:
        """IK without the server's key, or with several, is a mistake that is found at once."""
        for keys in (None, (), (SERVER.public_key, STRANGER.public_key)):
            self.assertRaises(ValueError, self.endpoint, pattern="IK", server_keys=keys)

    def test_not_a_server(self) -> None:
        """Who answers with anything else is refused."""
        connecting = self.endpoint().connect(Factory.forProtocol(Protocol))
        protocol = self.reactor.tcpClients[-1][2].buildProtocol(None)
        protocol.makeConnection(StringTransport())
        protocol.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.failureResultOf(connecting, HandshakeError)
