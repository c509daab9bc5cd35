"""A blind relay: :mod:`spaceswarm_proxy.peering.relay_server`, and clients of ours at it."""

from __future__ import annotations

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.errors import MessageError, RelayAbortedError
from spaceswarm_proxy.peering.blind_relay import PROTOCOL, Pair, RelayMessage
from spaceswarm_proxy.peering.relay_server import RelayLimits
from tests.peering.muxes import Owner, deliver_all
from tests.peering.relays import TOKEN, Peer, World

HERE, THERE = address_of("10.0.0.1", 1001), address_of("10.0.0.2", 1002)


def token(number: int) -> bytes:
    return number.to_bytes(32, "little")


class CouplingTests(SynchronousTestCase):
    """Two peers and a relay."""

    def setUp(self) -> None:
        self.world = World()
        self.server = self.world.server

    def nothing_left(self) -> None:
        self.assertEqual(([], 0, 0), (self.world.streams.alive, self.server.couples, self.server.waiting))
        self.assertTrue(all(not peer.session.places for peer in self.world.peers))

    def test_coupled(self) -> None:
        """Each is told of a stream of its own, and the two hand each other their packets."""
        one, other = self.world.couple()
        mine, theirs = self.world.streams.made
        self.assertEqual(([mine.id], [theirs.id]), (one.answers, other.answers))
        self.assertEqual((theirs, mine), (mine.relays_to, theirs.relays_to))
        self.assertEqual(
            (2, 1, 1, 0), (self.server.requested, self.server.matched, self.server.couples, self.server.waiting)
        )

    def test_first_packet(self) -> None:
        """A stream is connected to where its first packet comes from, under the number that its peer gave."""
        self.world.couple()
        mine, theirs = self.world.streams.made
        self.assertTrue(theirs.packet(THERE, CLIENT_SOCKET))
        self.assertTrue(mine.packet(HERE))
        self.assertEqual([(SERVER_SOCKET, 1, HERE)], mine.connections)
        self.assertEqual([(CLIENT_SOCKET, 2, THERE)], theirs.connections)

    def test_later_packets(self) -> None:
        """It stays connected there, whoever else sends something, over whatever socket."""
        self.world.couple()
        stream = self.world.streams.made[0]
        stream.packet(HERE)
        self.assertFalse(stream.packet(THERE, CLIENT_SOCKET))
        self.assertEqual(1, len(stream.connections))

    def test_waiting(self) -> None:
        """Who comes first waits; a second one for the same place is passed over."""
        first, second, partner = (self.world.peer() for _ in range(3))
        first.pair(True, 1)
        self.world.settle()
        second.pair(True, 2)
        self.world.settle()
        self.assertEqual((1, {}), (self.server.waiting, second.session.places))
        partner.pair(False, 3)
        self.world.settle()
        self.assertEqual((1, 0, 1), (len(first.answers), len(second.answers), len(partner.answers)))

    def test_not_with_oneself(self) -> None:
        """A connection has one place under a token, before it is coupled and after."""
        one, other = self.world.peer(), self.world.peer(client=False)
        channel = other.near.mux.open(PROTOCOL, other.session.public_key, Owner(), 0.0)
        for initiator in (False, True, False):
            channel.send(RelayMessage.PAIR, Pair(initiator, TOKEN, 5).encode())
        self.world.settle()
        self.assertEqual((1, 0), (self.server.waiting, self.server.couples))
        one.pair(True, 1)
        self.world.settle()
        channel.send(RelayMessage.PAIR, Pair(True, TOKEN, 5).encode())
        self.world.settle()
        self.assertEqual((0, 1), (self.server.waiting, self.server.couples))

    def test_unpaired(self) -> None:
        """Either may give its place up, and both streams go; the token can be used again."""
        for number in range(2):
            peers = self.world.couple()
            peers[number].client.unpair(TOKEN)
            self.world.settle()
            self.nothing_left()
            self.assertEqual(number + 1, self.server.cancelled)

    def test_unpaired_while_waiting(self) -> None:
        """A place that is given up is not coupled; one that belongs to somebody else can't be."""
        one, other = self.world.peer(), self.world.peer()
        one.pair(True, 1)
        self.world.settle()
        other.client.unpair(TOKEN)
        self.world.settle()
        self.assertEqual((1, 0), (self.server.waiting, self.server.cancelled))
        one.client.unpair(TOKEN)
        self.world.settle()
        self.nothing_left()

    def test_leaves(self) -> None:
        """With a connection goes all that it has, whether it is closed or lost."""
        for leave in (lambda peer: peer.client.close(), Peer.lost, lambda peer: peer.session.close(0.0)):
            one, _ = self.world.couple()
            one.pair(True, 3, token(3))
            self.world.settle()
            leave(one)
            self.world.settle()
            self.nothing_left()
            self.assertNotIn(one.session, self.server.sessions)

    def test_stream_ends(self) -> None:
        """When a peer destroys its stream, the couple is over; both connections stay."""
        one, other = self.world.couple()
        self.world.streams.made[1].ended(0.0)
        self.world.streams.made[0].ended(0.0)
        self.nothing_left()
        self.assertEqual(2, len(self.server.sessions))
        one.pair(True, 4)
        other.pair(False, 5)
        self.world.settle()
        self.assertEqual(1, self.server.couples)
        self.assertFalse(self.world.streams.made[0].packet(HERE))

    def test_several(self) -> None:
        """Two peers may have several couples, one for each token."""
        one, other = self.world.peer(), self.world.peer()
        for number in range(10):
            one.pair(number % 2 == 0, number, token(number))
            other.pair(number % 2 == 1, 100 + number, token(number))
        self.world.settle()
        self.assertEqual((10, 10, 10), (self.server.couples, len(one.answers), len(other.answers)))
        one.client.unpair(token(4))
        self.world.settle()
        self.assertEqual((9, 18), (self.server.couples, len(self.world.streams.alive)))

    def test_closed(self) -> None:
        """When the relay closes, everybody is told."""
        one, other = self.world.couple()
        one.pair(True, 9, token(9))
        self.world.settle()
        self.server.close(0.0)
        self.world.settle()
        self.nothing_left()
        self.assertIsInstance(one.answers[-1], RelayAbortedError)
        self.assertTrue(one.client.is_closed and other.client.is_closed)
        self.assertEqual(set(), self.server.sessions)

    def test_no_stream(self) -> None:
        """Where no streams can be made, both are told at once, and nothing is left of it."""
        self.world.streams.limit = 1
        one, other = self.world.couple()
        self.nothing_left()
        for peer in (one, other):
            self.assertIsInstance(peer.answers[0], RelayAbortedError)

    def test_a_lie(self) -> None:
        """What is no message ends the connection that it came over, and all that it has; others are not touched."""
        one, other = self.world.couple()
        liar = self.world.peer(client=False)
        channel = liar.near.mux.open(PROTOCOL, liar.session.public_key, Owner(), 0.0)
        channel.send(RelayMessage.PAIR, Pair(True, token(1), 5).encode())
        channel.send(99, b"from the future")
        channel.send(RelayMessage.UNPAIR, b"short")
        self.assertRaises(MessageError, deliver_all, liar.near, liar.far)
        self.assertEqual((0, 1), (self.server.waiting, self.server.couples))
        self.assertNotIn(liar.session, self.server.sessions)
        self.assertTrue(one.session in self.server.sessions and other.session in self.server.sessions)


