"""Much over one connection, and many connections, between our nodes and JavaScript ones."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from spaceswarm_proxy.udx.stream import HIGH_WATER, RECEIVE_WINDOW
from tests.interop.connections_support import (
    BULK,
    OURS,
    THEIRS,
    ConnectionCase,
    Counter,
    Stopped,
    Talker,
    raw,
)
from tests.interop.dht_support import each
from tests.interop.our_peer import pattern
from tests.interop.proxy_support import at_rest
from tests.network.support import Collector, Source

#: Connections at once.
MANY = 200


class BulkTests:
    """What holds whoever connects."""

    async def over(self: Any, opened: Any, count: int) -> None:
        """They have got so many bytes, as we sent them, and both sides are through."""
        closed = await opened.end.event("close", timeout=self.timeout)
        self.assertEqual((count, None), (closed["bytes"], closed["code"]))
        self.assertEqual(sha256(pattern(count)).hexdigest(), closed["sha256"])
        await opened.protocol.loses()
        self.assertTrue(opened.protocol.clean, opened.protocol.lost)

    async def test_both_ways(self: Any) -> None:
        """Megabytes each way at once arrive as they were sent."""
        opened = await self.open(Counter)
        opened.end.tell("blob", bytes=BULK)
        opened.end.tell("end")
        Source(opened.protocol.transport, pattern(BULK))
        opened.protocol.transport.loseWriteConnection()
        await opened.protocol.when(lambda: opened.protocol.has_all(BULK))
        await self.over(opened, BULK)

    async def test_we_send(self: Any) -> None:
        """We send and they take it, then they end."""
        opened = await self.open(Counter)
        Source(opened.protocol.transport, pattern(BULK))
        opened.protocol.transport.loseWriteConnection()
        await opened.end.event("end", timeout=self.timeout)
        opened.end.tell("end")
        await self.over(opened, BULK)

    async def test_they_send(self: Any) -> None:
        """They send and we take it, then we end."""
        opened = await self.open(Counter)
        opened.end.tell("blob", bytes=BULK)
        opened.end.tell("end")
        await opened.protocol.when(lambda: opened.protocol.has_all(BULK))
        opened.protocol.transport.loseConnection()
        await self.over(opened, 0)

    async def test_we_stop_reading(self: Any) -> None:
        """While we do not read they can send no more than our window holds; then all of it arrives."""
        opened = await self.open(Stopped)
        opened.protocol.transport.write(b"go")
        opened.end.tell("blob", bytes=BULK)
        opened.end.tell("end")
        receiver = raw(opened.protocol).receiver
        await at_rest(lambda: receiver.unread)
        self.assertTrue(RECEIVE_WINDOW // 2 < receiver.unread <= RECEIVE_WINDOW + 2048, receiver.unread)
        opened.protocol.transport.resumeProducing()
        await opened.protocol.when(lambda: opened.protocol.has_all(BULK))
        opened.protocol.transport.loseConnection()

    async def test_they_stop_reading(self: Any) -> None:
        """What they do not read they keep, as their kind never says that it has no room; nothing of it gets lost."""
        opened = await self.open(Counter)
        opened.end.tell("pause")
        source = Source(opened.protocol.transport, pattern(BULK))
        sender = raw(opened.protocol).sender
        await source.when(lambda: source.finished)
        self.assertLess(sender.queue.length, 2 * HIGH_WATER)
        await at_rest(lambda: sender.unacknowledged)
        opened.end.tell("resume")
        opened.protocol.transport.loseWriteConnection()
        await opened.end.event("end", timeout=self.timeout)
        opened.end.tell("end")
        await self.over(opened, BULK)


class WeConnect(BulkTests):
    """We open them."""

    open = ConnectionCase.we_connect

    async def test_many(self: Any) -> None:
        """Hundreds of connections with one server, all opened at once, each with its own text."""
        server = await self.their_end()
        key = await server.listen(seed=THEIRS.seed.hex(), echo=True)
        node = await self.our_end()
        protocols = await each(node.connect(key, Collector(Talker)) for _ in range(MANY))
        for number, protocol in enumerate(protocols):
            protocol.say(f"I am {number}")
        for number, protocol in enumerate(protocols):
            await protocol.receives(f"I am {number}".encode())
            protocol.transport.loseConnection()
        for protocol in protocols:
            await protocol.loses()


class TheyConnect(BulkTests):
    """They open them."""

    open = ConnectionCase.they_connect

    async def test_many(self: Any) -> None:
        """Hundreds of connections with one server, all opened at once, each with its own text."""
        node = await self.our_end()
        collector = Collector(Talker)
        await node.listen(OURS, collector)
        client = await self.their_end()
        ends = [client.connect(OURS.public_key.hex()) for _ in range(MANY)]
        for end in ends:
            self.assertEqual("open", (await end.event("open", "close"))["event"])
            end.tell("write", text=f"I am {end.number}")
        said = set()
        for number in range(MANY):
            protocol = await collector.connected(number)
            await protocol.when(lambda protocol=protocol: protocol.received)
            said.add(protocol.received.decode())
            protocol.transport.loseConnection()
        self.assertEqual({f"I am {number}" for number in range(MANY)}, said)


class SpaceswarmClientTests(WeConnect, ConnectionCase):
    """We connect to Spaceswarm peers."""

    profile = "spaceswarm"


class HyperswarmClientTests(WeConnect, ConnectionCase):
    """We connect to Hyperswarm peers."""

    profile = "hyperswarm"


class SpaceswarmServerTests(TheyConnect, ConnectionCase):
    """Spaceswarm peers connect to us."""

    profile = "spaceswarm"


class HyperswarmServerTests(TheyConnect, ConnectionCase):
    """Hyperswarm peers connect to us."""

    profile = "hyperswarm"
