"""Neighbours, and everybody else: :mod:`spaceswarm_proxy.network.joint`."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import HYPERSWARM
from spaceswarm_proxy.errors import ClosedError, FirewallError, LimitError, PeerUnreachableError, UnknownPeerError
from spaceswarm_proxy.interfaces import INetwork, ISealedNetwork, Peer
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.network.joint import JointNetwork, node_network
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.network.pipe import PipeTransport
from spaceswarm_proxy.secret.transport import SecretTransport
from tests.fakes import FakeNetwork
from tests.keepers import FakeKeeper, Unsealed
from tests.network.conformance import NetworkConformance
from tests.network.dht_world import ROOM, TIMES, DHTNetworkTestCase
from tests.network.stream_conformance import MEBI
from tests.network.support import Collector, Finder
from tests.network.test_dht import dht_networks
from tests.network.test_proxied import ProxiedConformance, TwoProxiesConformance


def joined(test: TestCase, far: DHTNetwork) -> JointNetwork:
    """:returns: the same network, with a hub of its own in front of it."""
    hub = LocalHub(reactor)
    test.addCleanup(hub.close)
    return JointNetwork(hub.network(far.key_pair), far)


class NeighboursConformanceTests(NetworkConformance, TestCase):
    """Identities that share a node and a hub keep every promise of a network."""

    def make_networks(self, count: int) -> Deferred[list[Any]]:
        return Deferred.fromCoroutine(self._make_networks(count))

    async def _make_networks(self, count: int) -> list[Any]:
        (far,) = await dht_networks(self, 1)
        parent = joined(self, far)
        self.addCleanup(parent.close)
        return [parent.with_identity() for _ in range(count)]


class StrangersConformanceTests(NetworkConformance, TestCase):
    """So do those that share neither."""

    backpressure_limit = 6 * MEBI

    def make_networks(self, count: int) -> Deferred[list[Any]]:
        return Deferred.fromCoroutine(self._make_networks(count))

    async def _make_networks(self, count: int) -> list[Any]:
        return [joined(self, far) for far in await dht_networks(self, count)]


class ProxiedNodeConformanceTests(ProxiedConformance, TestCase):
    """And so do the clients of a proxy server that is a node: this is what ``twistd spaceswarm-proxy`` shows."""

    async def shown(self) -> Any:
        (far,) = await dht_networks(self, 1)
        return joined(self, far)


class CustodialNodeConformanceTests(ProxiedNodeConformanceTests):
    """Whoever has the keys: here the server has them all."""

    modes = (False,)


class MixedNodeConformanceTests(ProxiedNodeConformanceTests):
    """And here those of some."""

    modes = (True, False)


class NodeBehindTwoConformanceTests(TwoProxiesConformance, TestCase):
    """Even with another proxy server in between."""

    async def shown(self) -> Any:
        (far,) = await dht_networks(self, 1)
        return joined(self, far)


class JointTestCase(DHTNetworkTestCase):
    """A network on a node and a hub, two identities of it, and somebody else."""

    def setUp(self) -> None:
        super().setUp()
        self.hub = LocalHub(self.reactor, max_peers_per_topic=2)
        where = self.world()
        self.stranger = self.network(where)
        self.shared = self.joint(where)
        self.one, self.two = self.shared.with_identity(), self.shared.with_identity()

    def joint(self, where: Any, **options: Any) -> JointNetwork:
        """One more, on the same hub."""
        far = self.network(where, **options)
        joint = JointNetwork(self.hub.network(far.key_pair), far)
        self.networks.insert(0, joint)  # type: ignore[arg-type]
        return joint

    def found(self, network: Any, *wanted: Any) -> Finder:
        """Who is told of the peers of one round, which these are among."""
        finder = Finder()
        self.wait(network.lookup(ROOM, finder).flushed())
        for each in wanted:
            self.assertTrue(finder.knows(each))
        return finder

    def met(self, one: Any, other: Any) -> Any:
        """:returns: the transport of a stream from one to the other, which listens, over which a text goes."""
        listening = Collector()
        self.wait(other.listen(listening))
        near = self.wait(one.connect(Peer.keyed(other.public_key), Collector()))
        near.transport.write(b"hello")
        self.reactor.elapse(0.5)
        far = listening.built[0]
        self.assertEqual(b"hello", far.received)
        self.assertEqual(one.public_key, far.transport.getPeer().public_key)
        return near.transport


class WhatTests(JointTestCase):
    """What it is."""

    def test_interface(self) -> None:
        """It has every method of the interface, and one key."""
        verifyObject(INetwork, self.shared)
        self.assertEqual(self.shared.near.public_key, self.shared.far.public_key)
        self.assertRaises(ValueError, JointNetwork, self.hub.network(), self.stranger)

    def test_profile(self) -> None:
        """It has the profile that both of its networks have; they must be of one mind."""
        self.assertIs(self.shared.far.node.profile, self.shared.profile)
        self.assertIs(self.shared.profile, self.one.profile)
        other = LocalHub(self.reactor, profile=HYPERSWARM).network(self.stranger.key_pair)
        self.assertRaises(ValueError, JointNetwork, other, self.stranger)
        self.wait(other.close())

    def test_seals(self) -> None:
        """It can be known by a key that is kept elsewhere if both of its networks can, for as long as they can."""
        verifyObject(ISealedNetwork, self.shared)
        self.assertTrue(self.shared.seals)
        self.shared.far.seals = False
        self.assertFalse(self.shared.seals)
        plain = FakeNetwork()
        plain.public_key = self.stranger.public_key  # type: ignore[assignment]
        joint = JointNetwork(self.hub.network(self.stranger.key_pair), plain)
        self.assertFalse(ISealedNetwork.providedBy(joint) or joint.seals)

    def test_on_a_node(self) -> None:
        """It can be made of a node, which ends with it."""
        node = self.node()
        network = node_network(node, self.hub)
        self.assertIs(node, network.far.node)
        self.wait(network.close())
        self.fails(node.ready(), ClosedError)

    def test_status(self) -> None:
        """It is reachable while it is neither suspended nor closed; what the far network says is told too."""
        node = self.node(bootstrap=[self.silent().getsockname()])
        network = node_network(node, self.hub)
        self.wait(node.ready())
        self.assertTrue(network.status().online)
        self.assertIn("No node of the network answers", network.status().detail)
        self.wait(network.suspend())
        self.assertFalse(network.status().online)
        self.wait(network.resume())
        self.wait(network.close())
        self.assertFalse(network.status().online)

    def test_node_closed(self) -> None:
        """When the node is closed by somebody else, nothing more is done, and what waits for it fails."""
        waiting = self.one.lookup(ROOM, Finder()).flushed()
        self.wait(self.shared.far.node.close())
        self.fails(waiting, ClosedError)
        self.assertRaises(ClosedError, self.one.announce, ROOM)


class TopicTests(JointTestCase):
    """Who is found where."""

    def test_both(self) -> None:
        """Neighbours and others are told of, each once in a round, and both find us."""
        self.wait(self.stranger.announce(ROOM).flushed())
        self.wait(self.two.announce(ROOM).flushed())
        finder = self.found(self.one, self.two, self.stranger)
        self.assertEqual((2, 1), (len(finder.found), finder.rounds))
        self.found(self.stranger, self.two)

    def test_every_round(self) -> None:
        """In the next round, whether it was asked for or not, they are told of again."""
        self.wait(self.stranger.announce(ROOM).flushed())
        self.wait(self.two.announce(ROOM).flushed())
        finder = Finder()
        lookup = self.one.lookup(ROOM, finder)
        self.wait(lookup.flushed())
        self.reactor.elapse(TIMES.interval + 5)
        self.assertEqual((4, 2), (len(finder.found), finder.rounds))
        lookup.update()
        self.wait(lookup.flushed())
        self.assertEqual(3, finder.rounds)
        self.assertEqual(
            {self.two.public_key, self.stranger.public_key}, {peer.public_key for peer in finder.found[4:]}
        )

    def test_comes_back(self) -> None:
        """A neighbour who goes and comes back is told of again at once."""
        finder = Finder()
        self.wait(self.one.lookup(ROOM, finder).flushed())
        for count in (1, 2):
            announcement = self.two.announce(ROOM)
            self.reactor.elapse(0)
            self.assertEqual(count, len(finder.found))
            self.wait(announcement.close())

    def test_hidden(self) -> None:
        """A neighbour who is not in the topic any more, or is leaving, is not found by its records elsewhere."""
        other = self.shared.with_identity()
        for network in (self.two, other):
            self.wait(network.announce(ROOM).flushed())
        self.patch(self.shared.far.node, "unannounce", lambda *arguments, **options: Deferred())
        leaving = [self.two.suspend(), other.close()]
        self.assertEqual([], self.found(self.one).found)
        self.reactor.elapse(5)
        for each in leaving:
            self.successResultOf(each)

    def test_asked_again_by_the_receiver(self) -> None:
        """Whoever waits for a round that the receiver asked for from inside its call waits for that one."""
        finder = Finder()
        lookup = self.one.lookup(ROOM, finder)
        finder.when(lambda: finder.rounds == 1).addCallback(lambda _: lookup.update())
        self.wait(lookup.flushed())
        self.assertEqual(2, finder.rounds)

    def test_round_fails(self) -> None:
        """A round of the far network that fails is one; what it should not fail with is logged."""
        self.wait(self.two.announce(ROOM).flushed())

        def lookup(*arguments: Any, **options: Any) -> Any:
            raise ZeroDivisionError

        self.patch(self.shared.far.node, "lookup", lookup)
        finder = self.found(self.one, self.two)
        self.assertEqual(1, finder.rounds)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))

    def test_nobody_answers(self) -> None:
        """Without anybody in the far network neighbours find each other at once, and nobody waits for long."""
        network = node_network(self.node(bootstrap=[self.silent().getsockname()]), self.hub)
        one, two = network.with_identity(), network.with_identity()
        finder = Finder()
        waiting = [one.lookup(ROOM, finder).flushed(), two.announce(ROOM).flushed()]
        self.reactor.elapse(0)
        self.assertTrue(finder.knows(two))
        for each in waiting:
            self.wait(each, 30)
        self.wait(network.close())

    def test_board_full(self) -> None:
        """Who finds no place on the hub is announced in the far network; who is in neither is told why."""
        for _ in range(2):
            self.hub.announce_address(ROOM, "192.0.2.1", 80)
        self.wait(self.two.announce(ROOM).flushed())
        self.found(self.stranger, self.two)
        self.patch(self.shared.far.node, "announce", lambda *arguments, **options: 1 // 0)
        failure = self.fails(self.one.announce(ROOM).flushed(), Exception)
        self.assertFalse(failure.check(LimitError))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_waiting_cancelled(self) -> None:
        """Whoever waits for an announcement may wait no more."""
        waiting = self.one.announce(ROOM).flushed()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)


class StreamTests(JointTestCase):
    """Which way streams take."""

    def test_neighbour(self) -> None:
        """A neighbour is connected to in the process."""
        self.assertIsInstance(self.met(self.one, self.two), PipeTransport)

    def test_strangers(self) -> None:
        """Others are connected to, and connect, over the far network."""
        self.assertIsInstance(self.met(self.one, self.stranger), SecretTransport)
        self.assertIsInstance(self.met(self.stranger, self.two), SecretTransport)

    def test_not_listening(self) -> None:
        """Of a neighbour who does not listen nobody else is asked."""
        self.fails(self.one.connect(Peer.keyed(self.two.public_key), Collector()), PeerUnreachableError, seconds=0.1)

    def test_oneself(self) -> None:
        """Nobody connects to himself."""
        self.wait(self.one.listen(Collector()))
        self.fails(self.one.connect(Peer.keyed(self.one.public_key), Collector()), FirewallError)

    def test_without_key(self) -> None:
        """A peer without a key is one on the hub, or nobody."""
        for peer in (Peer.at("192.0.2.1", 80), Peer.from_id(b"something else")):
            self.fails(self.one.connect(peer, Collector()), UnknownPeerError, seconds=0.1)

    def test_sealed(self) -> None:
        """An identity whose key is kept elsewhere has sealed streams in both networks, whoever opens them."""
        keeper = FakeKeeper()
        identity = self.shared.with_identity(keeper)
        sealed = Unsealed(identity, keeper, self.reactor)
        self.wait(self.two.listen(Collector()))
        self.wait(self.stranger.listen(Collector()))
        listening = Collector()
        self.wait(sealed.listen(listening))
        for other in (self.two, self.stranger):
            near = self.wait(sealed.connect(Peer.keyed(other.public_key), Collector()))
            far = self.wait(other.connect(Peer.keyed(keeper.public_key), Collector()))
            for end, seen in ((near, other), (far, sealed)):
                self.assertIsInstance(end.transport, SecretTransport)
                self.assertEqual(seen.public_key, end.transport.getPeer().public_key)
        self.assertEqual([self.two.public_key, self.stranger.public_key], [a.public_key for a in listening.addresses])
        self.wait(identity.close())
        self.assertEqual([], keeper.left_over)

    def test_listening_fails(self) -> None:
        """When one of the two can't be listened on, nor is the other."""
        self.patch(self.one.far, "listen", lambda factory: fail(CannotListenError("far", 1, OSError("no"))))
        self.fails(self.one.listen(Collector()), CannotListenError)
        self.assertIsNone(self.one.near.listener)

    def test_listen_again(self) -> None:
        """A port may begin again."""
        listening = Collector()
        port = self.wait(self.one.listen(listening))
        self.wait(port.stopListening())
        port.startListening()
        self.reactor.elapse(5)
        for other in (self.two, self.stranger):
            self.wait(other.connect(Peer.keyed(self.one.public_key), Collector()))
        self.reactor.elapse(0.5)
        self.assertEqual(2, len(listening.built))
        self.wait(port.stopListening())

    def test_same_key_elsewhere(self) -> None:
        """An identity may be given its key."""
        pair = KeyPair.generate()
        self.assertEqual(pair.public_key, self.shared.with_identity(pair).public_key)
