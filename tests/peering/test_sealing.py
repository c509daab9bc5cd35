"""Streams whose keys are elsewhere: :mod:`spaceswarm_proxy.peering.sealing`, in nodes that work."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    ConnectError,
    HandshakeError,
    HandshakeInvalidError,
    LinkLostError,
    PeerConnectionFailedError,
    SpaceswarmError,
    StreamTimeoutError,
)
from spaceswarm_proxy.interfaces import PeerAddress, SealedAddress
from spaceswarm_proxy.network.streams import OpenStreams
from spaceswarm_proxy.peering import node, runner, sealing
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.testing import TestNet
from spaceswarm_proxy.udx.transport import UDXTransport
from tests.keepers import FakeKeeper, Unsealed, Unsealing
from tests.network.support import Collector, Echo, Recorder

TOPIC = bytes(31) + b"t"
CLIENT, SERVER = KeyPair.from_seed(bytes([1]) * 32), KeyPair.from_seed(bytes([2]) * 32)


class Streams:
    """Which streams there are."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self.open: list[Any] = []

    def opened(self, transport: Any) -> None:
        self.all.append(transport)
        self.open.append(transport)

    def lost(self, transport: Any) -> None:
        self.open.remove(transport)


class SealingTestCase(TestCase):
    """A network, a client's node, and a server's."""

    timeout = 30

    async def begin(self) -> None:
        self.net = TestNet(reactor, 4)
        self.addCleanup(self.net.close)
        await self.net.ready()
        self.near, self.far = self.net.node(), self.net.node()
        self.client, self.server = FakeKeeper(CLIENT), FakeKeeper(SERVER)

    async def serve(self, factory: Any, **options: Any) -> Any:
        """A sealed server, whose factory is given raw streams."""
        return await self.far.listen(self.server, factory, **options)

    def connect(self, factory: Any, **options: Any) -> Deferred[Any]:
        """Connect a sealed client."""
        return self.near.connect(SERVER.public_key, factory, key_pair=self.client, **options)

    def unsealing(self, keeper: FakeKeeper, own: DHTNode, factory: Any) -> Unsealing:
        return Unsealing(Unsealed(own, keeper, reactor), factory)


class TalkTests(SealingTestCase):
    """Whoever is sealed, and whoever connects: bytes go both ways."""

    async def talk(self, client: Any, server: Any) -> None:
        """:param client, server: a key pair, or who keeps it."""
        clients, own = Collector(Echo), Collector()
        served, asked = self.wrapped(server, self.far, clients), self.wrapped(client, self.near, own)
        await self.far.listen(server, served)
        protocol: Any = await self.near.connect(SERVER.public_key, asked, key_pair=client)
        if asked is not own:
            self.assertSealed(asked, protocol._carrier, SERVER, CLIENT, True)
            protocol = await protocol.opened
        data = bytes(range(256)) * 2000
        protocol.transport.write(data)
        await protocol.receives(data)
        self.assertEqual(CLIENT.public_key, clients.addresses[0].public_key)
        self.assertEqual(SERVER.public_key, protocol.transport.getPeer().public_key)
        if served is not clients:
            self.assertSealed(served, clients.built[0].transport._connection._carrier, CLIENT, SERVER, False)
        self.assertEqual(([], []), (self.client.left_over, self.server.left_over))

    def wrapped(self, keys: Any, own: DHTNode, factory: Any) -> Any:
        return self.unsealing(keys, own, factory) if isinstance(keys, FakeKeeper) else factory

    def assertSealed(self, asked: Unsealing, carrier: Any, remote: KeyPair, own: KeyPair, initiator: bool) -> None:
        """The protocol of the raw stream knows who is at the two ends, and by which keys."""
        [address] = asked.addresses
        self.assertEqual((SealedAddress, remote.public_key), (type(address), address.public_key))
        self.assertEqual((initiator, True), (address.initiator, address.end_to_end))
        self.assertIs(address, carrier.getPeer())
        self.assertEqual((PeerAddress, own.public_key), (type(carrier.getHost()), carrier.getHost().public_key))
        self.assertIsInstance(carrier, UDXTransport)

    async def test_both(self) -> None:
        """Both are sealed."""
        await self.begin()
        await self.talk(self.client, self.server)

    async def test_client(self) -> None:
        """The client is sealed, the server has its own key."""
        await self.begin()
        await self.talk(self.client, SERVER)

    async def test_server(self) -> None:
        """The server is sealed, the client has its own key."""
        await self.begin()
        await self.talk(CLIENT, self.server)

    async def test_slow(self) -> None:
        """It does not matter that each answer takes its time."""
        await self.begin()
        for keeper in (self.client, self.server):
            keeper.delay, keeper._clock = 0.05, reactor
        await self.talk(self.client, self.server)
        self.assertEqual(["read", "write"], [what for what in self.server.asked if what != "sign"])

    async def test_streams(self) -> None:
        """Whoever wants to know which streams are open is told of sealed ones as well."""
        await self.begin()
        near, far = Streams(), Streams()
        server, client = Collector(), Collector()
        await self.serve(server, streams=far)
        protocol = await self.connect(client, streams=near)
        protocol.transport.write(b"cipher text")
        await (await server.connected()).receives(b"cipher text")
        self.assertEqual(([protocol.transport], [server.built[0].transport]), (near.open, far.open))
        near.open[0].abortConnection()
        for one in (protocol, server.built[0]):
            await one.loses()
        await deferLater(reactor, 0)
        self.assertEqual(([], []), (near.open, far.open))


