"""Tests of ``spaceswarm_proxy.swarm.doorman``, through a swarm."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from spaceswarm_proxy.errors import ClosedError, DuplicateConnectionError, NotSupportedError
from spaceswarm_proxy.interfaces import IByteCounts, Peer, PeerAddress
from spaceswarm_proxy.swarm.connections import EARLY_BYTES
from spaceswarm_proxy.swarm.doorman import MAX_HELD
from tests.swarm.fake import OWN_KEY, TOPIC, FakePeeringNetwork, FakeTransport, LivelyTransport, Scene, keyed

SMALL, LARGE = keyed(1), keyed(1, larger=True)


def listening(**options: Any) -> Scene:
    scene = Scene(**options)
    scene.join()
    return scene


class ListenTests(SynchronousTestCase):
    """When the swarm listens."""

    def test_once(self) -> None:
        """It listens from the first join as server, once."""
        scene = Scene()
        scene.join(server=False)
        self.assertEqual(scene.network.listen_calls, 0)
        scene.join()
        scene.swarm.join(b"x" * 32)
        self.successResultOf(scene.swarm.listen())
        self.assertEqual(scene.network.listen_calls, 1)

    def test_alone(self) -> None:
        """It may listen without a topic."""
        scene = Scene()
        self.successResultOf(scene.swarm.listen())
        self.assertIsNotNone(scene.network.arrive(SMALL))

    def test_impossible(self) -> None:
        """On a network that can't, it is not tried, and whoever asks for it hears of that."""
        scene = Scene()
        scene.network.listens = False
        self.failureResultOf(scene.swarm.listen(), NotSupportedError)
        self.assertEqual(scene.network.listen_calls, 0)

    def test_again(self) -> None:
        """After a failure it may be tried again."""
        scene = Scene()
        scene.network.listen_problem = CannotListenError("", 0, OSError("taken"))
        self.failureResultOf(scene.swarm.listen(), CannotListenError)
        scene.network.listen_problem = None
        self.successResultOf(scene.swarm.listen())

    def test_waiting_is_cancelled_by_close(self) -> None:
        """Closing gives up a listen that the network has not answered."""
        scene = Scene()
        answer: Deferred[Any] = Deferred()
        scene.network.listen = lambda factory: answer  # type: ignore[method-assign]
        waiting = scene.swarm.listen()
        self.successResultOf(scene.swarm.close())
        self.failureResultOf(waiting)
        self.failureResultOf(scene.swarm.listen(), ClosedError)


class ArrivalTests(SynchronousTestCase):
    """A peer connects to us."""

    def test_admitted(self) -> None:
        """The user's protocol is connected to the network's transport, and everybody is told."""
        scene = listening()
        transport = scene.network.arrive(SMALL)
        (protocol,) = scene.factory.built
        self.assertIs(protocol.transport, transport)
        info = scene.swarm.peers[SMALL.id]
        self.assertFalse(info.client or info.proven)
        self.assertEqual(scene.told, [("connection", protocol, info)])
        self.assertEqual(scene.swarm.stats.opened_by_server, 1)

    def test_ended(self) -> None:
        """Its end is told; the accepting side does not connect back, and forgets a peer it has no use for."""
        scene = listening()
        transport = scene.network.arrive(SMALL)
        assert transport is not None
        transport.end(ConnectionLost())
        (protocol,) = scene.factory.built
        self.assertTrue(protocol.reason and protocol.reason.check(ConnectionLost))
        self.assertEqual(scene.names(), ["connection", "disconnection"])
        self.assertEqual((dict(scene.swarm.peers), scene.swarm.connections), ({}, ()))
        scene.advance(60)
        self.assertEqual(scene.network.dialled, [])

    def test_refused(self) -> None:
        """Ourselves, the banned, and whom the factory does not want are refused."""
        scene = listening()
        self.assertIsNone(scene.network.arrive(Peer.keyed(OWN_KEY)))
        info = scene.swarm._roster.peers.note(SMALL)
        assert info is not None
        info.ban()
        self.assertIsNone(scene.network.arrive(SMALL))
        scene.factory.refuse = True
        self.assertIsNone(scene.network.arrive(LARGE))
        self.assertEqual((scene.swarm.stats.refused, scene.told), (3, []))

    def test_broken_factory(self) -> None:
        """A factory that raises refuses, and is logged."""
        scene = listening()
        scene.factory.buildProtocol = lambda address: 1 / 0  # type: ignore[method-assign, assignment]
        self.assertIsNone(scene.network.arrive(SMALL))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_max_server_connections(self) -> None:
        """More than max_server_connections are refused."""
        scene = listening(max_server_connections=1)
        first = scene.network.arrive(SMALL)
        assert first is not None
        self.assertIsNone(scene.network.arrive(LARGE))
        first.end()
        self.assertIsNotNone(scene.network.arrive(LARGE))

    def test_without_keys(self) -> None:
        """Peers without keys can't be told apart, so each connection of theirs is taken."""
        scene = listening()
        nameless = Peer.at("127.0.0.1", 5)
        transports = [scene.network.arrive(nameless), scene.network.arrive(nameless)]
        self.assertEqual((len(scene.swarm.connections), dict(scene.swarm.peers)), (2, {}))
        for transport in transports:
            assert transport is not None
            transport.end()
        self.assertEqual(len(scene.swarm.connections), 0)

    def test_room(self) -> None:
        """When one ends, whoever waits for room is connected to."""
        scene = listening(max_peers=1)
        transport = scene.network.arrive(SMALL)
        assert transport is not None
        scene.lookup.find(LARGE)
        transport.end()
        self.assertEqual(scene.network.dialled, [LARGE])


