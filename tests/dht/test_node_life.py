"""Tests of spaceswarm_proxy.peering.node: suspended and closed, alone and found, and what it remembers."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet.error import CannotListenError
from twisted.logger import capturedLogs

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht import runner
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.state import FILE_NAME, StateDirectory
from spaceswarm_proxy.errors import ClosedError, SuspendedError
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.udp.port import UDPPort
from tests.dht.nodes import TOPIC, NodeTestCase
from tests.dht.stepping import LOOPBACK

SEED = bytes(range(32))


class SuspendTests(NodeTestCase):
    """Going quiet, and back."""

    def test_suspend(self) -> None:
        """What is under way fails, and nothing is left in the reactor."""
        net = self.net()
        node = net.node()
        self.result(node.ready())
        pong = node.ping(*self.silent().getsockname())
        lookup = node.lookup(TOPIC).finished()
        put = node.immutable_put(b"value")
        readers = len(self.reactor.readers)
        self.assertIsNone(self.successResultOf(node.suspend()))
        for each in (pong, lookup, put):
            self.failureResultOf(each, SuspendedError)
        self.assertTrue(node.suspended)
        self.assertEqual((0, 0), (node.stats.queries, node.stats.requests_under_way))
        self.assertEqual(readers - 2, len(self.reactor.readers))
        net.close()
        self.assert_nothing_left()

    def test_calls_meanwhile(self) -> None:
        """What is asked for meanwhile fails, or raises where what is returned is no Deferred."""
        node = self.node()
        self.successResultOf(node.suspend())
        self.check_calls(node, SuspendedError)

    def test_resume(self) -> None:
        """After that it is where it was, knows whom it knew, and works."""
        net = self.net()
        node = net.node(ephemeral=False, firewalled=False)
        self.result(node.ready())
        before, known = (node.address, node.node_id), set(node.closest())
        for _ in range(2):
            node.suspend()
            node.suspend()
            self.reactor.elapse(100)
            self.assertIsNone(self.result(node.resume()))
            self.assertIsNone(self.result(node.resume()))
            self.assertEqual(before, (node.address, node.node_id))
            self.assertLessEqual(known, set(node.closest()))
            self.assertFalse(node.suspended)
            self.result(node.ping(*net.nodes[1].address))
            self.assertEqual(before[1], self.result(net.nodes[1].ping(*node.address)).node_id)

    def test_port_taken_meanwhile(self) -> None:
        """When somebody else has its port by then it takes another one, and says who it is there."""
        net = self.net()
        node = net.node(ephemeral=False, firewalled=False)
        self.result(node.ready())
        port, own_id = node.address.port, node.node_id
        node.suspend()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.bind((LOOPBACK, port))
            self.result(node.resume())
        self.assertNotEqual(port, node.address.port)
        self.reactor.elapse(60)
        self.assertEqual(hash32(address_of(*node.address)), node.node_id)
        self.assertNotEqual(own_id, node.node_id)
        self.assertEqual(node.node_id, self.result(net.nodes[1].ping(*node.address)).node_id)

    def test_no_port_to_be_had(self) -> None:
        """When there is no port at all it stays suspended, and can be resumed later."""
        node = self.node()
        node.suspend()

        def fail(port: UDPPort, host: str, number: int) -> None:
            raise CannotListenError(host, number, OSError("no port left"))

        patched = self.patch(UDPPort, "listen", fail)
        self.failureResultOf(node.resume(), CannotListenError)
        self.assertTrue(node.suspended)
        self.assert_nothing_left()
        patched.restore()
        self.successResultOf(node.resume())
        self.assertEqual(node.address, self.result(self.node().ping(*node.address)).node)

    def test_closed(self) -> None:
        """A closed one can't be resumed; to suspend it changes nothing."""
        node = self.node()
        node.suspend()
        node.close()
        self.successResultOf(node.suspend())
        self.failureResultOf(node.resume(), ClosedError)
        self.check_calls(node, ClosedError)


