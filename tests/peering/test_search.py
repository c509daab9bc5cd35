"""Finding a server: :mod:`spaceswarm_proxy.peering.search`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.forwarding import Mode, PeerHandshake
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET
from spaceswarm_proxy.errors import (
    ClosedError,
    PeerConnectionFailedError,
    PeerNotFoundError,
    ServerFailedError,
    SuspendedError,
)
from spaceswarm_proxy.peering.noise_payload import Firewall
from tests.crypto.connect_vectors import SERVER
from tests.peering.strangers import RELAYS, SERVER_ADDRESS, Strangers, answering, server_payload

#: A server that the client then goes to: the search was all.
GOOD = answering(server_payload(firewall=Firewall.OPEN))
DEAD = tuple(address_of("44.1.0.1", port) for port in (1, 2))


def mumbling(message: bytes) -> PeerHandshake:
    """An answer that is none."""
    return PeerHandshake(Mode.REPLY, b"mumble", SERVER_ADDRESS)


class SearchTests(SynchronousTestCase):
    """A client that looks for a server."""

    def test_found(self) -> None:
        """One node that knows the way is enough."""
        for number in range(3):
            shakes = [None, None, None]
            shakes[number] = GOOD  # type: ignore[call-overload]
            net = Strangers(*shakes)
            self.assertEqual(SERVER_ADDRESS, net.result().connection.address)
            self.assertEqual((1, 0, 0, 0), net.left)

    def test_one_message(self) -> None:
        """All of them are asked the same, however often: the server knows by that that it is one attempt."""
        net = Strangers()
        net.result()
        messages = [message for relay in net.relays for message in relay.messages]
        self.assertEqual((12, 1), (len(messages), len(set(messages))))

    def test_slots(self) -> None:
        """Two nodes are tried at the same time; three fail in eight seconds."""
        net = Strangers()
        log = net.connect()
        began = net.world.now
        net.world.run(2)
        self.assertEqual(2, sum(bool(relay.messages) for relay in net.relays))
        net.world.run_until(lambda: bool(log.results))
        self.assertIsInstance(log.problem, PeerConnectionFailedError)
        self.assertLess(abs(net.world.now - began - 8), 1)
        self.assertEqual((0, 0, 0, 0), net.left)

    def test_nobody_knows(self) -> None:
        """Where nobody has a record there is nobody to try."""
        net = Strangers(GOOD, known=0)
        log = net.connect()
        net.world.run_until(lambda: bool(log.results), 3)
        self.assertIsInstance(log.problem, PeerNotFoundError)
        self.assertEqual((0, 0, 0, 0), net.left)

    def test_bad_answers(self) -> None:
        """A node that answers nonsense is as good as none; the next one is tried."""
        net = Strangers(mumbling, mumbling, GOOD)
        self.assertEqual(SERVER_ADDRESS, net.result().connection.address)
        net = Strangers(mumbling, mumbling, mumbling)
        self.assertIsInstance(net.result().problem, PeerConnectionFailedError)

    def test_server_refuses(self) -> None:
        """What the server itself says against it is the end."""
        refusing = answering(server_payload(error=1))
        net = Strangers(refusing, refusing, refusing)
        self.assertIsInstance(net.result().problem, ServerFailedError)
        self.assertEqual((0, 0, 0, 0), net.left)

    def test_known(self) -> None:
        """Nodes that may know the way are tried at once, one after the other; soon the network is asked, too."""
        net = Strangers(GOOD, known=0)
        log = net.result(relay_addresses=(*DEAD, RELAYS[0]))
        self.assertEqual(SERVER_ADDRESS, log.connection.address)
        self.assertTrue(net.relays[0].searches)

    def test_head_start(self) -> None:
        """A node that was known and answers soon is all that is asked."""
        net = Strangers(GOOD, GOOD, GOOD)
        self.assertEqual(SERVER_ADDRESS, net.result(relay_addresses=(RELAYS[0],)).connection.address)
        self.assertEqual([0, 0, 0], [relay.searches for relay in net.relays])
        self.assertEqual([1, 0, 0], [len(relay.messages) for relay in net.relays])

    def test_known_nowhere(self) -> None:
        """Addresses that nothing can be sent to are passed over, and of thousands most."""
        net = Strangers(GOOD, known=0)
        sent: list[bytes] = []
        transmit = net.host.core.transmit

        def watched(socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
            sent.append(address)
            transmit(socket, address, data, ttl)

        net.host.core.transmit = watched
        nowhere = tuple(address_of(f"44.2.0.{number}", 0) for number in range(250))
        log = net.result(relay_addresses=(*nowhere, RELAYS[0]))
        self.assertEqual(SERVER_ADDRESS, log.connection.address)
        self.assertEqual(set(), set(nowhere).intersection(sent))

    def test_known_in_vain(self) -> None:
        """When they do not, the network is asked a second time, from the beginning."""
        net = Strangers(known=0)
        log = net.result(relay_addresses=DEAD)
        self.assertIsInstance(log.problem, PeerNotFoundError)
        self.assertEqual(2, net.relays[0].searches)
        self.assertEqual((0, 0, 0, 0), net.left)

    def test_known_once(self) -> None:
        """A node that was known and is found as well is tried once."""
        net = Strangers()
        net.result(relay_addresses=(RELAYS[0], RELAYS[0]))
        self.assertEqual(4, len(net.relays[0].messages))

    def test_route(self) -> None:
        """The way of an earlier connection is tried first, and alone, from its socket."""
        net = Strangers(answering(server_payload(), None))
        net.host.peering.room.routes.add(SERVER.public_key, CLIENT_SOCKET, RELAYS[0])
        queries = net.host.core.queries_begun
        log = net.result(reusable_socket=True)
        self.assertEqual((CLIENT_SOCKET, RELAYS[0]), (log.connection.socket, log.connection.address))
        self.assertEqual(queries, net.host.core.queries_begun)

    def test_route_unwanted(self) -> None:
        """Unless this connection shall have a socket of its own."""
        net = Strangers(answering(server_payload(), None))
        net.host.peering.room.routes.add(SERVER.public_key, CLIENT_SOCKET, DEAD[0])
        net.result()
        self.assertEqual(1, len(net.host.peering.room.routes))

    def test_dead_route(self) -> None:
        """When it leads nowhere any more it is forgotten, and the search begins."""
        net = Strangers(GOOD)
        net.host.peering.room.routes.add(SERVER.public_key, CLIENT_SOCKET, DEAD[0])
        log = net.result(reusable_socket=True)
        self.assertEqual(SERVER_ADDRESS, log.connection.address)
        self.assertEqual(0, len(net.host.peering.room.routes))

    def test_node_ends(self) -> None:
        """A node that is suspended or closed ends its searches."""
        for end, kind in (("suspend", SuspendedError), ("close", ClosedError)):
            for seconds in (0, 0.05, 1):
                net = Strangers()
                log = net.connect()
                net.world.run(seconds)
                getattr(net.host.core, end)(net.world.now)
                net.world.run(1)
                self.assertIsInstance(log.problem, kind)
                self.assertEqual((0, 0, 0, 0), net.left)

    def test_cancelled(self) -> None:
        """A search that was cancelled asks nobody any more."""
        for seconds in (0, 0.05, 0.2, 1, 5):
            net = Strangers()
            log = net.connect(relay_addresses=DEAD)
            net.world.run(seconds)
            log.cancel()
            self.assertEqual((0, 0, 0, 0), net.left)
            self.assertEqual(0, len(net.host.core.queries))
            net.world.run(0.1)  # What was on its way arrives.
            asked = sum(len(relay.messages) for relay in net.relays)
            net.world.run(10)
            self.assertEqual((asked, []), (sum(len(relay.messages) for relay in net.relays), log.results))