class FirewallTests(SynchronousTestCase):
    """The user's word on who may connect."""

    def held(self, **options: Any) -> tuple[Scene, Deferred[bool], FakeTransport]:
        answer: Deferred[bool] = Deferred()
        scene = listening(firewall=lambda peer, info: answer, **options)
        transport = scene.network.arrive(SMALL)
        assert transport is not None
        return scene, answer, transport

    def test_refused(self) -> None:
        """Whom the firewall refuses is banned."""
        scene = listening(firewall=lambda peer, info: info is None)
        self.assertIsNone(scene.network.arrive(SMALL))
        self.assertTrue(scene.swarm.peers[SMALL.id].banned)
        self.assertEqual(scene.names(), ["ban"])

    def test_held_then_admitted(self) -> None:
        """While it thinks, the stream is paused; then the user's protocol gets what came early, in order."""
        scene, answer, transport = self.held()
        self.assertEqual((transport.producerState, scene.factory.built, scene.told), ("paused", [], []))
        transport.deliver(b"ear")
        transport.deliver(b"ly")
        answer.callback(False)
        transport.deliver(b" late")
        (protocol,) = scene.factory.built
        self.assertEqual((protocol.made, protocol.data, transport.producerState), (1, b"early late", "producing"))
        self.assertEqual(scene.names(), ["connection"])

    def test_held_then_refused(self) -> None:
        """A held stream that is refused is aborted, and the user never hears of it."""
        scene, answer, transport = self.held()
        answer.callback(True)
        self.assertTrue(transport.aborted)
        self.assertEqual((scene.factory.built, scene.names()), ([], ["ban"]))

    def test_held_then_lost(self) -> None:
        """A held stream that ends is forgotten, and the firewall's work on it cancelled."""
        scene, answer, transport = self.held()
        transport.end()
        self.assertTrue(answer.called)
        self.assertEqual((scene.factory.built, scene.told, scene.clock.getDelayedCalls()[1:]), ([], [], []))

    def test_too_late(self) -> None:
        """The firewall has ten seconds."""
        scene, _, transport = self.held()
        scene.advance(10)
        self.assertTrue(transport.aborted)
        self.assertEqual(dict(scene.swarm.peers), {})

    def test_too_much_early_data(self) -> None:
        """A held stream that brings more than a little is aborted, though it was paused."""
        scene, _, transport = self.held()
        transport.deliver(bytes(EARLY_BYTES))
        self.assertFalse(transport.aborted)
        transport.deliver(b"x")
        self.assertTrue(transport.aborted)
        self.assertEqual(scene.told, [])

    def test_too_many(self) -> None:
        """Only so many can be held; others are refused."""
        scene = listening(firewall=lambda peer, info: Deferred())
        held = [scene.network.arrive(keyed(number)) for number in range(MAX_HELD + 3)]
        self.assertEqual(held.count(None), 3)
        self.assertEqual(scene.swarm.stats.refused, 3)
        self.successResultOf(scene.swarm.close())

    def test_closed_meanwhile(self) -> None:
        """Closing the swarm ends those that are held."""
        scene, _, transport = self.held()
        self.successResultOf(scene.swarm.close())
        self.assertTrue(transport.aborted)
        self.assertEqual(scene.clock.getDelayedCalls(), [])


