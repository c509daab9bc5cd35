"""Tests of ``spaceswarm_proxy.swarm.search``, ``searches`` and ``discovery``, through a swarm."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import ClosedError, LimitError, NotSupportedError
from spaceswarm_proxy.swarm.discovery import TopicStatus
from tests.swarm.fake import OTHER_TOPIC, TOPIC, FixedRandom, Scene, keyed


class JoinTests(SynchronousTestCase):
    """Joining and leaving topics."""

    def test_both(self) -> None:
        """Joined as both, a topic is looked for and announced; when both are done, it is flushed."""
        scene = Scene()
        scene.network.eager = False
        flushed = scene.join().flushed()
        self.assertEqual(scene.swarm.topics, (TOPIC,))
        self.assertIsNotNone(scene.network.listener)
        scene.lookup.complete()
        self.assertNoResult(flushed)
        self.assertEqual(scene.swarm.status(TOPIC), TopicStatus(TOPIC, True, True, False))
        scene.announcement.complete()
        self.assertIs(self.successResultOf(flushed), True)
        self.assertEqual(scene.swarm.status(TOPIC), TopicStatus(TOPIC, True, True, True))

    def test_one(self) -> None:
        """Joined as one of both, only that is done."""
        scene = Scene()
        scene.join(server=False)
        self.assertEqual((len(scene.network.lookups), scene.network.announcements), (1, []))
        self.assertIsNone(scene.network.listener)
        scene.swarm.join(OTHER_TOPIC, client=False)
        self.assertEqual((len(scene.network.lookups), len(scene.network.announcements)), (1, 1))

    def test_neither(self) -> None:
        """Neither is a mistake, and so is what isn't a topic."""
        scene = Scene()
        self.assertRaises(ValueError, scene.join, server=False, client=False)
        self.assertRaises(ValueError, scene.swarm.join, b"short")
        self.assertEqual(scene.swarm.topics, ())

    def test_sessions_share(self) -> None:
        """Two joins share a lookup and an announcement; the roles are those of either."""
        scene = Scene()
        first = scene.join(server=False)
        second = scene.join(client=False)
        self.assertEqual((len(scene.network.lookups), len(scene.network.announcements)), (1, 1))
        first.destroy()
        self.assertEqual((scene.lookup.closed, scene.announcement.closed), (True, False))
        self.assertEqual(scene.swarm.status(TOPIC), TopicStatus(TOPIC, False, True, True))
        self.successResultOf(second.destroy())
        self.assertTrue(scene.announcement.closed)
        self.assertEqual(scene.swarm.topics, ())

    def test_destroy_twice(self) -> None:
        """Destroying a session twice takes back one join only."""
        scene = Scene()
        first, _ = scene.join(), scene.join()
        self.successResultOf(first.destroy())
        self.successResultOf(first.destroy())
        self.assertEqual(scene.swarm.topics, (TOPIC,))
        self.assertRaises(ClosedError, first.refresh)

    def test_leave(self) -> None:
        """Leaving ends all sessions, whatever their number, when the network knows; they are of no more use."""
        scene = Scene()
        first, _ = scene.join(), scene.join()
        scene.announcement.slow_to_close = True
        leaving = scene.swarm.leave(TOPIC)
        self.assertTrue(scene.lookup.closed and scene.announcement.closed)
        self.assertIsNone(scene.swarm.status(TOPIC))
        again = scene.swarm.leave(TOPIC)
        self.assertNoResult(leaving)
        self.assertNoResult(again)
        scene.announcement.closing.callback(None)
        self.successResultOf(leaving)
        self.successResultOf(again)
        self.successResultOf(scene.swarm.leave(TOPIC))
        self.assertRaises(ClosedError, first.refresh)
        self.successResultOf(first.destroy())
        self.assertEqual(scene.clock.getDelayedCalls(), [])

    def test_leave_while_searching(self) -> None:
        """Whoever waits for a refresh of a topic that is left hears that it failed."""
        scene = Scene()
        scene.network.eager = False
        flushed = scene.join().flushed()
        scene.swarm.leave(TOPIC)
        self.assertIs(self.successResultOf(flushed), False)

    def test_join_while_leaving(self) -> None:
        """A topic that is joined again while it is being left waits for that: the old must not undo the new."""
        scene = Scene()
        scene.join()
        old = scene.announcement
        old.slow_to_close = True
        scene.swarm.leave(TOPIC)
        scene.join()
        scene.swarm.leave(TOPIC)
        flushed = scene.join().flushed()
        self.assertEqual(len(scene.network.announcements), 1)
        self.assertNoResult(flushed)
        old.closing.callback(None)
        self.assertEqual(len(scene.network.announcements), 2)
        self.assertIs(self.successResultOf(flushed), True)

    def test_bad_end(self) -> None:
        """A lookup that can't be closed is left all the same."""
        scene = Scene()
        scene.join()
        scene.announcement.slow_to_close = True
        leaving = scene.swarm.leave(TOPIC)
        scene.announcement.closing.errback(LimitError("x"))
        self.successResultOf(leaving)

    def test_reports_of_the_left(self) -> None:
        """What a lookup reports after the topic was left is ignored."""
        scene = Scene()
        scene.join()
        scene.swarm.leave(TOPIC)
        scene.lookup.find(keyed(1))
        scene.lookup.receiver.lookup_updated()
        self.assertEqual(scene.told, [])

    def test_updated(self) -> None:
        """The end of a lookup's round is told."""
        scene = Scene()
        scene.join()
        scene.lookup.receiver.lookup_updated()
        self.assertEqual(scene.told, [("updated", TOPIC)])


