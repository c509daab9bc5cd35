"""Tests of ``spaceswarm_proxy.swarm.dialer``, through a swarm."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import (
    ConnectCancelledError,
    DuplicateConnectionError,
    FirewallError,
    LinkLostError,
    PeerUnreachableError,
)
from spaceswarm_proxy.interfaces import HostPort, Peer
from spaceswarm_proxy.swarm.retry import BEAT
from tests.swarm.fake import OTHER_TOPIC, OWN_KEY, TOPIC, RecorderFactory, Scene, key, keyed

A, B, C, D = (keyed(number) for number in range(4))

#: How long the first item waits in each coarse timer, and a little more.
SHORT, MEDIUM, LONG, EXPLICIT = (2 * BEAT * delay + 0.001 for delay in (1, 5, 15, 600))


def found(scene: Scene, *peers: Peer) -> None:
    scene.join(server=False)
    scene.lookup.find(*peers)


def fail_next(scene: Scene, problem: Exception | None = None) -> None:
    scene.network.attempts[0].fail(problem)


class FoundTests(SynchronousTestCase):
    """What follows from a peer's being found."""

    def test_connect(self) -> None:
        """A found peer is connected to; the user's protocol has the network's transport, and everybody is told."""
        scene = Scene()
        found(scene, A)
        self.assertEqual(scene.swarm.connecting, 1)
        self.assertEqual(scene.swarm.connections, ())
        transport = scene.network.attempt_to(A).open()
        (protocol,) = scene.factory.built
        self.assertIs(protocol.transport, transport)
        self.assertEqual(protocol.made, 1)
        self.assertEqual(scene.factory.addresses[0].peer, A)
        self.assertEqual(scene.swarm.connections, (protocol,))
        info = scene.swarm.peers[A.id]
        self.assertEqual((info.client, info.proven, info.topics), (True, True, {TOPIC}))
        self.assertEqual(scene.told, [("peer", A, TOPIC), ("connection", protocol, info)])
        self.assertEqual((scene.swarm.stats.attempts, scene.swarm.stats.opened_by_client), (1, 1))

    def test_ourselves(self) -> None:
        """Our own key is no peer."""
        scene = Scene()
        found(scene, Peer.keyed(OWN_KEY))
        self.assertEqual((scene.network.attempts, scene.told, dict(scene.swarm.peers)), ([], [], {}))

    def test_once(self) -> None:
        """A peer that is found again, while it is being dialled or connected, is not dialled again."""
        scene = Scene()
        found(scene, A, A)
        scene.lookup.find(A)
        scene.network.attempt_to(A).open()
        scene.lookup.find(A)
        self.assertEqual(len(scene.network.dialled), 1)

    def test_news(self) -> None:
        """The newest relay addresses win; a report without any does not wipe them out."""
        relays = (HostPort("127.0.0.1", 1),)
        newer = (HostPort("127.0.0.1", 2),)
        scene = Scene(max_peers=0)
        found(scene, Peer.keyed(key(0), relays), Peer.keyed(key(0), newer), A)
        self.assertEqual(scene.swarm.peers[A.id].peer.relay_addresses, newer)

    def test_max_parallel(self) -> None:
        """No more than max_parallel connections are made at the same time; the next begins when one opens or fails."""
        scene = Scene(max_parallel=2)
        found(scene, A, B, C, D)
        self.assertEqual(len(scene.network.attempts), 2)
        scene.network.attempts[0].open()
        self.assertEqual(len(scene.network.attempts), 2)
        fail_next(scene)
        self.assertEqual(len(scene.network.attempts), 2)
        self.assertEqual(len(set(scene.network.dialled)), 4)

    def test_max_peers(self) -> None:
        """With max_peers connections, those being made included, no more are made, until one ends."""
        scene = Scene(max_peers=2)
        found(scene, A, B, C)
        self.assertEqual(len(scene.network.dialled), 2)
        scene.network.attempts[0].open().end()
        self.assertEqual(len(scene.network.dialled), 3)

    def test_arrivals_count(self) -> None:
        """Connections that came to us use up max_peers too."""
        scene = Scene(max_peers=1)
        scene.join()
        scene.network.arrive(A)
        scene.lookup.find(B)
        self.assertEqual(scene.network.dialled, [])

    def test_max_client_connections(self) -> None:
        """Connections that we make can be limited apart from others."""
        scene = Scene(max_client_connections=1)
        found(scene, A, B)
        self.assertEqual(len(scene.network.dialled), 1)

    def test_refused_by_factory(self) -> None:
        """A factory that builds no protocol refuses the connection."""
        scene = Scene()
        scene.factory.refuse = True
        found(scene, A)
        scene.network.attempt_to(A).open()
        self.assertEqual((scene.swarm.connections, scene.swarm.connecting, scene.swarm.stats.failed), ((), 0, 1))

    def test_left_topic(self) -> None:
        """A queued peer whose topic was left meanwhile is dropped when its turn comes."""
        scene = Scene(max_parallel=1)
        found(scene, A, B)
        scene.swarm.leave(TOPIC)
        fail_next(scene)
        self.assertEqual(len(scene.network.dialled), 1)
        self.assertEqual(dict(scene.swarm.peers), {})

    def test_unexpected_failure(self) -> None:
        """A network that fails in a way of its own is logged, and the peer is tried again."""
        scene = Scene()
        found(scene, A)
        fail_next(scene, ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        scene.advance(MEDIUM)
        self.assertEqual(scene.network.dialled, [A, A])


class PriorityTests(SynchronousTestCase):
    """Who is dialled first."""

    def test_highest_first(self) -> None:
        """A peer that has failed once goes before new ones, twice next; three times goes last."""
        scene = Scene(max_parallel=1)
        found(scene, A)
        blocker = scene.network.attempt_to(A)
        for peer, attempts in ((B, 0), (C, 3), (D, 1), (keyed(9), 2)):
            info = scene.swarm._roster.peers.note(peer)
            assert info is not None
            info.attempts, info.client, info.topics = attempts, True, {TOPIC}
            scene.lookup.find(peer)
        blocker.open()
        while scene.network.attempts:
            scene.network.attempts[0].open()
        self.assertEqual(scene.network.dialled, [A, D, keyed(9), B, C])


class RetryTests(SynchronousTestCase):
    """When a peer is tried again."""

    def attempts_at(self, scene: Scene) -> list[float]:
        """Let every attempt fail at once; when each was made, in seconds after the first."""
        start, times, seen = scene.clock.seconds(), [], 0
        for _ in range(1000):
            while len(scene.network.dialled) > seen:
                seen += 1
                times.append(scene.clock.seconds() - start)
                fail_next(scene)
            scene.advance(0.1)
        return times

    def test_never_connected(self) -> None:
        """A peer that never answers is tried again after M, L and L, then forgotten."""
        scene = Scene()
        found(scene, A)
        times = self.attempts_at(scene)
        gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        self.assertEqual(len(gaps), 3)
        for gap, delay in zip(gaps, (5, 15, 15), strict=True):
            self.assertTrue(BEAT * delay - 0.2 <= gap <= 2 * BEAT * delay + 0.2, gaps)
        self.assertEqual(dict(scene.swarm.peers), {})
        self.assertEqual(scene.clock.getDelayedCalls()[0].func.__name__, "_on_timer")

    def test_short_connections(self) -> None:
        """A peer whose connections all end at once is tried again after S, M and L, then forgotten."""
        scene = Scene()
        found(scene, A)
        for pause in (SHORT, MEDIUM, LONG):
            count = len(scene.network.dialled)
            scene.network.attempt_to(A).open().end()
            scene.advance(pause / 2 - 0.01)
            self.assertEqual(len(scene.network.dialled), count)
            scene.advance(pause / 2 + 0.02)
            self.assertEqual(len(scene.network.dialled), count + 1)
        scene.network.attempt_to(A).open().end()
        self.assertEqual((len(scene.network.dialled), dict(scene.swarm.peers)), (4, {}))

    def test_short_connection(self) -> None:
        """A connection that ends soon counts as a failure; as the peer is proven, the next try comes after S."""
        scene = Scene()
        found(scene, A)
        scene.network.attempt_to(A).open().end()
        self.assertEqual(scene.swarm.peers[A.id].attempts, 1)
        scene.advance(SHORT)
        self.assertEqual(scene.network.dialled, [A, A])

    def test_long_connection(self) -> None:
        """A connection of 15 seconds ends the row of failures."""
        scene = Scene()
        found(scene, A)
        scene.swarm.peers[A.id].attempts = 3
        transport = scene.network.attempt_to(A).open()
        scene.advance(15)
        transport.end()
        self.assertEqual(scene.swarm.peers[A.id].attempts, 1)

    def test_connection_not_long_enough(self) -> None:
        """One of less than 15 seconds doesn't."""
        scene = Scene()
        found(scene, A)
        scene.swarm.peers[A.id].attempts = 2
        transport = scene.network.attempt_to(A).open()
        scene.advance(14.9)
        transport.end()
        self.assertEqual(scene.swarm.peers[A.id].attempts, 3)

    def test_reconnect_false(self) -> None:
        """A peer with which reconnecting was switched off is left alone."""
        scene = Scene()
        found(scene, A)
        transport = scene.network.attempt_to(A).open()
        scene.swarm.peers[A.id].reconnect(False)
        transport.end()
        scene.advance(60)
        self.assertEqual(scene.network.dialled, [A])

    def test_banned(self) -> None:
        """A banned peer is neither retried nor forgotten; found again, it is not dialled."""
        scene = Scene()
        found(scene, A)
        transport = scene.network.attempt_to(A).open()
        scene.swarm.peers[A.id].ban()
        transport.end()
        scene.lookup.find(A)
        scene.advance(60)
        self.assertEqual(scene.network.dialled, [A])
        self.assertIn(A.id, scene.swarm.peers)

    def test_banned_while_waiting(self) -> None:
        """When its turn comes, a peer that was banned meanwhile is not dialled; when it is welcome again, it may be."""
        scene = Scene()
        session = scene.join(server=False)
        scene.lookup.find(A)
        fail_next(scene)
        info = scene.swarm.peers[A.id]
        info.ban()
        scene.advance(MEDIUM)
        self.assertEqual((scene.network.dialled, info.waiting, info.queued), ([A], False, False))
        info.ban(False)
        session.refresh()
        scene.lookup.find(A)
        self.assertEqual(scene.network.dialled, [A, A])

    def test_connected_while_waiting(self) -> None:
        """Nor is one that has connected to us meanwhile: once that ends, to try again is the peer's business."""
        scene = Scene()
        scene.join()
        scene.lookup.find(A)
        fail_next(scene)
        transport = scene.network.arrive(A)
        assert transport is not None
        scene.advance(MEDIUM)
        self.assertEqual((scene.network.dialled, len(scene.swarm.connections)), ([A], 1))
        transport.end()
        self.assertEqual(dict(scene.swarm.peers), {})

    def test_found_while_waiting(self) -> None:
        """One that was found anew, and is queued by the time at which its turn comes, is queued once."""
        scene = Scene(max_parallel=1)
        session = scene.join(server=False)
        scene.lookup.find(A)
        fail_next(scene)
        scene.lookup.find(B)
        session.refresh()
        scene.lookup.find(A)
        scene.advance(MEDIUM)
        for _ in range(2):
            scene.network.attempts[0].open()
        self.assertEqual((scene.network.dialled, scene.network.attempts), ([A, B, A], []))

    def test_left(self) -> None:
        """A peer of topics that were all left is not retried."""
        scene = Scene()
        found(scene, A)
        transport = scene.network.attempt_to(A).open()
        scene.swarm.leave(TOPIC)
        self.assertFalse(transport.aborted)
        transport.end()
        self.assertEqual(scene.clock.getDelayedCalls(), [])

    def test_found_again_in_the_same_round(self) -> None:
        """Repeated reports of one round do not cut the pause short; the first of the next round does."""
        scene = Scene()
        session = scene.join(server=False)
        scene.lookup.find(A)
        fail_next(scene)
        scene.lookup.find(A, A)
        self.assertEqual(len(scene.network.dialled), 1)
        session.refresh()
        scene.lookup.find(A)
        self.assertEqual(len(scene.network.dialled), 2)
        self.assertEqual(scene.swarm.peers[A.id].attempts, 0)

    def test_found_again_later(self) -> None:
        """A peer that was given up and is found again starts anew."""
        scene = Scene()
        found(scene, A)
        self.attempts_at(scene)
        scene.lookup.find(A)
        self.assertEqual(len(scene.network.attempts), 1)

    def test_low_priority_is_reset(self) -> None:
        """A peer that we were connected to keeps its failures when found, unless its priority fell below normal."""
        scene = Scene(max_peers=0)
        found(scene, A)
        info = scene.swarm.peers[A.id]
        scene.swarm._dialer._queue.clear()
        for attempts, priority, client, expected in ((2, 3, True, 2), (2, 1, True, 0), (2, 3, False, 0)):
            info.queued, info.attempts, info.priority, info.client = False, attempts, priority, client
            scene.lookup.find(A)
            self.assertEqual(info.attempts, expected)


class LinkTests(SynchronousTestCase):
    """What the network's own trouble does."""

    def test_offline(self) -> None:
        """While the network is not reachable, nothing is dialled; when it is again, everything is."""
        scene = Scene()
        scene.network.online = False
        found(scene, A)
        self.assertEqual(scene.network.attempts, [])
        scene.network.go_online()
        self.assertEqual(scene.network.dialled, [A])
        self.assertEqual(scene.names()[-1], "connected")
        self.assertEqual(scene.lookup.updates, 1)

    def test_link_errors_do_not_count(self) -> None:
        """What fails or ends because the link was lost does not count against the peer."""
        scene = Scene()
        found(scene, A, B)
        transport = scene.network.attempt_to(A).open()
        scene.network.go_offline()
        transport.end(LinkLostError())
        fail_next(scene, LinkLostError())
        self.assertEqual([info.attempts for info in scene.swarm.peers.values()], [0, 0])
        scene.advance(SHORT)
        self.assertEqual(scene.network.attempts, [])
        scene.network.go_online()
        self.assertEqual(len(scene.network.attempts), 2)

    def test_told(self) -> None:
        """Its coming and going is passed on."""
        scene = Scene()
        scene.network.go_offline()
        scene.network.go_online()
        self.assertEqual(scene.names(), ["disconnected", "connected"])


class ExplicitTests(SynchronousTestCase):
    """Peers that were asked for by name."""

    def test_without_topic(self) -> None:
        """A peer joined by its key is connected to without any topic, and again when the connection ends."""
        scene = Scene()
        scene.swarm.join_peer(key(0))
        scene.network.attempt_to(A).open().end()
        scene.advance(SHORT)
        self.assertEqual(scene.network.dialled, [A, A])

    def test_ignores_max_peers(self) -> None:
        """It is connected to even with max_peers connections."""
        scene = Scene(max_peers=0)
        scene.swarm.join_peer(A)
        self.assertEqual(scene.network.dialled, [A])

    def test_factor(self) -> None:
        """Each connection counts 1, 2, 3, 3, 4 times towards max_peers with 0, 1, 2, 3, 4 explicit peers."""
        for explicit, may_have in ((0, 12), (1, 6), (2, 4), (3, 4), (4, 3), (6, 3)):
            scene = Scene(max_peers=12, max_parallel=100)
            for number in range(explicit):
                scene.swarm.join_peer(keyed(100 + number))
                scene.network.attempts[-1].fail()
            found(scene, *(keyed(number) for number in range(20)))
            self.assertEqual(scene.swarm.connecting, may_have, explicit)

    def test_eager(self) -> None:
        """It is tried first whenever connections begin, once as many seconds have passed as it has failed."""
        scene = Scene()
        scene.swarm.join_peer(A)
        fail_next(scene)
        scene.swarm.join_peer(B)
        self.assertEqual(scene.network.dialled, [A, B])
        scene.advance(1)
        scene.swarm.join_peer(C)
        self.assertEqual(scene.network.dialled, [A, B, A, C])

    def test_eager_no_more(self) -> None:
        """After five failures it waits for the longest pause, whatever else begins."""
        for attempts, eager in ((4, True), (5, False)):
            scene = Scene()
            scene.swarm.join_peer(A)
            fail_next(scene)
            scene.swarm._dialer._schedule.clear()
            scene.swarm.peers[A.id].attempts = attempts
            scene.advance(attempts)
            scene.swarm.join_peer(B)
            self.assertEqual(scene.network.dialled.count(A), 1 + eager)

    def test_ignores_max_client_connections(self) -> None:
        """The limit on connections that we make does not hold for it either."""
        scene = Scene(max_client_connections=0)
        scene.swarm.join_peer(A)
        self.assertEqual(scene.network.dialled, [A])

    def test_never_given_up(self) -> None:
        """After four failures it is tried every ten minutes or so."""
        scene = Scene()
        scene.swarm.join_peer(A)
        for wait in (MEDIUM, LONG, LONG):
            fail_next(scene)
            scene.advance(wait)
        fail_next(scene)
        count = len(scene.network.dialled)
        scene.advance(100)
        self.assertEqual((count, len(scene.network.dialled)), (4, 4))
        scene.advance(EXPLICIT)
        self.assertEqual(len(scene.network.dialled), 5)

    def test_leave_peer(self) -> None:
        """A peer that is left keeps its connection, and is not tried again."""
        scene = Scene()
        scene.swarm.join_peer(A)
        transport = scene.network.attempt_to(A).open()
        scene.swarm.leave_peer(key(0))
        self.assertEqual(len(scene.swarm.connections), 1)
        transport.end()
        scene.advance(EXPLICIT)
        self.assertEqual((scene.network.dialled, dict(scene.swarm.peers)), ([A], {}))

    def test_leave_peer_makes_room(self) -> None:
        """With fewer explicit peers each connection counts less, so others may be connected to at once."""
        scene = Scene(max_peers=2)
        scene.swarm.join_peer(A)
        found(scene, B)
        self.assertEqual(scene.network.dialled, [A])
        scene.swarm.leave_peer(A)
        self.assertEqual(scene.network.dialled, [A, B])

    def test_ourselves(self) -> None:
        """To join ourselves does nothing."""
        scene = Scene()
        scene.swarm.join_peer(OWN_KEY)
        self.assertEqual(scene.network.dialled, [])


class FirewallTests(SynchronousTestCase):
    """The user's word on whom to connect to."""

    def test_refuse(self) -> None:
        """A peer that the firewall refuses is banned, not dialled, and all are told."""
        asked: list[Any] = []
        scene = Scene(firewall=lambda peer, info: asked.append((peer, info)) or True)
        found(scene, A)
        info = scene.swarm.peers[A.id]
        self.assertEqual(asked, [(A, info)])
        self.assertEqual((scene.network.dialled, info.banned, scene.swarm.connecting), ([], True, 0))
        self.assertEqual(scene.names(), ["peer", "ban"])
        self.assertEqual((scene.swarm.stats.banned, scene.swarm.stats.refused), (1, 1))

    def test_later(self) -> None:
        """It may take its time; meanwhile the peer counts as being connected to."""
        answer: Deferred[bool] = Deferred()
        scene = Scene(firewall=lambda peer, info: answer)
        found(scene, A)
        self.assertEqual((scene.swarm.connecting, scene.network.dialled), (1, []))
        answer.callback(False)
        self.assertEqual(scene.network.dialled, [A])

    def test_too_late(self) -> None:
        """When it takes too long, the connection is refused, without a ban."""
        scene = Scene(firewall=lambda peer, info: Deferred())
        found(scene, A)
        scene.advance(10)
        self.assertEqual((scene.swarm.connecting, scene.swarm.peers[A.id].banned), (0, False))

    def test_broken(self) -> None:
        """A firewall that raises refuses, without a ban, and is logged."""
        scene = Scene(firewall=lambda peer, info: 1 / 0)
        found(scene, A)
        self.assertEqual((scene.network.dialled, scene.swarm.peers[A.id].banned), ([], False))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_by_hand(self) -> None:
        """A connection by hand is asked about too."""
        scene = Scene(firewall=lambda peer, info: True)
        self.failureResultOf(scene.swarm.connect(A), FirewallError)


class ByHandTests(SynchronousTestCase):
    """``Swarm.connect``."""

    def test_connect(self) -> None:
        """The Deferred gives the user's protocol, connected."""
        scene = Scene(max_peers=0)
        connecting = scene.swarm.connect(key(0))
        self.assertNoResult(connecting)
        scene.network.attempt_to(A).open()
        self.assertIs(self.successResultOf(connecting), scene.factory.built[0])
        self.assertEqual(scene.names(), ["connection"])

    def test_fail(self) -> None:
        """It fails with what the network says; a peer without topic is not retried, and forgotten."""
        scene = Scene()
        connecting = scene.swarm.connect(A)
        fail_next(scene)
        self.failureResultOf(connecting, PeerUnreachableError)
        self.assertEqual((dict(scene.swarm.peers), scene.clock.getDelayedCalls()), ({}, []))

    def test_connected_already(self) -> None:
        """A connection that there is will do, if it is from the same factory."""
        scene = Scene()
        found(scene, A)
        scene.network.attempt_to(A).open()
        self.assertIs(self.successResultOf(scene.swarm.connect(A)), scene.factory.built[0])
        self.failureResultOf(scene.swarm.connect(A, RecorderFactory()), DuplicateConnectionError)

    def test_being_made_already(self) -> None:
        """So will one that is being made; each caller has a Deferred, and cancelling one does not end it."""
        scene = Scene()
        found(scene, A)
        first, second = scene.swarm.connect(A), scene.swarm.connect(A)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        scene.network.attempt_to(A).open()
        self.assertIs(self.successResultOf(second), scene.factory.built[0])

    def test_own_factory(self) -> None:
        """A factory for this one connection is started and stopped with it."""
        scene = Scene()
        factory = RecorderFactory()
        connecting = scene.swarm.connect(A, factory)
        self.assertEqual(factory.running, 1)
        transport = scene.network.attempt_to(A).open()
        self.assertEqual(self.successResultOf(connecting), factory.built[0])
        self.assertEqual(scene.factory.built, [])
        transport.end()
        self.assertEqual(factory.running, 0)

    def test_cancel(self) -> None:
        """Cancelling gives the attempt up."""
        scene = Scene()
        connecting = scene.swarm.connect(A)
        attempt = scene.network.attempt_to(A)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertTrue(attempt.cancelled)
        self.assertEqual(scene.swarm.connecting, 0)

    def test_suspended(self) -> None:
        """While the swarm rests, it fails at once."""
        scene = Scene()
        scene.swarm.suspend()
        self.failureResultOf(scene.swarm.connect(A), ConnectCancelledError)

    def test_at_once(self) -> None:
        """A network that opens the stream before it returns will do too."""
        scene = Scene()
        real = scene.network.connect

        def connect(peer: Peer, factory: Any) -> Any:
            result = real(peer, factory)
            scene.network.attempt_to(peer).open()
            return result

        scene.network.connect = connect  # type: ignore[method-assign]
        self.assertIs(self.successResultOf(scene.swarm.connect(A)), scene.factory.built[0])
        self.assertEqual((scene.swarm.connecting, len(scene.swarm.connections)), (0, 1))


class FlushTests(SynchronousTestCase):
    """``Swarm.flush``."""

    def test_nothing_to_do(self) -> None:
        """Without topics it fires at once."""
        self.assertIs(self.successResultOf(Scene().swarm.flush()), True)

    def test_all_tried(self) -> None:
        """It waits for those known when the topics are flushed, be they opened or failed; not for later ones."""
        scene = Scene(max_parallel=2)
        scene.network.eager = False
        scene.join(server=False)
        flush = scene.swarm.flush()
        scene.lookup.find(A, B, C)
        self.assertNoResult(flush)
        scene.lookup.complete()
        scene.lookup.find(D)
        scene.network.attempts[0].open()
        fail_next(scene)
        self.assertNoResult(flush)
        scene.network.attempt_to(C).open()
        self.assertIs(self.successResultOf(flush), True)
        self.assertEqual(scene.swarm.connecting, 1)

    def test_full(self) -> None:
        """When nothing is being made and no more may be, it is done."""
        scene = Scene(max_peers=1)
        found(scene, A, B)
        flush = scene.swarm.flush()
        self.assertNoResult(flush)
        scene.network.attempts[0].open()
        self.assertIs(self.successResultOf(flush), True)
        self.assertIs(self.successResultOf(scene.swarm.flush()), True)

    def test_given_up(self) -> None:
        """It gives false when the swarm is closed or suspended."""
        for end in ("close", "suspend"):
            scene = Scene()
            found(scene, A)
            flush = scene.swarm.flush()
            getattr(scene.swarm, end)()
            self.assertIs(self.successResultOf(flush), False)

    def test_closed_while_searching(self) -> None:
        """Also when that happens while the topics are being looked for."""
        scene = Scene()
        scene.network.eager = False
        scene.join()
        flush = scene.swarm.flush()
        scene.swarm.close()
        self.assertIs(self.successResultOf(flush), False)

    def test_cancel(self) -> None:
        """It can be cancelled."""
        scene = Scene()
        found(scene, A)
        flush = scene.swarm.flush()
        flush.cancel()
        self.failureResultOf(flush, CancelledError)
        scene.network.attempt_to(A).open()


class TableTests(SynchronousTestCase):
    """The peers that are remembered."""

    def test_bounded(self) -> None:
        """However many peers are found, no more than max_known_peers are remembered, while all are needed."""
        scene = Scene(max_known_peers=5, max_peers=0)
        found(scene, *(keyed(number) for number in range(50)))
        self.assertEqual(len(scene.swarm.peers), 5)

    def test_several_topics(self) -> None:
        """A peer's topics are those under which it was found."""
        scene = Scene()
        found(scene, A)
        scene.swarm.join(OTHER_TOPIC)
        scene.lookup.find(A)
        self.assertEqual(scene.swarm.peers[A.id].topics, {TOPIC, OTHER_TOPIC})

    def test_peers_without_keys(self) -> None:
        """A peer without a key is told from others by its id."""
        scene = Scene(network=None)
        scene.network.public_key = None
        found(scene, Peer.at("127.0.0.1", 5), Peer.at("127.0.0.1", 6), Peer.at("127.0.0.1", 5))
        self.assertEqual(len(scene.network.dialled), 2)
