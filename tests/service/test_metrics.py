"""What operators watch: :mod:`spaceswarm_proxy.service.metrics`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import Any

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy import __version__
from spaceswarm_proxy.dht.stats import NodeStats
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.network.joint import node_network
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.server import ProxyServer
from spaceswarm_proxy.service import metrics as module
from spaceswarm_proxy.service.metrics import IDLE_TIMEOUT, MAX_CONNECTIONS, MetricsFactory, node_of, registry_of
from spaceswarm_proxy.udx.stats import StreamStats
from tests.dht.stepping import SteppedTestCase
from tests.network.support import Recorder
from tests.proxy.world import World
from tests.service.child import ROOT


def families(server: ProxyServer) -> list[Metric]:
    """What Prometheus reads."""
    return list(text_string_to_metric_families(generate_latest(registry_of(server)).decode()))


def figures(server: ProxyServer) -> dict[str, float]:
    """The same, by name, with the values of labels after a colon."""
    samples = [sample for family in families(server) for sample in family.samples]
    return {
        ":".join([sample.name, *sample.labels.values()]).removeprefix("spaceswarm_"): sample.value for sample in samples
    }


class ServerTests(SynchronousTestCase):
    """The server's own."""

    def assert_figures(self, world: World, **expected: float) -> None:
        found = figures(world.server)
        self.assertEqual(expected, {name: found[f"proxy_{name}"] for name in expected})

    def test_nothing(self) -> None:
        """Before anybody comes, all is zero, and said to be."""
        found = {name: value for name, value in figures(World().server).items() if name.startswith("proxy_")}
        self.assertEqual(1, found.pop(f"proxy_info:{__version__}"))
        self.assertLess(5, len(found))
        self.assertEqual({0}, set(found.values()))

    def test_stream(self) -> None:
        """A client with a stream to a peer; when it has gone, what it has done is still counted."""
        world = World()
        client, _ = world.connected()
        self.assert_figures(world, clients=1, topics=1, streams=1, dials_total=1, streams_opened_total=1)
        client.transport.loseConnection()
        world.settle()
        self.assert_figures(world, clients=0, topics=0, streams=0)
        self.assert_figures(world, clients_connected_total=1, dials_total=1, dials_failed_total=0)

    def test_failures(self) -> None:
        """What goes wrong: a dial, by number; a violation and a limit, by what it was."""
        world = World(limits=Limits(max_topics=1))
        peers, peer_id = world.peer()
        peers.refuse = True
        client = world.client()
        client.join()
        world.settle()
        client.connect(peer_id)
        client.join(bytes(32))
        world.settle()
        world.client(ready=False).send(b"\x01\x00")
        world.settle()
        self.assert_figures(world, dials_total=1, dials_failed_total=1, streams_opened_total=0)
        found = figures(world.server)
        self.assertEqual(1, found["proxy_limits_reached_total:max_topics"])
        (kind,) = world.server.stats.violations
        self.assertEqual(1, found[f"proxy_violations_total:{kind}"])

    def test_draining(self) -> None:
        """That the server is about to stop can be seen."""
        world = World()
        world.client()
        self.assert_figures(world, draining=0)
        world.server.drain(60.0)
        self.assert_figures(world, draining=1, clients=1)
        world.server.close()
        world.settle()

    def test_names(self) -> None:
        """Each family is there once, with a name as Prometheus wants them, and something to say for itself."""
        found = families(World().server)
        names = [family.name for family in found]
        self.assertEqual(len(set(names)), len(names))
        for family in found:
            self.assertRegex(family.name, r"^(spaceswarm_proxy|process)(_[a-z]+)+$")
            self.assertRegex(family.documentation, r"^[A-Z0-9].*\.$")
            for sample in family.samples:
                self.assertEqual(family.type == "counter", sample.name.endswith("_total"), sample.name)

    def test_process(self) -> None:
        """The process is there; nothing of what else there may be in it is, nor are we in what it may show itself."""
        found = figures(World().server)
        self.assertLess(1 << 20, found["process_resident_memory_bytes"])
        self.assertLess(0, found["process_open_fds"])
        self.assertFalse([name for name in found if name.startswith("python")])
        self.assertNotIn("spaceswarm", generate_latest(REGISTRY).decode())


