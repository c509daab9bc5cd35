"""Our streams with those of ``udx-native``."""

from __future__ import annotations

from hashlib import sha256
from random import Random
from typing import Any

from twisted.internet.task import deferLater

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.errors import StreamResetError
from spaceswarm_proxy.udx.stream import RECEIVE_WINDOW
from tests.interop.lossy_udp import LossyRelay
from tests.interop.proxy_support import POLL, at_rest, digest
from tests.interop.udx_support import MEGABYTE, OURS, THEIRS, Hasher, Peer, UDXRecorder, UDXTestCase
from tests.network.support import Source

#: So few numbers before they begin again at 0.
NEARLY_WRAPPED = (1 << 32) - 300
#: A window counts packets, and one more may come into the smallest.
LARGEST_PACKET = 2048


class Stopped(Hasher):
    """Reads nothing until it is told to."""

    def connectionMade(self) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]
        super().connectionMade()


class StreamTests:
    """What holds whoever speaks first: ``open`` says who does."""

    open: Any

    async def over(self: Any, protocol: UDXRecorder, peer: Peer) -> Any:
        """Both ends are through, in good order.  :returns: what theirs says of it."""
        closed = await peer.event("close")
        await protocol.loses()
        self.assertTrue(protocol.clean, protocol.lost)
        self.assertIsNone(closed["error"])
        return closed

    async def greeted(self: Any, mode: str, **options: Any) -> tuple[Any, Peer]:
        """A stream over which we have said something, and they have heard it."""
        protocol, peer = await self.open(mode, **options)
        protocol.transport.write(b"hello")
        await peer.event("first-data")
        return protocol, peer

    async def test_echo(self: Any) -> None:
        """What we write comes back, then the end of each direction, and both are through."""
        protocol, peer = await self.open("echo")
        protocol.transport.write(b"knock knock")
        await protocol.receives(b"knock knock")
        protocol.transport.writeSequence([b", who", b" is there"])
        protocol.transport.loseWriteConnection()
        closed = await self.over(protocol, peer)
        self.assertEqual(protocol.received, b"knock knock, who is there")
        self.assertEqual((closed["received"], closed["ended"], protocol.read_lost), (25, True, True))

    async def test_nothing_to_say(self: Any) -> None:
        """Two who say nothing but that they are done are done."""
        protocol, peer = await self.open("sink")
        protocol.transport.loseConnection()
        self.assertEqual((await self.over(protocol, peer))["received"], 0)

    async def test_reply(self: Any) -> None:
        """Their answer, much longer than our question, comes after we have said that we are done."""
        protocol, peer = await self.open("reply", Hasher, bytes=2 * MEGABYTE)
        protocol.transport.write(b"question")
        protocol.transport.loseWriteConnection()
        closed = await self.over(protocol, peer)
        self.assertEqual((closed["received"], protocol.count), (len("question"), 2 * MEGABYTE))
        self.assertEqual(protocol.hash.hexdigest(), closed["sha256_out"])

    async def test_megabytes_both_ways(self: Any) -> None:
        """Twenty megabytes each way at once arrive as they were sent."""
        protocol, peer = await self.open("source", Hasher, bytes=20 * MEGABYTE)
        data = Random(4).randbytes(MEGABYTE) * 20
        Source(protocol.transport, data)
        protocol.transport.loseWriteConnection()
        closed = await self.over(protocol, peer)
        self.assertEqual((protocol.count, closed["received"]), (20 * MEGABYTE, 20 * MEGABYTE))
        self.assertEqual(protocol.hash.hexdigest(), closed["sha256_out"])
        self.assertEqual(closed["sha256_in"], sha256(data).hexdigest())

    async def test_numbers_begin_again(self: Any) -> None:
        """Streams whose numbers pass the last one of 32 bits, in both directions, do not notice."""
        protocol, peer = await self.open("source", Hasher, NEARLY_WRAPPED, NEARLY_WRAPPED + 50, bytes=MEGABYTE)
        data = Random(5).randbytes(MEGABYTE)
        protocol.transport.write(data)
        protocol.transport.loseWriteConnection()
        closed = await self.over(protocol, peer)
        self.assertEqual(protocol.hash.hexdigest(), closed["sha256_out"])
        self.assertEqual(closed["sha256_in"], digest(data))

    async def test_messages(self: Any) -> None:
        """Unordered messages come whole, the empty one and the longest too."""
        protocol, _ = await self.open("message")
        sent = [b"one", b"", bytes(range(256)), bytes(protocol.transport.max_message)]
        for message in sent:
            protocol.transport.send_message(message)
        await protocol.when(lambda: len(protocol.messages) == len(sent))
        self.assertEqual(protocol.messages, sent)

    async def test_they_destroy(self: Any) -> None:
        """A stream that they destroy is lost here at once, and not in good order."""
        protocol, peer = await self.greeted("sink")
        peer.tell("destroy")
        await protocol.loses()
        self.assertIsInstance(protocol.lost.value, StreamResetError)

    async def test_we_abort(self: Any) -> None:
        """One that we abort is lost there."""
        protocol, peer = await self.greeted("sink")
        protocol.transport.abortConnection()
        self.assertEqual((await peer.event("close"))["error"], "ECONNRESET")

    async def test_stopped_reader(self: Any) -> None:
        """While we do not read, they can send no more than our window holds; then all of it arrives."""
        count = 10 * MEGABYTE
        protocol, peer = await self.open("source", Stopped, bytes=count)
        protocol.transport.send_message(b"begin")
        receiver = protocol.transport.stream.receiver
        await at_rest(lambda: receiver.unread)
        self.assertLessEqual(receiver.unread, RECEIVE_WINDOW + LARGEST_PACKET)
        self.assertGreater(receiver.unread, RECEIVE_WINDOW // 2)
        protocol.transport.resumeProducing()
        await protocol.when(lambda: protocol.read_lost)
        protocol.transport.loseConnection()
        closed = await self.over(protocol, peer)
        self.assertEqual((protocol.count, protocol.hash.hexdigest()), (count, closed["sha256_out"]))

    async def hears(self: Any, peer: Peer, more: int) -> None:
        """So many more packets arrive there."""
        enough = (await peer.stats())["packets_rx"] + more
        while (await peer.stats())["packets_rx"] < enough:
            await deferLater(or_global(None), POLL)

    async def test_their_heartbeats(self: Any) -> None:
        """We answer when they ask whether we are there."""
        _, peer = await self.greeted("idle", keepalive=5)
        await self.hears(peer, 3)

    async def test_our_heartbeats(self: Any) -> None:
        """They hear it when we ask."""
        protocol, peer = await self.greeted("idle")
        protocol.transport.stream.set_keep_alive(0.005, self.endpoint.runner.now())
        await self.hears(peer, 3)


class WeConnectTests(StreamTests, UDXTestCase):
    """We send the first packet."""

    open = UDXTestCase.we_connect

    async def test_they_learn_where_we_are(self) -> None:
        """They are connected to wherever our first packet came from."""
        _, peer = await self.greeted("sink")
        self.assertEqual((await peer.event("connect"))["port"], self.endpoint.address.port)

    async def test_we_close_the_endpoint(self) -> None:
        """All streams of an endpoint are lost, here and there, when it is closed."""
        protocol, peer = await self.greeted("sink")
        await self.endpoint.close()
        self.assertEqual((await peer.event("close"))["error"], "ECONNRESET")
        self.assertIsNotNone(protocol.lost)


class TheyConnectTests(StreamTests, UDXTestCase):
    """They do."""

    open = UDXTestCase.they_connect


class ChangeTests(UDXTestCase):
    """An end that is reached elsewhere from some time on."""

    def relay(self, port: int) -> LossyRelay:
        """Another way to a port."""
        relay = LossyRelay(b_addr=("127.0.0.1", port))
        relay.start()
        self.addCleanup(relay.stop)
        return relay

    async def test_we_change(self) -> None:
        """What we send takes the new way, what was under way arrives too, and the answers come as before."""
        protocol, peer = await self.we_connect("echo")
        data = Random(6).randbytes(2 * MEGABYTE)
        protocol.transport.write(data[:MEGABYTE])
        await protocol.when(lambda: protocol.received)
        relay = self.relay(peer.address.port)
        stream = protocol.transport.stream
        there = bytes([127, 0, 0, 1]) + relay.port_a.to_bytes(2, "little")
        stream.change_remote(stream.socket, THEIRS, there, self.endpoint.runner.now())
        protocol.transport.write(data[MEGABYTE:])
        await protocol.receives(data)
        self.assertGreater(relay.stats["a2b"]["seen"], MEGABYTE / 1500)

    async def test_they_change(self) -> None:
        """What they send comes to us over the new way; they know when everything before has arrived."""
        protocol, peer = await self.we_connect("echo")
        data = Random(7).randbytes(MEGABYTE)
        protocol.transport.write(data)
        await protocol.when(lambda: protocol.received)
        relay = self.relay(self.endpoint.address.port)
        peer.tell("change-remote", port=relay.port_a, id=OURS)
        await peer.event("remote-changed")
        await protocol.receives(data)
        protocol.transport.write(b"more")
        await protocol.receives(data + b"more")
        self.assertGreater(relay.stats["a2b"]["seen"], 1)
