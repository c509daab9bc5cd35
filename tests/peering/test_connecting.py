"""Clients and servers in a small network: every way that leads from one to the other, and all that stands in it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht.contact import HOST_LENGTH, address_of
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.errors import (
    ClosedError,
    HolepunchAbortedError,
    HolepunchError,
    KeyPairInUseError,
    PeerConnectionFailedError,
    PeerNotFoundError,
    SpaceswarmError,
    SuspendedError,
)
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.connector import PASSIVE_TIMEOUT
from spaceswarm_proxy.peering.server_handshake import CLEAR_WAIT, INITIAL_TIMEOUT
from tests.crypto.connect_vectors import CLIENT, SERVER
from tests.peering.world import ClientLog, PeerHost, PeeringWorld, ServerLog

#: Hosts that nobody can reach unasked; and one that anybody can, but is no node that others know.
BEHIND_NAT: dict[str, Any] = {"behind_nat": True, "ephemeral": True}
OPEN: dict[str, Any] = {"ephemeral": True, "firewalled": False}
PUBLIC: dict[str, Any] = {"public": True}
#: Seconds after which whatever an attempt has left behind must be gone, on both sides.
GONE = INITIAL_TIMEOUT + CLEAR_WAIT + 15


class ConnectingTestCase(SynchronousTestCase):
    """A network of eight nodes, a server, and a client."""

    def build(self, server: dict[str, Any], client: dict[str, Any], seed: int = 1, **options: Any) -> None:
        """
        :param server: the server's host.
        :param client: the client's.
        :param options: of the server.
        """
        self.world = PeeringWorld(seed)
        self.nodes = self.world.population(8)
        self.server_host = self.world.peer(**server)
        self.client_host = self.world.peer(**client)
        self.world.run(10)
        self.server = self.server_host.listen(self.keys(SERVER), **options)
        self.world.run_until(lambda: self.server.listening, 20)

    def connect(self, **options: Any) -> ClientLog:
        """Begin to connect."""
        return self.client_host.connect(SERVER.public_key, self.keys(CLIENT), **options)

    def keys(self, key_pair: KeyPair) -> KeyPair | Keeper:
        """Who keeps a key, for subclasses."""
        return key_pair

    def connected(self, **options: Any) -> ClientLog:
        """Connect; both sides must hear each other, over a single stream each, and nothing else may be left."""
        client = self.connect(**options)
        self.world.run_until(lambda: bool(client.results), 60)
        self.world.run(1)
        self.assertHear(client)
        return client

    def assertHear(self, client: ClientLog) -> None:
        ours, theirs = client.connection, self.server.connections[-1]
        self.assertTrue(ours.raw.heard and theirs.raw.heard)  # type: ignore[attr-defined]
        self.assertEqual(ours.keys.hash, theirs.keys.hash)
        self.assertEqual((SERVER.public_key, CLIENT.public_key), (ours.remote_public_key, theirs.remote_public_key))
        self.assertEqual((True, False), (ours.initiator, theirs.initiator))

    def failed(self, within: float = 60.0, **options: Any) -> SpaceswarmError:
        """:returns: why an attempt comes to nothing; nothing may be left of it."""
        client = self.connect(**options)
        self.world.run_until(lambda: bool(client.results), within)
        problem = client.problem
        self.assertNothingLeft()
        return problem

    def assertNothingLeft(self, connections: int = 0) -> None:
        """Of all attempts so many connections are left, on both sides, and nothing else."""
        self.assertClientClean(connections)
        self.world.run(GONE)
        self.assertClientClean(connections)
        for host in (self.server_host, self.client_host):
            self.assertEqual(connections, len(host.streams.open))
            self.assertEqual(0, len(host.peering.room.punching))
        self.assertEqual((0, 0), (len(self.server.listener), self.server.listener.admission.pending))

    def assertClientClean(self, connections: int = 0) -> None:
        host = self.client_host
        self.assertEqual(connections, len(host.streams.open))
        self.assertEqual((0, set()), (len(host.peering.room.punching), host.peering.connectors))
        self.assertEqual(0, len(host.peering.room.schedule))


class WaysTests(ConnectingTestCase):
    """The ways that there are."""

    def test_public_server(self) -> None:
        """A server that is a node which others know."""
        self.build(PUBLIC, BEHIND_NAT)
        client = self.connected()
        self.assertEqual(
            (CLIENT_SOCKET, self.server_host.address), (client.connection.socket, client.connection.address)
        )
        self.assertNothingLeft(1)

    def test_direct(self) -> None:
        """A client that knows where such a server is needs nobody else."""
        self.build(PUBLIC, BEHIND_NAT)
        for node in self.nodes:
            self.world.unplug(node)
        client = self.connected(relay_addresses=(self.server_host.address,))
        self.assertEqual(self.server_host.address, client.connection.address)

    def test_open_server(self) -> None:
        """A server that anybody can reach, but only its relays know."""
        self.build(OPEN, BEHIND_NAT)
        client = self.connected()
        self.assertEqual(self.server_host.address, client.connection.address)
        self.assertEqual(CLIENT_SOCKET, client.connection.socket)
        self.assertNothingLeft(1)

    def test_open_client(self) -> None:
        """A client that anybody can reach waits for the server, which has no other way out."""
        self.build(BEHIND_NAT, OPEN)
        client = self.connected()
        self.assertEqual(self.server_host.addresses[CLIENT_SOCKET], client.connection.address)
        self.assertNothingLeft(1)

    def test_both_open(self) -> None:
        """Where both can be reached there is still one connection."""
        self.build(PUBLIC, PUBLIC)
        self.connected()
        self.assertEqual(1, len(self.server.connections))
        self.assertNothingLeft(1)

    def test_punched(self) -> None:
        """Where neither can be reached holes are punched, on sockets of their own."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        client = self.connected()
        self.assertNotIn(client.connection.socket, (CLIENT_SOCKET, SERVER_SOCKET))
        self.assertNothingLeft(1)

    def test_same_network(self) -> None:
        """In the same local network they meet there, on the sockets that others do not know."""
        self.build_neighbours(punches=False)
        client = self.connected()
        self.assertEqual(
            (SERVER_SOCKET, self.server_host.address), (client.connection.socket, client.connection.address)
        )
        [connection] = self.server.connections
        self.assertEqual((SERVER_SOCKET, self.client_host.address), (connection.socket, connection.address))
        self.assertNothingLeft(1)

    def test_same_network_first(self) -> None:
        """Who answers in the local network at once needs no holes: none are begun."""
        self.build_neighbours()
        self.world.delay = (0.001, 0.002)
        sockets = self.client_host.sockets
        opened = sockets.ever_opened
        client = self.connected()
        self.assertEqual((SERVER_SOCKET, opened), (client.connection.socket, sockets.ever_opened))

    def test_same_network_punching(self) -> None:
        """Where the local network does not let them, punching goes on by its side."""
        self.build_neighbours()
        self.server_host.local_hosts = [bytes((10, 77, 0, 1))]
        self.connected()
        self.assertNothingLeft(1)

    def test_same_network_unwanted(self) -> None:
        """Who does not want to be found there is not."""
        self.build_neighbours(share_local_address=False)
        client = self.connected(local_connection=False)
        self.assertNotIn(client.connection.socket, (CLIENT_SOCKET, SERVER_SOCKET))

    def build_neighbours(self, **options: Any) -> None:
        """The client shares the server's address."""
        self.build(BEHIND_NAT, BEHIND_NAT, **options)
        self.client_host = self.world.peer(beside=self.server_host, **BEHIND_NAT)
        self.world.run(10)


