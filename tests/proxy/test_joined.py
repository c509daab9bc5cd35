"""Tests for ``spaceswarm_proxy.proxy.joined``: lookups and announcements through a proxy."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import ClosedError, LimitError, LinkLostError, NotSupportedError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.proxy.features import Role
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.proxy.client_world import PEER, ClientWorld, Found
from tests.proxy.world import TOPIC

READY, JOIN, LEAVE = EventType.READY, EventType.JOIN, EventType.LEAVE
OTHER = bytes(reversed(TOPIC))
BOTH = Role.LOOKUP | Role.ANNOUNCE


class JoinedTestCase(SynchronousTestCase):
    """With a link to our own server, which the test plays."""

    ready: dict | None = None

    def setUp(self) -> None:
        self.world = ClientWorld() if self.ready is None else ClientWorld(self.ready)
        self.network = self.world.network
        self.addCleanup(self.check_clean)

    def check_clean(self) -> None:
        self.assertEqual(self.world.close(), [None])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def sent(self, *kinds: int) -> list:
        """What the server got of some kinds, on the newest link."""
        self.world.settle()
        return [frame for frame in self.world.server.frames if frame.type in (kinds or (JOIN, LEAVE))]

    def roles(self) -> list:
        return [event.roles for event in self.sent(JOIN)]

    def answer(self, index: int = -1, **fields: object) -> None:
        """Reply to the JOIN or LEAVE of that number."""
        self.world.server.reply(self.sent()[index].request, **fields)
        self.world.settle()

    def announce(self):
        return self.network.announce(TOPIC)

    def lookup(self, found: Found | None = None):
        return self.network.lookup(TOPIC, found or Found())


class JoinTests(JoinedTestCase):
    """What is sent."""

    def test_roles(self) -> None:
        """Each change is one JOIN with all the roles; the last share that is closed is one LEAVE."""
        lookup, announcement = self.lookup(), self.announce()
        self.assertEqual(self.roles(), [Role.LOOKUP, BOTH])
        lookup.close()
        self.assertEqual(self.roles(), [Role.LOOKUP, BOTH, Role.ANNOUNCE])
        announcement.close()
        self.assertEqual([event.type for event in self.sent()], [JOIN] * 3 + [LEAVE])
        self.assertEqual(self.network._topics, {})

    def test_shared(self) -> None:
        """A second lookup or announcement of a topic is not told to the server, nor the end of one of two."""
        shares = [self.lookup(), self.announce(), self.lookup(), self.announce()]
        self.assertEqual(self.roles(), [Role.LOOKUP, BOTH])
        for share in shares[:2]:
            share.close()
        self.assertEqual(len(self.sent()), 2)

    def test_update(self) -> None:
        """An update is another JOIN with the same roles."""
        lookup, announcement = self.lookup(), self.announce()
        lookup.update()
        announcement.update()
        self.assertEqual(self.roles(), [Role.LOOKUP, BOTH, BOTH, BOTH])

    def test_update_of_what_is_closed(self) -> None:
        """Updating what is closed does nothing."""
        lookup, kept = self.lookup(), self.lookup()
        lookup.close()
        lookup.update()
        self.assertEqual(len(self.sent()), 1)
        kept.close()

    def test_rejoin(self) -> None:
        """After a reconnect everything is joined again, the lookup alone first; what was left meanwhile is not."""
        self.lookup()
        self.announce()
        gone = self.network.lookup(OTHER, Found())
        self.world.settle()
        self.world.cut()
        gone.close()
        self.world.reconnect()
        self.assertEqual([(event.topic, event.roles) for event in self.sent()], [(TOPIC, 1), (TOPIC, 3)])

    def test_close_while_offline(self) -> None:
        """What is closed while the link is down is closed at once."""
        lookup = self.lookup()
        self.world.cut()
        self.assertIsNone(self.successResultOf(lookup.close()))

    def test_topic_is_checked(self) -> None:
        """A topic that is not 32 bytes is refused here."""
        self.assertRaises(ValueError, self.network.lookup, b"short", Found())


class FlushedTests(JoinedTestCase):
    """The server's answers."""

    def test_reply(self) -> None:
        """``flushed`` fires when the server has replied, for all who wait and who ask later."""
        lookup = self.lookup()
        before = lookup.flushed()
        self.world.settle()
        self.assertNoResult(before)
        self.answer()
        for each in (before, lookup.flushed(), self.lookup().flushed()):
            self.assertIsNone(self.successResultOf(each))

    def test_refused(self) -> None:
        """A refusal is the failure, typed: a limit with its name and value."""
        lookup = self.lookup()
        waiting = lookup.flushed()
        self.answer(code="limit", data=b"max_topics=256")
        for each in (waiting, lookup.flushed()):
            problem = self.failureResultOf(each, LimitError).value
            self.assertEqual((problem.name, problem.limit), ("max_topics", 256))

    def test_announcement_refused(self) -> None:
        """That we can't be announced does not concern the lookup."""
        lookup, announcement = self.lookup(), self.announce()
        self.answer(0)
        self.answer(1, code="not-supported", data=b"no")
        self.successResultOf(lookup.flushed())
        self.failureResultOf(announcement.flushed(), NotSupportedError)

    def test_answers_out_of_order(self) -> None:
        """The answer to the last JOIN for a role counts; an earlier one's that comes late does not."""
        announcement = self.announce()
        announcement.update()
        waiting = announcement.flushed()
        self.answer(0, code="error", data=b"late")
        self.assertNoResult(waiting)
        self.answer(1)
        self.successResultOf(waiting)

    def test_update_asks_anew(self) -> None:
        """After an update ``flushed`` waits for the new answer."""
        lookup = self.lookup()
        self.answer()
        lookup.update()
        waiting = lookup.flushed()
        self.assertNoResult(waiting)
        self.answer()
        self.successResultOf(waiting)

    def test_closed_lookup_does_not_fail_the_announcement(self) -> None:
        """A JOIN for both that fails because the lookup was closed meanwhile says nothing about the announcement."""
        lookup, announcement = self.lookup(), self.announce()
        waiting = announcement.flushed()
        lookup.close()
        self.answer(1, code="closed", data=b"closed by its owner")
        self.assertNoResult(waiting)
        self.answer(2)
        self.successResultOf(waiting)

    def test_closed_and_looked_up_again(self) -> None:
        """The answers to a lookup that was closed say nothing about the next."""
        self.lookup().close()
        waiting = self.lookup().flushed()
        self.answer(0, code="closed", data=b"closed by its owner")
        self.answer(1)
        self.assertNoResult(waiting)
        self.answer(2)
        self.successResultOf(waiting)

    def test_link_lost(self) -> None:
        """When the link is lost, ``flushed`` waits for the next, and what was flushed is not any more."""
        pending, done = self.lookup(), self.network.lookup(OTHER, Found())
        waiting = pending.flushed()
        self.answer(1)
        self.world.reconnect()
        again = done.flushed()
        for each in (waiting, again):
            self.assertNoResult(each)
        for index in (0, 1):
            self.answer(index)
        for each in (waiting, again):
            self.successResultOf(each)

    def test_cancelled(self) -> None:
        """One who gives up waiting harms nobody."""
        lookup = self.lookup()
        cancelled, kept = lookup.flushed(), lookup.flushed()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.answer()
        self.successResultOf(kept)

    def test_close(self) -> None:
        """``close`` fires when the server has answered, whatever it says; who waited fails with ``ClosedError``."""
        for fields in ({}, {"code": "error", "data": b"?"}):
            lookup = self.lookup()
            waiting, closing = lookup.flushed(), lookup.close()
            self.failureResultOf(waiting, ClosedError)
            self.failureResultOf(lookup.flushed(), ClosedError)
            self.assertNoResult(closing)
            self.answer(**fields)
            self.assertIsNone(self.successResultOf(closing))
            self.assertIsNone(self.successResultOf(lookup.close()))

    def test_close_when_the_link_goes(self) -> None:
        """A link that is lost has left for us."""
        closing = self.lookup().close()
        self.world.cut()
        self.assertIsNone(self.successResultOf(closing))

    def test_server_closing(self) -> None:
        """A server that refuses with the code ``closed`` is a refusal; the share is still ours to close."""
        lookup = self.lookup()
        self.answer(code="closed", data=b"the server is closing")
        self.failureResultOf(lookup.flushed(), ClosedError)
        lookup.close()
        self.assertEqual([event.type for event in self.sent()], [JOIN, LEAVE])


