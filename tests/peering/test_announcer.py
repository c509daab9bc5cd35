"""Keeping a server to be found: :mod:`spaceswarm_proxy.peering.announcer`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keeper import OwnKeys
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht.message import REQUEST_BYTE
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET
from spaceswarm_proxy.peering.announcer import MAX_RETRY, RELAYS, RENEWAL, Announcer
from spaceswarm_proxy.peering.pulse import ROUND
from tests.crypto.connect_vectors import CLIENT, SERVER
from tests.peering.world import PeeringWorld

TARGET = hash32(SERVER.public_key)
#: Seconds that an update takes, with a node that does not answer.
UPDATE = 12.0


class AnnouncerTestCase(SynchronousTestCase):
    """A server behind an address translation, in a small network."""

    public = False

    def setUp(self) -> None:
        self.world = PeeringWorld()
        self.nodes = self.world.population(8)
        options: dict[str, Any] = {"public": True} if self.public else {"behind_nat": True, "ephemeral": True}
        self.host = self.world.peer(**options)
        self.world.run(10)
        self.announcer = self.announcer_for(SERVER)
        self.updated: list[float] = []

    def announcer_for(self, key_pair: KeyPair) -> Announcer:
        room = self.host.peering.room
        return Announcer(self.host.core, room.schedule, room.pulses, OwnKeys(key_pair))

    def start(self) -> None:
        self.announcer.start(self.updated.append, self.world.now)
        self.host.plan()
        self.world.run_until(lambda: bool(self.updated), 20)

    def known_to(self) -> set[bytes]:
        """Whoever would pass a handshake on to the server."""
        stores = [(node.address, node.core.store) for node in self.world.hosts]
        return {
            address
            for address, store in stores
            if store is not None and store.forward(TARGET, self.world.now) is not None
        }

    def relays(self) -> set[bytes]:
        return {pair.relay_address for pair in self.announcer.relays}

    def host_at(self, address: bytes) -> Any:
        return next(node for node in self.world.hosts if node.address == address)

    def call(self, method: Any, *arguments: Any) -> None:
        method(*arguments, self.world.now)
        self.host.plan()

    def leave(self) -> list[float]:
        left: list[float] = []
        self.call(self.announcer.leave, left.append)
        return left


class AnnouncerTests(AnnouncerTestCase):
    """Announcing, and keeping it up."""

    def test_relays(self) -> None:
        """Three nodes know the way, and each tells where it sees us; clients may be told of them."""
        self.start()
        self.assertEqual(RELAYS, len(self.announcer.relays))
        self.assertEqual(self.known_to(), self.relays())
        seen = self.host.addresses[CLIENT_SOCKET]
        self.assertEqual({seen}, {pair.peer_address for pair in self.announcer.relays})
        self.assertEqual(self.relays(), set(self.announcer.relay_addresses))
        self.assertTrue(all(map(self.announcer.is_relay, self.relays())))
        self.assertFalse(self.announcer.is_relay(self.host.address))

    def test_once(self) -> None:
        """That it is done is told once, however many updates follow."""
        self.start()
        self.world.run(3 * RENEWAL)
        self.assertEqual(1, len(self.updated))

    def test_news(self) -> None:
        """It is told when clients are to be told of other nodes, and only then."""
        news: list[set[bytes]] = []
        self.announcer.relays_changed = lambda: news.append(set(self.announcer.relay_addresses))
        self.start()
        first = self.relays()
        self.world.run(2 * RENEWAL)
        self.assertEqual([first], news)
        self.world.unplug(self.host_at(next(iter(first))))
        self.world.run(ROUND + 4 + UPDATE)
        self.assertEqual([first, self.relays()], news)

    def test_pings(self) -> None:
        """Between updates only the relays hear of us: each every three seconds."""
        self.start()
        sent: list[bytes] = []
        transmit = self.host.core.transmit

        def watched(socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
            if data[0] == REQUEST_BYTE and address in self.relays():
                sent.append(address)
            transmit(socket, address, data, ttl)

        self.host.core.transmit = watched
        self.world.run(10 * ROUND)
        for relay in self.relays():
            self.assertIn(sent.count(relay), range(9, 14))

    def test_pings_shared(self) -> None:
        """Servers of one node that have relays in common do not ping them more often than one alone."""
        self.start()
        other, updated = self.announcer_for(CLIENT), list[float]()
        self.call(other.start, updated.append)
        self.world.run_until(lambda: bool(updated), 20)
        nodes = self.relays() | {pair.relay_address for pair in other.relays}
        self.assertLess(len(nodes), 2 * RELAYS)
        self.assertEqual(len(nodes), len(self.host.peering.room.pulses))
        self.leave()
        self.world.run(2)
        self.assertEqual(RELAYS, len(self.host.peering.room.pulses))

    def test_relay_lost_shared(self) -> None:
        """When a relay that servers have in common does not answer, all of them replace it."""
        self.start()
        twin, updated = self.announcer_for(SERVER), list[float]()
        self.call(twin.start, updated.append)
        self.world.run_until(lambda: bool(updated), 20)
        lost = twin.relays[0].relay_address
        self.assertIn(lost, self.relays())
        self.world.unplug(self.host_at(lost))
        self.world.run(ROUND + 4 + UPDATE)
        for relays in (self.relays(), {pair.relay_address for pair in twin.relays}):
            self.assertEqual((RELAYS, False), (len(relays), lost in relays))

    def test_update_in_time(self) -> None:
        """After five minutes at the latest the announce is made again, long before nodes forget it."""
        self.start()
        for node in self.nodes:
            assert node.core.store is not None
            node.core.store.unannounce(TARGET, SERVER.public_key)
        self.assertEqual(set(), self.known_to())
        self.world.run(RENEWAL * 1.05 + UPDATE)
        self.assertEqual(RELAYS, len(self.known_to()))

    def test_relay_lost(self) -> None:
        """A relay that does not answer is replaced by another within seconds."""
        self.start()
        lost = self.announcer.relays[0].relay_address
        self.world.unplug(self.host_at(lost))
        self.world.run(ROUND + 4 + UPDATE)
        self.assertEqual(RELAYS, len(self.announcer.relays))
        self.assertNotIn(lost, self.relays())
        self.assertTrue(self.announcer.is_relay(lost))

    def test_nearer_nodes(self) -> None:
        """When nearer nodes come, those that are relays no more are told so, and believed for two updates more."""
        self.start()
        before = self.relays()
        self.world.population(24)
        self.world.acquaint()
        for known in (True, True, False):
            self.announcer.refresh()
            self.world.run(ROUND + UPDATE)
            self.assertEqual(self.relays(), self.known_to())
            former = before - self.relays()
            self.assertTrue(former)
            self.assertEqual({known}, set(map(self.announcer.is_relay, former)))

    def test_all_relays_lost(self) -> None:
        """When all of them vanish at once, others are found."""
        self.start()
        lost = self.relays()
        self.world.unplug(*map(self.host_at, lost))
        self.world.run(ROUND + 4 + 2 * UPDATE)
        self.assertEqual(RELAYS, len(self.announcer.relays))
        self.assertEqual(set(), lost & self.relays())

    def test_network_lost(self) -> None:
        """While nobody answers it is tried again, less and less often; when somebody does, we can be found again."""
        self.start()
        self.world.unplug(self.host)
        self.world.run(600)
        self.assertEqual(((), ()), (self.announcer.relays, self.announcer.relay_addresses))
        self.world.plug_in(self.host)
        self.world.run(MAX_RETRY + UPDATE)
        self.assertEqual(RELAYS, len(self.announcer.relays))

    def test_nobody_at_first(self) -> None:
        """That the first update is over is told even if nobody has answered."""
        self.world.unplug(self.host)
        self.start()
        self.assertEqual((), self.announcer.relays)

    def test_refresh(self) -> None:
        """When the network has changed, the next round is an update."""
        self.start()
        self.world.run(ROUND)
        for node in self.nodes:
            assert node.core.store is not None
            node.core.store.unannounce(TARGET, SERVER.public_key)
        self.announcer.refresh()
        self.world.run(ROUND + 2)
        self.assertEqual(RELAYS, len(self.known_to()))

    def test_moved(self) -> None:
        """When relays see us elsewhere than before, they are told, though nobody has told us that something changed."""
        self.start()
        self.world.run(60)
        self.world.move(self.host)
        self.world.run(ROUND + 4 + UPDATE)
        moved = self.host.addresses[CLIENT_SOCKET]
        self.assertEqual({moved}, {pair.peer_address for pair in self.announcer.relays})
        for relay in self.relays():
            forward = self.host_at(relay).core.store.forward(TARGET, self.world.now)
            self.assertEqual(moved, forward.relay)


class LeavingTests(AnnouncerTestCase):
    """Being found no more."""

    def test_leave(self) -> None:
        """All relays are told, and after that nothing is left: no timer, no request."""
        self.start()
        left = self.leave()
        self.world.run(2)
        self.assertEqual((1, set()), (len(left), self.known_to()))
        self.assertEqual((0, 0), (len(self.host.peering.room.schedule), len(self.announcer._asking)))
        self.assertEqual(((), ()), (self.announcer.relays, self.announcer.relay_addresses))

    def test_leave_at_every_moment(self) -> None:
        """However far the first update is: when it is told that we have left, nobody knows us, and nothing is left."""
        for step in range(12):
            self.setUp()
            self.call(self.announcer.start, self.updated.append)
            self.world.run(step * 0.03)
            self.assertLeaves(f"after {step} steps")

    def test_leave_while_updating(self) -> None:
        """The same in the middle of a later update, which others than the relays are to come from."""
        for step in range(12):
            self.setUp()
            self.start()
            self.world.population(24)
            self.world.acquaint()
            self.announcer.refresh()
            self.world.run(ROUND + step * 0.03)
            self.assertLeaves(f"after {step} steps")

    def assertLeaves(self, when: str) -> None:
        left = self.leave()
        self.world.run(5)
        self.assertEqual((1, set()), (len(left), self.known_to()), when)
        self.assertEqual((0, 0), (len(self.host.peering.room.schedule), len(self.announcer._asking)), when)

    def test_dead_relays(self) -> None:
        """Relays that do not answer are waited for, but not long."""
        self.start()
        self.world.unplug(self.host)
        left = self.leave()
        self.world.run(3)
        self.assertEqual([], left)
        self.world.run(2)
        self.assertEqual(1, len(left))

    def test_resume(self) -> None:
        """After that we can be found again, and are only when it is wanted."""
        self.start()
        self.leave()
        self.world.run(60)
        self.assertEqual(set(), self.known_to())
        self.call(self.announcer.resume)
        self.call(self.announcer.resume)
        self.world.run(2)
        self.assertEqual(RELAYS, len(self.known_to()))

    def test_resume_while_leaving(self) -> None:
        """Whoever changes its mind while relays are being told is found again when they have been."""
        self.start()
        left = self.leave()
        self.call(self.announcer.resume)
        self.assertEqual([], left)
        self.world.run(3)
        self.assertEqual((1, RELAYS), (len(left), len(self.known_to())))
        once, again = self.leave(), self.leave()
        self.world.run(3)
        self.assertEqual((1, 1, set()), (len(once), len(again), self.known_to()))

    def test_node_suspended(self) -> None:
        """With a node that asks nobody it is over at once."""
        self.start()
        self.host.core.suspend(self.world.now)
        self.assertEqual([self.world.now], self.leave())


class PublicServerTests(AnnouncerTestCase):
    """A server that anybody can reach."""

    public = True

    def test_own_address(self) -> None:
        """Its own address comes first in what clients are told, and there are three all the same."""
        self.start()
        self.assertEqual(self.host.address, self.announcer.relay_addresses[0])
        self.assertEqual(RELAYS, len(self.announcer.relay_addresses))
        self.assertEqual(RELAYS, len(self.announcer.relays))
        self.assertNotIn(self.host.address, self.relays())
