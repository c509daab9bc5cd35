"""Tests of ``spaceswarm_proxy.swarm.swarm``: closing and resting; the rest is with the parts."""

from __future__ import annotations

from math import inf

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.errors import ClosedError, ConnectError
from spaceswarm_proxy.interfaces import IAnnouncement, ILookup, INetwork, IPeeringNetwork
from spaceswarm_proxy.swarm.swarm import CLOSE_GRACE
from tests.swarm.fake import OWN_KEY, TOPIC, FakePeeringNetwork, FakeTransport, Scene, keyed

PEER, OTHER = keyed(1), keyed(2)


def busy(**options: object) -> tuple[Scene, FakeTransport]:
    """A swarm with a topic, an open connection, one that is being made, a peer that waits, and a refresh to come."""
    scene = Scene(**options)
    scene.join()
    scene.lookup.find(PEER, OTHER, keyed(3))
    transport = scene.network.attempt_to(PEER).open()
    scene.network.attempt_to(keyed(3)).fail()
    return scene, transport


class FakeTests(SynchronousTestCase):
    """The fake network of these tests is one."""

    def test_interfaces(self) -> None:
        """It and what it gives out have the interfaces' methods."""
        scene, _ = busy()
        verifyObject(INetwork, scene.network)
        verifyObject(IPeeringNetwork, FakePeeringNetwork())
        verifyObject(ILookup, scene.lookup)
        verifyObject(IAnnouncement, scene.announcement)


class CloseTests(SynchronousTestCase):
    """Closing."""

    def assert_nothing_left(self, scene: Scene) -> None:
        self.assertEqual(scene.clock.getDelayedCalls(), [])
        self.assertEqual((scene.swarm.connections, scene.swarm.connecting, scene.swarm.topics), ((), 0, ()))
        self.assertTrue(all(part.closed for part in (*scene.network.lookups, *scene.network.announcements)))
        self.assertIsNone(scene.network.listener)
        self.assertEqual((scene.network.attempts, scene.factory.running), ([], 0))

    def test_gentle(self) -> None:
        """Connections are asked to end, and waited for; attempts are given up at once; the network is closed last."""
        scene, transport = busy()
        closing = scene.swarm.close()
        self.assertEqual((transport.disconnecting, transport.aborted), (True, False))
        self.assertEqual(scene.network.attempts, [])
        self.assertNoResult(closing)
        self.assertFalse(scene.network.closed)
        transport.end()
        self.successResultOf(closing)
        self.assertTrue(scene.network.closed)
        self.assert_nothing_left(scene)

    def test_grace(self) -> None:
        """A connection that does not end is aborted after a time."""
        scene, transport = busy()
        closing = scene.swarm.close()
        scene.advance(CLOSE_GRACE)
        self.assertTrue(transport.aborted)
        self.successResultOf(closing)
        self.assert_nothing_left(scene)
        (protocol,) = scene.factory.built
        self.assertTrue(protocol.reason and protocol.reason.check(ClosedError))

    def test_slow_network(self) -> None:
        """Nor is an announcement that can't be taken back waited for any longer."""
        scene = Scene()
        scene.join()
        scene.announcement.slow_to_close = True
        closing = scene.swarm.close()
        self.assertNoResult(closing)
        scene.advance(CLOSE_GRACE)
        self.successResultOf(closing)
        self.assert_nothing_left(scene)

    def test_force(self) -> None:
        """By force nothing is waited for."""
        scene, transport = busy()
        scene.announcement.slow_to_close = True
        self.successResultOf(scene.swarm.close(force=True))
        self.assertTrue(transport.aborted)
        self.assert_nothing_left(scene)

    def test_force_afterwards(self) -> None:
        """Force may follow on a gentle close; both Deferreds fire, and so does that of a third call."""
        scene, transport = busy()
        first = scene.swarm.close()
        second = scene.swarm.close(force=True)
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(scene.swarm.close())
        self.assertTrue(transport.aborted)
        self.assert_nothing_left(scene)

    def test_slow_abort(self) -> None:
        """A connection that takes a while to end even by force is waited for."""
        scene, transport = busy()
        transport.slow_to_end = True
        closing = scene.swarm.close(force=True)
        self.assertNoResult(closing)
        transport.end()
        self.successResultOf(closing)

    def test_callers(self) -> None:
        """Whoever waits for a connection by hand hears that the swarm was closed."""
        scene = Scene()
        connecting = scene.swarm.connect(PEER)
        scene.swarm.close()
        self.failureResultOf(connecting, ClosedError)

    def test_afterwards(self) -> None:
        """A closed swarm does nothing more, and takes nothing."""
        scene, _ = busy()
        listener = scene.network.listener
        assert listener is not None
        self.successResultOf(scene.swarm.close(force=True))
        self.assertRaises(ClosedError, scene.join)
        self.assertRaises(ClosedError, scene.swarm.join_peer, PEER)
        for call in (scene.swarm.suspend, scene.swarm.resume, scene.swarm.listen, lambda: scene.swarm.connect(PEER)):
            self.failureResultOf(call(), ClosedError)
        scene.network.go_online()
        self.assertIsNone(listener.buildProtocol(FakeTransport.getPeer(FakeTransport(_address()))))
        self.assertNotIn("connected", scene.names())
        self.assert_nothing_left(scene)

    def test_shared_network(self) -> None:
        """A network that isn't the swarm's own is left open, and is not suspended."""
        scene = Scene(owns_network=False)
        scene.swarm.suspend()
        scene.swarm.resume()
        self.successResultOf(scene.swarm.close())
        self.assertEqual((scene.network.closed, scene.network.suspended), (False, 0))

    def test_factory(self) -> None:
        """The factory is started with the swarm and stopped when it is closed."""
        scene = Scene()
        self.assertEqual(scene.factory.running, 1)
        scene.swarm.close()
        self.assertEqual(scene.factory.running, 0)

    def test_closed_by_a_listener(self) -> None:
        """A listener to an event may close the swarm."""
        scene = Scene()
        closing: list[Deferred[None]] = []
        scene.swarm.events.on("connection", lambda *_: closing.append(scene.swarm.close(force=True)))
        scene.join()
        scene.lookup.find(PEER, OTHER)
        scene.network.attempt_to(PEER).open()
        self.successResultOf(closing[0])
        self.assert_nothing_left(scene)