class WayTests(SealingTestCase):
    """The way is there before anybody is heard on it."""

    async def test_at_once(self) -> None:
        """The client's Deferred fires when there is a way, though the server says nothing."""
        await self.begin()
        server = Collector()
        await self.serve(server)
        protocol = await self.connect(Collector())
        self.assertTrue(protocol.made)
        await server.connected()
        self.assertEqual((b"", b""), (protocol.received, server.built[0].received))

    async def test_heard(self) -> None:
        """A client is a stranger until the first of its bytes comes."""
        await self.begin()
        server = Collector()
        port = await self.serve(server)
        protocol = await self.connect(Collector())
        far = await server.connected()
        admission = port._listener.admission
        self.assertEqual(1, admission.pending)
        protocol.transport.write(b"x")
        await far.receives(b"x")
        self.assertEqual(0, admission.pending)

    async def test_silent_server(self) -> None:
        """A client ends a stream on which nothing comes; the way that it went is none."""
        await self.begin()
        await self.serve(Collector())
        protocol = await self.connect(Collector(), timeout=0.2)
        await protocol.loses()
        self.assertTrue(protocol.lost.check(StreamTimeoutError))

    async def test_silent_client(self) -> None:
        """So does a server."""
        await self.begin()
        self.patch(node, "OPENING_TIMEOUT", 0.2)
        server = Collector()
        await self.serve(server)
        await self.connect(Collector())
        far = await server.connected()
        await far.loses()
        self.assertTrue(far.lost.check(StreamTimeoutError))

    async def test_nobody_to_finish_with(self) -> None:
        """A stream that we are done with does not wait for long for a remote that was never heard."""
        await self.begin()
        self.patch(sealing, "_FINISHING", 0.2)
        server = Collector()
        await self.serve(server)
        await self.connect(Collector())
        far = await server.connected()
        self.near._peering.streams.core.end_all(ClosedError(), self.near._peering.now())  # nobody is told
        far.transport.loseConnection()
        await far.loses()
        self.assertEqual(0, len(self.far._peering.streams.core))

    async def test_prodded(self) -> None:
        """A sign of life can be sent at any time; the protocol at the other end sees nothing of it."""
        await self.begin()
        server, streams = Collector(), OpenStreams()
        await self.serve(server)
        protocol = await self.connect(Collector(), streams=streams)
        far = await server.connected()
        sent: list[bytes] = []
        with mock.patch.object(type(protocol.transport.stream), "send_message", lambda _, data: sent.append(data)):
            streams.prod()
        self.assertEqual([b""], sent)
        protocol.transport.write(b"x")
        await far.receives(b"x")
        self.assertEqual(b"x", far.received)

    async def test_signs_of_life(self) -> None:
        """While nothing has come, each side shows the other where it is, again and again; then that is over."""
        await self.begin()
        self.patch(sealing, "_WAITING", 0.05)
        server = Collector()
        await self.serve(server)
        protocol = await self.connect(Collector())
        far = await server.connected()
        for one in (protocol, far):
            self.assertEqual(0.05, one.transport.stream._keep_alive)
        protocol.transport.write(b"x")
        await far.receives(b"x")
        far.transport.write(b"y")
        await protocol.receives(b"y")
        for one in (protocol, far):
            self.assertEqual(0, one.transport.stream._keep_alive)


