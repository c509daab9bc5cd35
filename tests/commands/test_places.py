"""What users write where something listens, or is to listen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.places import client_endpoint, server_endpoint, service_dial, tcp_server
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.network.tcp import TIMEOUT
from tests.network.support import Collector


class PlaceTests(SynchronousTestCase):
    """In a reactor that only remembers."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def dial(self, text: str) -> Deferred[Any]:
        return service_dial(self.reactor, text, "--serve")(Collector())

    def test_service(self) -> None:
        """A host and a port, and an endpoint, lead to the same service."""
        for text in ("a.example:80", "tcp:a.example:80", "tcp:host=a.example:port=80"):
            self.dial(text)
        self.assertEqual([("a.example", 80)] * 3, [client[:2] for client in self.reactor.tcpClients])

    def test_unix(self) -> None:
        """What begins like an endpoint is one."""
        self.dial("unix:80")
        self.assertEqual("80", self.reactor.unixClients[0][0])

    def test_port(self) -> None:
        """Ports of this machine may stand alone, IPv6 addresses in brackets; a name of an endpoint is no host."""
        for text, host in (("80", "127.0.0.1"), ("localhost:80", "localhost"), ("[::1]:80", "::1")):
            self.assertEqual(HostPort(host, 80), _place(self.reactor, text))
        self.assertRaises(CommandError, server_endpoint, self.reactor, "unix", "--listen")

    def test_server(self) -> None:
        """Where something is to listen, it is the same; 0 is any port."""
        for text, kind in (("0", TCP4ServerEndpoint), ("tcp:0", TCP4ServerEndpoint), ("unix:/a", UNIXServerEndpoint)):
            self.assertIsInstance(server_endpoint(self.reactor, text, "--listen"), kind)
        tcp_server(self.reactor, HostPort("::1", 0)).listen(Collector())
        self.assertEqual((0, "::1"), self.reactor.tcpServers[0][0:4:3])

    def test_refused(self) -> None:
        """What is neither is told, with where it was given."""
        for text in ("", "x", "nowhere", "host:0", "0", "tcp:8080", "tcp:host:http", "ws:", "host:70000"):
            problem = self.assertRaises(CommandError, service_dial, self.reactor, text, "--serve")
            self.assertIn(f"--serve {text}: not a service", str(problem))
        for text in ("", "x", "tcp:x", "ws:", "host:-1"):
            problem = self.assertRaises(CommandError, server_endpoint, self.reactor, text, "--listen")
            self.assertIn(f"--listen {text}: not a port", str(problem))
        problem = self.assertRaises(CommandError, client_endpoint, self.reactor, "80", "--proxy")
        self.assertIn("--proxy 80: not a client endpoint", str(problem))

    def test_wrong_files(self) -> None:
        """So is an endpoint that leads to files which are not what they should be, whatever its parser says to that."""
        certificates = Path(self.mktemp())
        certificates.mkdir()
        (certificates / "a.pem").write_text("none")
        text = f"tls:localhost:80:trustRoots={certificates}"
        problem = self.assertRaises(CommandError, client_endpoint, self.reactor, text, "--proxy")
        self.assertIn(f"--proxy {text}: not a client endpoint", str(problem))

    def test_silent(self) -> None:
        """A service that does not answer is given up; it is named, and the error has a code."""
        connecting = self.dial("ws:unix\\:/a")
        self.reactor.advance(TIMEOUT)
        problem = self.failureResultOf(connecting, CommandError).value
        self.assertEqual("connect-timeout", problem.code)
        self.assertTrue(str(problem).startswith("ws:unix\\:/a: no connection in "), str(problem))


def _place(reactor: MemoryReactorClock, text: str) -> HostPort:
    """:returns: the TCP port that a text leads to when something listens there."""
    server_endpoint(reactor, text, "--listen").listen(Collector())
    port, _, _, host = reactor.tcpServers[-1]
    return HostPort(host, port)
