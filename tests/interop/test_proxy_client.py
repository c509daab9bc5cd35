"""Our client, and the swarm on it, with the JavaScript proxy server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, replace
from secrets import token_bytes
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.codec.varint import encode_varint
from spaceswarm_proxy.errors import ConnectCancelledError, ConnectTimeoutError, PeerUnreachableError, StreamError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.proxy import client
from spaceswarm_proxy.proxy.client import CLIENT_LIMITS, ProxyNetwork
from spaceswarm_proxy.proxy.wire import Event, EventType, encode
from spaceswarm_proxy.swarm import Swarm
from tests.interop.proxy_servers import OurServer, TheirServer
from tests.interop.proxy_support import (
    BULK,
    MEGABYTE,
    TOPIC,
    Greeter,
    ProxyTestCase,
    Service,
    TCPPeer,
    digest,
    eventually,
)
from tests.network.support import Collector, Echo, Finder, HalfCloseRecorder, Recorder, Source


class ClientTestCase(ProxyTestCase):
    """Tests with one JavaScript server."""

    theirs: TheirServer

    async def server(self, *services: Service, options: tuple[str, ...] = ()) -> TheirServer:
        """A server that has services as the topic's peers."""
        peers = [text for service in services for text in ("--peer", f"{TOPIC.hex()}={service.address}")]
        self.theirs = await TheirServer(self, *peers, *options).start()
        return self.theirs

    def endpoint(self) -> IStreamClientEndpoint:
        return clientFromString(or_global(None), f"tcp:127.0.0.1:{self.theirs.tcp_port}")

    def network(self, **options: Any) -> ProxyNetwork:
        """Our end, which is closed with the test, and tries again soon."""
        network = ProxyNetwork(self.endpoint(), **{"backoff": lambda attempt: 0.02, **options})
        self.addCleanup(network.close)
        return network

    def swarm(self, build: Callable[[], Recorder] = Recorder, **options: Any) -> tuple[Swarm, Collector]:
        """A swarm on such an end, and what collects its connections."""
        collector = Collector(build)
        swarm = Swarm(self.network(), collector, **options)
        self.addCleanup(swarm.close)
        return swarm, collector

    async def connected(self, service: Service, build: Callable[[], Recorder] = HalfCloseRecorder) -> tuple[Any, Any]:
        """Our protocol and that of the service, connected with each other after a lookup."""
        network = self.network()
        await self.found(network, service)
        ours = await network.connect(service.their_peer(), Collector(build))
        return ours, await service.connected()

    async def found(self, network: ProxyNetwork, service: Service) -> Finder:
        """A lookup that has found the service."""
        finder = Finder()
        network.lookup(TOPIC, finder)
        await finder.when(lambda: service.their_peer() in finder.found)
        return finder