class NoWayTests(ConnectingTestCase):
    """What stands in the way."""

    def test_unknown(self) -> None:
        """Nobody knows the key."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        client = self.client_host.connect(KeyPair.from_seed(bytes(32)).public_key, CLIENT)
        self.world.run_until(lambda: bool(client.results), 10)
        self.assertIsInstance(client.problem, PeerNotFoundError)
        self.assertNothingLeft()

    def test_closed_server(self) -> None:
        """A server that was closed is unknown, and its handshakes are nobody's."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        self.server.close()
        self.world.run_until(lambda: self.server.closed, 10)
        self.assertIsInstance(self.failed(), PeerNotFoundError)

    def test_refused(self) -> None:
        """A client that the server does not want hears nothing: it may as well not be there."""

        def firewall(key: bytes, payload: Any, address: bytes, decide: Any, now: float) -> None:
            decide(True, now)

        self.build(BEHIND_NAT, BEHIND_NAT, firewall=firewall)
        self.assertIsInstance(self.failed(within=12), PeerConnectionFailedError)

    def test_gone_server(self) -> None:
        """So is a server that has just lost its network."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        self.world.unplug(self.server_host)
        self.assertIsInstance(self.failed(within=12), PeerConnectionFailedError)

    def test_no_punching(self) -> None:
        """A server that does not punch can't be reached."""
        self.build(BEHIND_NAT, BEHIND_NAT, punches=False)
        self.assertIsInstance(self.failed(), HolepunchError)

    def test_vetoed(self) -> None:
        """Either side may refuse to punch."""
        refuse = lambda *arguments: False  # noqa: E731
        self.build(BEHIND_NAT, BEHIND_NAT)
        self.assertIsInstance(self.failed(veto=refuse, fast_open=False), HolepunchAbortedError)
        self.build(BEHIND_NAT, BEHIND_NAT, veto=refuse)
        self.assertIsInstance(self.failed(fast_open=False), HolepunchError)

    def test_nobody_comes(self) -> None:
        """A client that waits for the server does not wait for ever."""
        self.build(BEHIND_NAT, OPEN)
        # What the server sends itself is lost.
        transmit = self.server_host.transmit

        def lossy(socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
            if address != self.client_host.address:
                transmit(socket, address, data, ttl)

        self.server_host.transmit = lossy  # type: ignore[method-assign]
        client = self.connect()
        began = self.world.now
        self.world.run_until(lambda: bool(client.results), 20)
        self.assertIsInstance(client.problem, HolepunchAbortedError)
        self.assertLess(abs(self.world.now - began - PASSIVE_TIMEOUT), 1)
        self.assertClientClean()

    def test_no_network(self) -> None:
        """Without any network nobody is found."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        self.world.unplug(self.client_host)
        self.assertIsInstance(self.failed(), PeerNotFoundError)

    def test_no_streams(self) -> None:
        """Where there can be no more streams there is no attempt."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        self.client_host.streams.most = 0
        client = self.connect()
        self.assertEqual(["limit"], [client.problem.code])
        self.assertClientClean()

    def test_bad_key(self) -> None:
        """A key that is no point of the curve can be nobody's."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        client = self.client_host.connect(bytes(32), CLIENT)
        self.assertEqual(["handshake-invalid"], [client.problem.code])
        self.assertClientClean()
        self.assertRaises(ValueError, self.client_host.connect, bytes(31), CLIENT)


class TroubleTests(ConnectingTestCase):
    """What does not stand in the way."""

    def test_loss(self) -> None:
        """Lost, doubled and overtaking datagrams cost time, and make no second connection."""
        for seed in range(6):
            for server, client in ((BEHIND_NAT, BEHIND_NAT), (OPEN, BEHIND_NAT), (BEHIND_NAT, OPEN)):
                self.build(server, client, seed)
                self.world.loss, self.world.duplication, self.world.delay = 0.1, 0.1, (0.01, 0.3)
                log = self.connect()
                self.world.run_until(lambda: bool(log.results), 60)  # noqa: B023
                self.world.run(5)
                self.assertHear(log)
                self.assertEqual(1, len(self.server.connections))

    def test_damage(self) -> None:
        """Datagrams that are changed on their way hurt nobody: there is a connection or an error, and nothing else."""
        for seed in range(8):
            self.build(BEHIND_NAT, BEHIND_NAT, seed)
            self.damage(0.15)
            log = self.connect()
            self.world.run_until(lambda: bool(log.results), 90)  # noqa: B023
            self.world.run(GONE + 60)
            self.assertClientClean(len(self.client_host.streams.open))
            for host in (self.server_host, self.client_host):
                self.assertLessEqual(len(host.streams.open), 1)
                self.assertEqual(0, len(host.peering.room.punching))
            self.assertLessEqual(len(self.server.connections), 1)

    def damage(self, share: float) -> None:
        """So many datagrams have some byte changed, or are cut off, or go on with something else."""
        chance, send = self.world.chance, self.world.send

        def damaging(data: bytes, source: bytes, target: bytes) -> None:
            if chance.random() < share:
                place = chance.randrange(len(data))
                data = chance.choice(
                    (data[:place], data + b"more", data[:place] + chance.randbytes(1) + data[place + 1 :])
                )
            send(data, source, target)

        self.world.send = damaging  # type: ignore[method-assign]

    def test_two_relays(self) -> None:
        """That the handshake goes through two relays at a time is one handshake to the server."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        self.world.seen = []
        self.connected()
        self.assertEqual(1, self.server_host.streams.made)
        self.assertEqual(1, len(self.server.connections))

    def test_dead_relays(self) -> None:
        """Relays that were known from before and are gone cost nothing: the others are looked for at the same time."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        dead = [address_of("10.200.0.1", 1000 + number) for number in range(3)]
        began = self.world.now
        self.connected(relay_addresses=dead)
        self.assertLess(self.world.now - began, 6)

    def test_relay_dies(self) -> None:
        """When one of the relays is gone there are two more."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        address = self.server.listener.announcer.relays[0].relay_address
        self.world.unplug(next(node for node in self.nodes if node.address == address))
        self.connected()

    def test_server_moves(self) -> None:
        """A server that is somewhere else now is found again soon."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        self.world.run(60)
        self.world.move(self.server_host)
        self.server_host.peering.network_changed(self.world.now)
        self.world.run(20)
        client = self.connected()
        self.assertEqual(self.server_host.ip, client.connection.address[:HOST_LENGTH])

    def test_no_spare_sockets(self) -> None:
        """A client that gets no socket to punch with fails, and cleans up."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        self.client_host.sockets.most = 0
        self.assertIsInstance(self.failed(), HolepunchAbortedError)


class AgainTests(ConnectingTestCase):
    """Connecting to the same server again."""

    def test_relays_known(self) -> None:
        """The relays of the last time are tried at once: not all of the network has to be asked."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        self.connected()
        self.assertEqual(
            self.server.listener.announcer.relay_addresses,
            self.client_host.peering.room.relay_cache.get(SERVER.public_key),
        )
        began = self.world.now
        client = self.connect()
        self.world.run_until(lambda: bool(client.results), 10)
        self.assertLess(client.ended_at - began, 0.5)

    def test_route(self) -> None:
        """Where both sides say that sockets may be used again, no search is needed, and no hole punching."""
        self.build(BEHIND_NAT, BEHIND_NAT, reusable_socket=True)
        first = self.connected(reusable_socket=True)
        queries, opened = self.client_host.core.queries_begun, set(self.client_host.sockets.opened)
        second = self.connected(reusable_socket=True)
        self.assertEqual(first.connection.socket, second.connection.socket)
        self.assertEqual((queries, opened), (self.client_host.core.queries_begun, self.client_host.sockets.opened))
        self.assertEqual(2, len(self.server.connections))

    def test_route_unwanted(self) -> None:
        """Where one of them does not, none is kept."""
        for server, client in ((True, False), (False, True), (False, False)):
            self.build(BEHIND_NAT, BEHIND_NAT, reusable_socket=server)
            self.connected(reusable_socket=client)
            self.assertEqual(0, len(self.client_host.peering.room.routes))
            self.assertEqual(0, len(self.server_host.peering.room.routes))

    def test_route_dead(self) -> None:
        """A way that is none any more costs some seconds, and the search follows."""
        self.build(BEHIND_NAT, BEHIND_NAT, reusable_socket=True)
        self.connected(reusable_socket=True)
        self.client_host.peering.room.routes.add(SERVER.public_key, CLIENT_SOCKET, address_of("10.200.0.1", 1))
        self.connected(reusable_socket=True)

    def test_forget_route(self) -> None:
        """Ways go with their sockets, and with streams that fail."""
        self.build(BEHIND_NAT, BEHIND_NAT, reusable_socket=True)
        peering = self.client_host.peering
        socket = self.connected(reusable_socket=True).connection.socket
        peering.socket_closed(socket)
        self.assertEqual(0, len(peering.room.routes))
        self.connected(reusable_socket=True)
        peering.forget_route(SERVER.public_key)
        self.assertEqual(0, len(peering.room.routes))

    def test_own_relay(self) -> None:
        """A client that is a relay of the server itself needs no other."""
        self.build(BEHIND_NAT, PUBLIC)
        relay = self.server.listener.announcer.relays[0].relay_address
        host = next(node for node in self.nodes if node.address == relay)
        assert isinstance(host, PeerHost)
        self.client_host = host
        client = self.connected()
        self.assertEqual(self.server_host.addresses[CLIENT_SOCKET], client.connection.address)


class EndTests(ConnectingTestCase):
    """Whoever has had enough."""

    PAIRS = ((BEHIND_NAT, BEHIND_NAT), (PUBLIC, BEHIND_NAT), (OPEN, BEHIND_NAT), (BEHIND_NAT, OPEN))

    def test_cancel_at_every_stage(self) -> None:
        """However far an attempt is: when it was cancelled nobody is told, and nothing is left, here or there."""
        for server, client in self.PAIRS:
            for step in range(10):
                self.build(server, client, seed=step)
                log = self.connect()
                self.world.run(step * 0.04)
                log.cancel()
                log.cancel()
                told = len(log.results)
                self.assertClientClean(told)
                self.world.run(GONE)
                self.assertEqual(told, len(log.results))
                self.assertClientClean(told)
                self.assertEqual(0, len(self.server_host.peering.room.punching))
                self.assertEqual((0, 0), (len(self.server.listener), self.server.listener.admission.pending))

    def test_server_closes_at_every_stage(self) -> None:
        """Nor when the server is closed; the client is told, unless it is connected already."""
        for step in range(10):
            self.build(BEHIND_NAT, BEHIND_NAT, seed=step)
            log = self.connect()
            self.world.run(step * 0.04)
            self.server.close()
            self.world.run(GONE + 30)
            self.assertEqual(1, len(log.results))
            self.assertTrue(self.server.closed)
            self.assertEqual(0, len(self.server_host.peering.room.schedule))
            self.assertEqual(len(self.server.connections), len(self.server_host.streams.open))

    def test_suspended_at_every_stage(self) -> None:
        """A node that is suspended fails its attempts at once; one that is resumed can be found and connects again."""
        for step in range(8):
            self.build(BEHIND_NAT, BEHIND_NAT, seed=step)
            log = self.connect()
            self.world.run(step * 0.04)
            ended: list[float] = []
            self.client_host.peering.suspend(ended.append, self.world.now)
            self.assertEqual((1, 1), (len(ended), len(log.results)))
            self.assertIsInstance(log.results[0], SuspendedError | Connection)
            self.assertRaises(SuspendedError, self.connect)
            self.client_host.peering.resume(self.world.now)
            self.world.run(GONE)
            self.connected()

    def test_suspended_server(self) -> None:
        """A server that is suspended is not found until it is resumed."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        ended: list[float] = []
        self.server_host.peering.suspend(ended.append, self.world.now)
        self.world.run_until(lambda: bool(ended), 10)
        self.assertIsInstance(self.failed(), PeerNotFoundError)
        self.server_host.peering.resume(self.world.now)
        self.server_host.plan()
        self.world.run(20)
        self.connected()

    def test_closed(self) -> None:
        """A node that is closed takes its servers back from the network, and connects to nobody any more."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        ended: list[float] = []
        self.server_host.peering.close(ended.append, self.world.now)
        self.server_host.plan()
        self.world.run_until(lambda: bool(ended), 10)
        self.assertEqual({}, self.server_host.peering.router.servers)
        self.assertRaises(ClosedError, self.server_host.connect, SERVER.public_key, CLIENT)
        self.assertRaises(ClosedError, self.server_host.listen, SERVER)
        self.assertIsInstance(self.failed(), PeerNotFoundError)

    def test_closed_without_servers(self) -> None:
        """Without servers it is closed at once."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        log, ended = self.connect(), []
        self.client_host.peering.close(ended.append, self.world.now)
        self.assertEqual(1, len(ended))
        self.assertIsInstance(log.problem, ClosedError)
        self.assertClientClean()


class ServersTests(ConnectingTestCase):
    """Several servers of one node."""

    def test_several(self) -> None:
        """Each has its own clients, and its own end."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        other_key = KeyPair.from_seed(b"o" * 32)
        other = self.server_host.listen(other_key)
        self.world.run_until(lambda: other.listening, 20)
        log = self.client_host.connect(other_key.public_key, CLIENT)
        self.world.run_until(lambda: bool(log.results), 20)
        self.world.run(1)
        self.assertEqual((1, 0), (len(other.connections), len(self.server.connections)))
        other.close()
        self.world.run(5)
        self.connected()
        self.assertEqual((1, 1), (len(other.connections), len(self.server.connections)))

    def test_same_key(self) -> None:
        """Two cannot have the same key; when the first is closed, another can."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        self.assertRaises(KeyPairInUseError, self.server_host.listen, SERVER)
        self.server.close()
        self.world.run(5)
        self.server: ServerLog = self.server_host.listen(SERVER)
        self.world.run_until(lambda: self.server.listening, 20)
        self.connected()

    def test_both_roles(self) -> None:
        """An attempt to connect to a server of the same node ends, one way or the other."""
        self.build(BEHIND_NAT, BEHIND_NAT)
        self.client_host = self.server_host
        log = self.connect()
        self.world.run_until(lambda: bool(log.results), 60)
        self.assertEqual(1, len(log.results))

    def test_found_at_itself(self) -> None:
        """A node that others know tells of its servers itself, and of none any more when they are closed."""
        self.build(PUBLIC, BEHIND_NAT)
        store = self.server_host.core.store
        assert store is not None
        target = self.server.listener.target
        self.assertIsNotNone(store.forward(target, self.world.now))
        self.server.close()
        self.assertIsNone(store.forward(target, self.world.now))
