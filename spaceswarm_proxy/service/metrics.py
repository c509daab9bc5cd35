"""
What operators watch: the counters of a server, of its node and of the process, for Prometheus.

They are plain integers where they are counted, and are read when somebody asks for them: ``GET /metrics``, in the
Prometheus text format.

``prometheus-client`` and Twisted's web server come with this module: it is imported only where metrics are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import NOT_FOUND, Request as AnyRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from spaceswarm_proxy import __version__
from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.interfaces import INetwork
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.network.joint import JointNetwork
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.proxy.server import ProxyServer

#: Connections at once; one more is closed.
MAX_CONNECTIONS = 32
#: Seconds that a connection may be silent for.
IDLE_TIMEOUT = 30.0

# What there is now, and what has been counted since the start, as NodeStats and StreamStats have it: the field, what
# it is called here (counters get their "_total"), and what it says.

NODE_GAUGES = (
    ("nodes", "nodes", "Nodes in the routing table."),
    ("queries", "queries_running", "Queries under way."),
    ("requests_under_way", "requests_pending", "Requests of ours that wait for an answer."),
    ("topic_records", "topic_records", "Announcements of topics kept for others."),
    ("forwards", "forwards", "Servers that others are led to."),
    ("mutable_values", "mutable_values", "Mutable values kept for others."),
    ("immutable_values", "immutable_values", "Immutable values kept for others."),
)
NODE_COUNTERS = (
    ("queries_begun", "queries", "Queries begun."),
    ("requests_sent", "requests_sent", "Datagrams sent with requests of ours."),
    ("requests_answered", "requests_answered", "Requests of ours that were answered."),
    ("requests_timed_out", "requests_timed_out", "Requests of ours that were given up."),
    ("answers", "answers", "Requests of others that were answered."),
    ("silences", "silences", "Requests of others that were left without an answer."),
    ("refused", "refused", "Requests of others that were refused, as their host made too many."),
    ("ignored", "datagrams_ignored", "Datagrams that were damaged or nobody's."),
    ("unsent", "datagrams_unsent", "Datagrams that the system did not take."),
    ("handshakes_forwarded", "handshakes_forwarded", "Datagrams of handshakes that were passed on for others."),
    ("holepunches_forwarded", "holepunches_forwarded", "Datagrams of hole punching that were passed on for others."),
)
STREAM_GAUGES = (("streams", "streams", "Streams over UDP, those being opened included."),)
STREAM_COUNTERS = (
    ("streams_begun", "streams_begun", "Streams over UDP that were begun."),
    ("retransmitted", "packets_retransmitted", "Packets that were sent again."),
    ("timed_out", "timeouts", "Times that an acknowledgement was waited for too long."),
    ("strays", "packets_stray", "Packets that belong to no stream."),
    ("relayed", "packets_relayed", "Packets of others' streams that were passed on."),
)


class ServerCollector(Collector):
    """Reads what a proxy server counts."""

    def __init__(self, server: ProxyServer) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        """:returns: all of it, as it is now."""
        yield InfoMetricFamily("spaceswarm_proxy", "The program.", {"version": __version__})
        yield from self._now()
        yield from self._so_far()

    def _now(self) -> Iterator[Metric]:
        server = self._server
        yield _gauge("proxy_clients", "Clients that are connected.", len(server.links))
        yield _gauge("proxy_streams", "Streams of clients, those being dialled included.", server.open_streams)
        yield _gauge("proxy_topics", "Topics that clients look up, each counted once.", len(server.lookups))
        yield _gauge("proxy_identities_kept", "Clients that are kept announced without a link.", server.identities.kept)
        yield _gauge("proxy_partial_bytes", "Bytes of unfinished frames, over all clients.", server.partial.held)
        yield _gauge("proxy_draining", "1 while the server stops, and takes nothing new.", server.draining)

    def _so_far(self) -> Iterator[Metric]:
        stats = self._server.stats
        yield _counter("proxy_clients_connected", "Clients that have connected.", stats.clients)
        yield _counter("proxy_streams_opened", "Streams that were opened to clients' peers or by them.", stats.streams)
        yield _counter("proxy_dials", "Connections to peers that clients have asked for.", stats.dials)
        yield _counter("proxy_dials_failed", "Those of them that have failed.", stats.dials_failed)
        yield _labelled("proxy_violations", "Clients cut off for breaking the protocol.", "kind", stats.violations)
        yield _labelled("proxy_limits_reached", "Times that a client has reached a limit.", "limit", stats.limits)


class NodeCollector(Collector):
    """Reads what a node of the network counts."""

    def __init__(self, node: DHTNode) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """:returns: all of it, as it is now."""
        node = self._node
        yield _gauge("dht_online", "0 when no other node answers, as far as the node knows.", node.online)
        yield _gauge("dht_degraded", "1 while most requests are lost.", node.degraded)
        yield _gauge("dht_ephemeral", "1 while the node neither answers nor stores for others.", node.ephemeral)
        yield from _table("dht", node.stats, NODE_GAUGES, NODE_COUNTERS)
        yield from _table("udx", node.stream_stats, STREAM_GAUGES, STREAM_COUNTERS)


Rows = Iterable[tuple[str, str, str]]


def _table(room: str, stats: object, gauges: Rows, counters: Rows) -> Iterator[Metric]:
    for make, rows in ((_gauge, gauges), (_counter, counters)):
        for field, name, help in rows:
            yield make(f"{room}_{name}", help, getattr(stats, field))


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"spaceswarm_{name}", help, value)


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(f"spaceswarm_{name}", help, value)


def _labelled(name: str, help: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"spaceswarm_{name}", help, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def node_of(network: INetwork) -> DHTNode | None:
    """:returns: the node by which a network is the real one, if it is."""
    far = network.far if isinstance(network, JointNetwork) else network
    return far.node if isinstance(far, DHTNetwork) else None


def registry_of(server: ProxyServer) -> CollectorRegistry:
    """:returns: all that is to be known of a server, and nothing of others in the process."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(server))
    node = node_of(server.network)
    if node is not None:
        registry.register(NodeCollector(node))
    ProcessCollector(registry=registry)
    return registry