class BoundsTests(SynchronousTestCase):
    """What peers may not have."""

    def test_too_late(self) -> None:
        """A place that nobody comes for is given up after a while, and its peer told."""
        world = World()
        one = world.peer()
        one.pair(True, 1)
        world.settle()
        deadline = world.server.limits.pairing_timeout
        self.assertEqual(deadline, world.server.next_deadline())
        world.server.advance(deadline - 0.1)
        self.assertEqual(1, world.server.waiting)
        world.server.advance(deadline)
        world.settle()
        self.assertEqual((0, 1, None), (world.server.waiting, world.server.expired, world.server.next_deadline()))
        self.assertIn("waits no longer", str(one.answers[0]))
        self.assertEqual({}, one.session.places)

    def test_coupled_stays(self) -> None:
        """What is coupled has no such deadline."""
        world = World()
        world.couple()
        self.assertIsNone(world.server.next_deadline())
        world.server.advance(1e6)
        self.assertEqual(1, world.server.couples)

    def test_of_one(self) -> None:
        """One connection has only so many places; it is told of the others at once, and has room again later."""
        world = World(RelayLimits(max_places=3))
        peer = world.peer()
        for number in range(10):
            peer.pair(True, number, token(number))
        world.settle()
        self.assertEqual((3, 7, 7), (world.server.waiting, world.server.refused, len(peer.answers)))
        peer.client.unpair(token(0))
        peer.pair(True, 1, token(11))
        world.settle()
        self.assertEqual((3, 7), (world.server.waiting, world.server.refused))

    def test_of_all(self) -> None:
        """Nor do many connections together; who comes as the second one needs no room among those that wait."""
        world = World(RelayLimits(max_waiting=4))
        peers = [world.peer() for _ in range(6)]
        for number, peer in enumerate(peers):
            peer.pair(True, number, token(number))
        world.settle()
        self.assertEqual((4, 2), (world.server.waiting, world.server.refused))
        peers[5].pair(False, 7, token(0))
        world.settle()
        self.assertEqual((3, 1), (world.server.waiting, world.server.couples))

    def test_couples(self) -> None:
        """Couples are bounded; whoever would make one more is refused, and the one that waits goes on waiting."""
        world = World(RelayLimits(max_couples=1))
        world.couple()
        one, other = world.couple(token(2))
        self.assertEqual((1, 1, 2), (world.server.couples, world.server.waiting, len(world.streams.made)))
        self.assertEqual(([], RelayAbortedError), (one.answers, type(other.answers[0])))

    def test_flood(self) -> None:
        """Whatever a connection asks for, what is kept for it is bounded, and the answers are no longer than that."""
        world = World()
        liar = world.peer(client=False)
        channel = liar.near.mux.open(PROTOCOL, liar.session.public_key, Owner(), 0.0)
        with liar.near.mux.batch():
            for number in range(5000):
                channel.send(RelayMessage.PAIR, Pair(True, token(number), number).encode())
        sent = sum(map(len, liar.near.sent))
        while liar.near.sent:
            liar.far.mux.receive(liar.near.sent.popleft(), 0.0)
        self.assertEqual((64, 64), (world.server.waiting, len(liar.session.places)))
        self.assertLess(sum(map(len, liar.far.sent)), sent)