class CloseTests(NodeTestCase):
    """The end of a node."""

    def test_under_way(self) -> None:
        """What is under way fails, and loops over replies raise it."""
        net = self.net()
        node = net.node()
        self.result(node.ready())
        net.close()
        node = self.node(bootstrap=[self.silent().getsockname()])
        waiting = [
            node.ready(),
            node.ping(*self.silent().getsockname()),
            node.lookup(TOPIC).finished(),
            node.announce(TOPIC).finished(),
            node.unannounce(TOPIC),
            node.immutable_put(b"value"),
            node.immutable_get(TOPIC),
            node.mutable_put(node.key_pair, b"value"),
            node.mutable_get(node.key_pair.public_key),
        ]
        self.assertIsNone(self.successResultOf(node.close()))
        for each in waiting:
            self.failureResultOf(each, ClosedError)
        self.assertEqual((0, 0), (node.stats.queries, node.stats.requests_under_way))
        self.assert_nothing_left()

    def test_again(self) -> None:
        """A second call does nothing, and so does what comes after."""
        node = self.node()
        seen = self.watch(node)
        for _ in range(2):
            self.assertIsNone(self.successResultOf(node.close()))
        self.assertEqual((["closed"], True), (seen, node.suspended))
        self.assertEqual(0, node.address.port)
        self.check_calls(node, ClosedError)

    def test_by_an_event(self) -> None:
        """Whoever listens to an event may close the node at once, whichever it is: no event comes after that."""
        net = self.net()
        for name in ("network_changed", "persistent", "ready"):
            node = net.node(ephemeral=False, firewalled=False)
            seen = self.watch(node)
            node.events.on(name, node.close)
            self.reactor.elapse(20)
            self.assertEqual([name, "closed"], seen[-2:])
            self.assertEqual((0, 0), (node.stats.queries, node.stats.requests_under_way))
        node = self.node(bootstrap=[self.silent().getsockname()])
        seen = self.watch(node)
        node.events.on("unreachable", node.close)
        self.reactor.elapse(30)
        self.assertEqual(["unreachable", "closed"], seen)

    def test_suspended_by_an_event(self) -> None:
        """So may it suspend it, and resume it."""
        net = self.net()
        for name in ("network_changed", "persistent", "ready"):
            node = net.node(ephemeral=False, firewalled=False)
            node.events.on(name, node.suspend)
            self.reactor.settle()
            self.assertTrue(node.suspended)
            node.resume()
            self.reactor.elapse(60)
            self.successResultOf(node.ready())
            self.assertEqual(hash32(address_of(*node.address)), node.node_id)

    def test_by_an_answer(self) -> None:
        """Whoever waits for an answer, or for the lack of one, may close the node when it comes."""
        net = self.net()
        node = net.node()
        self.result(node.ready())
        pong = node.ping(*net.nodes[1].address).addBoth(lambda _: node.close())
        lookup = node.lookup(TOPIC).finished()
        self.reactor.settle()
        self.successResultOf(pong)
        self.failureResultOf(lookup, ClosedError)
        node = self.node()
        pongs = [node.ping(*self.silent().getsockname(), retries=0) for _ in range(3)]
        pongs[0].addErrback(lambda _: node.close())
        self.reactor.elapse(2)
        self.successResultOf(pongs[0])
        for each in pongs[1:]:
            self.failureResultOf(each, ClosedError)

    def test_reactor_that_closes_the_sockets(self) -> None:
        """A reactor that ends, and closes the sockets by itself, does not keep it from being closed."""
        node = self.node(state=self.mktemp())
        waiting = node.ping(*self.silent().getsockname())
        for reader in list(self.reactor.readers):
            reader.connectionLost(None)
        self.successResultOf(node.close())
        self.failureResultOf(waiting, ClosedError)
        self.assert_nothing_left()


class EventTests(NodeTestCase):
    """What a node tells of itself."""

    def test_persistent(self) -> None:
        """A node that is to be persistent learns its address, is persistent, and then ready."""
        node = self.net().node(ephemeral=False, firewalled=False)
        seen = self.watch(node)
        self.reactor.settle()
        self.assertEqual(["network_changed", "persistent", "ready"], seen)
        self.assertEqual((node.address, False), (node.public_address, node.ephemeral))
        self.assertEqual(hash32(address_of(*node.address)), node.node_id)

    def test_ephemeral(self) -> None:
        """One that is to be ephemeral keeps its address to itself, and knows it."""
        node = self.net().node()
        seen = self.watch(node)
        self.reactor.settle()
        self.assertEqual("ready", seen[-1])
        self.assertNotIn("persistent", seen)
        assert node.public_address is not None
        self.assertEqual((LOOPBACK, None, True), (node.public_address.host, node.node_id, node.ephemeral))

    def test_by_itself(self) -> None:
        """One that was told neither is persistent after twenty minutes, and ephemeral again when it was suspended."""
        node = self.net().node(ephemeral=None)
        self.result(node.ready())
        seen = self.watch(node, ("persistent", "ephemeral", "network_update"))
        self.reactor.elapse(1190)
        self.assertEqual([], seen)
        self.reactor.elapse(20)
        self.assertEqual(["persistent"], seen)
        node.suspend()
        self.result(node.resume())
        self.assertEqual(["persistent", "ephemeral", "network_update"], seen)

    def test_moved(self) -> None:
        """That the machine is in another network is told in both ways."""
        node = self.node()
        seen = self.watch(node)
        self.patch(runner, "local_host", lambda: "10.9.8.7")
        self.reactor.elapse(11)
        self.assertEqual(["network_changed", "network_update"], seen)

    def test_listener_that_raises(self) -> None:
        """A listener that raises is logged, and harms nobody."""
        node = self.net().node()

        def fail() -> None:
            raise LookupError("a fault of the listener")

        node.events.on("ready", fail)
        seen = self.watch(node, ("ready",))
        self.result(node.ready())
        self.assertEqual(["ready"], seen)
        self.assertEqual(1, len(self.flushLoggedErrors(LookupError)))