# Over HTTP.


class _Place(Resource):
    """Below it is nothing but what is put there."""

    def getChild(self, path: bytes, request: Request) -> Resource:
        return _Nothing()


class _Page(_Place):
    """``/metrics``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def render_GET(self, request: Request) -> bytes:
        """Everything, as it is now."""
        request.setHeader(b"content-type", CONTENT_TYPE_LATEST.encode())
        return generate_latest(self._registry)

    def render_HEAD(self, request: Request) -> bytes:
        """How long that is."""
        request.setHeader(b"content-length", b"%d" % len(self.render_GET(request)))
        return b""


class _Nothing(Resource):
    """All other places."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Not found, whatever was to be done with it."""
        request.setResponseCode(NOT_FOUND)
        return b""


class _Request(Request):
    """A request without a body: what comes as one is kept neither in memory nor on disk."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()  # type: ignore[assignment]

    def handleContentChunk(self, data: bytes) -> None:
        """It is nothing to us."""


class _Site(Site):
    noisy = False

    def log(self, request: AnyRequest) -> None:
        """One more look every few seconds is no news."""


class MetricsFactory(WrappingFactory):
    """Serves the metrics of a server over HTTP; nobody who asks has more of this than a few connections."""

    noisy = False

    def __init__(self, server: ProxyServer, reactor: Any) -> None:
        root = _Place()
        root.putChild(b"metrics", _Page(registry_of(server)))
        super().__init__(_Site(root, requestFactory=_Request, timeout=IDLE_TIMEOUT, reactor=reactor))
        self._none_left: Waiters[None] = Waiters()

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]
        return super().buildProtocol(addr) if len(self.protocols) < MAX_CONNECTIONS else None

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        super().unregisterProtocol(p)
        if not self.protocols:
            self._none_left.fire(None)

    def disconnect(self) -> Deferred[None]:
        """Cut off who is connected.  :returns: a Deferred that fires when nobody is."""
        if not self.protocols:
            return succeed(None)
        left = self._none_left.wait()
        for each in tuple(self.protocols):
            each.transport.abortConnection()
        return left
