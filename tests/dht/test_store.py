"""Tests of spaceswarm_proxy.dht.store."""

from __future__ import annotations

from random import Random
from unittest import mock

from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.dht import store
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.store import MAX_VALUE_LENGTH, VALUE_LIFETIME, Forward, Store
from spaceswarm_proxy.dht.values import Announce, LookupReply, MutableRecord, PeerRecord
from tests.dht.vectors import vectors

#: Seconds of a generation of peers, and of values.
TURN, VALUE_TURN = 800.0, VALUE_LIFETIME * 2 / 3
#: Milliseconds since 1970, when the tests run.
TODAY = 1_700_000_000_000.0

TOPIC, OTHER_TOPIC = b"\x01" * 32, b"\x02" * 32
SOURCE, OTHER_SOURCE = address_of("10.0.0.1", 1001), address_of("10.0.0.2", 1002)
KEYS = [bytes([number]) * 32 for number in range(16, 20)]


def relay(number: int) -> bytes:
    return address_of("10.1.0.1", number)


def record(number: int, relays: int = 0) -> PeerRecord:
    return PeerRecord(KEYS[number], tuple(relay(port) for port in range(1, relays + 1)))


def announce(
    records: Store, topic: bytes, peer: PeerRecord, now: float = 0.0, source: bytes = SOURCE, bump: int = 0
) -> bool:
    """Announce somebody, by the way of a value in a request."""
    return records.announce(topic, Announce.parse(Announce(peer, bump=bump).encode()), source, now, TODAY)


def found(records: Store, topic: bytes, now: float = 0.0) -> LookupReply:
    """What is told of a topic; nobody and no bump where there is no answer."""
    value = records.lookup(topic, now)
    return LookupReply(()) if value is None else LookupReply.parse(value)


class StoreTestCase(SynchronousTestCase):
    """Each test has a store, which is begun at 0."""

    def setUp(self) -> None:
        self.store = Store(Random(1), 0.0)


class TopicTests(StoreTestCase):
    """Peers under topics."""

    def test_found(self) -> None:
        """Who is announced under a topic is found there, and nowhere else."""
        self.assertIsNone(self.store.lookup(TOPIC, 0.0))
        self.assertTrue(announce(self.store, TOPIC, record(0, relays=2)))
        self.assertTrue(announce(self.store, TOPIC, record(1)))
        self.assertEqual(found(self.store, TOPIC), LookupReply((record(0, relays=2), record(1))))
        self.assertIsNone(self.store.lookup(OTHER_TOPIC, 0.0))
        self.assertIsNone(self.store.forward(TOPIC, 0.0))

    def test_relays_are_cut(self) -> None:
        """Of more than three relays the first three are kept."""
        announce(self.store, TOPIC, record(0, relays=5))
        self.assertEqual(found(self.store, TOPIC).peers, (record(0, relays=3),))

    def test_unannounced(self) -> None:
        """Who has withdrawn is not found any more, the others are; to withdraw twice changes nothing."""
        for number in (0, 1):
            announce(self.store, TOPIC, record(number))
        found(self.store, TOPIC)
        for _ in range(2):
            self.store.unannounce(TOPIC, KEYS[0])
            self.assertEqual(found(self.store, TOPIC).peers, (record(1),))

    def test_expired(self) -> None:
        """A peer is found for two to four thirds of its life, however often somebody looks."""
        announce(self.store, TOPIC, record(0), now=0.0)
        for now in (0.0, 799.0, 800.0, 1599.0):
            self.assertEqual(found(self.store, TOPIC, now).peers, (record(0),))
        self.assertIsNone(self.store.lookup(TOPIC, 1600.0))