class RefusalTests(SealingTestCase):
    """Somebody does not want it; whoever keeps the keys is told, unless he was given the stream."""

    async def test_by_the_server(self) -> None:
        """A server that builds no protocol, or fails to, ends the stream in good order: it is not one to try again."""
        for build in (lambda: None, self.broken):
            await self.begin()
            server: Collector = Collector(build)
            await self.serve(server)
            protocol = await self.connect(Collector())
            protocol.transport.write(b"x")
            await protocol.loses()
            self.assertTrue(protocol.clean)
            self.assertTrue(self.server.handshakes[1].closed)
            await self.net.close()

    def broken(self) -> Recorder:
        raise ZeroDivisionError

    async def test_by_the_client(self) -> None:
        """A client that builds none has no connection, and its own error, if it was one."""
        for build, problem in ((lambda: None, ConnectCancelledError), (self.broken, ZeroDivisionError)):
            await self.begin()
            server = Collector()
            await self.serve(server)
            await self.assertFailure(self.connect(Collector(build)), problem)
            self.assertTrue(self.client.handshakes[1].closed)
            await self.net.close()

    async def test_cancelled(self) -> None:
        """Cancelled at whatever moment, an attempt leaves no protocol, no stream, and no handshake."""
        for moment in ("write", "read", "found"):
            await self.begin()
            await self.serve(Collector())
            own = Collector()
            attempts: list[Deferred[Any]] = []
            self.when(moment, lambda attempts=attempts: attempts[0].cancel())
            attempts.append(self.connect(own))
            await self.assertFailure(attempts[0], ConnectError)
            await deferLater(reactor, 0.01)
            self.assertEqual([], own.built, moment)
            self.assertTrue(all(each.closed for each in self.client.handshakes.values()), moment)
            self.assertEqual(0, len(self.near._peering.streams.core), moment)
            await self.net.close()

    def when(self, moment: str, act: Any) -> None:
        """Do something when the client's keeper is asked this, or when there is a way."""
        if moment != "found":
            self.client.when_asked = lambda what: what == moment and reactor.callLater(0, act)
            self.client.silent.add(moment)
            return
        accept = self.near._peering.soon

        def soon(function: Any) -> None:
            accept(lambda now: act())
            accept(function)

        self.near._peering.soon = soon  # type: ignore[method-assign]


class KeeperTests(SealingTestCase):
    """Whoever keeps the key is away, or not what he should be."""

    async def test_client(self) -> None:
        """What the keeper of a client's key fails with is what the attempt fails with."""
        for what, problem, expected in (
            ("write", LinkLostError(), LinkLostError),
            ("read", LinkLostError(), LinkLostError),
            ("write", HandshakeError("bad-key"), HandshakeInvalidError),
            ("read", HandshakeError("bad-tag"), PeerConnectionFailedError),
            ("read", ZeroDivisionError("broken"), SpaceswarmError),
        ):
            await self.begin()
            await self.serve(Collector())
            self.client.failing[what] = problem
            await self.assertFailure(self.connect(Collector()), expected)
            self.assertEqual([], self.client.left_over)
            self.assertEqual(0, len(self.near._peering.streams.core))
            await self.net.close()
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))

    async def test_server(self) -> None:
        """A message that could not be read is read when it comes again."""
        await self.begin()
        await self.serve(Collector())
        self.server.failing["read"] = LinkLostError()
        self.server.when_asked = self.back_again
        protocol = await self.connect(Collector())
        self.assertTrue(protocol.made)
        self.assertEqual([True, False], [each.closed for each in self.server.handshakes.values()])

    def back_again(self, what: str) -> None:
        if self.server.asked.count("read") == 2:
            self.server.failing.clear()

    async def test_closed_meanwhile(self) -> None:
        """A node that is closed while keepers are silent leaves nothing, and takes no longer than its farewell."""
        self.patch(runner, "FAREWELL", 0.2)
        for what in ("write", "read"):
            await self.begin()
            await self.serve(Collector())
            self.client.silent.add(what)
            self.server.silent.add("sign")
            connecting = self.connect(Collector())
            await self.assertFailure(self.closed(connecting), ClosedError)
            await self.net.close()
            self.assertEqual((0, 0), (len(self.near._keepers), len(self.far._keepers)))

    async def closed_when_asked(self, connecting: Deferred[Any]) -> Any:
        await deferLater(reactor, 0.1)
        await self.near.close()
        return await connecting

    def closed(self, connecting: Deferred[Any]) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.closed_when_asked(connecting))

    async def test_announced(self) -> None:
        """A server is found by what its keeper signs, also under topics, until that is taken back."""
        await self.begin()
        await self.serve(Collector())
        await self.far.announce(TOPIC, self.server).finished()
        self.assertEqual({SERVER.public_key}, await self.found())
        await self.far.unannounce(TOPIC, self.server)
        self.assertEqual(set(), await self.found())

    async def found(self) -> set[bytes | None]:
        """Who is under the topic."""
        found = set()
        async for reply in self.near.lookup(TOPIC):
            found.update(peer.public_key for peer in reply.value.peers)
        return found

    async def test_not_signed(self) -> None:
        """What the keeper does not sign is not announced, and why is told; so it is with what is to be taken back."""
        await self.begin()
        await self.far.announce(TOPIC, self.server).finished()
        self.server.failing["sign"] = LinkLostError()
        await self.assertFailure(self.far.announce(TOPIC, self.server).finished(), LinkLostError)
        await self.assertFailure(self.far.unannounce(TOPIC, self.server), LinkLostError)
        self.assertEqual({SERVER.public_key}, await self.found())