class EachCarrier:
    """What works the same whatever the link runs over."""

    async def test_text(self: Any) -> None:
        """Text goes both ways; when our protocol closes the connection, the peer's ends too, and nothing is left."""
        service = await self.service(Echo)
        theirs = await self.server(service)
        ours, peer = await self.connected(service)
        ours.transport.write(b"hello, peer")
        await ours.receives(b"hello, peer")
        await theirs.counts(clients=1, socketsOpen=1, dials=1)
        ours.transport.loseConnection()
        await gatherResults([ours.loses(), peer.loses()])
        self.assertEqual((True, True), (ours.clean, peer.clean))
        await theirs.counts(clients=1, connections=0, socketsOpen=0)

    async def test_bulk(self: Any) -> None:
        """50 MB each way at the same time arrive whole, and in order."""
        service = await self.service(TCPPeer)
        theirs = await self.server(service)
        ours, peer = await self.connected(service)
        sources = [Source(end.transport, token_bytes(BULK)) for end in (ours, peer)]
        ours.transport.loseWriteConnection()
        await ours.when(lambda: len(ours.received) == BULK)
        await peer.when(lambda: peer.read_lost)
        peer.end()
        await gatherResults([ours.loses(), peer.loses()])
        self.assertEqual((True, True), (ours.clean, peer.clean))
        self.assertEqual([digest(source.data) for source in sources], [digest(end.received) for end in (peer, ours)])
        await theirs.counts(connections=0, socketsOpen=0)

    async def test_we_end_first(self: Any) -> None:
        """When we have ended, the peer has everything before that, and we have its answer."""
        service = await self.service(TCPPeer)
        theirs = await self.server(service)
        ours, peer = await self.connected(service)
        ours.transport.write(b"the question")
        ours.transport.loseWriteConnection()
        await peer.when(lambda: peer.read_lost)
        self.assertEqual(b"the question", peer.received)
        peer.transport.write(b"the answer")
        peer.end()
        await ours.loses()
        self.assertEqual((b"the answer", True), (ours.received, ours.clean))
        await theirs.counts(connections=0, socketsOpen=0)

    async def test_peer_ends_first(self: Any) -> None:
        """When the peer has ended, we have everything before that, however late we read."""
        service = await self.service(TCPPeer)
        theirs = await self.server(service)
        ours, peer = await self.connected(service)
        ours.transport.pauseProducing()
        source = Source(peer.transport, token_bytes(5 * MEGABYTE))
        await source.when(lambda: source.finished)
        peer.end()
        await peer.loses()
        ours.transport.resumeProducing()
        await ours.loses()
        self.assertEqual((digest(source.data), True), (digest(ours.received), ours.clean))
        await theirs.counts(socketsOpen=0)


class TCPTests(EachCarrier, ClientTestCase):
    """A JavaScript server on TCP."""


class WebSocketTests(EachCarrier, ClientTestCase):
    """A JavaScript server on a WebSocket."""

    def endpoint(self) -> IStreamClientEndpoint:
        return clientFromString(or_global(None), "ws:url=" + self.theirs.url.replace(":", "\\:"))


class ManyStreamsTests(ClientTestCase):
    """Two hundred streams at the same time."""

    COUNT = 200

    async def check(self, streams: list[Any]) -> None:
        """Each of them has a peer of its own that sends back what it gets, until our protocols close them."""
        for number, stream in enumerate(streams):
            stream.transport.write(b"from stream %d" % number)
        await gatherResults([stream.receives(b"from stream %d" % number) for number, stream in enumerate(streams)])
        await self.theirs.counts(clients=1, socketsOpen=self.COUNT)
        for stream in streams:
            stream.transport.loseConnection()
        await self.theirs.counts(clients=1, connections=0, socketsOpen=0)

    async def test_peers(self) -> None:
        """With as many peers, in a swarm."""
        services = await gatherResults([self.service(Echo) for _ in range(self.COUNT)])
        await self.server(*services)
        swarm, collector = self.swarm(max_peers=250)
        swarm.join(TOPIC, server=False)
        streams = [await collector.connected(number) for number in range(self.COUNT)]
        swarm.leave(TOPIC)
        await self.check(streams)
        self.assertEqual([1] * self.COUNT, [len(service.built) for service in services])

    async def test_one_peer(self) -> None:
        """With a single one."""
        service = await self.service(Echo)
        await self.server(service)
        network = self.network()
        await self.found(network, service)
        connecting = [network.connect(service.their_peer(), Collector()) for _ in range(self.COUNT)]
        await self.check(await gatherResults(connecting))