class NodeTests(SteppedTestCase):
    """The node's, and its streams'."""

    def server(self, **options: Any) -> ProxyServer:
        hub = LocalHub(self.reactor)
        server = ProxyServer(node_network(self.node(**options), hub), reactor=self.reactor)
        self.opened.insert(0, server)
        return server

    def test_node(self) -> None:
        """They are those of the node, as they are when they are asked for."""
        server = self.server(bootstrap=self.net(3).bootstrap)
        self.reactor.elapse(1)
        node = node_of(server.network)
        assert node is not None
        found, stats = figures(server), node.stats
        self.assertLess(0, stats.requests_answered)
        expected = (1, stats.nodes, stats.requests_sent, stats.requests_answered)
        names = ("online", "nodes", "requests_sent_total", "requests_answered_total")
        self.assertEqual(expected, tuple(found[f"dht_{name}"] for name in names))

    def test_streams(self) -> None:
        """A stream to a peer is counted."""
        net = self.net(3)
        server = self.server(bootstrap=net.bootstrap)
        other = self.node(bootstrap=net.bootstrap)
        port = other.listen(None, Factory.forProtocol(Recorder))
        self.reactor.elapse(2)
        node = node_of(server.network)
        assert node is not None
        node.connect(self.successResultOf(port).getHost().public_key, Factory.forProtocol(Recorder))
        self.reactor.elapse(2)
        found = figures(server)
        self.assertEqual((1, 1), (found["udx_streams"], found["udx_streams_begun_total"]))
        other.close()
        self.reactor.elapse(5)

    def test_all(self) -> None:
        """Everything that nodes and streams count is shown."""
        shown = {field for field, *_ in (*module.NODE_GAUGES, *module.NODE_COUNTERS)}
        self.assertEqual({each.name for each in fields(NodeStats)}, shown)
        shown = {field for field, *_ in (*module.STREAM_GAUGES, *module.STREAM_COUNTERS)}
        self.assertEqual({each.name for each in fields(StreamStats)}, shown)

    def test_whose(self) -> None:
        """The node of a network is found, shared or not; where there is none, nothing is said of it."""
        node = self.node()
        network = DHTNetwork(node)
        self.opened.insert(0, network)
        self.assertIs(node, node_of(network))
        self.assertIsNone(node_of(LocalHub(self.reactor).network()))
        self.assertFalse([name for name in figures(World().server) if not name.startswith(("proxy", "process"))])