class SelfTests(StoreTestCase):
    """Servers that have announced themselves, under the hash of their key."""

    def setUp(self) -> None:
        super().setUp()
        self.target = hash32(KEYS[0])

    def test_forward(self) -> None:
        """A server is found by the hash of its key, with the address that it announced itself from; the last one."""
        self.assertIsNone(self.store.forward(self.target, 0.0))
        for source, relays in ((SOURCE, 0), (OTHER_SOURCE, 2)):
            self.assertTrue(announce(self.store, self.target, record(0, relays), source=source))
            self.assertEqual(self.store.forward(self.target, 0.0), Forward(record(0, relays), source))
            self.assertEqual(found(self.store, self.target).peers, (record(0, relays),))
        self.assertEqual(len(self.store.topics), 0)

    def test_unannounced(self) -> None:
        """When it withdraws, both are gone."""
        announce(self.store, self.target, record(0))
        found(self.store, self.target)
        self.store.unannounce(self.target, KEYS[0])
        self.assertIsNone(self.store.forward(self.target, 0.0))
        self.assertIsNone(self.store.lookup(self.target, 0.0))

    def test_others_under_it(self) -> None:
        """Others can be under the same target; they come and go without it."""
        announce(self.store, self.target, record(0))
        announce(self.store, self.target, record(1))
        self.assertEqual(set(found(self.store, self.target).peers), {record(0), record(1)})
        self.store.unannounce(self.target, KEYS[1])
        self.assertEqual(found(self.store, self.target).peers, (record(0),))
        self.assertEqual(self.store.forward(self.target, 0.0), Forward(record(0), SOURCE))

    def test_expired(self) -> None:
        """A server that nobody asks for is forgotten, also by who was asked about it before."""
        announce(self.store, self.target, record(0))
        self.assertEqual(found(self.store, self.target, 799.0).peers, (record(0),))
        self.assertIsNone(self.store.lookup(self.target, 1600.0))
        self.assertIsNone(self.store.forward(self.target, 1600.0))

    def test_asked_for(self) -> None:
        """One that is asked for in every generation is kept, whichever way it is asked for."""
        announce(self.store, self.target, record(0))
        for turn in range(1, 20):
            now = turn * TURN
            if turn % 2:
                self.assertEqual(found(self.store, self.target, now).peers, (record(0),))
            else:
                self.assertEqual(self.store.forward(self.target, now), Forward(record(0), SOURCE))


class ServerTests(StoreTestCase):
    """Servers of this node."""

    def setUp(self) -> None:
        super().setUp()
        self.target = hash32(KEYS[0])
        self.store.serve(self.target, record(0))

    def test_served(self) -> None:
        """One is found at once and for ever, with no address that it came from."""
        for now in (0.0, 1e9):
            self.assertEqual(self.store.forward(self.target, now), Forward(record(0), None))
            self.assertEqual(found(self.store, self.target, now).peers, (record(0),))

    def test_not_replaced(self) -> None:
        """No announce and no withdrawal from elsewhere changes that, and neither is told so."""
        self.assertTrue(announce(self.store, self.target, record(0, relays=3)))
        self.store.unannounce(self.target, KEYS[0])
        self.assertEqual(self.store.forward(self.target, 0.0), Forward(record(0), None))
        self.store.unserve(self.target)
        self.assertIsNone(self.store.forward(self.target, 0.0))

    def test_unserved(self) -> None:
        """When it is gone it is not told any more, even to who was told a moment ago."""
        found(self.store, self.target)
        self.store.unserve(self.target)
        self.assertIsNone(self.store.lookup(self.target, 0.0))
        self.store.serve(self.target, record(0))
        self.assertEqual(found(self.store, self.target).peers, (record(0),))
        self.store.unserve(OTHER_TOPIC)