class RefreshTests(SynchronousTestCase):
    """Asking again."""

    def test_refresh(self) -> None:
        """A refresh asks again for both."""
        scene = Scene()
        session = scene.join()
        before = scene.lookup.updates
        self.assertNoResult(session.refresh())
        self.assertEqual((scene.lookup.updates, scene.announcement.updates), (before + 1, 1))
        self.assertEqual((len(scene.network.lookups), len(scene.network.announcements)), (1, 1))

    def test_looks_again(self) -> None:
        """Who can be found now looks once more: somebody may have begun at the same moment; refreshes do not."""
        scene = Scene()
        session = scene.join()
        self.assertEqual(1, scene.lookup.updates)
        session.refresh()
        self.assertEqual(2, scene.lookup.updates)
        alone = Scene()
        alone.join(server=False)
        self.assertEqual(0, alone.lookup.updates)

    def test_under_way(self) -> None:
        """A refresh during a refresh is the same one."""
        scene = Scene()
        scene.network.eager = False
        session = scene.join(server=False)
        first, second = session.refresh(), session.flushed()
        self.assertEqual(scene.lookup.updates, 0)
        scene.lookup.complete()
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (True, True))

    def test_roles_change(self) -> None:
        """A change of roles ends what is not wanted any more and begins what is, at once, refresh under way or not."""
        scene = Scene()
        scene.network.eager = False
        session = scene.join(server=False)
        flushed = session.flushed()
        session.refresh(server=True, client=False)
        self.assertTrue(scene.lookup.closed)
        self.assertNoResult(flushed)
        scene.announcement.complete()
        self.assertIs(self.successResultOf(flushed), True)
        self.assertRaises(ValueError, session.refresh, server=False)

    def test_back_and_forth(self) -> None:
        """An announcement is made again only when the one before it has been taken back."""
        scene = Scene()
        session = scene.join()
        old = scene.announcement
        old.slow_to_close = True
        session.refresh(server=False)
        session.refresh(server=True)
        self.assertEqual(len(scene.network.announcements), 1)
        old.closing.callback(None)
        self.assertEqual(len(scene.network.announcements), 2)

    def test_by_itself(self) -> None:
        """The next refresh comes ten minutes after the last was complete, plus up to two by chance."""
        for part, delay in ((0.0, 600), (0.5, 660), (1.0, 720)):
            scene = Scene(random=FixedRandom(part))
            scene.join(server=False)
            scene.advance(delay - 1)
            self.assertEqual(scene.lookup.updates, 0)
            scene.advance(1)
            self.assertEqual(scene.lookup.updates, 1)
            scene.lookup.complete()
            scene.advance(delay)
            self.assertEqual(scene.lookup.updates, 2)

    def test_after_sleep(self) -> None:
        """When the timer is more than 30 seconds late, the machine was asleep: only the part by chance counts."""
        scene = Scene(random=FixedRandom(0.5))
        scene.join(server=False)
        scene.advance(660 + 31)
        self.assertEqual(scene.lookup.updates, 0)
        scene.advance(60)
        self.assertEqual(scene.lookup.updates, 1)

    def test_a_little_late(self) -> None:
        """A timer that is 30 seconds late is just late."""
        scene = Scene()
        scene.join(server=False)
        scene.advance(630)
        self.assertEqual(scene.lookup.updates, 1)

    def test_failed(self) -> None:
        """A lookup that was refused makes the refresh fail, is told in the status, and made anew the next time."""
        scene = Scene()
        scene.network.eager = False
        session = scene.join(server=False)
        flushed = session.flushed()
        scene.lookup.complete(LimitError("max_topics", 3))
        self.assertIs(self.successResultOf(flushed), False)
        self.assertIs(self.successResultOf(session.flushed()), False)
        status = scene.swarm.status(TOPIC)
        assert status is not None
        self.assertIn("cannot look up: the limit max_topics is reached (3)", status.degraded)
        scene.network.eager = True
        self.assertIs(self.successResultOf(session.refresh()), True)
        self.assertEqual(len(scene.network.lookups), 2)
        self.assertTrue(scene.network.lookups[0].closed)

    def test_unexpected(self) -> None:
        """A network that fails in a way of its own makes the refresh fail, and is logged."""
        scene = Scene()
        scene.network.eager = False
        flushed = scene.join(server=False).flushed()
        scene.lookup.complete(ZeroDivisionError())
        self.assertIs(self.successResultOf(flushed), False)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_network_closed(self) -> None:
        """Joining on a network that is closed fails, but does not raise."""
        scene = Scene()

        def lookup(topic: bytes, receiver: object) -> None:
            raise ClosedError()

        scene.network.lookup = lookup  # type: ignore[method-assign, assignment]
        self.assertIs(self.successResultOf(scene.join().flushed()), False)

    def test_network_connected(self) -> None:
        """When the network becomes reachable, all topics are asked for again."""
        scene = Scene()
        scene.join()
        scene.swarm.join(OTHER_TOPIC, server=False)
        before = [lookup.updates for lookup in scene.network.lookups]
        scene.network.go_online()
        self.assertEqual([lookup.updates for lookup in scene.network.lookups], [count + 1 for count in before])
        self.assertEqual(scene.announcement.updates, 1)