def _address() -> object:
    from spaceswarm_proxy.interfaces import PeerAddress

    return PeerAddress(PEER, initiator=False)


class SuspendTests(SynchronousTestCase):
    """Resting."""

    def test_suspend(self) -> None:
        """Everything stops but the topics stay joined; the network rests too."""
        scene, transport = busy()
        lookup, announcement = scene.lookup, scene.announcement
        self.successResultOf(scene.swarm.suspend())
        self.assertTrue(scene.swarm.suspended)
        self.assertTrue(transport.aborted and lookup.closed and announcement.closed)
        self.assertEqual((scene.network.attempts, scene.network.listener, scene.network.suspended), ([], None, 1))
        self.assertEqual((scene.clock.getDelayedCalls(), scene.swarm.topics), ([], (TOPIC,)))

    def test_waits_for_connections(self) -> None:
        """It is done when the connections have ended."""
        scene, transport = busy()
        transport.slow_to_end = True
        suspending = scene.swarm.suspend()
        self.assertNoResult(suspending)
        transport.end()
        self.successResultOf(suspending)

    def test_arrivals(self) -> None:
        """Connections that arrive nevertheless are refused."""
        scene, _ = busy()
        listener = scene.network.listener
        scene.swarm.suspend()
        scene.network.listener = listener
        self.assertIsNone(scene.network.arrive(keyed(9)))

    def test_quiet(self) -> None:
        """What is joined or reported meanwhile waits."""
        scene, _ = busy()
        scene.swarm.suspend()
        before = len(scene.network.lookups), len(scene.network.dialled)
        scene.swarm.join(b"z" * 32)
        scene.network.lookups[0].find(keyed(8))
        scene.swarm.join_peer(keyed(7))
        scene.network.go_online()
        self.assertEqual((len(scene.network.lookups), len(scene.network.dialled)), before)

    def test_resume(self) -> None:
        """Resuming listens, looks for and announces all topics again, and connects; failures were forgiven."""
        scene, _ = busy()
        scene.swarm.join_peer(keyed(7))
        scene.swarm.suspend()
        scene.swarm.join(b"z" * 32)
        dialled = len(scene.network.dialled)
        self.successResultOf(scene.swarm.resume())
        self.assertEqual(scene.network.suspended, 0)
        self.assertIsNotNone(scene.network.listener)
        self.assertEqual([lookup.closed for lookup in scene.network.lookups], [True, False, False])
        self.assertEqual(scene.network.dialled[dialled:], [keyed(7)])
        scene.network.lookups[1].find(PEER)
        self.assertEqual(scene.network.dialled[-1], PEER)

    def test_twice(self) -> None:
        """A second call changes nothing, and resuming what doesn't rest neither."""
        scene = Scene()
        for call, level in (("resume", 0), ("suspend", 1), ("suspend", 1), ("resume", 0), ("resume", 0)):
            self.successResultOf(getattr(scene.swarm, call)())
            self.assertEqual(scene.network.suspended, level)

    def test_in_turn(self) -> None:
        """A resume during a suspend follows when that is done."""
        scene, transport = busy()
        transport.slow_to_end = True
        scene.swarm.suspend()
        resuming = scene.swarm.resume()
        self.assertTrue(scene.swarm.suspended)
        transport.end()
        self.successResultOf(resuming)
        self.assertFalse(scene.swarm.suspended)

    def test_close_while_suspended(self) -> None:
        """A resting swarm can be closed."""
        scene, _ = busy()
        scene.swarm.suspend()
        self.successResultOf(scene.swarm.close())
        self.assertEqual(scene.clock.getDelayedCalls(), [])

    def test_not_counted(self) -> None:
        """That connections ended counts against nobody."""
        scene = Scene()
        scene.swarm.join_peer(PEER)
        scene.network.attempt_to(PEER).open()
        scene.swarm.suspend()
        self.assertEqual(scene.swarm.peers[PEER.id].attempts, 0)

    def test_callers(self) -> None:
        """Whoever waits for a connection by hand hears why it is not made."""
        scene = Scene()
        connecting = scene.swarm.connect(PEER)
        scene.swarm.suspend()
        self.failureResultOf(connecting, ClosedError, ConnectError)