class Relay(RuleBasedStateMachine):
    """Peers that come and go, ask, and give up, at a relay with little room."""

    LIMITS = RelayLimits(max_places=2, max_waiting=3, max_couples=2, pairing_timeout=10.0)

    @initialize()
    def begin(self) -> None:
        self.world = World(self.LIMITS)
        for _ in range(2):
            self.world.peer()
        self.ids = 0

    @rule()
    def come(self) -> None:
        if len(self.world.peers) < 6:
            self.world.peer()

    @rule(index=st.integers(0, 5), initiator=st.booleans(), number=st.integers(0, 2))
    def pair(self, index: int, initiator: bool, number: int) -> None:
        peer = self.world.peers[index % len(self.world.peers)]
        if not peer.client.is_closed and token(number) not in peer.client._requests:
            self.ids += 1
            peer.pair(initiator, self.ids, token(number), self.world.now)

    @rule(index=st.integers(0, 5), number=st.integers(0, 2))
    def unpair(self, index: int, number: int) -> None:
        self.world.peers[index % len(self.world.peers)].client.unpair(token(number))

    @rule(index=st.integers(0, 5), lost=st.booleans())
    def leave(self, index: int, lost: bool) -> None:
        peer = self.world.peers[index % len(self.world.peers)]
        if lost:
            peer.lost(self.world.now)
        else:
            peer.client.close()

    @rule(index=st.integers(0, 9))
    def stream_ends(self, index: int) -> None:
        if alive := self.world.streams.alive:
            alive[index % len(alive)].ended(self.world.now)

    @rule(index=st.integers(0, 9))
    def packet(self, index: int) -> None:
        if made := self.world.streams.made:
            stream = made[index % len(made)]
            is_first = not stream.destroyed and not stream.connections
            assert stream.packet(HERE) == is_first

    @rule(seconds=st.sampled_from([0.1, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds
        self.world.server.advance(self.world.now)
        for peer in self.world.peers:
            peer.client.advance(self.world.now)

    @rule(index=st.integers(0, 5))
    def arrive(self, index: int) -> None:
        self.world.step(index)

    @invariant()
    def sound(self) -> None:
        server, alive = self.world.server, self.world.streams.alive
        places = [place for session in server.sessions for place in session.places.values()]
        assert len(places) == server.waiting + 2 * server.couples
        assert len(alive) == 2 * server.couples
        assert server.waiting <= self.LIMITS.max_waiting and server.couples <= self.LIMITS.max_couples
        assert all(len(session.places) <= self.LIMITS.max_places for session in server.sessions)
        for place in places:
            assert (place.partner is None) == (place.stream is None)
            assert place.partner is None or place.pair.initiator != place.partner.pair.initiator
        due = server.next_deadline()
        assert (due is None) == (server.waiting == 0)
        assert due is None or due > self.world.now

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()
            self.sound()
            for peer in self.world.peers:
                peer.client.close()
            self.world.settle()
            assert not self.world.server.sessions and not self.world.streams.alive
            assert all(peer.near.mux.violation is None and peer.far.mux.violation is None for peer in self.world.peers)


class MachineTests(SynchronousTestCase):
    """The machine, run."""

    def test_life(self) -> None:
        """Whatever peers do, nothing is kept for those that have left, and no limit is passed."""
        options = settings(
            max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        )
        run_state_machine_as_test(Relay, settings=options)
