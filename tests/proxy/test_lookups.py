"""Tests of spaceswarm_proxy.proxy.lookups and of spaceswarm_proxy.proxy.membership, its subscribers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from spaceswarm_proxy.errors import ClosedError, LimitError, NotSupportedError
from spaceswarm_proxy.interfaces import ILookup, IPeerReceiver, Peer
from spaceswarm_proxy.proxy import lookups
from spaceswarm_proxy.proxy.features import Role
from spaceswarm_proxy.proxy.lookups import SharedLookup, SharedLookups
from spaceswarm_proxy.proxy.membership import Membership

TOPIC, OTHER = bytes(32), bytes([1]) * 32
ALICE, BOB, CAROL = (Peer.at("192.0.2.1", port) for port in (1, 2, 3))


@implementer(ILookup)
class Lookup:
    """Counts what is asked of it."""

    def __init__(self, topic: bytes, receiver: Any) -> None:
        self.topic = topic
        self.receiver = receiver
        self.updates = 0
        self.rounds: list[Deferred[None]] = []
        self.closed: Deferred[None] | None = None

    def update(self) -> None:
        self.updates += 1

    def flushed(self) -> Deferred[None]:
        self.rounds.append(Deferred())
        return self.rounds[-1]

    def close(self) -> Deferred[None]:
        self.closed = Deferred()
        return self.closed


class Network:
    """The part of a network that shared lookups use."""

    def __init__(self) -> None:
        self.lookups: list[Lookup] = []
        self.closed = False

    def lookup(self, topic: bytes, receiver: Any) -> Lookup:
        if self.closed:
            raise ClosedError()
        self.lookups.append(Lookup(topic, receiver))
        return self.lookups[-1]


class Told:
    """A subscriber that keeps what it is told."""

    def __init__(self) -> None:
        self.news: list[Peer | str] = []

    def peer_found(self, peer: Peer) -> None:
        self.news.append(peer)

    def lookup_updated(self) -> None:
        self.news.append("updated")


class Leaver(Told):
    """Has heard enough when it has heard of one peer."""

    def __init__(self, lookup: SharedLookup) -> None:
        super().__init__()
        self.lookup = lookup

    def peer_found(self, peer: Peer) -> None:
        super().peer_found(peer)
        self.lookup.unsubscribe(self)


class LookupsTestCase(SynchronousTestCase):
    """With a network that finds what the test says, and a clock."""

    def setUp(self) -> None:
        self.network = Network()
        self.clock = Clock()
        self.topics: list[tuple[str, bytes]] = []
        self.shared = SharedLookups(
            self.network,
            self.clock,
            max_topics=2,
            min_refresh=10.0,
            joined=lambda topic: self.topics.append(("joined", topic)),
            left=lambda topic: self.topics.append(("left", topic)),
        )

    def join(self, topic: bytes = TOPIC) -> tuple[Told, SharedLookup]:
        """:returns: a new subscriber, and what it has subscribed to."""
        told = Told()
        lookup = self.shared.join(topic)
        lookup.subscribe(told)
        return told, lookup


class SharingTests(LookupsTestCase):
    """One lookup for many."""

    def test_one_for_all(self) -> None:
        """However many join a topic, it is looked up once; another topic, apart."""
        self.join()
        self.join()
        self.join(OTHER)
        self.assertEqual([lookup.topic for lookup in self.network.lookups], [TOPIC, OTHER])
        self.assertEqual(self.topics, [("joined", TOPIC), ("joined", OTHER)])
        self.assertEqual(len(self.shared), 2)
        self.assertTrue(IPeerReceiver.providedBy(self.shared.get(TOPIC)))

    def test_all_are_told(self) -> None:
        """What is found, and the end of a round, is told to everybody."""
        (one, lookup), (two, _) = self.join(), self.join()
        lookup.peer_found(ALICE)
        lookup.lookup_updated()
        self.assertEqual(one.news, [ALICE, "updated"])
        self.assertEqual(two.news, [ALICE, "updated"])

    def test_closed_by_the_last(self) -> None:
        """Who leaves is told no more; the last one closes the lookup, and learns when that is done."""
        (one, lookup), (two, _) = self.join(), self.join()
        self.assertIsNone(self.successResultOf(lookup.unsubscribe(one)))
        lookup.peer_found(ALICE)
        self.assertEqual((one.news, two.news), ([], [ALICE]))
        self.assertIsNone(self.network.lookups[0].closed)
        left = lookup.unsubscribe(two)
        self.assertNoResult(left)
        self.assertEqual((len(self.shared), self.shared.get(TOPIC)), (0, None))
        self.assertEqual(self.topics, [("joined", TOPIC), ("left", TOPIC)])
        closed = self.network.lookups[0].closed
        assert closed is not None
        closed.callback(None)
        self.assertIsNone(self.successResultOf(left))

    def test_join_while_closing(self) -> None:
        """Who joins while the last lookup is being closed gets a new one, and nothing of the old one's."""
        one, old = self.join()
        old.peer_found(ALICE)
        old.unsubscribe(one)
        two, new = self.join()
        old.peer_found(BOB)
        self.assertIsNot(old, new)
        self.assertEqual((two.news, len(self.network.lookups)), ([], 2))

    def test_leave_while_told(self) -> None:
        """A subscriber that leaves because of the news does not keep it from the others."""
        lookup = self.shared.join(TOPIC)
        leavers = [Leaver(lookup) for _ in range(3)]
        for leaver in leavers:
            lookup.subscribe(leaver)
        lookup.peer_found(ALICE)
        self.assertEqual([leaver.news for leaver in leavers], [[ALICE]] * 3)
        self.assertEqual(len(self.shared), 0)

    def test_limit(self) -> None:
        """There are so many topics and no more; to join one that is looked up already costs nothing."""
        self.join()
        told, lookup = self.join(OTHER)
        problem = self.assertRaises(LimitError, self.shared.join, bytes([2]) * 32)
        self.assertEqual((problem.name, problem.limit), ("max_topics_total", 2))
        self.join(OTHER)
        self.assertEqual(len(self.network.lookups), 2)

    def test_room_again(self) -> None:
        """A topic that everybody has left makes room."""
        self.join()
        told, lookup = self.join(OTHER)
        lookup.unsubscribe(told)
        self.join(bytes([2]) * 32)
        self.assertEqual(len(self.shared), 2)

    def test_network_refuses(self) -> None:
        """Where the network refuses, nothing is kept."""
        self.network.closed = True
        self.assertRaises(ClosedError, self.shared.join, TOPIC)
        self.assertEqual((len(self.shared), self.topics), (0, []))

    def test_flushed(self) -> None:
        """Everybody has a Deferred of their own for the round that is under way."""
        _, lookup = self.join()
        one, two = lookup.flushed(), lookup.flushed()
        self.network.lookups[0].rounds[1].callback(None)
        self.assertNoResult(one)
        self.assertIsNone(self.successResultOf(two))


