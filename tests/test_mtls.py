"""TLS servers that ask for client certificates: :mod:`spaceswarm_proxy.mtls`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ClientEndpoint, quoteStringArgument, serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from spaceswarm_proxy._reactor import or_global
from tests.certificates import Authority, write


class Asker(Protocol):
    """Says one thing; ``answer`` fires with what comes back, or fails when the connection ends."""

    def __init__(self) -> None:
        self.answer: Deferred[bytes] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.answer.callback(data)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answer.called:
            self.answer.errback(reason)
        self.gone.callback(None)


class HandshakeTests(TestCase):
    """Real connections."""

    timeout = 30

    def setUp(self) -> None:
        self.authority = Authority("ours")
        self.directory = self.mktemp()
        key, certificate = self.authority.issue("server")
        write(self.directory, key=key, chain=certificate + self.authority.pem, ca=self.authority.pem)

    def text(self) -> str:
        path = quoteStringArgument(self.directory)
        files = f"privateKey={path}/key.pem:certKey={path}/chain.pem:clientCA={path}/ca.pem"
        return f"mtls:0:{files}:interface=127.0.0.1"

    async def ask(self, options: CertificateOptions) -> bytes:
        """:returns: what an echo server says to a client that presents itself so."""
        reactor = or_global(None)
        port = await serverFromString(reactor, self.text()).listen(Factory.forProtocol(Echo))
        try:
            endpoint = SSL4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port, options)
            asker = await endpoint.connect(Factory.forProtocol(Asker))
            try:
                return await asker.answer
            finally:
                await asker.gone
        finally:
            await port.stopListening()

    async def test_known(self) -> None:
        """Who has a certificate of the authority is served."""
        self.assertEqual(b"hello", await self.ask(self.authority.client("alice").options()))

    async def test_stranger(self) -> None:
        """Who has one of another authority by the same name is not."""
        await self.refused(Authority("ours").client("mallory").options())

    async def test_nobody(self) -> None:
        """Nor is who has none."""
        await self.refused(CertificateOptions())

    async def refused(self, options: CertificateOptions) -> None:
        try:
            answer = await self.ask(options)
        except Exception as problem:
            self.assertIn("OpenSSL", type(problem).__module__ + repr(problem))
        else:
            self.fail(f"answered {answer!r}")


class TextTests(SynchronousTestCase):
    """What can be wrong with the text is found when it is read, not by the first client."""

    def setUp(self) -> None:
        authority = Authority("ours")
        key, certificate = authority.issue("server")
        other, _ = authority.issue("other")
        self.directory = self.mktemp()
        write(
            self.directory,
            both=key + certificate,
            key=key,
            other=other,
            cert=certificate,
            ca=authority.pem,
            not_pem=b"?",
        )

    def parse(self, **arguments: str) -> Any:
        path = quoteStringArgument(self.directory)
        words = (
            f"{name}={value}" if name == "interface" else f"{name}={path}/{value}.pem"
            for name, value in arguments.items()
        )
        return serverFromString(MemoryReactorClock(), ":".join(["mtls:1", *words]))

    def test_one_file(self) -> None:
        """Key and certificate may be in one file."""
        self.parse(privateKey="both", clientCA="ca")

    def test_refused(self) -> None:
        """A missing authority, a file that isn't there or isn't PEM, or a key that is not the certificate's."""
        for arguments, expected in (
            ({"privateKey": "both"}, "clientCA is missing"),
            ({"privateKey": "both", "clientCA": "nowhere"}, "nowhere.pem"),
            ({"privateKey": "both", "clientCA": "not_pem"}, "not_pem.pem holds no certificate in PEM format"),
            ({"privateKey": "not_pem", "certKey": "cert", "clientCA": "ca"}, "are no private key and its certificate"),
            ({"privateKey": "other", "certKey": "cert", "clientCA": "ca"}, "are no private key and its certificate"),
        ):
            problem = self.assertRaises((ValueError, OSError), self.parse, **arguments)
            self.assertIn(expected, str(problem))
