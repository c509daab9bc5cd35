"""The real network: :mod:`spaceswarm_proxy.network.dht`."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    FirewallError,
    NetworkUnreachableError,
    PeerNotFoundError,
    PeerUnreachableError,
    SpaceswarmError,
    StreamAbortedError,
    UnknownPeerError,
)
from spaceswarm_proxy.interfaces import IByteCounts, INetwork, Peer
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.network.rounds import RoundTimes
from spaceswarm_proxy.swarm import Swarm
from spaceswarm_proxy.testing import TestNet
from tests.dht.stepping import LOOPBACK
from tests.network.conformance import NetworkConformance
from tests.network.dht_world import PLENTY, ROOM, DHTNetworkTestCase
from tests.network.stream_conformance import MEBI
from tests.network.support import Collector, Finder, Recorder
from tests.network.test_proxied import ProxiedConformance

#: Rounds follow each other closely, so that what is announced is found while a test waits for it.
QUICK = RoundTimes(interval=0.1, spread=0.0, retry=0.1, pause=0.02, settle=0.02)


async def dht_networks(test: TestCase, count: int) -> list[Any]:
    """:returns: so many, each on a node of its own."""
    net = TestNet(reactor, 3, **PLENTY)
    test.addCleanup(net.close)
    await net.ready()
    options = {"bootstrap": net.bootstrap, "host": LOOPBACK, "port": 0, "ephemeral": True}
    return [await DHTNetwork.start(reactor, times=QUICK, **options) for _ in range(count)]


class DHTConformanceTests(NetworkConformance, TestCase):
    """A network on a node of its own keeps every promise of a network."""

    #: The reader's window, and what its writer keeps.
    backpressure_limit = 6 * MEBI

    def make_networks(self, count: int) -> Deferred[list[Any]]:
        return Deferred.fromCoroutine(self._make_networks(count))

    async def _make_networks(self, count: int) -> list[Any]:
        return await dht_networks(self, count)


class SharedNodeConformanceTests(DHTConformanceTests):
    """So do several identities of one network, which share its node."""

    async def _make_networks(self, count: int) -> list[Any]:
        (parent,) = await super()._make_networks(1)
        self.addCleanup(parent.close)
        return [parent.with_identity() for _ in range(count)]


class ProxiedDHTConformanceTests(ProxiedConformance, TestCase):
    """
    And so do the clients of a proxy server that is a node, but for this: when a client's link is gone, it takes the
    server a moment to be found no more in its name.
    """

    backpressure_limit = DHTConformanceTests.backpressure_limit + ProxiedConformance.backpressure_limit

    async def shown(self) -> Any:
        return (await dht_networks(self, 1))[0]

    async def vanishes(self, looking: Any, network: Any) -> None:
        """Whoever looks again and again comes to find it no more."""
        finder = await self.look(looking)
        while finder.knows(network):
            finder = await self.look(looking)

    async def look(self, network: Any) -> Finder:
        """:returns: who has been told of the peers of one round."""
        finder = Finder()
        lookup = network.lookup(ROOM, finder)
        await lookup.flushed()
        await lookup.close()
        return finder

    async def test_close_ends_the_listener(self) -> None:
        """A network that is closed lets nobody in, and is soon not found."""
        one, two = await self.networks(2)
        await self.listening(two)
        await two.announce(ROOM).flushed()
        await two.close()
        await self.vanishes(one, two)
        await self.turned_away(one, Peer.keyed(two.public_key))

    async def test_suspended_is_hidden(self) -> None:
        """Who is suspended is soon not found; when it is resumed, it is, without being announced again."""
        one, two = await self.networks(2)
        await two.announce(ROOM).flushed()
        await two.suspend()
        await self.vanishes(one, two)
        await two.resume()
        finder = Finder()
        one.lookup(ROOM, finder)
        await finder.finds(two)


class StartTests(DHTNetworkTestCase):
    """Networks that begin."""

    def test_interface(self) -> None:
        """It has every method of the interface."""
        verifyObject(INetwork, self.network(self.world()))

    def test_keys(self) -> None:
        """It is who it is told to be; by default, as whom its node knows itself."""
        world, key_pair = self.world(), KeyPair.generate()
        given = self.network(world, key_pair=key_pair)
        self.assertEqual(key_pair.public_key, given.public_key)
        other = DHTNetwork(given.node)
        self.networks.insert(0, other)
        self.assertEqual(key_pair.public_key, other.public_key)

    def test_no_port(self) -> None:
        """When the port is not to be had, there is no network."""
        port = self.silent().getsockname()[1]
        self.fails(self.begin(None, port=port, any_port=False), CannotListenError)

    def test_cancelled(self) -> None:
        """When it is cancelled, nothing is left of it."""
        starting = self.begin(None, bootstrap=[self.silent().getsockname()])
        self.reactor.elapse(0.1)
        starting.cancel()
        self.fails(starting, CancelledError)

    def test_nobody_answers(self) -> None:
        """When nobody answers it is there, and not online."""
        network = self.network(bootstrap=[self.silent().getsockname()])
        self.assertFalse(network.status().online)
        self.assertIn("No node of the network answers", network.status().detail)

    def test_before_it_is_ready(self) -> None:
        """One that stands on a node that still looks for the others becomes online when it has found them."""
        node = self.world().node()
        network = DHTNetwork(node)
        told: list[bool] = []
        network.events.on("connected", lambda: told.append(network.status().online))
        finder = Finder()
        waiting = network.lookup(ROOM, finder).flushed()
        self.assertFalse(network.status().online)
        self.wait(waiting)
        self.assertEqual(([True], 1), (told, finder.rounds))
        self.wait(network.close())
        self.wait(node.ready())


class OnlineTests(DHTNetworkTestCase):
    """Whether somebody answers."""

    def setUp(self) -> None:
        super().setUp()
        self.here = self.world()
        self.one = self.network(self.here)
        self.child = self.one.with_identity()
        self.told: list[object] = []
        for network in (self.one, self.child):
            network.events.on("connected", lambda: self.told.append("connected"))
            network.events.on("disconnected", self.told.append)

    def test_gone_and_back(self) -> None:
        """When nobody answers any more each identity says so, and when somebody does again."""
        finder = Finder()
        self.child.lookup(ROOM, finder)
        self.reactor.elapse(5)
        for node in self.here.nodes:
            self.wait(node.suspend())
        for _ in range(30):
            self.one.node.find_node(ROOM)
            self.reactor.elapse(10)
        self.assertEqual([NetworkUnreachableError] * 2, list(map(type, self.told)))
        self.assertFalse(self.one.status().online)
        rounds = finder.rounds
        for node in self.here.nodes:
            self.wait(node.resume())
        self.reactor.elapse(60)
        self.assertEqual(["connected"] * 2, self.told[2:])
        self.assertGreater(finder.rounds, rounds)

    def test_suspended(self) -> None:
        """A suspended network is not online, and says so once; so does each identity of it."""
        for _ in range(2):
            self.wait(self.one.suspend())
        self.assertEqual(([SpaceswarmError] * 2, True), (list(map(type, self.told)), self.one.node.suspended))
        self.assertFalse(self.one.status().online or self.child.status().online)
        for _ in range(2):
            self.wait(self.one.resume())
        self.assertEqual(["connected"] * 2, self.told[2:])
        self.assertTrue(self.one.status().online and self.child.status().online)

    def test_suspended_identity(self) -> None:
        """An identity alone can be suspended: its node goes on for the others."""
        self.wait(self.child.suspend())
        self.assertEqual((False, True), (self.child.status().online, self.one.status().online))
        self.wait(self.one.suspend())
        self.wait(self.child.resume())
        self.assertFalse(self.child.status().online)
        self.wait(self.one.resume())
        self.assertTrue(self.child.status().online)

    def test_port_gone(self) -> None:
        """When the node finds no port it stays suspended, and can be resumed later."""
        self.wait(self.one.suspend())
        resume = self.one.node.resume

        def fail() -> Any:
            raise CannotListenError(LOOPBACK, 1, OSError("no port left"))

        patched = self.patch(self.one.node, "resume", fail)
        self.fails(self.one.resume(), CannotListenError)
        self.assertFalse(self.one.status().online)
        patched.restore()
        self.assertEqual(resume, self.one.node.resume)
        self.wait(self.one.resume())
        self.assertTrue(self.one.status().online)


class ConnectTests(DHTNetworkTestCase):
    """Opening streams, and why they do not open."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.two = self.pair()

    def attempt(self, peer: Peer) -> Deferred[Any]:
        return self.one.connect(peer, Collector())

    def test_counts(self) -> None:
        """The transport counts what it has carried."""
        near, far = self.connected(self.one, self.two)
        near.transport.write(b"hello")  # type: ignore[union-attr]
        self.reactor.elapse(0.1)
        for end, counts in ((near, (0, 5)), (far, (5, 0))):
            transport: Any = end.transport
            self.assertTrue(IByteCounts.providedBy(transport))
            self.assertEqual(counts, (transport.bytes_read, transport.bytes_written))

    def test_not_there(self) -> None:
        """A key that nobody has is unknown, in the reference's words too."""
        problem = self.fails(self.attempt(Peer.keyed(KeyPair.generate().public_key)), PeerNotFoundError).value
        self.assertIsInstance(problem, UnknownPeerError)

    def test_without_key(self) -> None:
        """A peer without a key is unknown here."""
        for peer in (Peer.at("192.0.2.1", 80), Peer.from_id(b"something else")):
            self.failureResultOf(self.attempt(peer), UnknownPeerError)

    def test_oneself(self) -> None:
        """Nobody connects to himself, whoever tries."""
        self.wait(self.one.listen(Collector()))
        self.failureResultOf(self.attempt(self.one.peer), FirewallError)
        same = DHTNetwork(self.two.node, self.one.key_pair)
        self.networks.insert(0, same)
        listening = Collector()
        self.wait(same.with_identity(self.one.key_pair).close())
        self.fails(self.two.node.connect(self.one.public_key, listening, key_pair=self.one.key_pair), SpaceswarmError)
        self.assertEqual([], listening.built)

    def test_suspended(self) -> None:
        """Streams can't be opened from a suspended network; those that are open, or being opened, end."""
        near, far = self.connected(self.one, self.two)
        attempt = self.attempt(self.two.peer)
        suspended = self.one.suspend()
        self.failureResultOf(attempt, PeerUnreachableError)
        self.wait(suspended)
        self.failureResultOf(self.attempt(self.two.peer), PeerUnreachableError)
        self.assertIsNotNone(near.lost)
        self.until(far.loses(), 5)
        self.assertIsNotNone(far.lost)

    def test_node_suspended(self) -> None:
        """So it is when somebody else has suspended the node."""
        self.wait(self.one.node.suspend())
        self.assertFalse(self.one.status().online)
        self.fails(self.attempt(self.two.peer), PeerUnreachableError)
        self.fails(self.one.listen(Collector()), CannotListenError)
        self.wait(self.one.node.resume())

    def test_cancelled(self) -> None:
        """An attempt can be cancelled."""
        attempt = self.attempt(self.two.peer)
        attempt.cancel()
        self.failureResultOf(attempt, ConnectCancelledError)

    def test_no_protocol_of_our_own(self) -> None:
        """If our own factory wants no protocol, or fails, so does the attempt; the far end's stream ends."""
        listening = Collector()
        self.wait(self.two.listen(listening))
        self.fails(self.one.connect(self.two.peer, Collector(lambda: None)), ConnectCancelledError)
        failing = Collector(lambda: 1 // 0)  # type: ignore[arg-type, return-value]
        self.fails(self.one.connect(self.two.peer, failing), ZeroDivisionError)
        self.reactor.elapse(1)
        self.assertTrue(all(protocol.lost for protocol in listening.built))

    def test_listener_fails(self) -> None:
        """A listener whose factory fails refuses, and its log has the reason."""
        self.wait(self.two.listen(Collector(lambda: 1 // 0)))  # type: ignore[arg-type, return-value]
        attempt = self.attempt(self.two.peer)
        self.reactor.elapse(30)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        attempt.addErrback(lambda _: None)

    def test_two_identities(self) -> None:
        """Identities of one network connect to each other, over the node that they share."""
        other = self.one.with_identity()
        near, far = self.connected(self.one, other)
        near.transport.write(b"next door")  # type: ignore[union-attr]
        self.reactor.elapse(0.5)
        self.assertEqual(b"next door", far.received)


class CloseTests(DHTNetworkTestCase):
    """Nothing is left."""

    def test_everything(self) -> None:
        """Streams are aborted, attempts fail, the node ends, and others find neither topic nor key any more."""
        one, two = self.pair()
        self.wait(two.announce(ROOM).flushed())
        near, far = self.connected(one, two)
        listening = two.with_identity().listen(Collector())
        attempt = two.connect(one.peer, Collector())
        closed = two.close()
        self.failureResultOf(attempt, ClosedError)
        self.fails(listening, ClosedError)
        self.wait(closed)
        self.assertIsInstance(far.lost.value, StreamAbortedError)  # type: ignore[union-attr]
        self.until(near.loses(), 5)
        self.assertIsNotNone(near.lost)
        self.fails(two.node.ready(), ClosedError)
        finder = Finder()
        self.wait(one.lookup(ROOM, finder).flushed())
        self.assertEqual([], finder.found)
        self.fails(one.connect(two.peer, Collector()), PeerNotFoundError)

    def test_closed(self) -> None:
        """A closed network can be neither suspended nor resumed, and has no more identities."""
        one, _ = self.pair()
        port = self.wait(one.listen(Collector()))
        self.wait(one.close())
        self.failureResultOf(one.suspend(), ClosedError)
        self.failureResultOf(one.resume(), ClosedError)
        self.assertRaises(ClosedError, one.with_identity)
        self.assertRaises(ClosedError, port.startListening)
        self.assertIn("closed", one.status().detail)

    def test_node_closed(self) -> None:
        """A network whose node is closed is closed too, with all that waits for it."""
        world = self.world()
        node = world.node()
        network = DHTNetwork(node)
        self.wait(node.ready())
        self.wait(network.listen(Collector()))
        waiting = [network.lookup(ROOM, Finder()).flushed(), network.announce(ROOM).flushed()]
        self.wait(node.close())
        for each in waiting:
            self.fails(each, ClosedError)
        self.assertRaises(ClosedError, network.announce, ROOM)
        self.wait(network.close())
        self.reactor.elapse(10)

    def test_node_closed_before(self) -> None:
        """On a node that is closed already there is no network."""
        node = self.node()
        node.close()
        network = DHTNetwork(node)
        self.assertRaises(ClosedError, network.announce, ROOM)
        self.wait(network.close())

    def test_waiting_cancelled(self) -> None:
        """Whoever waits for it to be suspended, or closed, may wait no more."""
        one, two = self.pair()
        for network in (one, two):
            self.wait(network.announce(ROOM).flushed())
        suspended = one.suspend()
        suspended.cancel()
        self.fails(suspended, CancelledError)
        self.wait(one.resume())
        self.assertTrue(one.status().online)
        closed = two.close()
        closed.cancel()
        self.fails(closed, CancelledError)

    def test_while_suspended(self) -> None:
        """It may be closed while it is suspended, and while it is being suspended."""
        one, two = self.pair()
        for network in (one, two):
            network.announce(ROOM)
            self.wait(network.listen(Collector()))
        self.wait(one.suspend())
        suspending = two.suspend()
        self.wait(one.close())
        self.wait(two.close())
        self.wait(suspending)

    def test_from_inside(self) -> None:
        """It may be closed from inside the calls that opening a stream makes."""
        one, two = self.pair()
        self.wait(two.listen(Collector()))

        class Closing(Recorder):
            def connectionMade(closing) -> None:
                super().connectionMade()
                one.close()

        collector = Collector(Closing)
        attempt = one.connect(two.peer, collector)
        self.fails(attempt, ClosedError)
        self.assertIsNotNone(collector.built[0].lost)


class SwarmTests(DHTNetworkTestCase):
    """Swarms on the real network."""

    def swarm(self, network: DHTNetwork, seed: int) -> tuple[Swarm, Collector]:
        collector = Collector()
        swarm = Swarm(network, collector, reactor=self.reactor, random=Random(seed), owns_network=False)
        self.networks.insert(0, swarm)  # type: ignore[arg-type]
        return swarm, collector

    def meet(self, networks: list[DHTNetwork]) -> list[Swarm]:
        """Each is connected with each other one, and text goes both ways."""
        swarms = [self.swarm(network, seed) for seed, network in enumerate(networks)]
        for swarm, _ in swarms:
            swarm.join(ROOM)
            self.reactor.elapse(5)
        self.reactor.elapse(30)
        for swarm, _ in swarms:
            others = {network.public_key for network in networks} - {swarm.network.public_key}
            self.assertEqual(others, {each.transport.getPeer().public_key for each in swarm.connections})  # type: ignore
            for each in swarm.connections:
                each.transport.write(b"hello")  # type: ignore[attr-defined]
        self.reactor.elapse(1)
        for swarm, collector in swarms:
            heard = [protocol.received for protocol in collector.built if protocol.lost is None]
            self.assertEqual([b"hello"] * len(swarm.connections), heard)
        return [swarm for swarm, _ in swarms]

    def test_three(self) -> None:
        """Three who join one topic meet, each on a node of its own."""
        world = self.world()
        self.meet([self.network(world) for _ in range(3)])

    def test_identities(self) -> None:
        """So do the identities of one network, and it itself."""
        (one, _) = self.pair()
        self.meet([one, one.with_identity(), one.with_identity()])

    def test_suspended(self) -> None:
        """One that is suspended is alone, and finds the others when it is resumed."""
        one, two = self.meet(list(self.pair()))
        self.wait(one.suspend())
        self.reactor.elapse(5)
        self.assertEqual(((), ()), (one.connections, two.connections))
        self.wait(one.resume())
        self.reactor.elapse(60)
        self.assertEqual((1, 1), (len(one.connections), len(two.connections)))
