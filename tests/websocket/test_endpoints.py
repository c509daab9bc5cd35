"""Tests for ``spaceswarm_proxy.websocket.endpoints``, over real sockets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import defer, error, ssl
from twisted.internet.endpoints import (
    SSL4ServerEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.errors import ConnectError
from spaceswarm_proxy.websocket import WebSocketClientEndpoint, WebSocketServerEndpoint
from tests.websocket.ends import Recorder

BIG = bytes(range(256)) * 8192


class Aborts(StringTransport):
    """Notes that it was aborted."""

    def __init__(self, aborted: list[bool]) -> None:
        super().__init__()
        self.aborted = aborted

    def abortConnection(self) -> None:
        self.aborted.append(True)


class Echo(Protocol):
    """Sends everything back, no faster than it is read, and says when it is over."""

    transport: Any

    def __init__(self) -> None:
        self.done: defer.Deferred[BaseException] = defer.Deferred()

    def connectionMade(self) -> None:
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.transport.unregisterProducer()
        self.done.callback(reason.value)


class Sink(Recorder):
    """Fires ``full`` after so many bytes, and ``done`` when it is over."""

    def __init__(self, size: int = 0) -> None:
        super().__init__()
        self.size = size
        self.full: defer.Deferred[None] = defer.Deferred()
        self.done: defer.Deferred[BaseException] = defer.Deferred()

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if len(self.received) == self.size:
            self.full.callback(None)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        super().connectionLost(reason)
        self.done.callback(reason.value)


def self_signed() -> ssl.PrivateCertificate:
    """A certificate for ``localhost``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return ssl.PrivateCertificate.loadPEM(private + certificate.public_bytes(serialization.Encoding.PEM))


class SocketTests(TestCase):
    """Both endpoints, on the loopback."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.echo = Echo()

    async def listen(self, endpoint: Any = None, **options: Any) -> int:
        """An echo server.  :returns: its port."""
        endpoint = endpoint or TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")
        port: Any = await WebSocketServerEndpoint(endpoint, **options).listen(Factory.forProtocol(lambda: self.echo))
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def check_echo(self, endpoint: WebSocketClientEndpoint) -> None:
        """What is sent comes back; then both sides end well."""
        sink = await connectProtocol(endpoint, Sink(len(BIG)))
        sink.transport.write(BIG)
        await sink.full
        self.assertTrue(sink.received == BIG)
        sink.transport.loseConnection()
        for done in (sink.done, self.echo.done):
            self.assertIsInstance(await done, error.ConnectionDone)

    async def test_plain(self) -> None:
        """Two megabytes there and back."""
        port = await self.listen()
        await self.check_echo(WebSocketClientEndpoint.to(f"ws://127.0.0.1:{port}/any"))

    async def test_server_closes(self) -> None:
        """A server that closes has its last words heard."""
        port = await self.listen()
        sink = await connectProtocol(WebSocketClientEndpoint.to(f"ws://127.0.0.1:{port}"), Sink(5))
        self.echo.transport.write(b"adieu")
        self.echo.transport.unregisterProducer()
        self.echo.transport.loseConnection()
        self.assertIsInstance(await sink.done, error.ConnectionDone)
        self.assertEqual(sink.received, b"adieu")
        await self.echo.done

    async def test_tls(self) -> None:
        """The same through TLS, where the certificate is checked against the host's name."""
        certificate = self_signed()
        port = await self.listen(SSL4ServerEndpoint(self.reactor, 0, certificate.options(), interface="127.0.0.1"))
        trusting = ssl.optionsForClientTLS("localhost", trustRoot=certificate)
        endpoint = wrapClientTLS(trusting, TCP4ClientEndpoint(self.reactor, "127.0.0.1", port))
        await self.check_echo(WebSocketClientEndpoint(endpoint, "wss://localhost/"))

    async def test_tls_unknown_certificate(self) -> None:
        """A ``wss:`` URL does not connect to a server whose certificate nobody vouches for."""
        certificate = self_signed()
        port = await self.listen(SSL4ServerEndpoint(self.reactor, 0, certificate.options(), interface="127.0.0.1"))
        endpoint = WebSocketClientEndpoint.to(f"wss://localhost:{port}/")
        with self.assertRaisesRegex(ConnectError, "certificate"):
            await connectProtocol(endpoint, Sink())

    async def test_refused(self) -> None:
        """Another path than the server's fails the connection with the status, and leaves nothing behind."""
        port = await self.listen(path="/proxy")
        endpoint = WebSocketClientEndpoint.to(f"ws://127.0.0.1:{port}/")
        with self.assertRaisesRegex(ConnectError, "404"):
            await connectProtocol(endpoint, Sink())

    async def test_too_big_is_heard(self) -> None:
        """A client that sends too much reads why, though the server has left data of it unread."""
        port = await self.listen(max_message=1000)
        sink = await connectProtocol(WebSocketClientEndpoint.to(f"ws://127.0.0.1:{port}"), Sink())
        sink.transport.write(BIG)
        self.assertIn("1009", str(await sink.done))
        await self.echo.done


class PureTests(SynchronousTestCase):
    """What needs no sockets."""

    def test_interfaces(self) -> None:
        """The endpoints are endpoints."""
        verifyObject(IStreamServerEndpoint, WebSocketServerEndpoint(None))  # type: ignore[arg-type]
        verifyObject(IStreamClientEndpoint, WebSocketClientEndpoint(None))  # type: ignore[arg-type]

    def test_bad_url(self) -> None:
        """A URL that is none is a ``ValueError``."""
        for url in ("http://a.example/", "ws://", "a.example", "ws://a.example:99999/", "ws://a.example/#x"):
            self.assertRaises(ValueError, WebSocketClientEndpoint.to, url, reactor=Clock())

    def test_stopping(self) -> None:
        """When the port stops, the connections that have not opened are aborted, and the user's factory is stopped."""
        reactor = MemoryReactorClock()
        user = Factory.forProtocol(Recorder)
        endpoint = WebSocketServerEndpoint(TCP4ServerEndpoint(reactor, 0), reactor=reactor)
        self.successResultOf(endpoint.listen(user))
        factory: Any = reactor.tcpServers[0][1]
        factory.doStart()
        self.assertEqual(user.numPorts, 1)
        aborted: list[bool] = []
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(Aborts(aborted))
        factory.doStop()
        self.assertEqual((aborted, user.numPorts), ([True], 0))
        protocol.connectionLost(Failure(error.ConnectionAborted()))
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """A cancelled ``connect`` aborts the opening."""
        reactor = MemoryReactorClock()
        endpoint = WebSocketClientEndpoint(TCP4ClientEndpoint(reactor, "127.0.0.1", 80), reactor=reactor)
        connecting = endpoint.connect(Factory.forProtocol(Recorder))
        protocol: Any = reactor.tcpClients[0][2].buildProtocol(None)
        aborted: list[bool] = []
        protocol.makeConnection(Aborts(aborted))
        connecting.cancel()
        self.failureResultOf(connecting, defer.CancelledError)
        self.assertEqual(aborted, [True])
        protocol.connectionLost(Failure(error.ConnectionAborted()))
        self.assertEqual(reactor.getDelayedCalls(), [])
