"""Tests of ``spaceswarm_proxy.peering.pool``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    ConnectError,
    DuplicateConnectionError,
    PeerNotFoundError,
)
from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.peering.pool import ConnectionPool
from spaceswarm_proxy.peering.securing import builder
from spaceswarm_proxy.testing import TestNet
from tests.keepers import FakeKeeper
from tests.network.support import Collector, Echo, Recorder

#: The first has the smaller public key.
SMALL, LARGE = sorted((KeyPair.from_seed(bytes([n]) * 32) for n in (1, 2)), key=lambda pair: pair.public_key)
OTHER = KeyPair.from_seed(bytes([3]) * 32)


class FakeTransport:
    """A stream whose peer has been heard."""

    lost: Callable[[Any], None] | None = None

    def __init__(self, peer: KeyPair, *, initiator: bool) -> None:
        self._peer = PeerAddress(Peer.keyed(peer.public_key), initiator)
        self.ended: Exception | None = None
        self.connected = True
        self.protocol: Any = None

    def getPeer(self) -> PeerAddress:
        return self._peer

    def open(self, door: Any) -> bool:
        """The node builds its protocol.  :returns: whether there is one."""
        self.protocol = builder(door, door)(self)
        if self.protocol is not None:
            self.protocol.makeConnection(self)
        return self.protocol is not None

    def abort(self, problem: Exception) -> None:
        self.ended = problem
        self.connected = False

    def tell_lost(self) -> None:
        """Its protocol hears that it is over, then the node does."""
        self.connected = False
        self.protocol.connectionLost(Failure(self.ended or ConnectError()))
        assert self.lost is not None
        self.lost(self)


class FakeNode:
    """Opens and accepts streams when it is told to."""

    def __init__(self, key_pair: KeyPair) -> None:
        self.key_pair = key_pair
        self.asked: list[tuple[bytes, dict[str, Any]]] = []
        self.doors: list[Any] = []
        self.attempts: list[Deferred[Any]] = []
        self.cancelled = 0

    def connect(self, key: bytes, factory: Any, *, streams: Any, **options: Any) -> Deferred[Any]:
        assert streams is factory
        self.asked.append((key, options))
        self.doors.append(factory)
        self.attempts.append(Deferred(self._cancel))
        return self.attempts[-1]

    def _cancel(self, attempt: Deferred[Any]) -> None:
        self.cancelled += 1

    def listen(self, key_pair: KeyPair | None, factory: Any, *, streams: Any) -> Deferred[Any]:
        self.door = factory
        return succeed(None)


class RulesCase(SynchronousTestCase):
    """A pool, and a node that does as it is told."""

    def build(self, own: KeyPair, build: Callable[[], Any] = Recorder) -> None:
        self.clock = Clock()
        self.node = FakeNode(own)
        self.pool = ConnectionPool(self.node, lambda call: self.clock.callLater(0, call))  # type: ignore[arg-type]
        self.told: list[Any] = []
        self.pool.events.on("connection", self.told.append)
        self.clients = Collector(build)
        self.successResultOf(self.pool.listen(None, self.clients))

    def connect(self, peer: KeyPair, **options: Any) -> Deferred[Any]:
        return self.pool.connect(peer.public_key, Factory.forProtocol(Recorder), **options)

    def opens(self, peer: KeyPair) -> FakeTransport:
        """The last attempt leads to the peer."""
        transport = FakeTransport(peer, initiator=True)
        self.assertTrue(transport.open(self.node.doors[-1]))
        self.node.attempts[-1].callback(transport.protocol)
        return transport

    def arrives(self, peer: KeyPair) -> FakeTransport:
        """The peer has connected, and is taken."""
        transport = FakeTransport(peer, initiator=False)
        self.assertTrue(transport.open(self.node.door))
        self.clock.advance(0)
        return transport

    def is_refused(self, peer: KeyPair) -> None:
        """The peer connects in vain."""
        transport = FakeTransport(peer, initiator=False)
        self.assertRaises(DuplicateConnectionError, transport.open, self.node.door)

    def assertHas(self, *transports: FakeTransport) -> None:
        """These are the pool's streams, and none is being opened."""
        expected = {transport.getPeer().public_key: transport.protocol for transport in transports}
        self.assertEqual((expected, 0), (self.pool.connections, self.pool.connecting))