class EndsTests(ClientTestCase):
    """What goes wrong with a stream, and what the server makes of it."""

    async def goes_on(self, network: ProxyNetwork, echo: Service) -> None:
        """The server is still there for us."""
        other = await network.connect(echo.their_peer(), Collector())
        other.transport.write(b"hello")
        await other.receives(b"hello")
        other.transport.loseConnection()
        await other.loses()

    async def test_abort(self) -> None:
        """When we abort a stream, the peer's connection ends, and the server lives."""
        service = await self.service(Echo)
        theirs = await self.server(service)
        ours, peer = await self.connected(service)
        source = Source(ours.transport, token_bytes(5 * MEGABYTE))
        ours.transport.abortConnection()
        await gatherResults([ours.loses(), peer.loses()])
        self.assertTrue(source.finished)
        await theirs.counts(clients=1, connections=0, socketsOpen=0)

    async def test_cancelled(self) -> None:
        """A connection that we no longer want when it comes about does not stay at the peer or the server."""
        service = await self.service()
        theirs = await self.server(service)
        network = self.network()
        await self.found(network, service)
        connecting = network.connect(service.their_peer(), Collector())
        connecting.cancel()
        await self.assertFailure(connecting, ConnectCancelledError)
        await (await service.connected()).loses()
        await theirs.counts(clients=1, connections=0, socketsOpen=0)

    async def test_refused(self) -> None:
        """
        A peer that can't be reached is a failed connection, or one that is lost at once, with the server's reason.

        The server says that it is connected before it tries; often both its words come in together.
        """
        echo, address = await self.service(Echo), self.refusing_address()
        await self.server(echo, options=("--any-peer", str(address)))
        network = self.network()
        await self.found(network, echo)
        try:
            ours = await network.connect(Peer.from_id(f"{address}:{TOPIC.hex()}".encode()), Collector())
        except PeerUnreachableError as problem:
            reason = str(problem)
        else:
            await ours.loses()
            self.assertIsNotNone(ours.lost.check(StreamError))
            reason = ours.lost.getErrorMessage()
        self.assertIn("ECONNREFUSED", reason)
        await self.goes_on(network, echo)

    async def test_peer_resets(self) -> None:
        """A peer that resets its connection is an error of that one."""
        service = await self.service()
        await self.server(service)
        ours, peer = await self.connected(service)
        peer.transport.abortConnection()
        await ours.loses()
        self.assertIsNotNone(ours.lost.check(StreamError))

    async def test_unknown_peer(self) -> None:
        """The server says nothing of a peer that it doesn't know; so that takes as long as it may."""
        self.patch(client, "REPLY_MARGIN", 0.0)
        await self.server()
        network = self.network(limits=replace(CLIENT_LIMITS, connect_timeout=0.1))
        await network.when_online()
        connecting = network.connect(Peer.from_id(b"192.0.2.1:1:" + TOPIC.hex().encode()), Collector())
        await self.assertFailure(connecting, ConnectTimeoutError)

    async def test_close(self) -> None:
        """When our network closes, nothing of it is left at the server or the peer."""
        service = await self.service()
        theirs = await self.server(service)
        network = self.network()
        await self.found(network, service)
        await network.connect(service.their_peer(), Collector())
        peer = await service.connected()
        await gatherResults([network.close(), peer.loses()])
        await theirs.counts(clients=0, socketsOpen=0)


