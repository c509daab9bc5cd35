"""Tests of spaceswarm_proxy.peering.node: queries, and what is stored in a network of a few nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from spaceswarm_proxy.codec.compact import MAX_UINT
from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht.operations import MAX_VALUE
from spaceswarm_proxy.dht.replies import Replies
from spaceswarm_proxy.dht.results import Reply, Stored, TopicPeers
from spaceswarm_proxy.errors import (
    ClosedError,
    NetworkUnreachableError,
    NotStoredError,
    SequenceReusedError,
    SequenceTooLowError,
    ValueTooLargeError,
)
from spaceswarm_proxy.interfaces import HostPort, Peer
from spaceswarm_proxy.peering.node import DHTNode
from tests.dht.stepping import SteppedTestCase

TOPIC = hash32(b"a topic")
KEYS = [KeyPair.from_seed(bytes([number]) * 32) for number in range(4)]
RELAYS = [HostPort("10.0.0.1", number) for number in range(1, 6)]
#: Of the network that these tests have.
NODES = 5


class QueryTestCase(SteppedTestCase):
    """A network, and a node that uses it."""

    def setUp(self) -> None:
        super().setUp()
        self.others = self.net(NODES)
        self.user = self.joined()

    def joined(self) -> DHTNode:
        """One more node that is ready."""
        node = self.others.node()
        self.result(node.ready())
        return node

    def lonely(self) -> DHTNode:
        """A node that knows nobody who answers."""
        node = self.node(bootstrap=[HostPort(*self.silent().getsockname())])
        self.reactor.elapse(6)
        self.successResultOf(node.ready())
        return node

    def read(self, replies: Replies[Any]) -> list[Reply[Any]]:
        """All replies of a query that comes to its end."""

        async def loop() -> list[Reply[Any]]:
            return [reply async for reply in replies]

        found = self.result(Deferred.fromCoroutine(loop()))
        self.assertIsNone(self.result(replies.finished()))
        return found

    def done(self, replies: Replies[Any]) -> Replies[Any]:
        """A query that comes to its end."""
        self.read(replies)
        return replies

    def peers(self, topic: bytes = TOPIC) -> list[set[Peer]]:
        """Whom each node that knows anybody knows under a topic."""
        return [set(reply.value.peers) for reply in self.read(self.user.lookup(topic))]

    def addresses(self) -> set[HostPort]:
        """Those of the network's nodes."""
        return {node.address for node in self.others.nodes}

    def check_nothing_under_way(self, node: DHTNode) -> None:
        """Nothing is under way at a node."""
        self.assertEqual((0, 0), (node.stats.queries, node.stats.requests_under_way))


class FindNodeTests(QueryTestCase):
    """Nodes near to an id."""

    def test_find_node(self) -> None:
        """Each node that answers is told, with its id; the nearest are known at the end, nearest first."""
        replies = self.user.find_node(TOPIC)
        found = self.read(replies)
        self.assertEqual(self.addresses(), {reply.node for reply in found})
        self.assertEqual({node.node_id for node in self.others.nodes}, {reply.node_id for reply in found})
        self.assertEqual({True}, {reply.value for reply in found})
        nearest = sorted(self.others.nodes, key=self.distance)
        self.assertEqual([node.address for node in nearest], list(replies.closest))
        self.assertEqual((NODES, 0, 0), (replies.successes, replies.errors, replies.stored))

    def distance(self, node: DHTNode) -> int:
        assert node.node_id is not None
        return int.from_bytes(node.node_id, "big") ^ int.from_bytes(TOPIC, "big")

    def test_given_nodes(self) -> None:
        """A query may begin with nodes that one names, though the node knows nobody."""
        stranger = self.node()
        replies = self.done(stranger.find_node(TOPIC, nodes=[self.others.nodes[2].address]))
        self.assertEqual(self.addresses(), set(replies.closest))

    def test_mistakes(self) -> None:
        """What is no id, or no address, is refused at once, in all queries; nothing is begun."""
        begun = self.user.stats.queries_begun
        short, key = b"short", KEYS[0]
        for call in (
            lambda: self.user.find_node(short),
            lambda: self.user.find_peer(short),
            lambda: self.user.lookup(short),
            lambda: self.user.announce(short, key),
            lambda: self.user.lookup_and_unannounce(short, key),
            lambda: self.user.lookup(TOPIC, nodes=[HostPort("a.name", 5)]),
            lambda: self.user.announce(TOPIC, key, [HostPort("a.name", 5)]),
            lambda: self.user.announce(TOPIC, key, bump=-1),
            lambda: self.user.announce(TOPIC, key, bump=MAX_UINT + 1),
        ):
            self.assertRaises(ValueError, call)
        for call in (
            lambda: self.user.unannounce(short, key),
            lambda: self.user.immutable_get(short),
            lambda: self.user.immutable_get(TOPIC, nodes=[HostPort("a.name", 5)]),
            lambda: self.user.mutable_get(short),
            lambda: self.user.mutable_get(key.public_key, -1),
            lambda: self.user.mutable_put(key, b"value", -1),
            lambda: self.user.mutable_put(key, b"value", MAX_UINT + 1),
        ):
            self.failureResultOf(call(), ValueError)
        self.assertEqual(begun, self.user.stats.queries_begun)