class SharingTests(RulesCase):
    """Callers who want the same stream."""

    def test_pending(self) -> None:
        """While a stream is being opened others wait for it too; all get it, and the event comes once."""
        self.build(SMALL)
        callers = [self.connect(LARGE, keep_alive=3.0), self.connect(LARGE)]
        self.assertEqual([(LARGE.public_key, {"keep_alive": 3.0})], self.node.asked)
        self.assertEqual((1, {}), (self.pool.connecting, self.pool.connections))
        self.assertIn(LARGE.public_key, self.pool)
        transport = self.opens(LARGE)
        for caller in callers:
            self.assertIs(transport.protocol, self.successResultOf(caller))
        self.assertEqual([transport.protocol], self.told)
        self.assertHas(transport)

    def test_open(self) -> None:
        """A stream that is open is given at once, whoever opened it; the key may be text."""
        for begin in (self.opens, self.arrives):
            self.build(SMALL)
            if begin == self.opens:
                self.connect(LARGE)
            transport = begin(LARGE)
            asked = len(self.node.asked)
            again = self.pool.connect(LARGE.public_key.hex(), Factory())
            self.assertIs(transport.protocol, self.successResultOf(again))
            self.assertEqual((asked, [transport.protocol]), (len(self.node.asked), self.told))

    def test_arriving(self) -> None:
        """Who asks for one that has just arrived gets it when it is connected."""
        self.build(SMALL)
        transport = FakeTransport(LARGE, initiator=False)
        transport.open(self.node.door)
        asking = self.connect(LARGE)
        self.assertNoResult(asking)
        self.clock.advance(0)
        self.assertIs(transport.protocol, self.successResultOf(asking))
        self.assertEqual([], self.node.asked)

    def test_others(self) -> None:
        """Each peer has its own."""
        self.build(SMALL)
        self.connect(LARGE)
        first, second = self.opens(LARGE), self.arrives(OTHER)
        self.assertHas(first, second)

    def test_failure(self) -> None:
        """All hear why there is none; the next call tries again."""
        self.build(SMALL)
        callers = [self.connect(LARGE), self.connect(LARGE)]
        self.node.attempts[0].errback(PeerNotFoundError())
        for caller in callers:
            self.failureResultOf(caller, PeerNotFoundError)
        self.assertNotIn(LARGE.public_key, self.pool)
        again = self.connect(LARGE)
        self.opens(LARGE)
        self.successResultOf(again)

    def test_over(self) -> None:
        """A stream that is over is not given to anybody, not even from within its protocol's ``connectionLost``."""
        self.build(SMALL)
        transport = self.arrives(LARGE)
        asking: list[Deferred[Any]] = []
        transport.protocol.loses().addCallback(lambda _: asking.append(self.connect(LARGE)))
        transport.tell_lost()
        self.assertEqual((1, {}), (self.pool.connecting, self.pool.connections))
        another = self.opens(LARGE)
        self.assertIs(another.protocol, self.successResultOf(asking[0]))

    def test_cancelled(self) -> None:
        """One who cancels takes nothing from the others; when all have, the attempt ends."""
        self.build(SMALL)
        callers = [self.connect(LARGE), self.connect(LARGE)]
        callers[0].cancel()
        self.failureResultOf(callers[0], ConnectCancelledError)
        self.assertEqual(0, self.node.cancelled)
        callers[1].cancel()
        self.failureResultOf(callers[1], ConnectCancelledError)
        self.assertEqual((1, 0), (self.node.cancelled, self.pool.connecting))

    def test_bad_key(self) -> None:
        """What is no key is an error of the call."""
        self.build(SMALL)
        self.failureResultOf(self.pool.connect("no key", Factory()), ValueError)
        self.assertEqual(0, self.pool.connecting)


class SecondTests(RulesCase):
    """A second stream with a peer."""

    def test_same_role(self) -> None:
        """A peer that connects again has lost its first stream: that one ends, and its end changes nothing."""
        self.build(SMALL)
        first = self.arrives(LARGE)
        second = self.arrives(LARGE)
        self.assertIsInstance(first.ended, DuplicateConnectionError)
        self.assertHas(second)
        first.tell_lost()
        self.assertHas(second)
        self.assertEqual([first.protocol, second.protocol], self.told)

    def test_larger_pending(self) -> None:
        """Who has the larger key gives its attempt up for a stream that arrives; that is what the next call gets."""
        self.build(LARGE)
        connecting = self.connect(SMALL)
        transport = self.arrives(SMALL)
        self.failureResultOf(connecting, DuplicateConnectionError)
        self.assertEqual(1, self.node.cancelled)
        self.assertHas(transport)
        self.assertIs(transport.protocol, self.successResultOf(self.connect(SMALL)))

    def test_larger_open(self) -> None:
        """So it does with its stream when that is open."""
        self.build(LARGE)
        connecting = self.connect(SMALL)
        first = self.opens(SMALL)
        self.successResultOf(connecting)
        second = self.arrives(SMALL)
        self.assertIsInstance(first.ended, DuplicateConnectionError)
        self.assertHas(second)

    def test_smaller(self) -> None:
        """Who has the smaller key refuses such a stream, before and after its own is open."""
        self.build(SMALL)
        self.connect(LARGE)
        self.is_refused(LARGE)
        transport = self.opens(LARGE)
        self.is_refused(LARGE)
        self.assertIsNone(transport.ended)
        self.assertEqual([], self.clients.built)
        self.assertHas(transport)

    def test_identity(self) -> None:
        """The key that counts is the one that the peer knows us by."""
        self.build(SMALL)
        self.successResultOf(self.pool.listen(LARGE, self.clients))
        middle = KeyPair(bytes([LARGE.public_key[0]]) + bytes(31), bytes(64))
        self.assertTrue(SMALL.public_key < middle.public_key < LARGE.public_key)
        connecting = self.connect(middle)
        self.assertHas(self.arrives(middle))
        self.failureResultOf(connecting, DuplicateConnectionError)

    def test_unwanted(self) -> None:
        """A stream that the factory builds nothing for takes nobody's place."""
        protocols = [Recorder(), None]
        self.build(SMALL, lambda: protocols.pop(0))
        first = self.arrives(LARGE)
        second = FakeTransport(LARGE, initiator=False)
        self.assertFalse(second.open(self.node.door))
        self.assertIsNone(first.ended)
        self.assertHas(first)


