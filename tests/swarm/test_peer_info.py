"""Tests of ``spaceswarm_proxy.swarm.peer_info``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.interfaces import HostPort, Peer
from spaceswarm_proxy.swarm.peer_info import LOOK_AT, PeerInfo, PeerTable
from tests.swarm.fake import key, keyed


class PeerInfoTests(SynchronousTestCase):
    """One record."""

    def test_prepare(self) -> None:
        """It may be queued unless it is banned, queued, or has failed too often; its priority is computed then."""
        info = PeerInfo(keyed(1), attempts=1)
        self.assertTrue(info.prepare())
        self.assertEqual((info.priority, info.prioritized), (4, True))
        for change in ({"banned": True}, {"queued": True}, {"attempts": 4}):
            self.assertFalse(PeerInfo(keyed(1), **change).prepare())  # type: ignore[arg-type]

    def test_explicit(self) -> None:
        """An explicit peer that has failed too often counts as one that has failed three times."""
        info = PeerInfo(keyed(1), attempts=9, explicit=True)
        self.assertTrue(info.prepare())
        self.assertEqual((info.attempts, info.priority, info.prioritized), (3, 1, False))

    def test_bare_key_wipes_nothing_out(self) -> None:
        """Hearing only of its key does not make us forget how to reach it."""
        relays = (HostPort("127.0.0.1", 1),)
        info = PeerInfo(Peer.keyed(key(1), relays))
        info.learn(keyed(1))
        self.assertEqual(info.peer.relay_addresses, relays)


class PeerTableTests(SynchronousTestCase):
    """All records."""

    def table(self, limit: int, *connected: Peer) -> PeerTable:
        ids = {peer.id for peer in connected}
        return PeerTable(limit, ids.__contains__)

    def test_same_record(self) -> None:
        """A peer has one record."""
        table = self.table(5)
        self.assertIs(table.note(keyed(1)), table.note(keyed(1)))
        self.assertEqual((len(table), list(table)), (1, [keyed(1).id]))

    def test_oldest_makes_room(self) -> None:
        """Above the limit the oldest that is of no use makes room; the connected, queued, waiting and explicit stay."""
        peers = [keyed(number) for number in range(7)]
        table = self.table(6, peers[0])
        for peer, change in zip(peers, ("", "queued", "waiting", "explicit", "banned", ""), strict=False):
            info = table.note(peer)
            if change:
                setattr(info, change, True)
        self.assertIsNotNone(table.note(peers[6]))
        self.assertEqual(len(table), 6)
        self.assertNotIn(peers[4].id, table)

    def test_no_room(self) -> None:
        """If all are needed, a new one is turned away, unless it must be."""
        table = self.table(2)
        for number in range(2):
            info = table.note(keyed(number))
            assert info is not None
            info.queued = True
        self.assertIsNone(table.note(keyed(5)))
        self.assertIsNotNone(table.note(keyed(5), must=True))
        self.assertEqual(len(table), 3)

    def test_search_is_bounded(self) -> None:
        """A search for room looks at some only, and the next one at others, so that it finds room in the end."""
        table = self.table(3 * LOOK_AT)
        for number in range(3 * LOOK_AT):
            info = table.note(keyed(number))
            assert info is not None
            info.queued = number < 2 * LOOK_AT
        self.assertEqual([table.note(keyed(1000 + n)) is not None for n in range(3)], [False, False, True])

    def test_forget(self) -> None:
        """Only a record that isn't needed is dropped."""
        table = self.table(5, keyed(1))
        connected, banned, idle = (table.note(keyed(number)) for number in (1, 2, 3))
        assert connected and banned and idle
        banned.ban()
        for info in (connected, banned, idle, PeerInfo(keyed(9))):
            table.forget(info)
        self.assertEqual(set(table), {keyed(1).id, keyed(2).id})
