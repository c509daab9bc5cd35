"""Tests of spaceswarm_proxy.dht.ports."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht import ports as module
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.ports import DEFAULT_PORT, NodePorts, candidates, local_host
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.udp.port import UDPPort
from tests.dht.stepping import LOOPBACK, SteppedReactor, arrived, plain_socket


class NodePortsTests(SynchronousTestCase):
    """The two sockets."""

    def setUp(self) -> None:
        self.reactor = SteppedReactor()
        self.received: list[tuple[bytes, int]] = []
        self.ports = NodePorts(self.reactor, LOOPBACK, self.receive, self.reactor.seconds, lambda: None)
        self.addCleanup(self.ports.close)

    def tearDown(self) -> None:
        self.ports.close()
        self.assertEqual(set(), self.reactor.readers)

    def receive(self, data: bytes, source: bytes, number: int, now: float) -> None:
        self.received.append((data, number))

    def other(self) -> tuple[socket.socket, int]:
        """Somebody else's socket, and its port."""
        other = plain_socket()
        self.addCleanup(other.close)
        return other, other.getsockname()[1]

    def free_port(self) -> int:
        """A port that nobody has."""
        other, port = self.other()
        other.close()
        return port

    def client_port(self) -> int:
        """The port that the client socket sends from."""
        other, port = self.other()
        self.ports.transmit(CLIENT_SOCKET, address_of(LOOPBACK, port), b"x")
        ((_, source),) = arrived(other)
        return source[1]

    def test_bind(self) -> None:
        """Both are bound and read; the server socket's port is known."""
        self.assertEqual(0, self.ports.server_port)
        port = self.free_port()
        self.ports.bind([port])
        self.assertEqual(port, self.ports.server_port)
        self.assertEqual(2, len(self.reactor.readers))

    def test_numbers(self) -> None:
        """What comes is told with the number of the socket that it came to."""
        self.ports.bind([0])
        other, _ = self.other()
        other.sendto(b"a", (LOOPBACK, self.ports.server_port))
        self.reactor.settle()
        other.sendto(b"b", (LOOPBACK, self.client_port()))
        self.reactor.settle()
        self.assertEqual([(b"a", SERVER_SOCKET), (b"b", CLIENT_SOCKET)], self.received)

    def test_transmit(self) -> None:
        """A datagram leaves from the socket of that number; without one, and after the end, it is lost."""
        self.ports.bind([0])
        server, client = self.ports.server_port, self.client_port()
        other, port = self.other()
        for number in (SERVER_SOCKET, CLIENT_SOCKET, 17):
            self.ports.transmit(number, address_of(LOOPBACK, port), b"%d" % number)
        self.ports.transmit(SERVER_SOCKET, address_of(LOOPBACK, port), b"far", 9)
        sent = [(b"1", server), (b"0", client), (b"far", server)]
        self.assertEqual(sent, [(data, source[1]) for data, source in arrived(other)])
        self.ports.close()
        self.ports.transmit(SERVER_SOCKET, address_of(LOOPBACK, port), b"late")
        self.assertEqual([], arrived(other))

    def test_first_free_one(self) -> None:
        """Of the ports for the server socket the first that is free is taken."""
        _, taken = self.other()
        _, taken_too = self.other()
        free = self.free_port()
        self.ports.bind([taken, taken_too, free, 0])
        self.assertEqual(free, self.ports.server_port)

    def test_none_free(self) -> None:
        """Where none is, it says which was the last; and nothing is left open."""
        _, taken = self.other()
        problem = self.assertRaises(CannotListenError, self.ports.bind, [taken])
        self.assertEqual((LOOPBACK, taken), (problem.interface, problem.port))
        self.assertEqual((set(), 0), (self.reactor.readers, self.ports.server_port))

    def test_client_port(self) -> None:
        """The client socket has the port that is wished for, or any if that is taken."""
        free = self.free_port()
        self.ports.bind([0], free)
        self.assertEqual(free, self.client_port())
        self.ports.close()
        _, taken = self.other()
        self.ports.bind([0], taken)
        self.assertNotEqual(taken, self.client_port())

    def check_without_a_client_socket(self, error: Exception) -> None:
        """Nothing is left when there is a server socket, and no client socket is to be had."""

        def without(reactor: Any, number: int, *arguments: Any) -> UDPPort:
            if number == CLIENT_SOCKET:
                raise error
            return UDPPort(reactor, number, *arguments)

        self.patch(module, "UDPPort", without)
        self.assertRaises(type(error), self.ports.bind, [0])
        self.assertEqual((set(), 0), (self.reactor.readers, self.ports.server_port))

    def test_no_client_port(self) -> None:
        """When the client socket cannot be bound, the server socket is closed again."""
        self.check_without_a_client_socket(CannotListenError(LOOPBACK, 0, OSError("no port left")))

    def test_too_many_files(self) -> None:
        """So it is when the process has no file descriptor left for it."""
        self.check_without_a_client_socket(OSError(errno.EMFILE, "Too many open files"))

    def test_close_and_bind_again(self) -> None:
        """Closing tells the ports; they can be had again at once, as often as one likes."""
        self.ports.bind([0])
        were = self.ports.server_port, self.client_port()
        for _ in range(3):
            self.assertEqual(were, self.ports.close())
            self.assertEqual(set(), self.reactor.readers)
            self.ports.bind(were[:1], were[1])
        self.assertEqual(were, (self.ports.server_port, self.client_port()))

    def test_close_without_sockets(self) -> None:
        """Closing what is not bound is harmless."""
        self.assertEqual((0, 0), self.ports.close())
        self.ports.bind([0])
        self.ports.close()
        self.assertEqual((0, 0), self.ports.close())

    def test_closed_by_the_reactor(self) -> None:
        """A reactor that has closed the sockets by itself does no harm to who closes them later."""
        self.ports.bind([0])
        were = self.ports.server_port, self.client_port()
        for reader in list(self.reactor.readers):
            reader.connectionLost(None)
        self.assertEqual(were, self.ports.close())

    def test_unsent(self) -> None:
        """What could not be sent is counted over both sockets, and over their end."""
        self.ports.bind([0])
        for number in (SERVER_SOCKET, CLIENT_SOCKET, CLIENT_SOCKET):
            self.ports.transmit(number, address_of("255.255.255.255", 9), b"x")
        self.assertEqual(3, self.ports.unsent)
        self.ports.close()
        self.assertEqual(3, self.ports.unsent)
        self.ports.bind([0])
        self.ports.transmit(SERVER_SOCKET, address_of("255.255.255.255", 9), b"x")
        self.assertEqual(4, self.ports.unsent)