class LifeTests(TestCase):
    """Pools of two nodes in a network."""

    timeout = 30

    async def start(self) -> None:
        self.net = TestNet(or_global(None), 5)
        self.addCleanup(self.net.close)
        await self.net.ready()
        self.nodes = [self.net.node(key_pair=key_pair) for key_pair in (SMALL, LARGE)]
        self.pools = [node.pool() for node in self.nodes]
        self.factories = [Collector(Echo), Collector(Echo)]
        for pool, factory in zip(self.pools, self.factories, strict=True):
            await pool.listen(None, factory)

    async def talk(self, protocol: Any) -> None:
        """What is said comes back."""
        protocol.transport.write(b"hello")
        await protocol.receives(b"hello")

    async def test_shared(self) -> None:
        """One who has been connected to connects back over the same stream; when it is lost, there is another one."""
        await self.start()
        small, large = self.pools
        arrived = Deferred[Any]()
        stop = large.events.on("connection", arrived.callback)
        ours = await small.connect(LARGE.public_key, Collector())
        await self.talk(ours)
        theirs = await arrived
        stop()
        self.assertIs(theirs, await large.connect(SMALL.public_key, Collector()))
        theirs.transport.abortConnection()
        await ours.loses()
        self.assertNotIn(LARGE.public_key, small)
        again = await small.connect(LARGE.public_key, Collector())
        self.assertIsNot(ours, again)
        await self.talk(again)

    async def test_crossing(self) -> None:
        """When both connect at once, one stream is left, the same for both: the one of the smaller key."""
        await self.start()
        small, large = self.pools
        connecting = small.connect(LARGE.public_key, Collector())
        crossing = large.connect(SMALL.public_key, Collector())
        # Its stream may have been refused before the other one has come.
        crossing.addErrback(lambda failure: failure.trap(ConnectError, DuplicateConnectionError) and None)
        ours = await connecting
        self.assertIsNone(await crossing)
        await self.talk(ours)
        self.assertEqual({LARGE.public_key: ours}, small.connections)
        self.assertEqual({SMALL.public_key: self.factories[1].built[0]}, large.connections)
        self.assertEqual((0, 0), (small.connecting, large.connecting))

    async def test_replaced(self) -> None:
        """A peer that connects a second time is taken, and the protocols of its first stream are told."""
        await self.start()
        first = await self.nodes[0].connect(LARGE.public_key, Collector())
        await self.talk(first)
        second = await self.nodes[0].connect(LARGE.public_key, Collector())
        await self.talk(second)
        await first.loses()
        old, new = self.factories[1].built
        await old.loses()
        self.assertTrue(old.lost.check(DuplicateConnectionError), old.lost)
        self.assertEqual({SMALL.public_key: new}, self.pools[1].connections)

    async def test_sealed(self) -> None:
        """Streams whose keys are elsewhere belong to pools too, by the keys of who is at their ends."""
        await self.start()
        small, large = self.net.node().pool(), self.net.node().pool()
        clients = Collector(Echo)
        await large.listen(FakeKeeper(OTHER), clients)
        for count in (1, 2):
            # From a pool of its own each time: the second takes the place of the first.
            ours: Any = await small.connect(OTHER.public_key, Collector(), key_pair=FakeKeeper(SMALL))
            await self.talk(ours)
            self.assertEqual({OTHER.public_key: ours}, small.connections)
            self.assertEqual(({SMALL.public_key: clients.built[-1]}, count), (large.connections, len(clients.built)))
            small = self.net.node().pool()
        await clients.built[0].loses()
        self.assertTrue(clients.built[0].lost.check(DuplicateConnectionError))

    async def test_closed(self) -> None:
        """With the node all ends, what is being opened too."""
        await self.start()
        small = self.pools[0]
        ours = await small.connect(LARGE.public_key, Collector())
        other: DHTNode = self.net.node(key_pair=OTHER)
        await other.listen(None, Collector())
        connecting = small.connect(OTHER.public_key, Collector())
        closing = self.nodes[0].close()
        await self.assertFailure(connecting, ClosedError)
        await ours.loses()
        await closing
        self.assertEqual(({}, 0), (small.connections, small.connecting))
        await self.assertFailure(small.connect(OTHER.public_key, Collector()), ClosedError)
