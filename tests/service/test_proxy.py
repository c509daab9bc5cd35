"""The service: :mod:`spaceswarm_proxy.service.proxy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from spaceswarm_proxy.interfaces import HostPort, IPeerReceiver, Peer
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.service import Settings, SettingsError, SpaceswarmProxyService, StartError, proxy as module
from spaceswarm_proxy.service.metrics import MetricsFactory
from spaceswarm_proxy.topics import topic
from tests.dht.stepping import LOOPBACK, SteppedTestCase
from tests.network.support import Finder

LOCAL = "tcp:4978:interface=127.0.0.1"
READY = bytes.fromhex("020801")


@implementer(IStreamServerEndpoint)
class SlowEndpoint:
    """Takes its time to listen."""

    def __init__(self) -> None:
        self.attempt: Deferred[Any] = Deferred()

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        return self.attempt


class BusyReactor(MemoryReactorClock):
    """All its ports are in use but one."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if port != 1:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        return super().listenTCP(port, factory, backlog, interface)


class ClientTransport(StringTransport):
    """Has a link at its end."""

    def __init__(self, link: Any) -> None:
        super().__init__()
        self.protocol = link

    def abortConnection(self) -> None:
        super().abortConnection()
        self.protocol.connectionLost()


@implementer(IPeerReceiver)
class Receiver:
    """Keeps what is found."""

    def __init__(self) -> None:
        self.found: list[Peer] = []

    def peer_found(self, peer: Peer) -> None:
        self.found.append(peer)

    def lookup_updated(self) -> None:
        """It is the peers that matter."""


class ServiceTestCase(SynchronousTestCase):
    """Runs services in a reactor of memory."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def service(self, **settings: Any) -> SpaceswarmProxyService:
        return SpaceswarmProxyService(Settings(**{"listen": (LOCAL,), "network": "local", **settings}), self.reactor)

    def client(self, service: SpaceswarmProxyService, data: bytes = READY) -> ClientTransport:
        """A client that has been heard."""
        assert service.server is not None
        link = service.server.buildProtocol(None)
        assert link is not None
        transport = ClientTransport(link)
        link.makeConnection(transport)
        link.dataReceived(data)
        return transport


class StartTests(ServiceTestCase):
    """Listening."""

    def test_listens(self) -> None:
        """It listens on every endpoint, once, and says on which; the server is there."""
        service = self.service(listen=(LOCAL, "ws:4977", "unix:sock"))
        with capturedLogs() as logs:
            service.privilegedStartService()
            service.startService()
        lines = [formatEvent(event) for event in logs]
        for text in service.settings.listen:
            self.assertEqual(1, lines.count(f"listening on {text}"), lines)
        self.assertEqual([4978, 4977], [port for port, *_ in self.reactor.tcpServers])
        self.assertEqual(["sock"], [path for path, *_ in self.reactor.unixServers])
        self.assertEqual(READY, self.client(service).value())

    def test_unprivileged(self) -> None:
        """In a program that starts it directly it listens all the same."""
        service = self.service()
        service.startService()
        self.assertEqual(1, len(service.ports))

    def test_fails(self) -> None:
        """What fails at once is raised, as one line that is logged too, and nothing else goes on listening."""
        self.reactor = BusyReactor()
        service = self.service(listen=("tcp:1:interface=127.0.0.1", LOCAL))
        with capturedLogs() as logs:
            problem = self.assertRaises(StartError, service.startService)
        line = f"cannot listen on {LOCAL}: Address already in use"
        self.assertEqual((line, 1), (str(problem), problem.code))
        self.assertIn(line, [formatEvent(event) for event in logs])
        self.assertEqual([], service.ports)
        self.assertIsNone(service.server)

    def test_fails_later(self) -> None:
        """What fails later is told; the other endpoints stay."""
        slow = SlowEndpoint()
        told: list[StartError] = []
        self.patch(module, "endpoint", lambda reactor, text: slow)
        service = SpaceswarmProxyService(Settings(network="local"), self.reactor, failed=told.append)
        service.startService()
        slow.attempt.errback(OSError("no such luck"))
        self.assertEqual([f"cannot listen on {text}: no such luck" for text in Settings().listen[:1]], [str(told[0])])
        self.assertTrue(service.running)

    def test_stopped_before_it_listens(self) -> None:
        """An endpoint that is still at it when the service stops is called off."""
        slow = SlowEndpoint()
        told: list[StartError] = []
        self.patch(module, "endpoint", lambda reactor, text: slow)
        service = SpaceswarmProxyService(Settings(listen=(LOCAL,), network="local"), self.reactor, failed=told.append)
        service.startService()
        self.successResultOf(service.stopService())
        self.assertTrue(slow.attempt.called)
        self.assertEqual([], told)

    def test_refuses(self) -> None:
        """A program's own code, too, lets nobody in by mistake, and must give text that means an endpoint."""
        for listen in (("tcp:1",), ("frob:1:interface=127.0.0.1",)):
            self.assertRaises(SettingsError, self.service, listen=listen)

    def test_own_network(self) -> None:
        """A program may show a network of its own; it is closed with the service."""
        network = LocalHub(self.reactor).network()
        service = SpaceswarmProxyService(Settings(), self.reactor, network=network)
        service.startService()
        assert service.server is not None
        self.assertIs(network, service.server.network)
        self.successResultOf(service.stopService())
        self.assertFalse(network.status().online)

    def test_announced_services(self) -> None:
        """The TCP services of the settings are found in the local network."""
        service = self.service(announce_tcp=("room=192.0.2.1:80",))
        service.startService()
        receiver = Receiver()
        assert service.server is not None
        service.server.network.lookup(topic("room"), receiver)
        self.reactor.advance(0)
        self.reactor.advance(0)
        self.assertEqual([Peer.at("192.0.2.1", 80)], receiver.found)