class UnreachableTests(NodeTestCase):
    """When nobody answers."""

    def test_unreachable(self) -> None:
        """It is ready all the same, says in one line of the log that it is alone, and tries again and again."""
        silent = self.silent()
        with capturedLogs() as logs:
            node = self.node(bootstrap=[HostPort(*silent.getsockname())])
            seen = self.watch(node)
            ready = node.ready()
            self.reactor.elapse(6)
            self.successResultOf(ready)
            self.assertEqual((["unreachable", "ready"], False), (seen, node.online))
            tried = node.stats.queries_begun
            self.reactor.elapse(120)
        self.assertGreaterEqual(node.stats.queries_begun, tried + 4)
        self.assertEqual(["no node of the spaceswarm network answers; trying again now and then"], self.lines(logs))

    def test_works_meanwhile(self) -> None:
        """Others that begin at it find each other through it meanwhile, and announce to each other."""
        lonely = self.node(
            bootstrap=[HostPort(*self.silent().getsockname())], ephemeral=False, firewalled=False, public_host=LOOPBACK
        )
        self.reactor.elapse(6)
        others = [self.node(bootstrap=[lonely.address], ephemeral=False, firewalled=False) for _ in range(2)]
        for other in others:
            self.result(other.ready())
        self.result(others[0].announce(TOPIC).finished())
        self.assertIn(others[0].address, others[1].closest())
        lookup = others[1].lookup(TOPIC)
        self.result(lookup.finished())
        self.assertGreaterEqual(lookup.successes, 2)

    def test_found_later(self) -> None:
        """When the bootstrap node appears it is found by itself, which is logged and told; then all is well."""
        port = self.free_port()
        with capturedLogs() as logs:
            node = self.node(bootstrap=[port])
            seen = self.watch(node)
            self.reactor.elapse(60)
            self.opened.append(first := DHTNode.bootstrapper(self.reactor, LOOPBACK, port, host=LOOPBACK))
            self.reactor.elapse(30)
        self.assertEqual(["unreachable", "ready"], seen[:2])
        self.assertEqual(1, seen.count("reachable"))
        self.assertTrue(node.online)
        self.assertIn(first.address, node.closest())
        self.assertEqual("the spaceswarm network answers", self.lines(logs)[-1])
        self.assertEqual(2, len(logs))
        self.result(node.announce(TOPIC).finished())

    def test_alone(self) -> None:
        """A node that begins nowhere is no lonely one: it is the first."""
        with capturedLogs() as logs:
            node = self.node()
            self.successResultOf(node.ready())
            self.reactor.elapse(60)
        self.assertEqual(([], True), (self.lines(logs), node.online))


class StateTests(NodeTestCase):
    """What is remembered."""

    def test_key(self) -> None:
        """The key pair is the same in the next run; a damaged file costs it, with one line in the log."""
        path = self.mktemp()
        keys = []
        for _ in range(2):
            node = self.node(state=path)
            keys.append(node.key_pair)
            node.close()
        self.assertEqual(keys[0], keys[1])
        (Path(path) / FILE_NAME).write_bytes(b"damaged")
        with capturedLogs() as logs:
            node = self.node(state=path)
        self.assertNotEqual(keys[0], node.key_pair)
        self.assertEqual(1, len(logs))
        node.close()
        remembered = StateDirectory(path).load()
        assert remembered is not None
        self.assertEqual(node.key_pair, KeyPair.from_seed(remembered.seed))

    def test_given_key(self) -> None:
        """A key pair that it is given is used, and is not what is remembered."""
        path, given = self.mktemp(), KeyPair.from_seed(SEED)
        first = self.node(state=path, key_pair=given)
        self.assertEqual(given, first.key_pair)
        first.close()
        self.assertNotEqual(given, self.node(state=path).key_pair)

    def test_restart_without_a_bootstrap_node(self) -> None:
        """A node that remembers others finds them though the node that it began at is gone, and what they store."""
        net = self.net(4)
        path = self.mktemp()
        options = {"state": path, "bootstrap": net.bootstrap}
        node = self.node(**options)
        self.result(node.ready())
        stored = self.result(node.immutable_put(b"value"))
        node.close()
        net.nodes[0].close()
        again = self.node(**options)
        self.reactor.settle()
        self.assertTrue(again.online)
        self.reactor.elapse(20)  # until nobody waits for the one that is gone any more
        self.successResultOf(again.ready())
        self.assertTrue(again.online)
        self.assertLessEqual({other.address for other in net.nodes[1:]}, set(again.closest()))
        getting = again.immutable_get(stored.target)
        self.reactor.elapse(10)
        reply = self.successResultOf(getting)
        assert reply is not None
        self.assertEqual(b"value", reply.value)
