"""
Tests of spaceswarm_proxy.dht.query: the walk.

What it writes is in ``test_query_writing.py``, and how it does among real nodes in ``test_query_in_world.py``.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.message import Response
from spaceswarm_proxy.dht.query import CONCURRENCY, MAX_ASKED, MAX_SEEN, QUERY_RETRIES, SLOWED_CONCURRENCY, QueryReply
from spaceswarm_proxy.dht.table import K
from spaceswarm_proxy.errors import ClosedError, LimitError, SuspendedError
from tests.dht.walk import NODES, Walk


class OrderTests(SynchronousTestCase):
    """Whom a query asks, and when."""

    def test_nearest_first(self) -> None:
        """Of all nodes that are known the nearest is asked next, whoever told of it; ten are asked at a time."""
        walk = Walk(NODES[40:60])
        walk.start()
        self.assertEqual(walk.asked, NODES[40:50])
        walk.answer(NODES[45], [NODES[30], NODES[10], NODES[20]])
        self.assertEqual(walk.asked[10:], [NODES[10]])
        walk.answer(NODES[40], [NODES[70], NODES[5]])
        walk.answer(NODES[41])
        walk.answer(NODES[42])
        self.assertEqual(walk.asked[11:], [NODES[5], NODES[20], NODES[30]])

    def test_once(self) -> None:
        """No node is asked twice, nor is one that must not be: ourselves, one with port 0, one that is shunned."""
        own = NODES[3]
        never = [own, address_of("10.0.0.9", 0), address_of("150.136.142.116", 9)]
        walk = Walk([*never, NODES[0]])
        walk.own_id = contact_at(own).id
        walk.start([*never, NODES[0], NODES[0]])
        self.assertEqual(walk.asked, [NODES[0]])
        walk.answer(NODES[0], [*never, NODES[0], NODES[1], NODES[1]])
        self.assertEqual(walk.asked, [NODES[0], NODES[1]])

    def test_not_farther(self) -> None:
        """When twenty have answered, nobody is asked who is farther than these."""
        walk = Walk(NODES[:K])
        walk.start()
        for address in NODES[: K - 1]:
            walk.answer(address, NODES[K : 2 * K])
        self.assertEqual(walk.waiting, [NODES[K - 1], *NODES[K : K + 9]])
        walk.answer(NODES[K - 1])
        for address in NODES[K : K + 9]:
            walk.answer(address)
        self.assertEqual(walk.asked, NODES[: K + 9])
        self.assertEqual((walk.ends, walk.query.closest_addresses), ([None], NODES[:K]))

    def test_slow(self) -> None:
        """For each node that takes its time, another one is asked; the slow one may answer all the same."""
        walk = Walk(NODES[:20])
        walk.start()
        for address in NODES[:3]:
            walk.miss(address)
            walk.miss(address)
        self.assertEqual(walk.asked, NODES[:13])
        walk.answer(NODES[0])
        self.assertEqual(walk.asked, NODES[:13])
        walk.answer(NODES[5])
        self.assertEqual(walk.asked, NODES[:14])

    def test_not_for_the_slow(self) -> None:
        """When the twenty nearest have answered, those that are slow are waited for no more."""
        walk = Walk(NODES[:K])
        walk.start()
        walk.miss(NODES[0])
        for address in NODES[1:K]:
            walk.answer(address, [NODES[K]])
        self.assertEqual(walk.ends, [])
        walk.answer(NODES[K])
        self.assertEqual((walk.ends, walk.open), ([None], []))

    def test_background(self) -> None:
        """A query of the node's own upkeep asks two at a time while others have something to do."""
        walk = Walk(NODES[:20], background=True)
        walk.others_under_way = 3
        walk.start()
        self.assertEqual(len(walk.open), 2)
        walk.others_under_way = 0
        walk.answer(NODES[0])
        self.assertEqual(len(walk.open), CONCURRENCY)

    def test_patience(self) -> None:
        """Nodes are asked six times, seconds apart, before they are given up."""
        walk = Walk(NODES[:3])
        walk.start()
        self.assertEqual({(request.retries, request.timeout) for request in walk.open}, {(QUERY_RETRIES, None)})