class AnnounceTests(QueryTestCase):
    """Being found under a topic, and finding."""

    def test_announce(self) -> None:
        """Who has announced is found by all nodes that others ask, under its topic and no other."""
        announcing = self.joined()
        replies = self.done(announcing.announce(TOPIC))
        self.assertEqual(NODES, replies.stored)
        peer = Peer.keyed(announcing.key_pair.public_key)
        found = self.read(self.user.lookup(TOPIC))
        self.assertEqual([TopicPeers((peer,), 0)] * NODES, [reply.value for reply in found])
        self.assertEqual(self.addresses(), {reply.node for reply in found})
        self.assertEqual({frozenset({TOPIC})}, {each.topics for reply in found for each in reply.value.peers})
        self.assertEqual([], self.peers(hash32(b"another topic")))

    def test_several(self) -> None:
        """Several can be under a topic; who announces is told who was there before."""
        for number, key in enumerate(KEYS):
            before = {Peer.keyed(other.public_key) for other in KEYS[:number]}
            found = self.read(self.user.announce(TOPIC, key))
            self.assertEqual([before] * NODES if before else [], [set(reply.value.peers) for reply in found])
        self.assertEqual([{Peer.keyed(key.public_key) for key in KEYS}] * NODES, self.peers())

    def test_relays(self) -> None:
        """Relays are told with it: three, and those of the first time until it is cleared."""
        for relays, clear, expected in (
            (RELAYS, False, RELAYS[:3]),
            (RELAYS[3:], False, RELAYS[:3]),
            (RELAYS[3:], True, RELAYS[3:]),
            ([], True, []),
        ):
            replies = self.done(self.user.announce(TOPIC, KEYS[0], relays, clear=clear))
            self.assertEqual(NODES, replies.stored)
            found = self.read(self.user.lookup(TOPIC))
            told = {each.relay_addresses for reply in found for each in reply.value.peers}
            self.assertEqual({tuple(expected)}, told)

    def test_bump(self) -> None:
        """The highest sign of news is told with the peers."""
        now = 1_700_000_000_000
        for bump, expected in ((0, 0), (now, now), (now - 5, now), (now + 5, now + 5)):
            self.done(self.user.announce(TOPIC, KEYS[0], bump=bump))
            self.assertEqual({expected}, {reply.value.bump for reply in self.read(self.user.lookup(TOPIC))})

    def test_find_peer(self) -> None:
        """Who announces itself under the hash of its key is found by its key, with its relays."""
        self.assertEqual([], self.read(self.user.find_peer(KEYS[0].public_key)))
        self.done(self.user.announce(hash32(KEYS[0].public_key), KEYS[0], RELAYS[:2]))
        found = self.read(self.joined().find_peer(KEYS[0].public_key))
        self.assertEqual([Peer.keyed(KEYS[0].public_key)] * NODES, [reply.value for reply in found])
        self.assertEqual({tuple(RELAYS[:2])}, {reply.value.relay_addresses for reply in found})
        self.assertEqual([], self.read(self.user.find_peer(KEYS[1].public_key)))

    def test_unannounce(self) -> None:
        """Who takes its announce back is found no more; others are."""
        for key in KEYS[:2]:
            self.done(self.user.announce(TOPIC, key))
        self.assertIsNone(self.result(self.user.unannounce(TOPIC, KEYS[0])))
        self.assertEqual([{Peer.keyed(KEYS[1].public_key)}] * NODES, self.peers())
        self.assertIsNone(self.result(self.user.unannounce(TOPIC, KEYS[0])))
        self.assertIsNone(self.result(self.user.unannounce(TOPIC, KEYS[1])))
        self.assertEqual([], self.peers())

    def test_unannounce_own_key(self) -> None:
        """Without another key it is the node's own that is announced, and taken back."""
        self.done(self.user.announce(TOPIC))
        self.result(self.joined().unannounce(TOPIC))
        self.assertEqual([{Peer.keyed(self.user.key_pair.public_key)}] * NODES, self.peers())
        self.result(self.user.unannounce(TOPIC))
        self.assertEqual([], self.peers())

    def test_unannounce_self(self) -> None:
        """So is it with who is found by its key."""
        target = hash32(KEYS[0].public_key)
        self.done(self.user.announce(target, KEYS[0]))
        self.result(self.user.unannounce(target, KEYS[0]))
        self.assertEqual([], self.read(self.user.find_peer(KEYS[0].public_key)))

    def test_lookup_and_unannounce(self) -> None:
        """Both in one: who else is there is told."""
        for key in KEYS[:2]:
            self.done(self.user.announce(TOPIC, key))
        found = self.read(self.user.lookup_and_unannounce(TOPIC, KEYS[0]))
        self.assertEqual({Peer.keyed(key.public_key) for key in KEYS[:2]}, set(found[0].value.peers))
        self.assertEqual([{Peer.keyed(KEYS[1].public_key)}] * NODES, self.peers())

    def test_expires(self) -> None:
        """An announce is forgotten after some time, if it is not repeated."""
        self.done(self.user.announce(TOPIC))
        self.reactor.elapse(600)
        self.assertEqual(NODES, len(self.peers()))
        self.reactor.elapse(1200)
        self.assertEqual([], self.peers())


