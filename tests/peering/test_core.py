"""What connects and listens for a node: :mod:`spaceswarm_proxy.peering.core`; how, is in ``test_connecting.py``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET
from spaceswarm_proxy.errors import ClosedError, SuspendedError
from spaceswarm_proxy.peering.room import MAX_LOCAL_HOSTS
from tests.crypto.connect_vectors import CLIENT, SERVER
from tests.peering.world import PeeringWorld

SOURCE = address_of("10.0.0.99", 9)


class CoreTests(SynchronousTestCase):
    """A node that is alone."""

    def setUp(self) -> None:
        self.world = PeeringWorld()
        self.host = self.world.peer()
        self.peering = self.host.peering

    def receive(self, data: bytes, socket: int) -> int:
        """:returns: how many datagrams were nobody's by then."""
        self.assertIsNone(self.host.core.receive(data, SOURCE, socket, self.world.now))
        return self.host.core.ignored

    def test_punch_messages(self) -> None:
        """Datagrams of one byte or none come to whoever punches with their socket; all others are nobody's."""
        came: list[tuple[int, bytes]] = []
        socket = self.peering.room.punching.open(lambda socket, source, now: came.append((socket, source)))
        self.assertEqual([0, 0], [self.receive(data, socket) for data in (b"\x00", b"")])
        self.assertEqual([(socket, SOURCE)] * 2, came)
        self.assertEqual([1, 2], [self.receive(data, CLIENT_SOCKET) for data in (b"\x00", b"")])
        self.assertEqual([3, 4], [self.receive(b"\x00\x00", number) for number in (socket, CLIENT_SOCKET)])
        self.assertEqual(2, len(came))

    def test_time(self) -> None:
        """There is something to be done when something has begun."""
        self.assertIsNone(self.peering.next_deadline())
        self.host.listen(SERVER)
        self.assertIsNotNone(self.peering.next_deadline())

    def test_node_suspended(self) -> None:
        """A node that was suspended or closed by itself connects to nobody, and nobody to it."""
        for end, kind in (("suspend", SuspendedError), ("close", ClosedError)):
            self.setUp()
            getattr(self.host.core, end)(self.world.now)
            self.assertRaises(kind, self.host.connect, SERVER.public_key, CLIENT)
            self.assertRaises(kind, self.host.listen, SERVER)
            self.assertEqual(({}, set()), (self.peering.listeners, self.peering.connectors))

    def test_resume(self) -> None:
        """To resume what is not suspended, or was closed, does nothing."""
        self.peering.resume(self.world.now)
        self.peering.close(lambda now: None, self.world.now)
        self.peering.resume(self.world.now)
        self.assertRaises(ClosedError, self.host.listen, SERVER)

    def test_no_local_hosts(self) -> None:
        """A machine without any network has itself at least."""
        self.host.local_hosts = []
        port = self.host.core.server_port
        self.assertEqual([address_of("127.0.0.1", port)], self.peering.room.local_addresses())
        self.host.local_hosts = [bytes((10, 1, 2, 3)), bytes((192, 168, 0, 4))]
        expected = [address_of(host, port) for host in ("10.1.2.3", "192.168.0.4")]
        self.assertEqual(expected, self.peering.room.local_addresses())
        self.host.local_hosts *= 100
        self.assertEqual(MAX_LOCAL_HOSTS, len(self.peering.room.local_addresses()))