class TopicTests(ClientTestCase):
    """Topics at a server that does not answer questions."""

    async def test_leave(self) -> None:
        """A topic that we leave is left at the server too, and can be joined again."""
        service = await self.service(Greeter)
        theirs = await self.server(service)
        network = self.network()
        for started in (1, 2):
            finder = Finder()
            lookup = network.lookup(TOPIC, finder)
            await finder.when(lambda finder=finder: finder.found)
            await theirs.counts(lookupsActive=1, lookupsStarted=started)
            await lookup.close()
            await theirs.counts(lookupsActive=0)

    async def test_repeated(self) -> None:
        """A peer that is reported again and again, as by a DHT, is connected once."""
        service = await self.service(Greeter)
        theirs = await self.server(service, options=("--repeat", "10", "--interval", "5"))
        swarm, collector = self.swarm()
        found: list[Peer] = []
        swarm.events.on("peer", lambda peer, topic: found.append(peer))
        swarm.join(TOPIC, server=False)
        await (await collector.connected()).receives(b"hello")
        await eventually(lambda: len(found) >= 100)
        await theirs.counts(dials=1, socketsOpen=1)
        self.assertEqual((1, 1), (len(swarm.connections), len(swarm.peers)))

    async def test_updated(self) -> None:
        """A server that sends ON_UPDATED tells us when it has looked."""
        service = await self.service(Greeter)
        await self.server(service, options=("--updates", "--patch"))
        swarm, _ = self.swarm()
        updated: Deferred[bytes] = Deferred()
        end = swarm.events.on("updated", updated.callback)
        swarm.join(TOPIC, server=False)
        self.assertEqual(TOPIC, await updated)
        end()

    async def test_status(self) -> None:
        """The swarm says that such a server cannot announce; to look and to connect works."""
        service = await self.service(Greeter)
        await self.server(service)
        swarm, collector = self.swarm()
        await swarm.join(TOPIC).flushed()
        await (await collector.connected()).receives(b"hello")
        status = swarm.status(TOPIC)
        self.assertEqual((True, True, False), (status.client, status.server, status.announced))
        self.assertIn("cannot announce", status.degraded)
        self.assertEqual((True, False, False), astuple(swarm.network.status())[:3])


class LinkTests(ClientTestCase):
    """Links that are lost, and links that are no good."""

    async def test_restarted(self) -> None:
        """When the server is killed and another one takes its place, a swarm is back with its peers."""
        service = await self.service(Greeter)
        theirs = await self.server(service)
        swarm, collector = self.swarm()
        swarm.join(TOPIC, server=False)
        first = await collector.connected()
        await theirs.stop()
        await first.loses()
        await theirs.start(theirs.tcp_port)
        second = await collector.connected(1)
        await second.receives(b"hello")
        self.assertEqual((second,), swarm.connections)


class Nonsense(Protocol):
    """Not a proxy server."""

    def __init__(self, words: bytes) -> None:
        self.words = words

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.words)


class NonsenseTests(ProxyTestCase):
    """Servers that are none: they are tried again, less and less often."""

    async def check(self, scheme: str, words: bytes) -> None:
        listening = await self.listen("tcp:0", Factory.forProtocol(lambda: Nonsense(words)))
        attempts: list[int] = []
        enough: Deferred[None] = Deferred()

        def backoff(attempt: int) -> float:
            attempts.append(attempt)
            if attempt == 5:
                enough.callback(None)
            return 0.01

        endpoint = clientFromString(or_global(None), f"{scheme}:127.0.0.1:{listening.getHost().port}")
        network = ProxyNetwork(endpoint, backoff=backoff)
        self.addCleanup(network.close)
        await enough
        self.assertEqual([1, 2, 3, 4, 5], attempts)
        self.assertFalse(network.status().online)

    async def test_bytes(self) -> None:
        """Bytes without meaning."""
        await self.check("tcp", b"\xff" * 100)

    async def test_after_ready(self) -> None:
        """The same after a proper READY."""
        await self.check("tcp", encode(Event(EventType.READY)) + b"\xff" * 100)

    async def test_web_server(self) -> None:
        """A web server that knows no WebSockets."""
        await self.check("ws", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async def test_too_long(self) -> None:
        """A frame that would take all the memory."""
        await self.check("tcp", encode_varint(2**32 - 1) + b"x" * 100)


class TwoProxiesTests(ClientTestCase):
    """A JavaScript client, our server, our client, a JavaScript server."""

    async def test_text(self) -> None:
        """Text goes all the way there and back."""
        service = await self.service(Echo)
        theirs = await self.server(service)
        ours = await OurServer(self, network=self.network()).start()
        client = self.script("proxy_session_client.js", tcp=ours.tcp_port, topic=TOPIC.hex())
        await client.event("connection")
        client.write("write 0 hello")
        self.assertEqual("hello", (await client.event("data"))["text"])
        client.write("end 0")
        await theirs.counts(connections=0, socketsOpen=0)