class ImmutableTests(QueryTestCase):
    """Values under their hash."""

    def test_round_trip(self) -> None:
        """What one stores the other gets, by its hash; it is told who has it, and how many have."""
        for value in (b"a value", b"\x00", bytes(range(250)) * 4):
            stored = self.result(self.joined().immutable_put(value))
            self.assertEqual((hash32(value), NODES), (stored.target, stored.copies))
            self.assertEqual(self.addresses(), set(stored.closest))
            reply = self.result(self.user.immutable_get(stored.target))
            assert reply is not None
            self.assertEqual(value, reply.value)
            self.assertIn(reply.node, self.addresses())
        self.check_nothing_under_way(self.user)

    def test_again(self) -> None:
        """What is there already can be stored again."""
        for _ in range(2):
            self.assertEqual(NODES, self.result(self.user.immutable_put(b"a value")).copies)

    def test_not_there(self) -> None:
        """What nobody has is ``None``."""
        self.assertIsNone(self.result(self.user.immutable_get(TOPIC)))

    def test_sizes(self) -> None:
        """Nothing, and more than a datagram carries over any path, cannot be stored, and nothing is sent for it."""
        before = self.user.stats.requests_sent
        self.failureResultOf(self.user.immutable_put(b""), ValueError)
        problem = self.failureResultOf(self.user.immutable_put(bytes(MAX_VALUE + 1)), ValueTooLargeError).value
        self.assertEqual(("max_value", MAX_VALUE), (problem.name, problem.limit))
        self.assertEqual(before, self.user.stats.requests_sent)
        self.assertEqual(NODES, self.result(self.user.immutable_put(bytes(MAX_VALUE))).copies)

    def test_closest_of_an_earlier_one(self) -> None:
        """The nearest nodes of an earlier query make the next one short, even for a node that knows nobody."""
        stored = self.result(self.user.immutable_put(b"a value"))
        stranger = self.node()
        reply = self.result(stranger.immutable_get(stored.target, nodes=stored.closest))
        assert reply is not None
        self.assertEqual(b"a value", reply.value)