class BeginningTests(SynchronousTestCase):
    """Where a query begins."""

    def test_bootstrap(self) -> None:
        """The bootstrap nodes are asked only where the table has too few."""
        walk = Walk(NODES[:K], bootstrap=NODES[-3:])
        walk.start()
        for address in NODES[:K]:
            walk.answer(address)
        self.assertEqual(walk.asked, NODES[:K])
        walk = Walk(NODES[: K - 1], bootstrap=NODES[-3:])
        walk.start()
        while walk.open:
            walk.answer(walk.waiting[0], id=False)
        self.assertEqual(walk.asked, [*NODES[: K - 1], *NODES[-3:]])

    def test_given(self) -> None:
        """Given nodes are tried before the table; after the first ten, three at a time, as they mostly are right."""
        walk = Walk(NODES[100:])
        walk.start(NODES[:K])
        for _ in range(CONCURRENCY - SLOWED_CONCURRENCY):
            walk.answer(walk.waiting[0])
        self.assertEqual((len(walk.asked), len(walk.open)), (CONCURRENCY, SLOWED_CONCURRENCY))
        for _ in range(SLOWED_CONCURRENCY):
            walk.answer(walk.waiting[0])
        self.assertEqual(len(walk.open), CONCURRENCY)
        while walk.open:
            walk.answer(walk.waiting[0])
        self.assertEqual((walk.asked, walk.ends), (NODES[:K], [None]))

    def test_given_are_gone(self) -> None:
        """Where fewer than five of the given nodes answer, the table's are asked too."""
        walk = Walk(NODES[100:110])
        walk.start(NODES[:K])
        for number, address in enumerate(NODES[:K]):
            if number < 4:
                walk.answer(address)
            else:
                walk.fail(address)
        self.assertEqual((walk.waiting, walk.ends), (NODES[100:110], []))

    def test_only_given(self) -> None:
        """Where only given nodes are wanted, neither table nor bootstrap nodes are asked."""
        walk = Walk(NODES[100:], bootstrap=NODES[-3:])
        walk.start(NODES[:2], only_nodes=True)
        walk.fail(NODES[0])
        walk.fail(NODES[1])
        self.assertEqual((walk.asked, walk.ends), (NODES[:2], [None]))

    def test_nobody(self) -> None:
        """Where nobody is known, a query ends while it begins."""
        walk = Walk()
        walk.start()
        self.assertEqual((walk.ends, walk.ended_queries, walk.silent_networks), ([None], 1, 0))

    def test_nothing_can_be_sent(self) -> None:
        """What keeps the first request from being sent is what the query ends with, while it begins."""
        for problem in (LimitError("max_requests"), SuspendedError()):
            walk = Walk(NODES[:K])
            walk.problem = problem
            walk.start()
            self.assertEqual((walk.ends, walk.open, walk.ended_queries), ([problem], [], 1))


class AnswerTests(SynchronousTestCase):
    """What an answer counts for."""

    def test_counts(self) -> None:
        """Only who answers without an error, and tells its id, is among the nearest; others point the way too."""
        walk = Walk(NODES[10:13])
        walk.start()
        walk.answer(NODES[10], [NODES[0]])
        walk.answer(NODES[11], [NODES[1]], id=False)
        walk.answer(NODES[12], [NODES[2]], error=1)
        self.assertEqual(walk.waiting, NODES[:3])
        self.assertEqual((walk.query.successes, walk.query.errors), (2, 1))
        self.assertEqual([reply.contact.address for reply in walk.replies], NODES[10:12])
        self.assertEqual(walk.query.closest_addresses, [NODES[10]])

    def test_dead(self) -> None:
        """Whoever told of a dead node is told so, then or later; the node's own table is told each time."""
        walk = Walk(NODES[10:14])
        walk.start()
        walk.answer(NODES[10], [NODES[0]])
        walk.answer(NODES[11], [NODES[0], NODES[1]])
        walk.fail(NODES[0])
        self.assertEqual(walk.hints, [(NODES[0], NODES[10]), (NODES[0], NODES[11])])
        walk.answer(NODES[12], [NODES[0]])
        self.assertEqual(walk.hints[2:], [(NODES[0], NODES[12])])
        walk.answer(NODES[1], [NODES[1], NODES[10]])
        walk.fail(NODES[13])
        self.assertEqual((len(walk.hints), walk.unanswered_nodes), (3, [NODES[0], NODES[13]]))
        self.assertEqual((walk.query.successes, walk.query.errors, walk.ends), (4, 2, [None]))

    def test_silent_network(self) -> None:
        """When nobody at all answers, the query ends without a problem, and the node is told."""
        walk = Walk(NODES[:3])
        walk.start()
        for address in NODES[:3]:
            walk.fail(address)
        self.assertEqual((walk.ends, walk.silent_networks), ([None], 1))

    def test_nothing_is_left(self) -> None:
        """When it has ended, whoever was in its way is forgotten; a late answer is nobody's."""
        walk = Walk(NODES[:5])
        walk.start()
        late = walk.open[0]
        walk.fail(NODES[1], ClosedError())
        self.assertIsInstance(walk.ends[0], ClosedError)
        late.owner.answered(late, Response(b"tt", NODES[0], None, None, NODES[6:9], 0, None), walk.now)
        self.assertEqual((walk.open, walk.replies, len(walk.ends), walk.ended_queries), ([], [], 1, 1))
        self.assertEqual((walk.query.successes, walk.query._candidates, walk.query._referrers), (0, [], {}))