class RoundTests(LookupsTestCase):
    """What is told how often."""

    def test_once_in_a_round(self) -> None:
        """A peer is told of once in each round, however often it is found."""
        told, lookup = self.join()
        for _ in range(3):
            lookup.peer_found(ALICE)
        lookup.peer_found(BOB)
        lookup.lookup_updated()
        lookup.peer_found(ALICE)
        lookup.peer_found(ALICE)
        self.assertEqual(told.news, [ALICE, BOB, "updated", ALICE])

    def test_latecomers(self) -> None:
        """Who comes late is told at once what this round and the one before have found, each peer once."""
        _, lookup = self.join()
        lookup.peer_found(ALICE)
        lookup.peer_found(BOB)
        lookup.lookup_updated()
        lookup.peer_found(CAROL)
        lookup.peer_found(ALICE)
        late, _ = self.join()
        self.assertEqual((len(late.news), set(late.news)), (3, {ALICE, BOB, CAROL}))

    def test_the_newest_news(self) -> None:
        """Of a peer that was found twice, who comes late is told the newer."""
        _, lookup = self.join()
        lookup.peer_found(ALICE)
        lookup.lookup_updated()
        news = Peer(ALICE.id, topics=frozenset({OTHER}))
        lookup.peer_found(news)
        late, _ = self.join()
        self.assertEqual([peer is news for peer in late.news], [True])

    def test_forgotten(self) -> None:
        """Who was not found in two rounds is not told of any more."""
        _, lookup = self.join()
        lookup.peer_found(ALICE)
        lookup.lookup_updated()
        lookup.lookup_updated()
        late, _ = self.join()
        self.assertEqual(late.news, [])

    def test_bounded(self) -> None:
        """Only so many peers of a round are remembered, the last ones; all are told of."""
        self.patch(lookups, "MAX_CACHED_PEERS", 2)
        told, lookup = self.join()
        for peer in (ALICE, BOB, CAROL):
            lookup.peer_found(peer)
        late, _ = self.join()
        self.assertEqual((told.news, late.news), ([ALICE, BOB, CAROL], [BOB, CAROL]))