class MetricsTests(ServiceTestCase):
    """The metrics' endpoint."""

    METRICS = "tcp:9100:interface=127.0.0.1"

    def test_listens(self) -> None:
        """It is there when it is asked for, and said to be; it is not one for clients."""
        service = self.service(metrics=self.METRICS)
        with capturedLogs() as logs:
            service.startService()
        self.assertIn(f"metrics on {self.METRICS}", [formatEvent(event) for event in logs])
        (port, factory, *_), (_, server, *_) = self.reactor.tcpServers
        self.assertEqual((9100, 1), (port, len(service.ports)))
        self.assertIsNot(server, factory)
        self.assertIsInstance(factory, MetricsFactory)

    def test_outlasts_the_clients(self) -> None:
        """It is closed after they have left, with whoever looks at it."""
        service = self.service(metrics=self.METRICS)
        service.startService()
        port, client, visitor = service.metrics_port, self.client(service), StringTransport()
        factory = self.reactor.tcpServers[0][1]
        watching = factory.buildProtocol(visitor.getPeer())
        watching.makeConnection(visitor)
        stopped = service.stopService()
        watching.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b"\nspaceswarm_proxy_draining 1.0\n", visitor.value())
        self.assertEqual((port, False), (service.metrics_port, visitor.disconnected))
        client.protocol.connectionLost()
        self.assertEqual((None, True), (service.metrics_port, visitor.disconnected))
        self.assertNoResult(stopped)
        watching.connectionLost(None)
        self.successResultOf(stopped)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_fails(self) -> None:
        """Where it can't be, the service does not start."""
        self.reactor = BusyReactor()
        service = self.service(listen=("tcp:1:interface=127.0.0.1",), metrics=self.METRICS)
        problem = self.assertRaises(StartError, service.startService)
        self.assertEqual(f"cannot listen on {self.METRICS}: Address already in use", str(problem))
        self.assertEqual(([], None), (service.ports, service.server))

    def test_refuses(self) -> None:
        """A program's own code, too, shows them to nobody by mistake."""
        for metrics in ("tcp:9100", "frob:1:interface=127.0.0.1"):
            self.assertRaises(SettingsError, self.service, metrics=metrics)