class EarlyFirewallTests(SynchronousTestCase):
    """Where the network asks before there is a stream."""

    def scene(self, **options: Any) -> tuple[Scene, FakePeeringNetwork]:
        network = FakePeeringNetwork()
        return listening(network=network, **options), network

    def ask(self, network: FakePeeringNetwork, peer: Peer) -> Deferred[bool]:
        return network.firewall(PeerAddress(peer, initiator=False))  # type: ignore[no-any-return]

    def test_refused(self) -> None:
        """Whom the user does not want, who is banned, and ourselves are refused before there is a stream."""
        asked: list[Peer] = []
        scene, network = self.scene(firewall=lambda peer, info: asked.append(peer) or peer == SMALL)
        for peer in (SMALL, SMALL, Peer.keyed(OWN_KEY)):
            self.assertIs(self.successResultOf(self.ask(network, peer)), True)
        self.assertEqual((asked, scene.names(), scene.swarm.stats.refused), ([SMALL], ["ban"], 3))

    def test_admitted(self) -> None:
        """Who is admitted then is not asked about again when his stream opens, but may have been banned meanwhile."""
        asked: list[Peer] = []
        scene, network = self.scene(firewall=lambda peer, info: bool(asked.append(peer)))
        for peer in (SMALL, LARGE):
            self.assertIs(self.successResultOf(self.ask(network, peer)), False)
        self.assertIsNotNone(network.arrive(SMALL))
        info = scene.swarm._roster.peers.note(LARGE)
        assert info is not None
        info.ban()
        self.assertIsNone(network.arrive(LARGE))
        self.assertEqual(asked, [SMALL, LARGE])

    def test_undecided(self) -> None:
        """The user may take ten seconds; what is undecided when the swarm closes is refused, at once."""
        scene, network = self.scene(firewall=lambda peer, info: Deferred())
        late = self.ask(network, SMALL)
        scene.advance(10)
        self.assertIs(self.successResultOf(late), True)
        undecided = self.ask(network, LARGE)
        self.assertNoResult(undecided)
        self.successResultOf(scene.swarm.close())
        self.assertIs(self.successResultOf(undecided), True)
        self.assertIs(self.successResultOf(self.ask(network, SMALL)), True)
        self.assertEqual(scene.clock.getDelayedCalls(), [])


