"""Tests of spaceswarm_proxy.peering.node: what it is, and single requests."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import TestCase

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht import ports, requests
from spaceswarm_proxy.dht.commands import UNKNOWN_COMMAND
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.message import encode_response
from spaceswarm_proxy.errors import (
    ClosedError,
    LimitError,
    RequestRefusedError,
    RequestTimeoutError,
)
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.peering.node import DHTNode
from tests.dht.nodes import TOPIC, NodeTestCase
from tests.dht.stepping import LOOPBACK, SteppedReactor, arrived

SEED = bytes(range(32))


class ConstructionTests(NodeTestCase):
    """Making a node."""

    def test_works_at_once(self) -> None:
        """It has its sockets and answers as soon as it is there, though it knows nobody."""
        node = self.node()
        self.assertEqual((2, 1), (len(self.reactor.readers), len(self.reactor.getDelayedCalls())))
        self.assertEqual(LOOPBACK, node.address.host)
        self.assertTrue(node.ephemeral and node.firewalled)
        self.assertFalse(node.suspended or node.degraded)
        self.assertEqual((None, None, []), (node.node_id, node.public_address, node.closest()))
        pong = self.result(self.node().ping(*node.address))
        self.assertEqual(node.address, pong.node)

    def test_port(self) -> None:
        """It listens at the port that it is told to; or at one of those after it, or at any, if that one is taken."""
        port = self.free_port()
        self.assertEqual(HostPort(LOOPBACK, port), self.node(port=port).address)
        other = self.node(port=port)
        self.assertNotIn(other.address.port, (port, 0))

    def test_usual_port(self) -> None:
        """Without a wish it is the usual one; or again one of those after it, or any."""
        self.patch(ports, "DEFAULT_PORT", self.free_port())
        self.assertEqual(HostPort(LOOPBACK, ports.DEFAULT_PORT), self.node(port=None).address)
        self.assertNotIn(self.node(port=None).address.port, (ports.DEFAULT_PORT, 0))

    def test_port_taken(self) -> None:
        """When it may not have another port than that, it says so, and leaves nothing."""
        self.assertRaises(CannotListenError, self.node, port=self.taken_port(), any_port=False)
        self.assert_nothing_left()

    def test_mistakes(self) -> None:
        """What makes no sense is refused, and leaves nothing."""
        for options in (
            {"profile": "no such profile"},
            {"bootstrap": ["no port"]},
            {"bootstrap": [HostPort("10.0.0.1", 70000)]},
            {"bootstrap": ["a..b:5"]},
            {"nodes": [HostPort("a.name", 5)]},
            {"nodes": [HostPort("10.0.0.1", 65536)]},
            {"public_host": "a.name"},
            {"public_host": "::1"},
            {"port": 70000},
            {"port": -1, "any_port": False},
        ):
            self.assertRaises(ValueError, self.node, **options)
            self.assert_nothing_left()

    def test_state_that_cannot_be(self) -> None:
        """A state that can't be kept where it is told to is an error, and leaves nothing."""
        path = Path(self.mktemp())
        path.write_text("a file")
        self.assertRaises(OSError, self.node, state=path)
        self.assert_nothing_left()

    def test_bootstrapper(self) -> None:
        """The first node of a network knows its address, as it was told: it is persistent, and ready, at once."""
        node = DHTNode.bootstrapper(self.reactor, "10.1.2.3", 0, host=LOOPBACK)
        self.opened.append(node)
        self.successResultOf(node.ready())
        public = HostPort("10.1.2.3", node.address.port)
        self.assertEqual((public, hash32(address_of(*public))), (node.public_address, node.node_id))
        self.assertFalse(node.ephemeral or node.firewalled)
        self.assertTrue(node.online)

    def test_bootstrapper_of_several(self) -> None:
        """One bootstrap node may begin at another."""
        first = self.net(1).nodes[0]
        second = DHTNode.bootstrapper(self.reactor, LOOPBACK, 0, host=LOOPBACK, bootstrap=[first.address])
        self.opened.append(second)
        self.result(second.ready())
        self.assertIn(first.address, second.closest())
        self.assertIn(second.address, first.closest())

    def test_bootstrapper_mistakes(self) -> None:
        """An address that others could not use is refused, and so is a port that somebody has."""
        for host in ("0.0.0.0", "a.name", "::1", ""):
            self.assertRaises(ValueError, DHTNode.bootstrapper, self.reactor, host, 0, host=LOOPBACK)
        port = self.taken_port()
        self.assertRaises(CannotListenError, DHTNode.bootstrapper, self.reactor, LOOPBACK, port, host=LOOPBACK)
        self.assert_nothing_left()

    def test_key_pair(self) -> None:
        """It has a key pair of its own, or the one that it is given."""
        nodes = [self.node(), self.node()]
        self.assertNotEqual(nodes[0].key_pair, nodes[1].key_pair)
        given = KeyPair.from_seed(SEED)
        self.assertEqual(given, self.node(key_pair=given).key_pair)

    def test_known_nodes(self) -> None:
        """Nodes that are known from before are asked first."""
        net = self.net(3)
        node = self.node(nodes=[net.nodes[1].address])
        self.result(node.ready())
        self.assertLessEqual({other.address for other in net.nodes}, set(node.closest()))


