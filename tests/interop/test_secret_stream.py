"""The encrypted stream over TCP with the JavaScript implementation, each side in each role."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import deferLater
from zope.interface import implementer

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import HYPERSWARM
from spaceswarm_proxy.errors import ConnectError, HandshakeError, StreamAbortedError
from spaceswarm_proxy.interfaces import IRecordProtocol
from spaceswarm_proxy.secret.connection import Settings
from spaceswarm_proxy.secret.endpoints import SecretClientEndpoint, SecretServerEndpoint
from tests.interop.node import InteropTestCase, NodeProcess
from tests.network.support import Collector, HalfCloseRecorder, Source

OURS, THEIRS = (KeyPair.from_seed(bytes([number]) * 32) for number in (1, 2))
SETTINGS = Settings(HYPERSWARM.stream_labels)
SCRIPT = "secret_stream_tcp.js"
SIZE = 3_000_000
PATTERNS = ("XX", "IK")
#: What ``--bytes`` of the script sends.
BLOB = bytes((31 * index + 7) % 256 for index in range(256)) * (SIZE // 256)


@implementer(IRecordProtocol)
class Records(HalfCloseRecorder):
    """Keeps what comes one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self.records.append(data)
        super().dataReceived(data)


async def until(condition: Callable[[], bool]) -> None:
    """Look at the condition now and then, until it holds."""
    while not condition():
        await deferLater(reactor, 0.02)