class DuplicateTests(SynchronousTestCase):
    """A peer connects to us while there is another connection with it."""

    def dialling(self, peer: Peer) -> Scene:
        scene = listening()
        scene.lookup.find(peer)
        return scene

    def test_the_smaller_key_loses(self) -> None:
        """While we are connecting to a peer with a smaller key, one that it opens is refused."""
        scene = self.dialling(SMALL)
        self.assertIsNone(scene.network.arrive(SMALL))
        self.assertEqual(scene.swarm.connecting, 1)
        self.assertEqual((scene.swarm.stats.duplicates, scene.swarm.stats.refused, scene.told[1:]), (1, 0, []))

    def test_the_larger_key_wins(self) -> None:
        """One that a peer with a larger key opens replaces ours, which never opened and so is not told of."""
        scene = self.dialling(LARGE)
        attempt = scene.network.attempt_to(LARGE)
        scene.network.arrive(LARGE)
        self.assertTrue(attempt.cancelled)
        self.assertEqual(scene.swarm.connecting, 0)
        self.assertEqual(scene.names(), ["peer", "connection"])
        self.assertEqual(scene.swarm.stats.duplicates, 1)

    def test_open_one_is_replaced(self) -> None:
        """An open one that is replaced ends with the reason, before the new one is told of."""
        scene = self.dialling(LARGE)
        old = scene.network.attempt_to(LARGE).open()
        scene.network.arrive(LARGE)
        first, second = scene.factory.built
        assert first.reason is not None
        self.assertTrue(first.reason.check(DuplicateConnectionError))
        self.assertTrue(old.aborted)
        self.assertEqual(scene.swarm.connections, (second,))
        self.assertEqual(scene.names()[1:], ["connection", "disconnection", "connection"])

    def test_used_one_is_replaced(self) -> None:
        """An open one that has carried data both ways is replaced also by one of a smaller key."""
        scene = self.dialling(SMALL)
        old = scene.network.attempt_to(SMALL).open()
        old.deliver(b"x")
        self.assertIsNone(scene.network.arrive(SMALL))
        old.write(b"y")
        self.assertIsNotNone(scene.network.arrive(SMALL))
        self.assertTrue(old.aborted)

    def test_loser_is_prodded(self) -> None:
        """When the old one stays, it is sent a sign of life: should the peer have lost it, it ends the sooner."""
        scene = listening()
        scene.network.transport = LivelyTransport
        old = scene.network.arrive(SMALL)
        assert isinstance(old, LivelyTransport)
        self.assertIsNone(scene.network.arrive(SMALL))
        self.assertEqual((old.keep_alives, old.aborted), (1, False))

    def test_lively_one_is_replaced(self) -> None:
        """One that has carried signs of life both ways, and no data, is replaced like a used one."""
        scene = listening()
        scene.network.transport = LivelyTransport
        old = scene.network.arrive(SMALL)
        assert isinstance(old, LivelyTransport)
        old.raw_bytes_written = 20
        self.assertIsNone(scene.network.arrive(SMALL))
        old.raw_bytes_read = 17
        self.assertIsNotNone(scene.network.arrive(SMALL))
        self.assertTrue(old.aborted)

    def test_transport_that_does_not_count(self) -> None:
        """Where the transport doesn't tell what it has carried, data from the peer must do."""
        scene = self.dialling(SMALL)
        attempt = scene.network.attempt_to(SMALL)
        directlyProvides(attempt.transport)
        self.assertFalse(IByteCounts.providedBy(attempt.transport) and attempt.transport.bytes_written)
        old = attempt.open()
        self.assertIsNone(scene.network.arrive(SMALL))
        old.deliver(b"x")
        old.write(b"y")
        self.assertIsNotNone(scene.network.arrive(SMALL))

    def replaced_slowly(self) -> tuple[Scene, FakeTransport, FakeTransport]:
        scene = self.dialling(LARGE)
        scene.network.attempt_to(LARGE).transport.slow_to_end = True
        old = scene.network.attempt_to(LARGE).open()
        new = scene.network.arrive(LARGE)
        assert new is not None
        return scene, old, new

    def test_waits_for_the_end(self) -> None:
        """The new one is held until the old one has ended."""
        scene, old, new = self.replaced_slowly()
        self.assertEqual((len(scene.factory.built), new.producerState), (1, "paused"))
        old.end()
        self.assertEqual((scene.factory.built[1].transport, new.producerState), (new, "producing"))

    def test_new_one_ends_meanwhile(self) -> None:
        """If it ends before the old one, there is none."""
        scene, old, new = self.replaced_slowly()
        new.end()
        old.end()
        self.assertEqual((len(scene.factory.built), scene.swarm.connections), (1, ()))

    def test_third_one(self) -> None:
        """Another that arrives meanwhile is compared with the one that was admitted; the rest are not in use."""
        scene, old, new = self.replaced_slowly()
        third = scene.network.arrive(LARGE)
        old.end()
        self.assertTrue(new.aborted)
        self.assertEqual(scene.swarm.connections, (scene.factory.built[-1],))
        self.assertIs(scene.factory.built[-1].transport, third)

    def test_two_arrivals(self) -> None:
        """Of two that a peer opens to us, the newer stays if its key is the larger one."""
        scene = listening()
        first = scene.network.arrive(LARGE)
        second = scene.network.arrive(LARGE)
        assert first is not None and second is not None
        self.assertEqual((first.aborted, second.aborted), (True, False))
        kept = scene.network.arrive(SMALL)
        self.assertIsNone(scene.network.arrive(SMALL))
        assert kept is not None and not kept.aborted

    def test_callers_of_the_replaced(self) -> None:
        """Whoever waits for the replaced connection by hand hears that it was a duplicate."""
        scene = listening()
        connecting = scene.swarm.connect(LARGE)
        scene.network.arrive(LARGE)
        self.failureResultOf(connecting, DuplicateConnectionError)

    def test_queued_peer(self) -> None:
        """A queued peer that connects to us is not dialled when its turn comes."""
        scene = listening(max_parallel=1)
        scene.lookup.find(LARGE, SMALL)
        (attempt,) = scene.network.attempts
        other = SMALL if attempt.peer == LARGE else LARGE
        scene.network.arrive(other)
        attempt.open()
        self.assertEqual(len(scene.network.dialled), 1)
        self.assertEqual(len(scene.swarm.connections), 2)

    def test_retry_of_the_replaced(self) -> None:
        """That ours was replaced makes us try again only if the other one is gone by then."""
        scene = self.dialling(LARGE)
        transport = scene.network.arrive(LARGE)
        assert transport is not None
        scene.advance(30)
        self.assertEqual(scene.network.dialled, [LARGE])
        transport.end(ConnectionDone())
        self.assertEqual(scene.swarm.status(TOPIC) is not None, True)
