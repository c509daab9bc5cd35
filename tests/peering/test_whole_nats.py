"""The whole of it, handshake and all, through address translations of every kind: what ``test_nats.py`` leaves out."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.sockets import SERVER_SOCKET
from spaceswarm_proxy.errors import DoubleRandomizedError
from tests.crypto.connect_vectors import CLIENT, SERVER
from tests.peering.nat_world import FAR, KINDS, NatWorld, Translation
from tests.peering.world import ClientLog, PeerHost, ServerLog

RANDOM = {"random", "by-host"}
#: Seconds that an attempt takes at most, and after which nothing is left of it.
WITHIN, GONE = 60.0, 45.0


class TranslatedHost(PeerHost):
    """A host that may be behind a translation."""

    translation: Translation | None = None

    def transmit(self, socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        if socket not in self.addresses:
            return
        source = self.addresses[socket]
        if self.translation is not None and address[:4] != self.ip:
            source = self.translation.leave(self, socket, address)  # type: ignore[arg-type]
        if not 0 < ttl < FAR:
            self.world.send(data, source, address)

    def receive(self, data: bytes, source: bytes, socket: int) -> None:
        """A datagram has come through the translation."""
        self._take(data, source, socket)


class WholeTestCase(SynchronousTestCase):
    """A server, a client, and eight public nodes."""

    def build(self, server: str, client: str, seed: int = 1, **options: Any) -> None:
        """:param options: of the server."""
        self.world = NatWorld(seed)
        self.hosts = self.add(server), self.add(client)
        self.world.run(5)
        self.server: ServerLog = self.hosts[0].listen(SERVER, **options)
        self.world.run_until(lambda: self.server.listening)

    def add(self, kind: str) -> TranslatedHost:
        world = self.world
        bootstrap = tuple(host.address for host in world.public)[:3]
        # Who can be reached finds that out, and says so; here it is known from the beginning.
        options: dict[str, Any] = {"ephemeral": True, "firewalled": kind not in ("open", "cone")}
        host = TranslatedHost(world, len(world.hosts) + 1, False, False, bootstrap, options)
        what = KINDS[kind]
        if what is not None:
            host.translation = Translation(world, host.ip, what)
        world.hosts.append(host)
        world._by_ip[host.ip] = host.translation or host  # type: ignore[assignment]
        host.start()
        return host

    def attempt(self, **options: Any) -> ClientLog:
        """Connect, and wait for what comes of it."""
        log = self.hosts[1].connect(SERVER.public_key, CLIENT, **options)
        self.world.run_until(lambda: bool(log.results), WITHIN)
        return log

    def assertConnected(self, log: ClientLog, names: str) -> None:
        """Both ends hear each other, and there is nothing else."""
        raw: Any = log.connection.raw
        self.world.run(2)
        [connection] = self.server.connections
        other: Any = connection.raw
        self.assertTrue(raw.heard and other.heard, names)

    def assertClean(self, connections: int, names: str) -> None:
        self.world.run(GONE)
        for host in self.hosts:
            room = host.peering.room
            self.assertEqual(connections, len(host.streams.open), names)
            self.assertEqual((0, 0), (len(room.punching), room.punching.random_punches.under_way), names)
            self.assertEqual(set(), host.peering.connectors)
        self.assertEqual((0, 0), (len(self.server.listener), len(self.hosts[1].peering.room.schedule)), names)


class WholeNatTests(WholeTestCase):
    """Two of all kinds."""

    def test_every_pair(self) -> None:
        """Two meet unless the ports of both are random, and both hear each other on the same stream."""
        for server in KINDS:
            for client in KINDS:
                names = f"{client} to {server}"
                self.build(server, client)
                log = self.attempt()
                if {server, client} <= RANDOM:
                    self.assertIsInstance(log.problem, DoubleRandomizedError, names)
                    self.assertClean(0, names)
                else:
                    self.assertConnected(log, names)
                    self.assertClean(1, names)

    def test_again(self) -> None:
        """A second connection finds its way like the first one, or on the same sockets if both sides want that."""
        for reusable in (False, True):
            self.build("consistent", "mapped", reusable_socket=reusable)
            first = self.attempt(reusable_socket=reusable).connection
            self.world.run(2)
            second = self.attempt(reusable_socket=reusable).connection
            self.world.run(2)
            self.assertEqual(reusable, first.socket == second.socket)
            self.assertTrue(all(connection.raw.heard for connection in self.server.connections))  # type: ignore[attr-defined]

    def test_loss(self) -> None:
        """With a tenth of all datagrams lost it takes longer."""
        for seed in range(5):
            self.build("consistent", "mapped", seed)
            self.world.loss = 0.1
            log = self.attempt()
            self.world.run(5)
            self.assertConnected(log, f"seed {seed}")

    def test_two_clients(self) -> None:
        """Several clients come at the same time; each has its own numbers, sockets and stream."""
        self.build("consistent", "mapped")
        others = [self.add("consistent") for _ in range(3)]
        self.world.run(5)
        logs = [host.connect(SERVER.public_key, CLIENT) for host in (self.hosts[1], *others)]
        self.world.run_until(lambda: all(log.results for log in logs), WITHIN)
        self.world.run(2)
        self.assertEqual(4, len(self.server.connections))
        sockets = {connection.socket for connection in self.server.connections}
        self.assertEqual((4, False), (len(sockets), SERVER_SOCKET in sockets))
        self.assertTrue(all(log.connection.raw.heard for log in logs))  # type: ignore[attr-defined]