class BumpTests(StoreTestCase):
    """The number that is told with a topic."""

    def test_highest(self) -> None:
        """The highest bump is told, whoever has sent it, to those who ask after it."""
        for number, bump, highest in ((0, 0, 0), (1, 500, 500), (2, 300, 500), (1, 501, 501), (0, 501, 501)):
            announce(self.store, TOPIC, record(number), bump=bump)
            self.assertEqual(found(self.store, TOPIC).bump, highest)
        self.assertEqual(found(self.store, OTHER_TOPIC).bump, 0)

    def test_future(self) -> None:
        """One of more than a minute ahead of our clock is not believed; the peer is stored all the same."""
        ahead = int(TODAY) + 60_000
        for bump, told in ((ahead + 1, 0), (ahead, ahead), (ahead + 1, ahead)):
            self.assertTrue(announce(self.store, TOPIC, record(0), bump=bump))
            self.assertEqual(found(self.store, TOPIC), LookupReply((record(0),), told))

    def test_self(self) -> None:
        """Who announces itself gives its own target none."""
        announce(self.store, hash32(KEYS[0]), record(0), bump=500)
        self.assertEqual(found(self.store, hash32(KEYS[0])), LookupReply((record(0),)))

    def test_expired(self) -> None:
        """A bump is forgotten with its generation, when nobody asks for it."""
        announce(self.store, TOPIC, record(0), bump=500)
        announce(self.store, TOPIC, record(0), now=1600.0)
        self.assertEqual(found(self.store, TOPIC, 1600.0), LookupReply((record(0),)))


class RefreshTests(StoreTestCase):
    """Announces that are repeated by the next link of a chain."""

    def setUp(self) -> None:
        super().setUp()
        self.chain = [bytes.fromhex(link) for link in vectors("refresh")["chain"]]

    def begin(self, target: bytes, now: float = 0.0) -> None:
        peer = Announce(record(0, relays=5), refresh=self.chain[0])
        self.assertTrue(self.store.announce(target, peer, SOURCE, now, TODAY))

    def test_chain(self) -> None:
        """Who knows the next link stores the record again, after it was gone too; a link is good once."""
        self.begin(TOPIC)
        for number, link in enumerate(self.chain[1:], 1):
            now = number * TURN
            self.store.unannounce(TOPIC, KEYS[0])
            self.assertTrue(self.store.refresh(link, OTHER_SOURCE, now))
            self.assertEqual(found(self.store, TOPIC, now).peers, (record(0, relays=3),))
            self.assertFalse(self.store.refresh(link, OTHER_SOURCE, now))

    def test_unknown(self) -> None:
        """What is the next link of nothing stores nothing: neither the first link nor one after the next."""
        self.assertFalse(self.store.refresh(self.chain[1], SOURCE, 0.0))
        self.begin(TOPIC)
        for link in (self.chain[0], self.chain[2], bytes(32)):
            self.assertFalse(self.store.refresh(link, SOURCE, 0.0))

    def test_self(self) -> None:
        """A server's place is where its last link came from."""
        target = hash32(KEYS[0])
        self.begin(target)
        self.assertTrue(self.store.refresh(self.chain[1], OTHER_SOURCE, 10.0))
        self.assertEqual(self.store.forward(target, 10.0), Forward(record(0, relays=3), OTHER_SOURCE))
        self.assertEqual(len(self.store.topics), 0)

    def test_served(self) -> None:
        """No link replaces a server of this node."""
        target = hash32(KEYS[0])
        self.store.serve(target, record(0))
        self.begin(target)
        self.assertTrue(self.store.refresh(self.chain[1], OTHER_SOURCE, 10.0))
        self.assertEqual(self.store.forward(target, 10.0), Forward(record(0), None))

    def test_expired(self) -> None:
        """A chain that stands still for too long is forgotten."""
        self.begin(TOPIC)
        self.assertFalse(self.store.refresh(self.chain[1], SOURCE, 1600.0))
        self.assertIsNone(self.store.lookup(TOPIC, 1600.0))