class NodeTests(SteppedTestCase):
    """The real network, which is the default, by a node of the service's own."""

    def service(self, **settings: Any) -> SpaceswarmProxyService:
        options = {"listen": (LOCAL,), "host": LOOPBACK, "port": 0, **settings}
        return SpaceswarmProxyService(Settings(**options), self.reactor)

    def started(self, **settings: Any) -> SpaceswarmProxyService:
        service = self.service(**settings)
        service.startService()
        return service

    def network(self, service: SpaceswarmProxyService) -> Any:
        assert service.server is not None
        return service.server.network

    def stop(self, service: SpaceswarmProxyService) -> None:
        stopped = service.stopService()
        self.reactor.elapse(5)
        self.successResultOf(stopped)

    def test_among_others(self) -> None:
        """It joins the network in which the given node is, and tells where its own is, and that somebody answers."""
        net = self.net(2)
        with capturedLogs() as logs:
            service = self.started(bootstrap=(str(net.bootstrap[0]),), ephemeral=True)
            self.reactor.elapse(1)
        node = self.network(service).far.node
        self.assertTrue(node.online)
        lines = [formatEvent(event) for event in logs]
        self.assertIn(f"a node of the spaceswarm network on {node.address}", lines)
        self.assertIn("the spaceswarm network answers", lines)
        self.stop(service)

    def test_leaves(self) -> None:
        """When it stops, what its clients have announced is taken back."""
        net = self.net(2)
        service = self.started(bootstrap=(str(net.bootstrap[0]),))
        self.reactor.elapse(1)
        self.network(service).with_identity().announce(topic("room"))
        self.reactor.elapse(5)
        counts = [node.stats.topic_records for node in net.nodes]
        self.stop(service)
        self.assertEqual(([1, 1], [0, 0]), (counts, [node.stats.topic_records for node in net.nodes]))

    def test_nobody_answers(self) -> None:
        """When nobody answers it serves its clients all the same, says so in one line, and stops as it should."""
        with capturedLogs() as logs:
            service = self.started(bootstrap=(str(HostPort(*self.silent().getsockname())),), profile="hyperswarm")
            one, two = (self.network(service).with_identity() for _ in range(2))
            finder = Finder()
            flushed = [one.lookup(topic("room"), finder).flushed(), two.announce(topic("room")).flushed()]
            self.reactor.elapse(60)
        self.assertTrue(finder.knows(two))
        for waiting in flushed:
            self.successResultOf(waiting)
        warnings = [formatEvent(event) for event in logs if event["log_level"] is not LogLevel.info]
        self.assertEqual(["no node of the hyperswarm network answers; trying again now and then"], warnings)
        self.assertNotIn("the hyperswarm network answers", [formatEvent(event) for event in logs])
        self.stop(service)

    def test_announced_services(self) -> None:
        """The TCP services of the settings are found by the clients here, too."""
        service = self.started(announce_tcp=("room=192.0.2.1:80",), bootstrap=("127.0.0.1:1",))
        receiver = Receiver()
        self.network(service).lookup(topic("room"), receiver)
        self.reactor.elapse(0)
        self.assertEqual([Peer.at("192.0.2.1", 80)], receiver.found)
        self.stop(service)

    def test_port_in_use(self) -> None:
        """A port that is not to be had ends the start, in one line; nothing else listens then."""
        port = self.silent().getsockname()[1]
        with capturedLogs() as logs:
            problem = self.assertRaises(StartError, self.service(port=port).startService)
        self.assertIn("cannot start the node: ", str(problem))
        self.assertIn(str(problem), [formatEvent(event) for event in logs])
        self.assertEqual([], self.reactor.tcpServers)

    def test_state(self) -> None:
        """A state that can't be kept ends it likewise; one that can makes it the same node again."""
        path = Path(self.mktemp())
        path.write_text("no directory")
        self.assertRaises(StartError, self.service(state=str(path)).startService)
        keys = []
        for _ in range(2):
            service = self.started(state=str(path.with_suffix(".d")), bootstrap=("127.0.0.1:1",))
            keys.append(self.network(service).public_key)
            self.stop(service)
        self.assertEqual(1, len(set(keys)))


