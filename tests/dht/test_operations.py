"""Tests of spaceswarm_proxy.dht.operations: what the network is used for, in a tiny one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import MAX_UINT
from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keeper import OwnKeys
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM
from spaceswarm_proxy.dht.contact import address_of, contact_at, host_port
from spaceswarm_proxy.dht.message import encode_response, parse_request
from spaceswarm_proxy.dht.operations import MAX_VALUE, Operations, relay_addresses
from spaceswarm_proxy.dht.query import Query
from spaceswarm_proxy.dht.results import Reply
from spaceswarm_proxy.dht.table import K
from spaceswarm_proxy.dht.values import LookupReply, MutableRecord, PeerRecord
from spaceswarm_proxy.errors import (
    NetworkUnreachableError,
    NotStoredError,
    SequenceReusedError,
    SequenceTooLowError,
    SpaceswarmError,
    ValueTooLargeError,
)
from tests.dht.world import EPOCH, Host, Outcome, World

TOPIC = b"\x07" * 32
ALICE, BOB = KeyPair.from_seed(b"a" * 32), KeyPair.from_seed(b"b" * 32)
RELAYS = tuple(address_of("10.3.0.1", port) for port in (1, 2, 3))
OTHER_RELAYS = tuple(address_of("10.3.0.2", port) for port in (1, 2))


class OperationsTestCase(SynchronousTestCase):
    """A network of 24, and two who use it."""

    def setUp(self) -> None:
        self.world = World()
        self.nodes = self.world.population(24)
        self.alice = self.world.host(ephemeral=True)
        self.bob = self.world.host(ephemeral=True)
        self.world.run(2)

    def do(
        self, host: Host, name: str, *arguments: Any, nodes: Iterable[bytes] = (), only_nodes: bool = False
    ) -> tuple[Query, Outcome]:
        """A query, and what came of it."""
        outcome = Outcome()
        query = getattr(host.operations, name)(*arguments, outcome.found, outcome.ended)
        host.begin(query, nodes, only_nodes)
        self.world.run_until(lambda: outcome.over)
        return query, outcome

    def announce(self, host: Host, key_pair: KeyPair, relays: tuple[bytes, ...] = (), **more: Any) -> Query:
        """Announce, and see that it is done."""
        arguments = (more.get("topic", TOPIC), OwnKeys(key_pair), relays, more.get("bump", 0), more.get("clear", False))
        query, outcome = self.do(host, "announce", *arguments)
        self.assertIsNone(outcome.problem)
        return query

    def relays_of(self, key_pair: KeyPair, replies: list[Reply[Any]]) -> list[tuple[bytes, ...]]:
        """What each node says that a peer's relays are, if it knows it."""
        peers = [peer for reply in replies for peer in reply.value.peers]
        return [relay_addresses(peer.relay_addresses) for peer in peers if peer.public_key == key_pair.public_key]