class DefaultsTests(SynchronousTestCase):
    """A swarm of which nothing was said."""

    def test_limits(self) -> None:
        """It has 64 peers, of which it connects to three at a time; the two kinds of connections have no limits."""
        scene = Scene()
        limits = scene.swarm._dialer._limits
        self.assertEqual((limits.max_peers, limits.max_parallel), (64, 3))
        self.assertEqual((limits.max_client_connections, limits.max_server_connections), (inf, inf))

    def test_identity(self) -> None:
        """It has one key, under which it listens once, however many topics there are."""
        scene = Scene()
        for number in range(3):
            scene.swarm.join(bytes([number]) * 32)
        self.assertEqual((scene.network.listen_calls, scene.swarm.network.public_key), (1, OWN_KEY))


class EventTests(SynchronousTestCase):
    """What is told."""

    def test_update(self) -> None:
        """A change in connections or attempts is told, and counted."""
        scene = Scene()
        updates: list[None] = []
        scene.swarm.events.on("update", lambda: updates.append(None))
        scene.join()
        scene.lookup.find(PEER)
        dialling = len(updates)
        transport = scene.network.attempt_to(PEER).open()
        opened = len(updates)
        transport.end()
        self.assertTrue(0 < dialling < opened < len(updates))
        self.assertEqual(scene.swarm.stats.updates, len(updates))
