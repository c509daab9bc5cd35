"""Our proxy server with the JavaScript clients."""

from __future__ import annotations

from secrets import token_bytes
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.trial.unittest import SkipTest
from zope.interface import implementer

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.errors import LinkLostError
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.swarm import Swarm
from tests.interop.node import Event, NodeProcess
from tests.interop.proxy_support import (
    TOPIC,
    Greeter,
    OurServer,
    ProxyTestCase,
    Service,
    TCPPeer,
    at_rest,
    digest,
    eventually,
)
from tests.network.support import Collector, Echo, Recorder, Source, StoppedRecorder

MEGABYTE = 1024 * 1024
BULK = 50 * MEGABYTE
OTHER_TOPIC = bytes(32)


class ServerTestCase(ProxyTestCase):
    """Tests with one server of ours."""

    ours: OurServer

    async def server(self, **options: Any) -> OurServer:
        self.ours = await OurServer(self, **options).start()
        return self.ours

    def client(self, **options: Any) -> NodeProcess:
        """A client over TCP that joins the topic."""
        return self.script("proxy_session_client.js", **{"tcp": self.ours.tcp_port, "topic": TOPIC.hex(), **options})

    async def connected(
        self, service: Service, **options: Any
    ) -> tuple[NodeProcess, Any]:
        """A client that is connected with a service of its topic, and the service's end of that."""
        self.ours.announce(service)
        client = self.client(**options)
        connection = await client.event("connection")
        self.assertEqual((0, service.peer_in()), (connection["id"], connection["peer"]))
        return client, await service.connected()

    async def everything_freed(self) -> None:
        """The server holds nothing for its clients' streams any more."""
        await eventually(lambda: not self.ours.server.open_streams)


class EachCarrier:
    """What works the same whatever the link runs over."""

    async def test_text(self: Any) -> None:
        """Text goes both ways, and when the client ends the stream, the peer's connection ends in good order."""
        await self.server()
        service = await self.service(Echo)
        client, peer = await self.connected(service)
        client.write("write 0 hello, peer")
        self.assertEqual("hello, peer", (await client.event("data"))["text"])
        client.write("end 0")
        await peer.loses()
        self.assertTrue(peer.clean)
        await self.everything_freed()

    async def test_bulk(self: Any) -> None:
        """50 MB each way at the same time arrive whole, and in order."""
        await self.server()
        service = await self.service(TCPPeer)
        client, peer = await self.connected(service, quiet=True)
        data = token_bytes(BULK)
        source = Source(peer.transport, data)
        client.write(f"blast 0 {BULK}")
        await source.when(lambda: source.finished)
        peer.end()
        blasted, end = await client.event("blasted"), await client.event("end")
        self.assertEqual((BULK, digest(data)), (end["bytes"], end["sha256"]))
        client.write("end 0")
        await peer.loses()
        self.assertEqual((BULK, blasted["sha256"]), (len(peer.received), digest(peer.received)))
        await self.everything_freed()

    async def test_peer_ends_first(self: Any) -> None:
        """When the peer has ended, the client has everything before that, can answer, and then both are done."""
        await self.server()
        service = await self.service(TCPPeer)
        client, peer = await self.connected(service)
        peer.transport.write(b"the question")
        peer.end()
        self.assertEqual(len(b"the question"), (await client.event("end"))["bytes"])
        client.write("write 0 the answer")
        await peer.receives(b"the answer")
        client.write("end 0")
        await peer.loses()
        self.assertTrue(peer.clean)
        await client.event("disconnection")
        await self.everything_freed()

    async def test_link_comes_back(self: Any) -> None:
        """A client whose link is lost dials again, finds the peers of its topics anew, and can be connected to them."""
        ours = await self.server()
        service = await self.service(Echo)
        ours.announce(service)
        client = self.client(reconnect=True, autoconnect=False)
        await client.event("peer")
        for _ in range(3):
            ours.link.fail(LinkLostError("on purpose"))
            await client.event("disconnected")
            await client.event("peer")
            client.write(f"connect {service.peer_in()}")
            await client.event("connection")
            client.write("write 0 are you there?")
            await client.event("data")


class TCPTests(EachCarrier, ServerTestCase):
    """The client of ``hyperswarm-proxy`` over TCP."""


class WebSocketTests(EachCarrier, ServerTestCase):
    """The same over a WebSocket."""

    def client(self, **options: Any) -> NodeProcess:
        return super().client(ws=self.ours.url, **options)


class WebSocketClassTests(EachCarrier, ServerTestCase):
    """The client class of ``hyperswarm-proxy-ws``."""

    async def server(self, **options: Any) -> OurServer:
        await self._nothing_on_the_port_that_is_tried_first()
        return await super().server(**options)

    async def _nothing_on_the_port_that_is_tried_first(self) -> None:
        endpoint = clientFromString(or_global(None), "tcp:localhost:4977")
        try:
            stranger = await endpoint.connect(Collector())
        except ConnectionRefusedError:
            return
        stranger.transport.abortConnection()
        await stranger.loses()
        raise SkipTest("something listens on port 4977, where this client goes first")

    def client(self, **options: Any) -> NodeProcess:
        return self.script("proxy_ws_client.js", **{"ws": self.ours.url, "topic": TOPIC.hex(), **options})


class ManyStreamsTests(ServerTestCase):
    """Two hundred streams of one client at the same time."""

    COUNT = 200

    async def check(self, client: NodeProcess) -> None:
        """Each of them brings the peer's greeting, and then the peer its own text back, until the client ends it."""
        streams = [await client.event("connection") for _ in range(self.COUNT)]
        self.assertEqual(list(range(self.COUNT)), sorted(stream["id"] for stream in streams))
        for stream in streams:
            client.write(f"write {stream['id']} from stream {stream['id']}")
        for stream in streams:
            await client.event("data", lambda event, stream=stream: event["text"] == f"from stream {stream['id']}")
        self.assertEqual(self.COUNT, self.ours.server.open_streams)
        for stream in streams:
            client.write(f"end {stream['id']}")
        await self.everything_freed()

    async def test_peers(self) -> None:
        """With as many peers."""
        ours = await self.server()
        services = await gatherResults([self.service(Echo) for _ in range(self.COUNT)])
        ours.announce(*services)
        client = self.client(maxPeers=250)
        await self.check(client)
        self.assertEqual([1] * self.COUNT, [len(service.built) for service in services])

    async def test_one_peer(self) -> None:
        """With a single one, for a TCP service may be connected to again and again."""
        ours = await self.server()
        service = await self.service(Echo)
        ours.announce(service)
        client = self.client(autoconnect=False)
        await client.event("peer")
        for _ in range(self.COUNT):
            client.write(f"connect {service.peer_in()}")
        await self.check(client)
