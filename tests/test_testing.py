"""Tests of spaceswarm_proxy.testing."""

from __future__ import annotations

import gc
import time

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.profile import HYPERSWARM
from spaceswarm_proxy.errors import ClosedError
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.testing import TestNet
from tests.dht.stepping import SteppedTestCase

TOPIC = hash32(b"a topic")


class TestNetTests(SteppedTestCase):
    """A network for tests."""

    def starting(self, nodes: int = 4) -> TestNet:
        """A network whose nodes have not been heard of yet."""
        net = TestNet(self.reactor, nodes)
        self.opened.append(net)
        return net

    def test_know_each_other(self) -> None:
        """All nodes are persistent, each has an address and an id of its own, and they know each other."""
        net = self.net(10)
        addresses = {node.address for node in net.nodes}
        self.assertEqual((10, 10), (len(addresses), len({node.node_id for node in net.nodes})))
        for node in net.nodes:
            self.assertFalse(node.ephemeral or node.firewalled)
            self.assertEqual(node.address, node.public_address)
            # Not equal: whoever knew the last owner of one of these ports may have asked there.
            self.assertLessEqual(addresses - {node.address}, set(node.closest()))
        self.assertEqual([net.nodes[0].address], net.bootstrap)

    def test_one_node(self) -> None:
        """One node is a network too: it stores for others."""
        net = self.net(1)
        node = net.node()
        self.assertEqual(1, self.result(node.immutable_put(b"value")).copies)

    def test_no_node(self) -> None:
        """None is no network."""
        self.assertRaises(ValueError, TestNet, self.reactor, 0)

    def test_bootstrap(self) -> None:
        """Any node can begin at it, whoever has made it, and closes it."""
        net = self.net(3)
        node = self.node(bootstrap=net.bootstrap)
        self.result(node.ready())
        self.assertLessEqual({other.address for other in net.nodes}, set(node.closest()))

    def test_one_more(self) -> None:
        """One more node is ephemeral, unless it is to be another one; it is closed with the network."""
        net = self.net(3)
        client, server = net.node(), net.node(ephemeral=False, firewalled=False)
        for node in (client, server):
            self.result(node.ready())
        self.assertEqual((True, False), (client.ephemeral, server.ephemeral))
        self.successResultOf(net.close())
        self.assertTrue(client.suspended and server.suspended)
        self.assert_nothing_left()

    def test_isolated(self) -> None:
        """Two networks know nothing of each other."""
        nets = [self.net(3), self.net(3)]
        users = [net.node() for net in nets]
        self.result(users[0].announce(TOPIC).finished())
        lookup = users[1].lookup(TOPIC)
        self.result(lookup.finished())
        self.assertEqual(3, lookup.successes)
        self.assertFalse({node.address for node in nets[0].nodes} & set(users[1].closest()))
        self.assertEqual((1, 0), tuple(net.nodes[1].stats.topic_records for net in nets))

    def test_options(self) -> None:
        """Options are those of each node, and the profile that of those that come later, too."""
        net = self.net(2, profile="hyperswarm", max_requests_of_host=50)
        node = net.node()
        self.assertEqual({HYPERSWARM}, {each.profile for each in (*net.nodes, node)})
        self.result(node.announce(TOPIC).finished())

    def test_ready(self) -> None:
        """All who wait for it are told, and who asks later is told at once."""
        net = self.starting()
        waiting = [net.ready() for _ in range(3)]
        waiting[0].cancel()
        self.failureResultOf(waiting[0], CancelledError)
        for each in (*waiting[1:], net.ready()):
            self.assertIsNone(self.result(each))
        self.assertEqual(4, len(net.nodes))

    def test_closed_while_it_starts(self) -> None:
        """Closing it while it starts leaves nothing, tells who waits, and is no error of anybody else."""
        for turns in range(6):
            net = self.starting()
            waiting = net.ready()
            for _ in range(turns):
                for reader in list(self.reactor.readers):
                    reader.doRead()
            self.assertIsNone(self.successResultOf(net.close()))
            self.failureResultOf(waiting, ClosedError)
            self.assert_nothing_left()
        nobody_waits = self.starting()
        nobody_waits.close()
        del net, waiting, nobody_waits
        self.opened.clear()
        gc.collect()
        self.assertEqual([], self.flushLoggedErrors())

    def test_closed(self) -> None:
        """Closing it again is harmless; there is nothing more to be had of it."""
        net = self.net(2)
        for _ in range(2):
            self.assertIsNone(self.successResultOf(net.close()))
        self.assert_nothing_left()
        self.failureResultOf(net.ready(), ClosedError)
        self.assertRaises(ClosedError, net.node)

    def test_node_that_cannot_start(self) -> None:
        """What goes wrong with one of its nodes is told to all who wait for it, and to nobody else."""
        net = self.starting()

        def fail(*arguments: object, **options: object) -> None:
            raise OSError("too many open files")

        self.patch(DHTNode, "__init__", fail)
        waiting = [net.ready(), net.ready()]
        self.reactor.settle()
        for each in (*waiting, net.ready()):
            self.failureResultOf(each, OSError)


class RealReactorTests(TestCase):
    """In the reactor that tests use."""

    async def test_fast(self) -> None:
        """A network of ten nodes is up, used and down again in well under a second."""
        began = time.perf_counter()
        net = TestNet(reactor, 10)
        await net.ready()
        node = net.node()
        await node.announce(TOPIC).finished()
        found = [reply async for reply in net.node().lookup(TOPIC)]
        await net.close()
        self.assertLess(time.perf_counter() - began, 1.0)
        self.assertEqual(10, len(found))
        self.assertEqual([HostPort("127.0.0.1", 0)] * 10, [each.address for each in net.nodes])

    def test_default_reactor(self) -> Deferred[None]:
        """Without a reactor it is the process's."""
        net = TestNet(nodes=2)
        return net.ready().addBoth(lambda result: net.close().addCallback(lambda _: result))

    def test_closed_at_once(self) -> Deferred[None]:
        """It can be closed before anything has happened."""
        return TestNet(reactor, 10).close()