class HalfCloseEcho(HalfCloseRecorder):
    """Sends back what it gets, and ends when the remote has."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        assert self.transport is not None
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        assert self.transport is not None
        self.transport.loseConnection()


class OurClientTests(InteropTestCase):
    """We connect."""

    async def serve(self, *arguments: str) -> tuple[NodeProcess, int]:
        """:returns: their server, and its port."""
        process = self.node(SCRIPT, "--listen", "0", "--seed", THEIRS.seed.hex(), *arguments)
        listening = await process.event("listening")
        self.assertEqual(THEIRS.public_key.hex(), listening["publicKey"])
        return process, listening["port"]

    async def connect(self, port: int, build: Any = Records, **options: Any) -> Any:
        carrier = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        options = {"server_keys": (THEIRS.public_key,), "settings": SETTINGS, **options}
        return await SecretClientEndpoint(carrier, OURS, **options).connect(Collector(build))

    async def test_text(self) -> None:
        """Both patterns: they know who we are, by the same hash, and what we write comes and goes as it is cut."""
        for pattern in PATTERNS:
            process, port = await self.serve("--pattern", pattern)
            protocol = await self.connect(port, pattern=pattern)
            connected = await process.event("connect")
            self.assertEqual(OURS.public_key.hex(), connected["remotePublicKey"])
            self.assertEqual(protocol.transport.handshake_hash.hex(), connected["handshakeHash"])
            for text in ("one", "two", "three"):
                protocol.transport.write(text.encode())
            await protocol.receives(b"onetwothree")
            self.assertEqual([b"one", b"two", b"three"], protocol.records)
            for text in ("one", "two", "three"):
                self.assertEqual(text, (await process.event("data"))["text"])
            protocol.transport.loseConnection()
            await protocol.loses()
            await process.ended()

    async def test_megabytes(self) -> None:
        """Some of them go there and back, both ways at once, and each direction has its end."""
        process, port = await self.serve()
        protocol = await self.connect(port, HalfCloseRecorder)
        Source(protocol.transport, BLOB)
        protocol.transport.loseWriteConnection()
        await protocol.when(lambda: protocol.read_lost)
        self.assertEqual(sha256(BLOB).digest(), protocol.digest)
        await protocol.loses()
        self.assertTrue(protocol.clean)
        self.assertEqual(sha256(BLOB).hexdigest(), (await process.event("close"))["sha256"])

    async def test_long_record(self) -> None:
        """A write of megabytes is one message to them."""
        process, port = await self.serve()
        protocol = await self.connect(port)
        protocol.transport.write_record(BLOB)
        self.assertEqual(len(BLOB), (await process.event("data"))["bytes"])
        await protocol.when(lambda: protocol.records == [BLOB])
        protocol.transport.loseConnection()
        await protocol.loses()

    async def test_we_abort(self) -> None:
        """When we abort, they are closed."""
        process, port = await self.serve()
        protocol = await self.connect(port)
        await process.event("connect")
        protocol.transport.abortConnection()
        await process.event("close")
        await protocol.loses()
        self.assertEqual(StreamAbortedError, protocol.lost.type)

    async def test_they_destroy(self) -> None:
        """When they destroy it, so are we; a keep-alive of ours puts that off."""
        process, port = await self.serve("--timeout", "1500")
        protocol = await self.connect(port)
        protocol.transport.set_keep_alive(0.1)
        await process.event("connect")
        await until(lambda: protocol.transport.raw_bytes_written >= 20 * 20)
        self.assertEqual([], [event for event in process.events if event["event"] == "error"])
        protocol.transport.set_keep_alive(0)
        self.assertEqual("Stream timed out", (await process.event("error"))["message"])
        await protocol.when(lambda: protocol.read_lost or protocol.lost)
        protocol.transport.loseConnection()
        await protocol.loses()

    async def test_their_keep_alive(self) -> None:
        """Their keep-alives are not delivered, and keep ours from giving them up."""
        process, port = await self.serve("--keep-alive", "50")
        protocol = await self.connect(port)
        await until(lambda: protocol.transport.raw_bytes_read >= 5 * 17)
        self.assertEqual([], protocol.records)
        protocol.transport.loseConnection()
        await protocol.loses()

    async def test_wrong_key(self) -> None:
        """A server that is somebody else: with XX we notice, with IK they do."""
        for pattern, error in (("XX", HandshakeError), ("IK", ConnectError)):
            process, port = await self.serve("--pattern", pattern)
            connecting = self.connect(port, pattern=pattern, server_keys=(OURS.public_key,))
            try:
                await connecting
            except error:
                await process.event("close")
            else:
                self.fail("connected")

    async def test_labels(self) -> None:
        """Streams of another network are refused."""
        process, port = await self.serve("--secret-stream-ns", "spaceswarm-secret-stream")
        try:
            await self.connect(port)
        except HandshakeError as problem:
            self.assertEqual("unknown-stream", problem.kind)
        except ConnectError:
            self.assertEqual("Invalid header received", (await process.event("error"))["message"])
        else:
            self.fail("connected")


class OurServerTests(InteropTestCase):
    """They connect."""

    async def serve(self, build: Any = HalfCloseEcho, **options: Any) -> tuple[Collector, int]:
        collector = Collector(build)
        carrier = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        options = {"settings": SETTINGS, **options}
        port: Any = await SecretServerEndpoint(carrier, OURS, **options).listen(collector)
        self.addCleanup(port.stopListening)
        return collector, port.getHost().port

    def client(self, port: int, *arguments: str) -> NodeProcess:
        where = "--connect", f"127.0.0.1:{port}"
        return self.node(SCRIPT, *where, "--seed", THEIRS.seed.hex(), *arguments)

    async def test_text(self) -> None:
        """Both patterns: we know who they are, and they get back what they said."""
        for pattern in PATTERNS:
            collector, port = await self.serve(pattern=pattern, client_keys=(THEIRS.public_key,))
            arguments = "--pattern", pattern, "--remote-public-key", OURS.public_key.hex()
            process = self.client(port, *arguments, "--text", "hello")
            self.assertEqual(OURS.public_key.hex(), (await process.event("connect"))["remotePublicKey"])
            self.assertTrue((await process.event("result"))["ok"])
            protocol = await collector.connected()
            self.assertEqual(THEIRS.public_key, protocol.transport.getPeer().public_key)
            await protocol.loses()
            self.assertTrue(protocol.clean)
            await process.ended()

    async def test_megabytes(self) -> None:
        """Some of them come and go back, as they were cut."""
        collector, port = await self.serve()
        process = self.client(port, "--bytes", str(len(BLOB)), "--chunk", "100000")
        self.assertTrue((await process.event("result"))["ok"])
        protocol = await collector.connected()
        await protocol.loses()
        self.assertEqual(sha256(BLOB).digest(), protocol.digest)

    async def test_half_close(self) -> None:
        """When they have said all and ended, we can still answer."""
        collector, port = await self.serve(Records)
        process = self.client(port, "--text", "question", "--expect", "none")
        protocol = await collector.connected()
        await protocol.when(partial(getattr, protocol, "read_lost"))
        self.assertEqual([b"question"], protocol.records)
        protocol.transport.loseConnection()
        await protocol.loses()
        await process.event("end")

    async def test_refused(self) -> None:
        """Who is not one of those that may connect is cut off."""
        for pattern in PATTERNS:
            collector, port = await self.serve(pattern=pattern, client_keys=(OURS.public_key,))
            arguments = "--pattern", pattern, "--remote-public-key", OURS.public_key.hex()
            process = self.client(port, *arguments)
            self.assertIn("ECONNRESET", (await process.event("error"))["message"])
            self.assertEqual([], collector.built)

    async def test_any_label(self) -> None:
        """A server that is not certain of the label takes any of the candidates from them."""
        collector, port = await self.serve(settings=Settings())
        for label in Settings().labels:
            process = self.client(port, "--secret-stream-ns", label, "--text", label)
            self.assertTrue((await process.event("result"))["ok"])
        self.assertEqual(list(Settings().labels), [protocol.received.decode() for protocol in collector.built])