class TopicTests(OperationsTestCase):
    """Announcing, and looking up."""

    def test_nobody(self) -> None:
        """Under a topic without peers nobody has anything to say, and the query ends well."""
        query, outcome = self.do(self.alice, "lookup", TOPIC)
        self.assertEqual((outcome.replies, outcome.problem, len(query.closest)), ([], None, K))

    def test_found(self) -> None:
        """Who announces is found by the next who looks up, with its relays, at each of the twenty nearest nodes."""
        query = self.announce(self.alice, ALICE, RELAYS, bump=5)
        self.assertEqual((query.stored, query.refused), (K, {}))
        _, outcome = self.do(self.bob, "lookup", TOPIC)
        self.assertEqual(self.relays_of(ALICE, outcome.replies), [RELAYS] * K)
        reply = outcome.replies[0]
        self.assertEqual(reply.node_id, contact_at(address_of(*reply.node)).id)
        self.assertEqual(reply.to, host_port(self.bob.address))
        self.assertEqual((reply.value.bump, reply.value.peers[0].topics), (5, frozenset({TOPIC})))

    def test_who_is_there(self) -> None:
        """Who announces is told of those who have announced before."""
        self.announce(self.alice, ALICE)
        _, outcome = self.do(self.bob, "announce", TOPIC, OwnKeys(BOB), (), 0, False)
        self.assertEqual(self.relays_of(ALICE, outcome.replies), [()] * K)

    def test_other_relays(self) -> None:
        """What is announced again stays as it was, unless what was there is cleared first."""
        self.announce(self.alice, ALICE, RELAYS)
        for clear, relays in ((False, RELAYS), (True, OTHER_RELAYS)):
            self.announce(self.alice, ALICE, OTHER_RELAYS, clear=clear)
            _, outcome = self.do(self.bob, "lookup", TOPIC)
            self.assertEqual(self.relays_of(ALICE, outcome.replies), [relays] * K)

    def test_unannounced(self) -> None:
        """Who takes it back is found no more, and others are."""
        self.announce(self.alice, ALICE)
        self.announce(self.bob, BOB)
        query, outcome = self.do(self.alice, "lookup_and_unannounce", TOPIC, OwnKeys(ALICE))
        self.assertEqual((query.stored, len(self.relays_of(ALICE, outcome.replies))), (K, K))
        _, outcome = self.do(self.bob, "lookup", TOPIC)
        self.assertEqual((self.relays_of(ALICE, outcome.replies), self.relays_of(BOB, outcome.replies)), ([], [()] * K))

    def test_unannounced_among_many(self) -> None:
        """Nodes that know so many that they tell of others only are told as well."""
        self.announce(self.alice, ALICE)
        for number in range(40):
            for node in self.nodes:
                assert node.core.store is not None
                node.core.store.topics.add(TOPIC, PeerRecord(bytes([number]) * 32), self.world.now)
        query, _ = self.do(self.alice, "lookup_and_unannounce", TOPIC, OwnKeys(ALICE))
        self.assertGreaterEqual(query.stored, K)
        for node in self.nodes:
            assert node.core.store is not None
            self.assertFalse(node.core.store.topics.holds(TOPIC, ALICE.public_key))

    def test_lost_network(self) -> None:
        """Nobody can be announced where nobody is; a lookup there ends with nothing."""
        self.world.unplug(*self.nodes)
        _, outcome = self.do(self.alice, "announce", TOPIC, OwnKeys(ALICE), (), 0, False)
        self.assertIsInstance(outcome.problem, NetworkUnreachableError)
        _, outcome = self.do(self.alice, "lookup", TOPIC)
        self.assertEqual((outcome.replies, outcome.problem), ([], None))

    def test_other_network(self) -> None:
        """What is signed for another network is confirmed by nobody in this one."""
        self.alice.operations = Operations(self.alice.core, HYPERSWARM)
        _, outcome = self.do(self.alice, "announce", TOPIC, OwnKeys(ALICE), (), 0, False)
        self.assertIsInstance(outcome.problem, NotStoredError)

    def test_bad_bump(self) -> None:
        """A bump that cannot be encoded is refused before anything is asked."""
        for bump in (-1, MAX_UINT + 1):
            with self.assertRaises(ValueError):
                self.alice.operations.announce(TOPIC, OwnKeys(ALICE), (), bump, False, self.fail, self.fail)
        now = int(EPOCH)
        self.announce(self.alice, ALICE, bump=now)
        _, outcome = self.do(self.bob, "lookup", TOPIC)
        self.assertEqual({value.bump for value in outcome.values}, {now})


class PeerTests(OperationsTestCase):
    """Peers by their keys."""

    def test_find_peer(self) -> None:
        """Who announces its own key is found by it, with its relays, until it takes that back."""
        target = hash32(ALICE.public_key)
        self.announce(self.alice, ALICE, RELAYS, topic=target)
        _, outcome = self.do(self.bob, "find_peer", ALICE.public_key)
        self.assertEqual([relay_addresses(peer.relay_addresses) for peer in outcome.values], [RELAYS] * K)
        self.assertEqual({peer.public_key for peer in outcome.values}, {ALICE.public_key})
        self.do(self.alice, "lookup_and_unannounce", target, OwnKeys(ALICE))
        _, outcome = self.do(self.bob, "find_peer", ALICE.public_key)
        self.assertEqual(outcome.replies, [])

    def test_find_node(self) -> None:
        """A query for an id has a reply for each node that answers, and the nearest in the end."""
        query, outcome = self.do(self.bob, "find_node", TOPIC)
        self.assertEqual((len(outcome.replies), set(outcome.values)), (query.successes, {True}))
        self.assertEqual(len(query.closest), K)