class ValueTests(StoreTestCase):
    """Mutable and immutable values."""

    def test_kept(self) -> None:
        """A value is there for two to four thirds of 48 hours after it was last asked for."""
        value, mutable = b"value", MutableRecord(1, b"value", bytes(64))
        self.assertTrue(self.store.put_immutable(TOPIC, value, SOURCE, 0.0))
        self.assertTrue(self.store.put_mutable(TOPIC, mutable, SOURCE, 0.0))
        for now in (0.0, VALUE_TURN, 2 * VALUE_TURN):
            self.assertEqual(self.store.immutables.get(TOPIC, now), value)
            self.assertEqual(self.store.mutables.get(TOPIC, now), mutable)
        self.assertIsNone(self.store.immutables.get(TOPIC, 4 * VALUE_TURN))
        self.assertIsNone(self.store.mutables.get(TOPIC, 4 * VALUE_TURN))

    def test_replaced(self) -> None:
        """The last mutable value of a key counts, with whatever number: that was looked at before."""
        for seq in (5, 6, 4):
            self.store.put_mutable(TOPIC, MutableRecord(seq, b"value", bytes(64)), SOURCE, 0.0)
            self.assertEqual(self.store.mutables.get(TOPIC, 0.0), MutableRecord(seq, b"value", bytes(64)))
        self.assertEqual(len(self.store.mutables), 1)

    def test_size(self) -> None:
        """A value that no path carries whole is not stored: with a forged address it would be sent to others."""
        for size, taken in ((MAX_VALUE_LENGTH, True), (MAX_VALUE_LENGTH + 1, False)):
            self.assertEqual(taken, self.store.put_immutable(bytes([taken]) * 32, bytes(size), SOURCE, 0.0))
            record = MutableRecord(1, bytes(size), bytes(64))
            self.assertEqual(taken, self.store.put_mutable(bytes([taken]) * 32, record, SOURCE, 0.0))
        self.assertEqual((1, 1), (len(self.store.immutables), len(self.store.mutables)))

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.integers(0, 1200), min_size=1, max_size=40))
    def test_bytes(self, sizes: list[int]) -> None:
        """What counts are bytes: no more are kept than two generations of them, with the last value among them."""
        values = Store(Random(1), 0.0)
        values.mutables.limit = values.immutables.limit = 3000
        for number, size in enumerate(sizes):
            target = number.to_bytes(32, "big")
            values.put_immutable(target, bytes(size), SOURCE, 0.0)
            values.put_mutable(target, MutableRecord(1, bytes(size), bytes(64)), SOURCE, 0.0)
            for kept in (values.immutables, values.mutables):
                self.assertIn(target, list(kept))
                self.assertLess(sum(sizes[int.from_bytes(key, "big")] + 200 for key in kept), 2 * 3000 + 1400)


class QuotaTests(SynchronousTestCase):
    """How much one host may store."""

    MOST = 3

    def setUp(self) -> None:
        self.store = Store(Random(1), 0.0, max_records_of_host=self.MOST)

    def put(self, number: int, now: float = 0.0, source: bytes = SOURCE) -> bool:
        return self.store.put_immutable(number.to_bytes(32, "big"), b"value", source, now)

    def test_all_kinds(self) -> None:
        """New records of all kinds count together, from whichever port; one more is not stored."""
        source = address_of("10.0.0.1", 2)
        self.assertTrue(announce(self.store, TOPIC, record(0)))
        self.assertTrue(self.store.put_mutable(TOPIC, MutableRecord(1, b"", bytes(64)), source, 0.0))
        self.assertTrue(self.put(1))
        self.assertFalse(announce(self.store, OTHER_TOPIC, record(0), source=source))
        self.assertFalse(announce(self.store, hash32(KEYS[0]), record(0)))
        self.assertFalse(self.store.put_mutable(OTHER_TOPIC, MutableRecord(1, b"", bytes(64)), SOURCE, 0.0))
        self.assertFalse(self.put(2))
        self.assertIsNone(self.store.lookup(OTHER_TOPIC, 0.0))
        self.assertIsNone(self.store.forward(hash32(KEYS[0]), 0.0))
        self.assertIsNone(self.store.mutables.get(OTHER_TOPIC, 0.0))
        self.assertEqual(len(self.store.immutables), 1)

    def test_known(self) -> None:
        """What is stored already can be stored again, with the quota used up too."""
        announce(self.store, TOPIC, record(0))
        announce(self.store, hash32(KEYS[0]), record(0))
        self.put(1)
        for _ in range(3):
            self.assertFalse(self.put(2))
            self.assertTrue(announce(self.store, TOPIC, record(0)))
            self.assertTrue(announce(self.store, hash32(KEYS[0]), record(0)))
            self.assertTrue(self.put(1))

    def test_others(self) -> None:
        """One host's quota is not another's."""
        for number in range(5):
            self.assertEqual(self.put(number), number < self.MOST)
        self.assertTrue(self.put(9, source=OTHER_SOURCE))

    def test_later(self) -> None:
        """After a while there is a quota again."""
        for number in range(5):
            self.put(number)
        self.assertFalse(self.put(9, now=799.0))
        for number in range(10, 15):
            self.assertEqual(self.put(number, now=800.0), number < 10 + self.MOST)

    def test_most_hosts(self) -> None:
        """Of any number of hosts, only so many are counted; then all begin again."""
        with mock.patch.object(store, "MAX_ENTRIES", 4):
            for number in range(20):
                self.put(number, source=address_of(f"10.0.1.{number}", 1))
                self.assertLessEqual(len(self.store._quota._taken), 4)
            for number in range(100, 110):
                self.assertEqual(self.put(number), number < 100 + self.MOST)