class CancelTests(SynchronousTestCase):
    """Queries that are wanted no more."""

    def test_cancel(self) -> None:
        """Nothing of a query that is cancelled is left, and nobody is told; again is nothing."""
        walk = Walk(NODES[:30])
        walk.start()
        walk.answer(NODES[0])
        for _ in range(2):
            walk.query.cancel()
        self.assertEqual((walk.open, walk.ends, walk.ended_queries), ([], [], 1))
        self.assertTrue(walk.query.ended)

    def test_within_reply(self) -> None:
        """It may be cancelled by whoever is told of a reply."""

        def on_reply(reply: QueryReply, now: float) -> None:
            walk.query.cancel()

        walk = Walk(NODES[:30], on_reply=on_reply)
        walk.start()
        walk.answer(NODES[0], NODES[30:50])
        self.assertEqual((walk.open, walk.ends, walk.ended_queries), ([], [], 1))

    def test_within_end(self) -> None:
        """At its end it can be cancelled without harm, and another one begun."""
        second = Walk(NODES[:3])

        def on_end(problem: object, now: float) -> None:
            walk.query.cancel()
            second.start()

        walk = Walk(NODES[:1], on_end=on_end)
        walk.start()
        walk.answer(NODES[0])
        self.assertEqual((walk.ended_queries, second.waiting), (1, NODES[:3]))


class LiarTests(SynchronousTestCase):
    """Nodes that would keep a query busy for ever."""

    def endless(self, walk: Walk, answering: bool) -> None:
        """Everybody names ten others that nobody has heard of; these answer without an id, or do not."""
        chance = Random(1)
        walk.start()
        while walk.open:
            made_up = [chance.randbytes(5) + b"\x01" for _ in range(10)]
            if answering or walk.waiting[0] in NODES:
                walk.answer(walk.waiting[0], made_up, id=False)
            else:
                walk.fail(walk.waiting[0])
            self.assertLessEqual(len(walk.open), CONCURRENCY)
            self.assertLessEqual(len(walk.query._referrers), MAX_SEEN)
            self.assertLessEqual(len(walk.query._candidates), MAX_SEEN)

    def test_endless(self) -> None:
        """A query that hears of new nodes for ever asks a bounded number of them, and ends."""
        walk = Walk(NODES[:K])
        self.endless(walk, True)
        self.assertEqual((walk.query.asked, walk.ends), (MAX_ASKED, [None]))

    def test_made_up(self) -> None:
        """Nodes that do not exist cost no more than their number."""
        walk = Walk(NODES[:K])
        self.endless(walk, False)
        self.assertEqual((walk.query.asked, walk.query.errors, walk.ends), (K + 200, 200, [None]))

    def test_same_again(self) -> None:
        """Who names the same node again and again has it asked once, and has one hint at most for each time."""
        walk = Walk(NODES[10:20])
        walk.start()
        for address in NODES[10:20]:
            walk.answer(address, [NODES[0]] * 20)
        walk.fail(NODES[0])
        self.assertEqual(walk.asked.count(NODES[0]), 1)
        self.assertLessEqual(len(walk.hints), 200)


class AnyNetworkTests(SynchronousTestCase):
    """Whatever the nodes do."""

    @settings(deadline=None, max_examples=80)
    @given(st.data())
    def test_any_network(self, data: st.DataObject) -> None:
        """Every query ends once, has asked nobody twice, and has the nearest of those who answered truly, in order."""
        draw = data.draw
        nodes = NODES[:: draw(st.integers(4, 60))]
        some = st.lists(st.sampled_from(nodes), max_size=20)
        walk = Walk(draw(some), draw(some), background=draw(st.booleans()))
        walk.start(draw(some), draw(st.booleans()))
        true = set()
        chance = Random(draw(st.integers(0, 1000)))
        while walk.open:
            address = chance.choice(walk.waiting)
            closer = chance.sample(nodes, chance.randrange(min(len(nodes), 20)))
            behaviour = chance.randrange(8)
            if behaviour == 0:
                walk.fail(address)
            elif behaviour == 1:
                walk.miss(address)
            elif behaviour == 2:
                walk.answer(address, closer, id=False)
            elif behaviour == 3:
                walk.answer(address, closer, error=1)
            else:
                true.add(address)
                walk.answer(address, closer)
        self.assertEqual((walk.ends, walk.ended_queries), ([None], 1))
        self.assertEqual(len(set(walk.asked)), len(walk.asked))
        self.assertEqual(walk.query.closest_addresses, [address for address in NODES if address in true][:K])

    @settings(deadline=None, max_examples=40)
    @given(st.integers(0, 60), st.integers(0, 1000))
    def test_cancelled_any_time(self, steps: int, seed: int) -> None:
        """After whatever has happened, nothing is left of a query that is cancelled then."""
        chance = Random(seed)
        walk = Walk(NODES[:8])
        walk.start()
        while steps and walk.open:
            steps -= 1
            [walk.miss, walk.fail, walk.answer][chance.randrange(3)](chance.choice(walk.waiting))
        ends = list(walk.ends)
        walk.query.cancel()
        self.assertEqual((walk.open, walk.ends, walk.ended_queries), ([], ends, 1))