class ReadyTests(NodeTestCase):
    """Having looked for the network."""

    def test_several_callers(self) -> None:
        """All who wait are told, and those who ask later are told at once."""
        node = self.net().node()
        waiting = [node.ready() for _ in range(3)]
        self.assertNoResult(waiting[0])
        for each in (*waiting, node.ready()):
            self.assertIsNone(self.result(each))

    def test_cancel(self) -> None:
        """Who gives up waiting does not disturb the others."""
        node = self.net().node()
        first, second = node.ready(), node.ready()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.result(second)

    def test_closed(self) -> None:
        """Closing the node is told to those who wait, and to those who ask later."""
        node = self.net().node()
        waiting = [node.ready() for _ in range(2)]
        node.close()
        for each in (*waiting, node.ready()):
            self.failureResultOf(each, ClosedError)

    def test_suspended_meanwhile(self) -> None:
        """A node that is suspended before it is ready is ready some time after it was resumed."""
        node = self.net().node()
        waiting = node.ready()
        node.suspend()
        self.reactor.elapse(10)
        self.assertNoResult(waiting)
        node.resume()
        self.assertIsNone(self.result(waiting))
        self.assertEqual(3, node.stats.nodes)


class PingTests(NodeTestCase):
    """One node is asked whether it is there."""

    def test_pong(self) -> None:
        """The answer tells who answered, how it sees us, and how long it took."""
        net = self.net(2)
        node = self.node()
        pong = self.result(node.ping(*net.nodes[1].address))
        self.assertEqual((net.nodes[1].address, net.nodes[1].node_id), (pong.node, pong.node_id))
        self.assertEqual((LOOPBACK, 0.0), (pong.to.host, pong.seconds))
        self.assertNotIn(pong.to.port, (0, node.address.port))  # it asks from its client socket
        self.assertIsNone(self.result(net.nodes[0].ping(*node.address)).node_id)

    def answer(self, stranger: socket.socket, error: int = 0, reply_id: bytes | None = None) -> None:
        """Somebody answers all that has come."""
        for data, source in arrived(stranger):
            stranger.sendto(encode_response(data[2:4], address_of(*source), reply_id, None, b"", error, None), source)

    def test_late(self) -> None:
        """An answer to a later attempt counts, and the time is that since the first."""
        node, stranger = self.node(), self.silent()
        pong = node.ping(*stranger.getsockname())
        self.reactor.elapse(1.25)
        self.answer(stranger)
        self.assertEqual(1.25, self.result(pong).seconds)

    def test_another_id(self) -> None:
        """An id that is not the answering node's own is as good as none."""
        node, stranger = self.node(), self.silent()
        pong = node.ping(*stranger.getsockname())
        self.answer(stranger, reply_id=bytes(32))
        self.assertIsNone(self.result(pong).node_id)

    def test_timeout(self) -> None:
        """Who does not answer is asked four times, or as often as one likes, for a second each."""
        node, stranger = self.node(), self.silent()
        for options, attempts in (({"retries": 0}, 1), ({}, 4)):
            pong = node.ping(*stranger.getsockname(), **options)
            self.reactor.elapse(attempts - 0.01)
            self.assertNoResult(pong)
            self.reactor.elapse(0.01)
            self.failureResultOf(pong, RequestTimeoutError)
            self.assertEqual(attempts, len(arrived(stranger)))
        self.assertEqual((2, 0), (node.stats.requests_timed_out, node.stats.requests_under_way))

    def test_refused(self) -> None:
        """Who answers with an error has refused; the error says which."""
        node, stranger = self.node(), self.silent()
        for code, text in ((UNKNOWN_COMMAND, "it does not serve this command"), (77, "error 77")):
            pong = node.ping(*stranger.getsockname())
            self.answer(stranger, code)
            self.reactor.settle()
            self.assertEqual(text, self.failureResultOf(pong, RequestRefusedError).getErrorMessage())

    def test_cancel(self) -> None:
        """Who gives up leaves nothing; an answer that comes later is nobody's."""
        node, stranger = self.node(), self.silent()
        pong = node.ping(*stranger.getsockname())
        self.assertEqual(1, node.stats.requests_under_way)
        pong.cancel()
        self.failureResultOf(pong, CancelledError)
        self.assertEqual(0, node.stats.requests_under_way)
        self.answer(stranger)
        self.reactor.settle()
        self.assertEqual((0, 1), (node.stats.requests_answered, node.stats.ignored))
        self.reactor.elapse(1)
        self.assertEqual([], arrived(stranger))

    def test_cancel_while_it_waits(self) -> None:
        """So does who gives up a request that waits for its turn, as many are under way."""
        node, stranger = self.node(), self.silent()
        pongs = [node.ping(*stranger.getsockname()) for _ in range(200)]
        under_way = node.stats.requests_under_way
        self.assertLess(under_way, 200)
        self.assertEqual(under_way, len(arrived(stranger)))
        for pong in pongs:
            pong.cancel()
            self.failureResultOf(pong, CancelledError)
        self.reactor.elapse(5)
        self.assertEqual(([], 0), (arrived(stranger), node.stats.requests_under_way))

    def test_too_many(self) -> None:
        """More requests than there can be fail at once; the node goes on, and later there is room again."""
        self.patch(requests, "MAX_REQUESTS", 20)
        net = self.net(1)
        node, stranger = net.node(), self.silent()
        self.result(node.ready())
        pongs = [node.ping(*stranger.getsockname()) for _ in range(20)]
        for each in (node.ping(*net.nodes[0].address), node.lookup(TOPIC).finished(), node.immutable_put(b"value")):
            self.failureResultOf(each, LimitError)
        self.reactor.elapse(4)
        for pong in pongs:
            self.failureResultOf(pong, RequestTimeoutError)
        self.assertEqual(1, self.result(node.immutable_put(b"value")).copies)

    def test_mistakes(self) -> None:
        """What is no address is refused at once."""
        node = self.node()
        for host, port in (("a.name", 80), ("::1", 80), ("10.0.0.1", 65536), ("10.0.0.1", -1)):
            self.assertRaises(ValueError, node.ping, host, port)