class CandidatesTests(SynchronousTestCase):
    """Which ports are tried."""

    def test_candidates(self) -> None:
        """The wish and the four after it, then any; or nothing but the wish."""
        usual = DEFAULT_PORT
        for port, any_port, expected in (
            (None, True, (usual, usual + 1, usual + 2, usual + 3, usual + 4, 0)),
            (None, False, (usual,)),
            (0, True, (0,)),
            (0, False, (0,)),
            (5000, True, (5000, 5001, 5002, 5003, 5004, 0)),
            (5000, False, (5000,)),
            (65534, True, (65534, 65535, 0)),
        ):
            self.assertEqual(expected, candidates(port, any_port))

    def test_no_port(self) -> None:
        """What is no port is refused, rather than taken for any."""
        for port in (-1, 65536, 100_000):
            for any_port in (True, False):
                self.assertRaises(ValueError, candidates, port, any_port)


class LocalHostTests(SynchronousTestCase):
    """Our own address."""

    def test_address(self) -> None:
        """It is an IPv4 address that one can bind to, if there is a way to anywhere."""
        host = local_host()
        if host is not None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
                bound.bind((host, 0))
                self.assertEqual(host, bound.getsockname()[0])

    def test_no_way(self) -> None:
        """There is none without a route, nor when no socket is to be had."""

        class Unrouted(socket.socket):
            def connect(self, address: Any) -> None:
                raise OSError(errno.ENETUNREACH, "Network is unreachable")

        def too_many(*arguments: Any) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        for made in (Unrouted, too_many):
            self.patch(module.socket, "socket", made)
            self.assertIsNone(local_host())