class ReceiverTests(JoinedTestCase):
    """What the receiver is told."""

    def test_news(self) -> None:
        """ON_PEER and ON_UPDATED go to every lookup of the topic, and no other."""
        one, two, other = Found(), Found(), Found()
        self.lookup(one)
        self.lookup(two)
        self.network.lookup(OTHER, other)
        self.world.server.found()
        self.world.server.updated()
        self.world.server.found(b"192.0.2.1:80")
        self.world.settle()
        for found in (one, two):
            self.assertEqual((found.peers, found.rounds), ([PEER, Peer.at("192.0.2.1", 80)], 1))
            self.assertEqual(found.peers[0].topics, frozenset({TOPIC}))
        self.assertEqual((other.peers, other.rounds), ([], 0))

    def test_unknown_topics(self) -> None:
        """News of topics that nobody looks up, or of none, are ignored."""
        self.world.server.found()
        self.world.server.found(topic=b"short")
        self.world.server.updated(None)
        self.world.settle()
        self.assertTrue(self.network.status().online)

    def test_newcomer(self) -> None:
        """A second lookup hears of who was found in this round or the one before, in a later turn."""
        self.lookup()
        for number in range(3):
            self.world.server.found(b"peer %d" % number)
            self.world.server.updated()
        self.world.settle()
        self.world.server.found(b"peer 3")
        self.world.settle()
        found, closed = Found(), Found()
        self.lookup(found)
        self.lookup(closed).close()
        self.assertEqual(found.peers, [])
        self.world.settle()
        self.assertEqual([peer.id for peer in found.peers], [b"peer 2", b"peer 3"])
        self.assertEqual(closed.peers, [])

    def test_newcomer_when_all_is_closed(self) -> None:
        """Closing the network before a newcomer was told leaves nothing behind."""
        self.lookup()
        self.world.server.found()
        self.world.settle()
        found = Found()
        self.lookup(found)
        self.network.close()
        self.world.settle()
        self.assertEqual(found.peers, [])

    def test_memory_is_bounded(self) -> None:
        """No more than max_peers are remembered, however many a server tells of."""
        self.world = ClientWorld(limits=Limits(max_peers=3))
        self.network = self.world.network
        first, second = Found(), Found()
        self.lookup(first)
        for number in range(10):
            self.world.server.found(b"peer %d" % number)
        self.world.settle()
        self.lookup(second)
        self.world.settle()
        self.assertEqual((len(first.peers), len(second.peers)), (10, 3))

    def test_reconnect_forgets(self) -> None:
        """Peers of a link that is lost mean nothing on the next one."""
        self.lookup()
        self.world.server.found()
        self.world.reconnect()
        found = Found()
        self.lookup(found)
        self.world.settle()
        self.assertEqual(found.peers, [])

    def test_receiver_that_raises(self) -> None:
        """A receiver that raises harms neither the link nor the other receivers, and is logged."""

        class Bad(Found):
            def peer_found(self, peer: Peer) -> None:
                raise ZeroDivisionError

            def lookup_updated(self) -> None:
                raise ZeroDivisionError

        found = Found()
        self.lookup(Bad())
        self.lookup(found)
        self.world.server.found()
        self.world.server.updated()
        self.world.settle()
        self.lookup(Bad())
        self.world.settle()
        self.assertEqual((len(found.peers), found.rounds), (1, 1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        self.assertEqual(self.world.told, [None])

    def test_closed_by_another_receiver(self) -> None:
        """A lookup that another one's receiver closes hears no more, not even of the same peer."""
        closed = Found()

        class Closer(Found):
            def peer_found(self, peer: Peer) -> None:
                lookup.close()

        self.lookup(Closer())
        lookup = self.lookup(closed)
        self.world.server.found()
        self.world.settle()
        self.assertEqual(closed.peers, [])

    def test_network_closed_by_a_receiver(self) -> None:
        """A receiver may close the whole network."""
        network = self.network

        class Closer(Found):
            def peer_found(self, peer: Peer) -> None:
                super().peer_found(peer)
                network.close()

        closer, other = Closer(), Found()
        self.lookup(closer)
        self.lookup(other)
        self.world.server.found()
        self.world.server.found(b"another")
        self.world.settle()
        self.assertEqual((len(closer.peers), len(other.peers)), (1, 0))


class JavaScriptTests(JoinedTestCase):
    """With a server that says nothing in its READY."""

    ready = {}

    def test_plain_joins(self) -> None:
        """JOIN has nothing but its topic and is sent once, after READY; its ``flushed`` fires when it is sent."""
        lookup = self.lookup()
        self.lookup()
        self.successResultOf(lookup.flushed())
        self.assertEqual(self.sent(), [Event(JOIN, topic=TOPIC)])
        self.assertEqual(self.world.server.kinds(), [READY, JOIN])

    def test_joined_once_again(self) -> None:
        """On the next link it is joined once again."""
        self.lookup()
        self.announce()
        self.world.reconnect({})
        self.assertEqual(self.world.server.kinds(), [READY, JOIN])

    def test_announcing_is_not_supported(self) -> None:
        """An announcement fails with ``NotSupportedError``, and nothing is sent for it."""
        announcement = self.announce()
        self.failureResultOf(announcement.flushed(), NotSupportedError)
        announcement.update()
        announcement.close()
        self.assertEqual(self.sent(), [])
        self.assertFalse(self.network.status().announces)

    def test_left_when_nobody_looks(self) -> None:
        """LEAVE is sent with the last lookup, though an announcement that came to nothing is still open."""
        announcement, lookup = self.announce(), self.lookup()
        lookup.close()
        self.assertEqual([event.type for event in self.sent()], [JOIN, LEAVE])
        announcement.close()
        self.assertEqual(len(self.sent()), 2)

    def test_announced_on_a_better_link(self) -> None:
        """When the next server can announce, it does."""
        announcement = self.announce()
        self.world.reconnect()
        waiting = announcement.flushed()
        self.answer()
        self.successResultOf(waiting)


class LostTests(SynchronousTestCase):
    """Errors of the link."""

    def test_refusal_of_the_link(self) -> None:
        """A link that the server closes with a reason takes nothing with it: lookups wait for the next."""
        world = ClientWorld()
        waiting = world.network.lookup(TOPIC, Found()).flushed()
        world.settle()
        world.server.reply(0, code="draining", data=b"soon")
        world.settle()
        self.assertNoResult(waiting)
        self.assertNotIsInstance(world.told[1], LinkLostError)
        world.close()
        self.failureResultOf(waiting, ClosedError)