class PeersMachine(RuleBasedStateMachine):
    """Peers come and go under topics and under the hashes of their keys, in one generation."""

    TARGETS = (TOPIC, *map(hash32, KEYS[:2]))

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(Random(1), 0.0)
        self.under: dict[bytes, dict[bytes, PeerRecord]] = {target: {} for target in self.TARGETS}
        self.forwards: dict[bytes, Forward] = {}
        self.servers: dict[bytes, Forward] = {}
        self.bumps = dict.fromkeys(self.TARGETS, 0)

    @rule(
        topic=st.sampled_from(TARGETS),
        peer=st.builds(record, st.integers(0, 3), st.integers(0, 4)),
        source=st.sampled_from([SOURCE, OTHER_SOURCE]),
        bump=st.integers(0, 3),
    )
    def announced(self, topic: bytes, peer: PeerRecord, source: bytes, bump: int) -> None:
        assert announce(self.store, topic, peer, source=source, bump=bump)
        if hash32(peer.public_key) == topic:
            if topic not in self.servers:
                self.forwards[topic] = Forward(peer.cut(), source)
        else:
            self.under[topic].setdefault(peer.public_key, peer.cut())
            self.bumps[topic] = max(self.bumps[topic], bump)

    @rule(topic=st.sampled_from(TARGETS), key=st.sampled_from(KEYS))
    def unannounced(self, topic: bytes, key: bytes) -> None:
        self.store.unannounce(topic, key)
        self.under[topic].pop(key, None)
        if hash32(key) == topic:
            self.forwards.pop(topic, None)

    @rule(number=st.integers(0, 1), relays=st.integers(0, 3))
    def served(self, number: int, relays: int) -> None:
        target = hash32(KEYS[number])
        self.store.serve(target, record(number, relays))
        self.servers[target] = Forward(record(number, relays), None)

    @rule(number=st.integers(0, 1))
    def unserved(self, number: int) -> None:
        self.store.unserve(hash32(KEYS[number]))
        self.servers.pop(hash32(KEYS[number]), None)

    @invariant()
    def told(self) -> None:
        for target in self.TARGETS:
            forward = self.servers.get(target) or self.forwards.get(target)
            assert self.store.forward(target, 0.0) == forward
            expected = {*self.under[target].values(), *([] if forward is None else [forward.record])}
            reply = found(self.store, target)
            assert set(reply.peers) == expected and len(reply.peers) == len(expected)
            assert reply.bump == (self.bumps[target] if expected else 0)


class MachineTests(SynchronousTestCase):
    """The machine, run."""

    def test_peers(self) -> None:
        """Whoever comes and goes, those who ask are told who is there now."""
        run_state_machine_as_test(
            PeersMachine,
            settings=settings(
                max_examples=50, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