class LimitTests(SynchronousTestCase):
    """How many new peers a refresh may bring."""

    def test_limit(self) -> None:
        """No more new peers than the limit are handed on; the same ones may be reported again."""
        scene = Scene(max_parallel=9)
        scene.join(server=False, limit=2)
        scene.lookup.find(*(keyed(number) for number in (1, 1, 2, 3, 1, 4)))
        self.assertEqual(scene.network.dialled, [keyed(1), keyed(2)])

    def test_next_round(self) -> None:
        """The next refresh may bring as many again, less those of the last that are connected."""
        scene = Scene(max_parallel=9)
        session = scene.join(server=False, limit=2)
        scene.lookup.find(keyed(1), keyed(2))
        scene.network.attempt_to(keyed(1)).open()
        scene.network.attempt_to(keyed(2)).fail()
        session.refresh()
        scene.lookup.find(keyed(1), keyed(3), keyed(4))
        self.assertEqual(scene.network.dialled[2:], [keyed(3)])

    def test_highest_of_sessions(self) -> None:
        """Of several joins the most generous counts, from the next refresh."""
        scene = Scene(max_parallel=9)
        scene.join(server=False, limit=1)
        scene.join(limit=None)
        scene.lookup.find(*(keyed(number) for number in range(5)))
        self.assertEqual(len(scene.network.dialled), 5)

    def test_changed(self) -> None:
        """A refresh may change the limit, and keeps it if it says nothing of it."""
        scene = Scene(max_parallel=9)
        session = scene.join(server=False, limit=1)
        session.refresh(limit=3)
        session.refresh()
        scene.lookup.complete()
        session.refresh()
        scene.lookup.find(*(keyed(number) for number in range(5)))
        self.assertEqual(len(scene.network.dialled), 3)