class StatsTests(NodeTestCase):
    """What is counted, and who is near."""

    def test_counts(self) -> None:
        """What a node asks, answers and keeps is counted."""
        net = self.net(2)
        first, second = net.nodes
        node = net.node()
        self.result(node.ready())
        before, there = node.stats, first.stats
        self.assertEqual((2, 0), (before.nodes, before.requests_under_way))
        self.result(node.ping(*first.address))
        after = node.stats
        self.assertEqual((1, 1), (after.requests_sent - before.requests_sent, first.stats.answers - there.answers))
        self.assertEqual(1, after.requests_answered - before.requests_answered)
        self.result(node.announce(TOPIC).finished())
        self.result(node.announce(hash32(node.key_pair.public_key)).finished())
        self.result(node.immutable_put(b"value"))
        self.result(node.mutable_put(node.key_pair, b"value"))
        for other in (first, second):
            kept = other.stats
            self.assertEqual((1, 1), (kept.topic_records, kept.forwards))
            self.assertEqual((1, 1), (kept.immutable_values, kept.mutable_values))
        self.assertEqual((0, 0), (node.stats.queries, node.stats.topic_records))
        self.assertEqual(4, node.stats.queries_begun - before.queries_begun)

    def test_trouble(self) -> None:
        """So is what is nobody's, what is left without an answer, what comes too fast, and what can't be sent."""
        node = self.node(max_requests_of_host=3)
        stranger = self.silent()
        ping = bytes.fromhex("0304 0100 000000000000 00")
        for data in (b"x", b"nobody's", b"\x13damaged", b"\x03damaged", *[ping] * 4):
            stranger.sendto(data, node.address)
        self.reactor.settle()
        stats = node.stats
        self.assertEqual((3, 2, 1, 2), (stats.ignored, stats.answers, stats.silences, stats.refused))
        self.assertEqual(2, len(arrived(stranger)))
        node.ping("255.255.255.255", 80, retries=0).addErrback(lambda _: None)
        self.assertEqual(1, node.stats.unsent)
        self.reactor.elapse(1)
        self.assertEqual((1, 1), (node.stats.requests_timed_out, node.stats.requests_sent))

    def test_closest(self) -> None:
        """The nodes that it knows can be had: those heard last first, or those near to an id."""
        net = self.net(6)
        node = net.node()
        self.result(node.ready())
        for number in (3, 1):
            self.reactor.elapse(0.1)
            self.result(node.ping(*net.nodes[number].address))
        self.assertEqual([net.nodes[1].address, net.nodes[3].address], node.closest(count=2))
        self.assertLessEqual({other.address for other in net.nodes}, set(node.closest()))
        self.assertLessEqual({other.address for other in net.nodes}, set(node.closest(TOPIC)))
        self.assertEqual(2, len(node.closest(TOPIC, 2)))
        self.assertRaises(ValueError, node.closest, b"short")


class RealReactorTests(TestCase):
    """In the reactor that programs use."""

    async def test_default_reactor(self) -> None:
        """Without a reactor it is the process's; a name is resolved by it, and all is closed in the end."""
        first = DHTNode.bootstrapper(None, LOOPBACK, 0, host=LOOPBACK)
        node = DHTNode(bootstrap=[f"localhost:{first.address.port}"], host=LOOPBACK, port=0)
        try:
            await node.ready()
            self.assertTrue(node.online)
            pong = await node.ping(*first.address)
            self.assertTrue(0 < pong.seconds < 1)
            self.assertNotIsInstance(global_reactor, SteppedReactor)
        finally:
            await node.close()
            await first.close()