class ValueTests(OperationsTestCase):
    """Values under their hash, and under keys."""

    def test_immutable(self) -> None:
        """What is put is got by its hash."""
        value = b"v" * MAX_VALUE
        query, outcome = self.do(self.alice, "immutable_put", value)
        self.assertEqual((outcome.problem, query.stored), (None, K))
        _, outcome = self.do(self.bob, "immutable_get", hash32(value))
        self.assertEqual(outcome.values, [value] * K)
        _, outcome = self.do(self.bob, "immutable_get", TOPIC)
        self.assertEqual(outcome.values, [])

    def put(self, seq: int, value: bytes) -> SpaceswarmError | None:
        return self.do(self.alice, "mutable_put", ALICE, value, seq)[1].problem

    def test_mutable(self) -> None:
        """What is put under a key is got by it, signed; a higher number takes the place of a lower one."""
        self.assertIsNone(self.put(3, b"three"))
        self.assertIsNone(self.put(4, b"four"))
        _, outcome = self.do(self.bob, "mutable_get", ALICE.public_key, 0)
        self.assertEqual({(value.seq, value.value) for value in outcome.values}, {(4, b"four")})
        record = MutableRecord(*outcome.values[0][1:])
        self.assertTrue(record.verified(SPACESWARM.mutable_put, ALICE.public_key))
        for public_key, seq in ((ALICE.public_key, 5), (BOB.public_key, 0)):
            _, outcome = self.do(self.bob, "mutable_get", public_key, seq)
            self.assertEqual((outcome.values, outcome.problem), ([], None))

    def test_sequence(self) -> None:
        """A lower number, or another value with the same, is stored nowhere; the same again is no harm."""
        self.assertIsNone(self.put(3, b"three"))
        self.assertIsInstance(self.put(2, b"two"), SequenceTooLowError)
        self.assertIsInstance(self.put(3, b"other"), SequenceReusedError)
        self.assertIsNone(self.put(3, b"three"))

    def test_what_is_there(self) -> None:
        """Who puts is told of what is there, and may stop for it before anything is written."""
        self.put(3, b"three")
        seen: list[int] = []

        def found(reply: Reply[Any]) -> None:
            seen.append(reply.value.seq)
            query.cancel()

        query = self.alice.operations.mutable_put(ALICE, b"four", 4, found, self.fail)
        self.alice.begin(query)
        self.world.run(20)
        self.assertEqual((seen, query.ended, query.stored), ([3], True, 0))

    def test_sizes(self) -> None:
        """A value that is empty, too large, or has a number that cannot be, is refused before anything is asked."""
        for name, arguments, problem in (
            ("immutable_put", (b"",), ValueError),
            ("immutable_put", (bytes(MAX_VALUE + 1),), ValueTooLargeError),
            ("mutable_put", (ALICE, b"", 0), ValueError),
            ("mutable_put", (ALICE, bytes(MAX_VALUE + 1), 0), ValueTooLargeError),
            ("mutable_put", (ALICE, b"x", -1), ValueError),
            ("mutable_put", (ALICE, b"x", MAX_UINT + 1), ValueError),
            ("mutable_get", (ALICE.public_key, -1), ValueError),
        ):
            with self.assertRaises(problem):
                getattr(self.alice.operations, name)(*arguments, self.fail, self.fail)
        self.assertIsNone(self.put(MAX_UINT, bytes(MAX_VALUE)))


