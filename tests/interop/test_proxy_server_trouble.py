"""Our proxy server with JavaScript clients, and peers, that read nothing or send rubbish."""

from __future__ import annotations

from secrets import token_bytes
from typing import Any

from spaceswarm_proxy.codec.varint import encode_varint
from spaceswarm_proxy.proxy.wire import Event, EventType, encode
from tests.interop.proxy_servers import ServerTestCase
from tests.interop.proxy_support import BULK, Service, TCPPeer, at_rest, digest, eventually
from tests.network.support import Echo, Source, StoppedRecorder


class SlowTests(ServerTestCase):
    """Ends that read nothing."""

    async def test_client_reads_nothing(self) -> None:
        """Its peer is stopped, others go on, and when the client reads again it gets everything."""
        ours = await self.server()
        sender, other = await self.service(TCPPeer), await self.service(Echo)
        client, peer = await self.connected(sender, quiet=True)
        link = ours.link
        client.write("pause")
        client.write("say paused")
        await client.event("said")
        source = Source(peer.transport, token_bytes(BULK))
        await at_rest(lambda: source.written)
        self.assertLess(source.written, BULK)
        self.assertLessEqual(link.mux.queued, link.limits.max_buffered)
        await self.goes_on(other)
        client.write("resume")
        await source.when(lambda: source.finished)
        peer.end()
        self.assertEqual(digest(source.data), (await client.event("end"))["sha256"])

    async def goes_on(self, echo: Service) -> None:
        """Another client is served."""
        self.ours.announce(echo)
        client = self.client(autoconnect=False)
        await client.event("peer", lambda event: event["peer"] == echo.peer_in())
        client.write(f"connect {echo.peer_in()}")
        await client.event("connection")
        client.write("write 0 hello")
        await client.event("data")

    async def check_peer_reads_nothing(self, **where: Any) -> None:
        ours = await self.server()
        receiver, other = await self.service(StoppedRecorder), await self.service(Echo)
        client, peer = await self.connected(receiver, **where)
        link = ours.link
        client.write(f"blast 0 {BULK}")
        blasted = await client.event("blasted")
        await eventually(lambda: link.mux.unread > link.limits.window)
        await at_rest(lambda: link.mux.unread)
        self.assertLessEqual(link.mux.unread, 2 * link.limits.window)
        await self.goes_on(other)
        peer.transport.resumeProducing()
        await peer.when(lambda: len(peer.received) == BULK)
        self.assertEqual(blasted["sha256"], digest(peer.received))

    async def test_peer_reads_nothing(self) -> None:
        """The client is held back, others are not, and when the peer reads again it gets everything."""
        await self.check_peer_reads_nothing()

    async def test_peer_reads_nothing_over_websocket(self) -> None:
        """The same over a WebSocket."""
        await self.check_peer_reads_nothing(ws=True)


class GarbageTests(ServerTestCase):
    """Links on which wrong bytes come in."""

    async def check(self, garbage: bytes, kind: str, **options: Any) -> None:
        """That link is closed, and its reason counted; another goes on."""
        ours = await self.server()
        service = await self.service(Echo)
        good, _ = await self.connected(service)
        bad = self.client(**options)
        await bad.event("connection")
        bad.write("raw " + garbage.hex())
        await bad.event("disconnected")
        self.assertEqual({kind: 1}, dict(ours.server.stats.violations))
        good.write("write 0 hello")
        await good.event("data")
        await self.left_open(1)

    async def test_length(self) -> None:
        """A length that the JavaScript server does not survive."""
        await self.check(encode_varint(5 * 2**30), "frame-too-large")

    async def test_body(self) -> None:
        """A body that is no event."""
        await self.check(b"\x02\x0b\x0c", "wrong-wire-type")

    async def test_over_websocket(self) -> None:
        """The same in a WebSocket's messages."""
        await self.check(b"\xff" * 20, "length-too-long", ws=True)

    async def test_no_topic(self) -> None:
        """An event without what it needs."""
        await self.check(encode(Event(EventType.JOIN)), "no-topic")