class TokenTests(ServiceTestCase):
    """Tokens."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp())
        self.path.write_text("old")
        self.tokens = self.service(token_file=str(self.path))
        self.tokens.startService()

    def admitted(self, token: bytes) -> bool:
        """Is a client let in that has this token?"""
        body = b"\x08\x01\xb2\x01" + bytes([len(token)]) + token
        return not self.client(self.tokens, bytes([len(body)]) + body).disconnecting

    def test_asked_for(self) -> None:
        """Only who has one is let in."""
        self.assertTrue(self.admitted(b"old"))
        self.assertFalse(self.admitted(b"new"))

    def test_reload(self) -> None:
        """A new file counts from now on."""
        self.path.write_text("new")
        self.tokens.reload_tokens()
        self.assertFalse(self.admitted(b"old"))
        self.assertTrue(self.admitted(b"new"))

    def test_bad_reload(self) -> None:
        """A file that is empty or gone changes nothing; it is logged."""
        for spoil in (lambda: self.path.write_text("# none"), self.path.unlink):
            spoil()
            with capturedLogs() as logs:
                self.tokens.reload_tokens()
            self.assertIn("the tokens stay as they were", formatEvent(logs[-1]))
            self.assertTrue(self.admitted(b"old"))

    def test_nothing_to_reload(self) -> None:
        """Without a file there is nothing to read again: nobody is shut out, and that is said."""
        self.tokens = self.service()
        self.tokens.startService()
        with capturedLogs() as logs:
            self.tokens.reload_tokens()
        self.assertEqual(["there is no token file: nothing to read again"], [formatEvent(event) for event in logs])
        self.assertTrue(self.admitted(b"any"))

    def test_in_clear(self) -> None:
        """Where they could be overheard, the log says so."""
        service = self.service(token_file=str(self.path), listen=("tcp:1", LOCAL))
        with capturedLogs() as logs:
            service.startService()
        warnings = [event for event in logs if "for everyone on the way" in formatEvent(event)]
        self.assertEqual(["tcp:1"], [event["endpoint"] for event in warnings])


class StopTests(ServiceTestCase):
    """Stopping."""

    def setUp(self) -> None:
        super().setUp()
        self.proxy = self.service(grace=10.0)
        self.proxy.startService()

    def test_idle(self) -> None:
        """Without clients it stops at once, and nothing is left."""
        self.successResultOf(self.proxy.stopService())
        self.assertIsNone(self.proxy.server)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_grace(self) -> None:
        """A client is given time; then it is closed."""
        transport = self.client(self.proxy)
        stopped = self.proxy.stopService()
        self.reactor.advance(9.5)
        self.assertFalse(transport.disconnecting)
        self.reactor.advance(1)
        self.assertTrue(transport.disconnecting)
        self.assertNoResult(stopped)
        transport.protocol.connectionLost()
        self.successResultOf(stopped)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_leaves(self) -> None:
        """It does not wait any longer than the last client."""
        transport = self.client(self.proxy)
        stopped = self.proxy.stopService()
        transport.protocol.connectionLost()
        self.successResultOf(stopped)

    def test_hurry(self) -> None:
        """Asked to hurry it cuts the clients off."""
        self.client(self.proxy)
        stopped = self.proxy.stopService()
        self.proxy.hurry()
        self.successResultOf(stopped)
        self.assertIsNone(self.proxy.server)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_hurry_at_the_end(self) -> None:
        """Also when the time is up and the clients' connections take theirs to close."""
        self.client(self.proxy)
        stopped = self.proxy.stopService()
        self.reactor.advance(11)
        self.proxy.hurry()
        self.successResultOf(stopped)
        self.assertIsNone(self.proxy.server)

    def test_again(self) -> None:
        """It can be started again."""
        self.successResultOf(self.proxy.stopService())
        self.proxy.startService()
        transport = self.client(self.proxy)
        self.assertEqual(READY, transport.value())
        transport.protocol.connectionLost()
        self.successResultOf(self.proxy.stopService())