class HTTPTests(SynchronousTestCase):
    """Over HTTP."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.world = World()
        self.factory = MetricsFactory(self.world.server, self.clock)

    def visitor(self) -> StringTransport:
        transport = StringTransport()
        protocol = self.factory.buildProtocol(transport.getPeer())
        assert protocol is not None
        transport.protocol = protocol  # type: ignore[attr-defined]
        protocol.makeConnection(transport)
        return transport

    def ask(self, request: str, more: str = "") -> tuple[str, str]:
        """:returns: head and body of the response."""
        transport = self.visitor()
        transport.protocol.dataReceived(f"{request} HTTP/1.1\r\nHost: a\r\n{more}\r\n".encode())  # type: ignore[attr-defined]
        head, _, body = transport.value().decode().partition("\r\n\r\n")
        self.assertIn(f"Content-Length: {len(body)}" if not request.startswith("HEAD") else "HTTP", head)
        return head, body

    def test_get(self) -> None:
        """The page is there, with the type that Prometheus knows it by; it is another one each time."""
        head, body = self.ask("GET /metrics")
        self.assertTrue(head.startswith("HTTP/1.1 200 "), head)
        self.assertIn("\r\nContent-Type: text/plain; version=", head)
        self.assertIn("\nspaceswarm_proxy_clients 0.0\n", body)
        self.world.client()
        self.assertIn("\nspaceswarm_proxy_clients 1.0\n", self.ask("GET /metrics?x=1")[1])

    def test_head(self) -> None:
        """Without its body, when nobody wants that."""
        head, body = self.ask("HEAD /metrics")
        self.assertRegex(head, r"^HTTP/1.1 200 (?s:.*)\r\nContent-Length: [1-9]\d{3}")
        self.assertEqual("", body)

    def test_nothing_else(self) -> None:
        """There is nothing else, and nothing else can be done."""
        for place in ("/", "/metrics/", "/metrics/a", "/a", "/a/metrics", "//metrics", "/%2e%2e/metrics"):
            for method in ("GET", "HEAD", "POST"):
                head, body = self.ask(f"{method} {place}")
                self.assertTrue(head.startswith("HTTP/1.1 404 "), (method, place, head))
                self.assertEqual("", body)
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            self.assertRegex(self.ask(f"{method} /metrics")[0], r"^HTTP/1.1 (405|501) ")

    def test_bodies(self) -> None:
        """What is sent with a request is kept nowhere, however much it is."""
        transport = self.visitor()
        protocol: Any = transport.protocol  # type: ignore[attr-defined]
        protocol.dataReceived(b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        (request,) = protocol.wrappedProtocol._channel.requests
        for _ in range(100):
            protocol.dataReceived(bytes(65536))
        self.assertEqual((0, b""), (request.content.tell(), transport.value()))

    def test_nonsense(self) -> None:
        """Whoever does not speak HTTP is closed; so is a head that is too long."""
        for nonsense in (b"\x00\x01\x02\r\n\r\n", b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 10_000):
            transport = self.visitor()
            transport.protocol.dataReceived(nonsense)  # type: ignore[attr-defined]
            self.assertTrue(transport.disconnecting)

    def test_silence(self) -> None:
        """Whoever is silent is closed, before a request and after one."""
        fresh, served = self.visitor(), self.visitor()
        served.protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")  # type: ignore[attr-defined]
        self.clock.advance(IDLE_TIMEOUT - 1)
        self.assertEqual((False, False), (fresh.disconnecting, served.disconnecting))
        self.clock.advance(2)
        self.assertEqual((True, True), (fresh.disconnecting, served.disconnecting))

    def test_crowd(self) -> None:
        """Only so many may be there at once; one that leaves makes room."""
        visitors = [self.visitor() for _ in range(MAX_CONNECTIONS)]
        self.assertIsNone(self.factory.buildProtocol(visitors[0].getPeer()))
        visitors[0].protocol.connectionLost(None)  # type: ignore[attr-defined]
        self.visitor()

    def test_disconnect(self) -> None:
        """At the end, all are cut off, and it is known when they have gone."""
        self.successResultOf(self.factory.disconnect())
        visitors = [self.visitor(), self.visitor()]
        gone = self.factory.disconnect()
        for each in visitors:
            self.assertTrue(each.disconnected)
            self.assertNoResult(gone)
            each.protocol.connectionLost(None)  # type: ignore[attr-defined]
        self.successResultOf(gone)
        self.assertEqual([], self.clock.getDelayedCalls())


class LightTests(SynchronousTestCase):
    """Whoever wants no metrics does not wait for what they take."""

    def test_light(self) -> None:
        """A service without metrics loads no ``prometheus-client``; one with them does."""
        self.assertEqual("False True\n", self.run_program("None", '"tcp:4979:interface=127.0.0.1"'))

    def run_program(self, *metrics: str) -> str:
        """:returns: whether it is loaded after a service with each of these was started."""
        program = "; ".join(
            [
                "import sys",
                "from twisted.internet.testing import MemoryReactorClock as Reactor",
                "from spaceswarm_proxy.service import Options, Settings, SpaceswarmProxyService as Service",
                'start = lambda shown: Service(Settings(network="local", metrics=shown), Reactor()).startService()',
                'loaded = lambda shown: (start(shown), "prometheus_client" in sys.modules)[1]',
                f"print(*map(loaded, [{', '.join(metrics)}]))",
            ]
        )
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr
