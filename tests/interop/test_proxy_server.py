"""Our proxy server with the JavaScript clients."""

from __future__ import annotations

from secrets import token_bytes
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import clientFromString

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.errors import LinkLostError
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.wire import Event, EventType, encode
from spaceswarm_proxy.swarm import Swarm
from tests.interop.node import NodeProcess
from tests.interop.proxy_servers import OurServer, ServerTestCase
from tests.interop.proxy_support import (
    BULK,
    MEGABYTE,
    TOPIC,
    Greeter,
    TCPPeer,
    digest,
    eventually,
    nothing_where_ws_clients_go_first,
)
from tests.network.support import Collector, Echo, Finder, Source, StoppedRecorder

OTHER_TOPIC = bytes(32)


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
        await self.left_open(0)

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
        await self.left_open(0)

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
        await self.left_open(0)

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

    async def test_server_comes_back(self: Any) -> None:
        """A client whose server is not there for a while dials until it is."""
        ours = await self.server()
        service = await self.service(Echo)
        ours.announce(service)
        client = self.client(reconnect=True)
        await client.event("peer")
        await ours.stop_listening()
        ours.link.fail(LinkLostError("on purpose"))
        for _ in range(2):
            await client.event("disconnected")
        await ours.listen()
        await client.event("peer")


class TCPTests(EachCarrier, ServerTestCase):
    """The client of ``hyperswarm-proxy`` over TCP."""


class WebSocketTests(EachCarrier, ServerTestCase):
    """The same over a WebSocket."""

    def client(self, **options: Any) -> NodeProcess:
        return super().client(ws=True, **options)


class WebSocketClassTests(EachCarrier, ServerTestCase):
    """The client class of ``hyperswarm-proxy-ws``."""

    async def server(self, **options: Any) -> OurServer:
        await nothing_where_ws_clients_go_first()
        return await super().server(**options)

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
        await self.left_open(0)

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


class EndsTests(ServerTestCase):
    """How streams begin and end."""

    async def test_client_ends(self) -> None:
        """When a client ends a stream, its peer gets all that was written before, however late it reads."""
        await self.server()
        service = await self.service(StoppedRecorder)
        client, peer = await self.connected(service)
        client.write(f"blast 0 {5 * MEGABYTE}")
        blasted = await client.event("blasted")
        client.write("end 0")
        peer.transport.resumeProducing()
        await peer.loses()
        self.assertTrue(peer.clean)
        self.assertEqual(blasted["sha256"], digest(peer.received))

    async def test_client_never_ends(self) -> None:
        """A stream that the peer has ended is closed for a client that does not do that itself, after a while."""
        await self.server(limits=Limits(half_close_grace=0.1))
        service = await self.service(Greeter)
        client, peer = await self.connected(service)
        await client.event("data")
        peer.transport.loseConnection()
        await client.event("end")
        self.assertEqual(len(b"hello"), (await client.event("close"))["bytes"])
        await client.event("disconnection")
        await self.left_open(0)

    async def test_peer_resets(self) -> None:
        """A peer that resets its connection is an error on that stream alone."""
        await self.server()
        broken, whole = await self.service(), await self.service(Echo)
        client, peer = await self.connected(broken)
        self.ours.announce(whole)
        await client.event("connection")
        peer.transport.abortConnection()
        self.assertEqual(0, (await client.event("stream-error"))["id"])
        self.assertEqual(broken.peer_in(), (await client.event("disconnection"))["peer"])
        client.write("write 1 and you?")
        await client.event("data")

    async def test_refused(self) -> None:
        """A peer that can't be reached is a connection that fails at once, the only way to tell; the link goes on."""
        ours = await self.server()
        service = await self.service(Echo)
        ours.hub.announce_address(TOPIC, *self.refusing_address())
        client = self.client()
        await client.event("disconnection")
        self.assertEqual(
            ["peer", "connection", "stream-error", "close", "disconnection"],
            [event["event"] for event in client.events],
        )
        ours.announce(service)
        await client.event("connection", lambda event: event["peer"] == service.peer_in())
        await self.left_open(1)

    async def test_client_aborts(self) -> None:
        """ERROR from a client, which the JavaScript server does not survive, resets the peer's connection."""
        await self.server()
        service = await self.service()
        client, peer = await self.connected(service)
        client.write("raw " + encode(Event(EventType.ON_STREAM_ERROR, stream=0, data=b"enough")).hex())
        await peer.loses()
        self.assertFalse(peer.clean)
        await self.left_open(0)

    async def test_client_dies(self) -> None:
        """When the client is gone, so are its connections to peers."""
        await self.server()
        service = await self.service()
        client, peer = await self.connected(service)
        await client.stop()
        await peer.loses()
        await self.ours.server.when_idle()
        await self.left_open(0)


class TopicTests(ServerTestCase):
    """What clients hear of the peers of topics."""

    async def test_leave(self) -> None:
        """Who has left a topic hears no more of its peers, and keeps the streams; who joins again hears of them all."""
        ours = await self.server()
        first, second = await self.service(Echo), await self.service(Echo)
        client, _ = await self.connected(first)
        client.write(f"leave {TOPIC.hex()}")
        await eventually(lambda: not len(ours.server.lookups))
        ours.announce(second)
        client.write("write 0 still there?")
        await client.event("data")
        self.assertNotIn(second.peer_in(), [event.get("peer") for event in client.events])
        client.write(f"join {TOPIC.hex()}")
        await client.event("connection", lambda event: event["peer"] == second.peer_in())

    async def test_updated(self) -> None:
        """A client that knows ON_UPDATED is told when the first round of looking is complete."""
        await self.server()
        client = self.client(updates=True)
        self.assertEqual(TOPIC.hex(), (await client.event("updated"))["topic"])

    async def test_connect_clients_to(self) -> None:
        """The operator can tell the clients in a topic of a service; those in others do not hear of it."""
        ours = await self.server()
        service = await self.service(Echo)
        client, other = self.client(updates=True), self.client(topic=OTHER_TOPIC.hex(), updates=True)
        await gatherResults([each.event("updated") for each in (client, other)])
        ours.server.connect_clients_to(TOPIC, service.address.port)
        self.assertEqual(service.peer_in(), (await client.event("connection"))["peer"])
        client.write("write 0 hello")
        await client.event("data")
        self.assertEqual(["updated"], [event["event"] for event in other.events])

    async def test_handle_incoming(self) -> None:
        """Peers that look for a topic which a client has joined find the server, until the client has left it."""
        handler = Collector(Echo)
        ours = await self.server(handle_incoming=handler)
        client = self.client(updates=True)
        await client.event("updated")
        visitor = Collector(Greeter)
        swarm = Swarm(ours.hub.network(), visitor)
        self.addCleanup(swarm.close)
        swarm.join(TOPIC, server=False)
        await (await visitor.connected()).receives(b"hello")
        client.write(f"leave {TOPIC.hex()}")
        await eventually(lambda: not len(ours.server.lookups))
        finder = Finder()
        await ours.hub.network().lookup(TOPIC, finder).flushed()
        self.assertEqual([], finder.found)


class MeetingTests(ServerTestCase):
    """Clients of one server as each other's peers."""

    def lasting(self, client: NodeProcess) -> set[int]:
        """The streams that a client was given and that were not closed."""
        given = {event["id"] for event in client.events if event["event"] == "connection"}
        return given - {event["id"] for event in client.events if event["event"] in ("close", "end")}

    async def test_two_clients(self) -> None:
        """Two JavaScript clients talk, over one lasting stream, also when both look for each other again."""
        await self.server(announce=True, limits=Limits(min_refresh=0))
        clients = [self.client(greeting=f"I am {name}", updates=True) for name in ("Alice", "Bob")]
        for client, other in zip(clients, ("Bob", "Alice"), strict=True):
            await client.event("data", lambda event, other=other: event["text"] == f"I am {other}")
        for client in clients:
            client.write(f"join {TOPIC.hex()}")
            await client.event("updated")
            client.write("say settled")
            await client.event("said")
        self.assertEqual([1, 1], [len(self.lasting(client)) for client in clients])
        self.assertEqual(2, self.ours.server.open_streams)

    async def test_client_and_swarm(self) -> None:
        """A JavaScript client and a Python swarm talk, over one stream."""
        ours = await self.server(announce=True)
        collector = Collector(Greeter)
        network = ProxyNetwork(clientFromString(or_global(None), f"tcp:127.0.0.1:{ours.tcp_port}"))
        swarm = Swarm(network, collector)
        self.addCleanup(swarm.close)
        await swarm.join(TOPIC).flushed()
        client = self.client(greeting="I am Alice")
        await client.event("data", lambda event: event["text"] == "hello")
        (protocol,) = swarm.connections
        await protocol.receives(b"I am Alice")
        self.assertEqual(1, len(self.lasting(client)))