class ForgeryTests(OperationsTestCase):
    """Nodes that answer what is not so."""

    def lied_to(self, value: bytes | None, name: str, *arguments: Any) -> tuple[Query, Outcome]:
        """A query to a liar alone, which gives this value to everybody."""
        liar = address_of("10.8.0.1", 8)

        def answer(data: bytes, source: bytes) -> list[bytes]:
            tid = parse_request(data).tid
            return [encode_response(tid, source, contact_at(liar).id, bytes(32), b"", 0, value)]

        self.world.strangers[liar] = answer
        return self.do(self.alice, name, *arguments, nodes=[liar], only_nodes=True)

    def assertIgnored(self, values: Iterable[bytes | None], name: str, *arguments: Any) -> None:
        for value in values:
            query, outcome = self.lied_to(value, name, *arguments)
            self.assertEqual((outcome.replies, outcome.problem, query.successes), ([], None, 1), value)

    def test_values(self) -> None:
        """A value with another hash is none, nor is one without or with a damaged signature, or with a low number."""
        self.assertIgnored([b"other", b"", None], "immutable_get", hash32(b"value"))
        good = MutableRecord.signed(SPACESWARM.mutable_put, ALICE, 3, b"three")
        _, outcome = self.lied_to(good.encode(), "mutable_get", ALICE.public_key, 3)
        self.assertEqual([value.value for value in outcome.values], [b"three"])
        forged = [
            good._replace(seq=4),
            good._replace(value=b"other"),
            good._replace(signature=bytes(64)),
            MutableRecord.signed(SPACESWARM.mutable_put, BOB, 3, b"three"),
            MutableRecord.signed(HYPERSWARM.mutable_put, ALICE, 3, b"three"),
        ]
        values = [record.encode() for record in forged]
        self.assertIgnored([*values, good.encode()[:-1], b"", None], "mutable_get", ALICE.public_key, 3)
        self.assertIgnored([good.encode()], "mutable_get", ALICE.public_key, 4)

    def test_peers(self) -> None:
        """Somebody else's record is not who was looked for; what is no record is nothing."""
        good = PeerRecord(ALICE.public_key, RELAYS).encode()
        _, outcome = self.lied_to(good, "find_peer", ALICE.public_key)
        self.assertEqual(len(outcome.replies), 1)
        other = PeerRecord(BOB.public_key, RELAYS).encode()
        self.assertIgnored([other, good[:-1], b"", None], "find_peer", ALICE.public_key)
        self.assertIgnored([b"\x01" + good[:-1], b"\xfe\xff\xff\xff\xff", b"\xff", b"", None], "lookup", TOPIC)

    def test_no_bump(self) -> None:
        """Nodes from before there were bumps say nothing of them."""
        _, outcome = self.lied_to(b"\x01" + PeerRecord(ALICE.public_key).encode(), "lookup", TOPIC)
        self.assertEqual([value.bump for value in outcome.values], [0])

    def test_too_many(self) -> None:
        """Of one node's answer no more is taken than a good one has: twenty peers, with three relays each."""
        many = tuple(PeerRecord(number.to_bytes(32, "big"), RELAYS * 20) for number in range(60))
        _, outcome = self.lied_to(LookupReply(many, 1).encode(), "lookup", TOPIC)
        [value] = outcome.values
        self.assertEqual([len(peer.relay_addresses) for peer in value.peers], [3] * 20)
        _, outcome = self.lied_to(PeerRecord(ALICE.public_key, RELAYS * 20).encode(), "find_peer", ALICE.public_key)
        self.assertEqual([len(peer.relay_addresses) for peer in outcome.values], [3])

    def test_damaged_before_unannouncing(self) -> None:
        """An answer that cannot be read is no reason to tell a node that we are gone, nor to stop."""
        query, outcome = self.lied_to(b"\x01", "lookup_and_unannounce", TOPIC, OwnKeys(ALICE))
        self.assertEqual((query.stored, outcome.problem), (0, None))

    def test_stored_nowhere(self) -> None:
        """A node that says that it has stored something is believed: nobody else can know better."""
        query, outcome = self.lied_to(None, "immutable_put", b"value")
        self.assertEqual((query.stored, outcome.problem), (1, None))


class RelayTests(SynchronousTestCase):
    """Addresses of relays, as users give them."""

    def test_addresses(self) -> None:
        """They are six bytes each; what is no IPv4 address, or has no such port, is refused."""
        self.assertEqual(relay_addresses([host_port(RELAYS[0])]), RELAYS[:1])
        refused: list[Callable[[], Any]] = [
            lambda: relay_addresses([host_port(RELAYS[0])._replace(host="relay.example")]),
            lambda: relay_addresses([host_port(RELAYS[0])._replace(port=65536)]),
        ]
        for attempt in refused:
            self.assertRaises(ValueError, attempt)