class RefreshTests(LookupsTestCase):
    """Asking again."""

    def asked(self) -> int:
        """How many rounds the network was asked for beyond the first."""
        return self.network.lookups[0].updates

    def test_floor(self) -> None:
        """However often clients ask, the network is asked once in so many seconds; the first time a bit sooner."""
        _, lookup = self.join()
        asked = []
        for _ in range(25):
            lookup.refresh()
            asked.append(self.asked())
            self.clock.advance(1)
        self.assertEqual(asked, [0] * 2 + [1] * 10 + [2] * 10 + [3] * 3)

    def test_put_off(self) -> None:
        """What was asked for too early is done when it is time, once."""
        _, lookup = self.join()
        asked = []
        for second in range(25):
            if second in (0, 1, 5):
                lookup.refresh()
            asked.append(self.asked())
            self.clock.advance(1)
            self.shared.tick(self.clock.seconds())
        self.assertEqual(asked, [0] * 2 + [1] * 10 + [2] * 13)

    def test_newcomer(self) -> None:
        """What is known may be old when somebody comes later: the network is asked again."""
        self.join()
        self.clock.advance(300)
        self.join()
        self.assertEqual(self.asked(), 1)

    def test_left(self) -> None:
        """For a topic that everybody has left nothing is done any more."""
        told, lookup = self.join()
        lookup.refresh()
        lookup.unsubscribe(told)
        self.clock.advance(5)
        self.shared.tick(self.clock.seconds())
        self.assertEqual(self.asked(), 0)


class IdentityStub:
    """Withdraws as it is told to."""

    def __init__(self, withdrawing: Deferred[None]) -> None:
        self.withdrawing = withdrawing

    def announce(self, topic: bytes) -> object:
        return self

    def withdraw(self, announced: object) -> Deferred[None]:
        return self.withdrawing


class LinkStub:
    """A server's link, as far as a membership knows it."""

    def __init__(self) -> None:
        self.news: list[Any] = []
        self.identity = IdentityStub(succeed(None))

    def peer_found(self, topic: bytes, peer: Peer) -> None:
        self.news.append((topic, peer))

    def lookup_updated(self, topic: bytes) -> None:
        self.news.append(topic)


class MembershipTests(LookupsTestCase):
    """A client's share in a topic."""

    def setUp(self) -> None:
        super().setUp()
        self.link = LinkStub()
        self.membership = Membership(self.link, TOPIC)  # type: ignore[arg-type]

    def test_roles(self) -> None:
        """Its roles are what it does at the moment."""
        self.assertEqual(self.membership.roles, Role(0))
        self.membership.start_lookup(self.shared.join(TOPIC))
        self.assertEqual(self.membership.roles, Role.LOOKUP)
        self.membership.announce()
        self.assertEqual(self.membership.roles, Role.LOOKUP | Role.ANNOUNCE)
        self.membership.stop_lookup()
        self.assertEqual(self.membership.roles, Role.ANNOUNCE)

    def test_news(self) -> None:
        """The lookup's news reach the link with the topic, until it has left."""
        lookup = self.shared.join(TOPIC)
        self.membership.start_lookup(lookup)
        lookup.peer_found(ALICE)
        lookup.lookup_updated()
        self.membership.stop_lookup()
        lookup.peer_found(BOB)
        self.assertEqual(self.link.news, [(TOPIC, ALICE), TOPIC])

    def test_leave(self) -> None:
        """To leave is done when the announcement and the lookup are closed, although one of them fails."""
        closing: Deferred[None] = Deferred()
        self.membership.start_lookup(self.shared.join(TOPIC))
        self.link.identity = IdentityStub(closing)
        self.membership.announce()
        left = self.membership.leave()
        closed = self.network.lookups[0].closed
        assert closed is not None
        closed.callback(None)
        self.assertNoResult(left)
        closing.errback(NotSupportedError())
        self.assertIsNone(self.successResultOf(left))

    def test_stop_twice(self) -> None:
        """What has been stopped, or never began, is stopped at once."""
        self.link.identity = IdentityStub(fail(NotSupportedError()))
        self.membership.announce()
        self.failureResultOf(self.membership.stop_announcement(), NotSupportedError)
        self.successResultOf(self.membership.stop_announcement())
        self.successResultOf(self.membership.stop_lookup())
        self.successResultOf(self.membership.leave())