class DegradedTests(SynchronousTestCase):
    """Networks that cannot do everything."""

    def status(self, scene: Scene) -> TopicStatus:
        status = scene.swarm.status(TOPIC)
        assert status is not None
        return status

    def test_cannot_announce(self) -> None:
        """On a network that says that it can't announce, it isn't tried; the lookup is what counts."""
        scene = Scene()
        scene.network.announces, scene.network.detail = False, "this proxy server cannot announce"
        self.assertIs(self.successResultOf(scene.join().flushed()), True)
        self.assertEqual(scene.network.announcements, [])
        self.assertEqual(self.status(scene).degraded, "cannot announce: this proxy server cannot announce")
        self.assertFalse(self.status(scene).announced)

    def test_cannot_announce_and_nothing_else(self) -> None:
        """Joined as server only, that is a failure."""
        scene = Scene()
        scene.network.announces = False
        self.assertIs(self.successResultOf(scene.join(client=False).flushed()), False)

    def test_announcement_not_supported(self) -> None:
        """A network that finds out only when asked is treated likewise."""
        scene = Scene()
        scene.network.eager = False
        flushed = scene.join().flushed()
        scene.lookup.complete()
        scene.announcement.complete(NotSupportedError("not here"))
        self.assertIs(self.successResultOf(flushed), True)
        self.assertEqual(self.status(scene).degraded, "cannot announce: not here")

    def test_cannot_listen(self) -> None:
        """On a network that can't listen, that isn't tried, and the announcement is made all the same."""
        scene = Scene()
        scene.network.listens, scene.network.detail = False, "no way in"
        self.assertIs(self.successResultOf(scene.join().flushed()), True)
        self.assertEqual((scene.network.listen_calls, len(scene.network.announcements)), (0, 1))
        self.assertEqual(self.status(scene).degraded, "cannot listen: no way in")

    def test_offline_network_is_asked(self) -> None:
        """What a network can do may be known only when it is reachable; then it is found out anew."""
        scene = Scene()
        scene.network.online = scene.network.listens = scene.network.announces = False
        scene.join()
        self.assertEqual(scene.network.listen_calls, 1)
        self.assertIn("cannot listen", self.status(scene).degraded)
        scene.network.listens = scene.network.announces = True
        scene.network.go_online()
        scene.lookup.complete()
        scene.announcement.complete()
        self.assertEqual(self.status(scene), TopicStatus(TOPIC, True, True, True))

    def test_listen_fails(self) -> None:
        """Another failure to listen makes the refresh fail; the next one tries again."""
        scene = Scene()
        scene.network.listen_problem = CannotListenError("", 0, OSError("taken"))
        session = scene.join(client=False)
        self.assertIs(self.successResultOf(session.flushed()), False)
        scene.network.listen_problem = None
        self.assertIs(self.successResultOf(session.refresh()), True)
        self.assertEqual(self.status(scene).degraded, "")

    def test_listen_waits(self) -> None:
        """The announcement waits for listening, and a lookup does not."""
        scene = Scene()
        port: Deferred[object] = Deferred()
        scene.network.listen = lambda factory: port  # type: ignore[method-assign]
        flushed = scene.join().flushed()
        self.assertEqual((len(scene.network.lookups), scene.network.announcements), (1, []))
        port.callback(object())
        self.assertIs(self.successResultOf(flushed), True)