class MutableTests(QueryTestCase):
    """Values under a key."""

    def put(self, value: bytes, seq: int) -> Stored:
        return self.result(self.joined().mutable_put(KEYS[0], value, seq))

    def test_round_trip(self) -> None:
        """What its owner stores is found by its key, with its number, and a signature."""
        stored = self.put(b"first", 3)
        self.assertEqual((hash32(KEYS[0].public_key), NODES), (stored.target, stored.copies))
        reply = self.result(self.user.mutable_get(KEYS[0].public_key))
        assert reply is not None
        self.assertEqual((KEYS[0].public_key, 3, b"first"), reply.value[:3])
        self.assertEqual(64, len(reply.value.signature))
        self.assertIsNone(self.result(self.user.mutable_get(KEYS[1].public_key)))

    def test_replaced(self) -> None:
        """A value with a higher number takes the place of one with a lower one."""
        for seq, value in ((0, b"first"), (1, b"second"), (1, b"second"), (MAX_UINT, b"last")):
            self.assertEqual(NODES, self.put(value, seq).copies)
            reply = self.result(self.user.mutable_get(KEYS[0].public_key))
            assert reply is not None
            self.assertEqual((seq, value), (reply.value.seq, reply.value.value))

    def test_number_too_low(self) -> None:
        """A value with a lower number is refused, and the error tells the number that is there."""
        self.put(b"first", 5)
        problem = self.failureResultOf(self.trying(b"second", 4), SequenceTooLowError)
        self.assertIn("5", problem.getErrorMessage())
        self.assertIsInstance(problem.value, NotStoredError)
        self.check_nothing_under_way(self.user)

    def test_number_used(self) -> None:
        """Another value with the same number is refused."""
        self.put(b"first", 5)
        self.failureResultOf(self.trying(b"second", 5), SequenceReusedError)
        reply = self.result(self.user.mutable_get(KEYS[0].public_key))
        assert reply is not None
        self.assertEqual(b"first", reply.value.value)

    def trying(self, value: bytes, seq: int) -> Deferred[Stored]:
        """A put that has come to its end."""
        putting = self.user.mutable_put(KEYS[0], value, seq)
        self.reactor.settle()
        return putting

    def test_lowest_number(self) -> None:
        """A value with a number below the wanted one does not count."""
        self.put(b"first", 5)
        for seq, there in ((0, True), (5, True), (6, False)):
            reply = self.result(self.user.mutable_get(KEYS[0].public_key, seq))
            self.assertEqual(there, reply is not None)

    def test_latest_or_first(self) -> None:
        """Where nodes have values of different age the latest is found; or the first that comes, if that is enough."""
        self.put(b"old", 1)
        self.result(self.others.nodes[3].suspend())
        newer = self.user.mutable_put(KEYS[0], b"new", 2)
        self.reactor.elapse(10)
        self.assertEqual(NODES - 1, self.successResultOf(newer).copies)
        self.result(self.others.nodes[3].resume())
        reader = self.joined()
        for latest, among in ((True, {b"new"}), (False, {b"new", b"old"})):
            reply = self.result(reader.mutable_get(KEYS[0].public_key, latest=latest))
            assert reply is not None
            self.assertIn(reply.value.value, among)
        self.check_nothing_under_way(reader)

    def test_sizes(self) -> None:
        """Nothing, and too much, can't be stored here either."""
        self.failureResultOf(self.trying(b"", 1), ValueError)
        self.failureResultOf(self.trying(bytes(MAX_VALUE + 1), 1), ValueTooLargeError)
        self.assertEqual(NODES, self.put(bytes(MAX_VALUE), 1).copies)


class NobodyThereTests(QueryTestCase):
    """Without a network."""

    def check_nobody(self, node: DHTNode) -> None:
        """What is to be stored fails, what is looked for is not found."""
        key = KEYS[0]
        storing: list[Deferred[Any]] = [
            node.immutable_put(b"value"),
            node.mutable_put(key, b"value"),
            node.announce(TOPIC, key).finished(),
        ]
        reading: list[Deferred[Any]] = [
            node.immutable_get(TOPIC),
            node.mutable_get(key.public_key),
            node.find_node(TOPIC).finished(),
            node.find_peer(key.public_key).finished(),
            node.lookup(TOPIC).finished(),
            node.unannounce(TOPIC, key),
        ]
        self.reactor.elapse(10)
        for each in storing:
            self.failureResultOf(each, NetworkUnreachableError)
        for each in reading:
            self.assertIsNone(self.successResultOf(each))

    def test_nobody_answers(self) -> None:
        """Where nobody answers, storing fails with an error of its own; reading finds nothing, and is no error."""
        self.check_nobody(self.lonely())

    def test_nobody_known(self) -> None:
        """So it is for a node that knows nobody."""
        self.check_nobody(self.node())

    def test_loops_end(self) -> None:
        """Loops over replies end, and raise what the query fails with."""
        node = self.node()
        self.assertEqual([], self.read(node.lookup(TOPIC)))

        async def loop() -> None:
            async for _ in node.announce(TOPIC):
                self.fail("nobody can have answered")

        announcing = Deferred.fromCoroutine(loop())
        self.reactor.settle()
        self.failureResultOf(announcing, NetworkUnreachableError)


class CancelTests(QueryTestCase):
    """Giving up."""

    def setUp(self) -> None:
        super().setUp()
        self.patient = self.node()
        #: Whom the two ask: a few who answer, or one who does not.
        self.asked = {self.user: (), self.patient: (HostPort(*self.silent().getsockname()),)}

    def check_cancel(self, begin: Callable[[DHTNode, Sequence[HostPort]], Deferred[Any]]) -> None:
        """Nothing is left of what is given up: before an answer, after the first ones, while it is being stored."""
        for node, asked in self.asked.items():
            for turns in range(4):
                waiting = begin(node, asked)
                for _ in range(turns):
                    for reader in list(self.reactor.readers):
                        reader.doRead()
                if not waiting.called:
                    waiting.cancel()
                    self.failureResultOf(waiting, CancelledError)
                self.check_nothing_under_way(node)
                self.reactor.settle()
        before = [node.stats.requests_sent for node in self.asked]
        self.reactor.elapse(1)
        self.assertEqual(before, [node.stats.requests_sent for node in self.asked])

    def test_values(self) -> None:
        """Putting and getting values can be given up."""
        key = KEYS[0]
        self.check_cancel(lambda node, nodes: node.immutable_put(b"a value", nodes=nodes))
        self.check_cancel(lambda node, nodes: node.immutable_get(TOPIC, nodes=nodes))
        self.check_cancel(lambda node, nodes: node.mutable_put(key, b"a value", 1, nodes=nodes))
        self.check_cancel(lambda node, nodes: node.mutable_get(key.public_key, nodes=nodes))

    def test_queries(self) -> None:
        """So can queries, by who waits for their end."""
        self.check_cancel(lambda node, nodes: node.find_node(TOPIC, nodes=nodes).finished())
        self.check_cancel(lambda node, nodes: node.find_peer(KEYS[0].public_key, nodes=nodes).finished())
        self.check_cancel(lambda node, nodes: node.lookup(TOPIC, nodes=nodes).finished())
        self.check_cancel(lambda node, nodes: node.announce(TOPIC, clear=True, nodes=nodes).finished())
        self.check_cancel(lambda node, nodes: node.lookup_and_unannounce(TOPIC, nodes=nodes).finished())
        self.check_cancel(lambda node, nodes: node.unannounce(TOPIC, nodes=nodes))

    def test_loop(self) -> None:
        """Leaving a loop leaves the query as it is; cancelling that is one more word."""
        replies = self.user.find_node(TOPIC)

        async def first() -> Reply[bool]:
            async for reply in replies:
                return reply
            raise AssertionError("nobody has answered")

        self.assertTrue(self.result(Deferred.fromCoroutine(first())).value)
        replies = self.patient.find_node(TOPIC, nodes=self.asked[self.patient])
        self.assertEqual(1, self.patient.stats.queries)
        replies.cancel()
        self.check_nothing_under_way(self.patient)

    def test_get_takes_the_first(self) -> None:
        """When a value has been found, nobody else is asked for it."""
        stored = self.result(self.user.immutable_put(b"a value"))
        self.others.nodes[2].suspend()
        reply = self.result(self.user.immutable_get(stored.target))
        assert reply is not None
        self.assertEqual(b"a value", reply.value)
        self.check_nothing_under_way(self.user)

    def test_closed_while_reading(self) -> None:
        """A loop over replies may close the node."""

        async def loop() -> None:
            async for _ in self.user.find_node(TOPIC):
                await self.user.close()

        looping = Deferred.fromCoroutine(loop())
        self.reactor.settle()
        self.failureResultOf(looping, ClosedError)
        self.check_nothing_under_way(self.user)
