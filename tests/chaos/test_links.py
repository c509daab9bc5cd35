"""Tests of tests.chaos.links, with an echo server behind them."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from spaceswarm_proxy._reactor import or_global
from tests.chaos.links import LOOPBACK, Links
from tests.interop.proxy_support import at_rest, eventually
from tests.network.support import Collector, Echo, Recorder

#: More than all buffers on the way hold.
BULK = b"bulk" * 8_000_000


@implementer(IPushProducer)
class Writer:
    """Counts how often there was room again."""

    def __init__(self) -> None:
        self.resumed = 0

    def pauseProducing(self) -> None:
        """It has nothing more."""

    def stopProducing(self) -> None:
        """It has nothing more."""

    def resumeProducing(self) -> None:
        self.resumed += 1


class LinksTests(TestCase):
    """Carriers, as they are and when something is wrong with them."""

    async def begin(self) -> Recorder:
        """:returns: the client's end of a carrier that works."""
        reactor = or_global(None)
        self.server = Collector(Echo)
        port = await TCP4ServerEndpoint(reactor, 0, interface=LOOPBACK).listen(self.server)
        self.addCleanup(port.stopListening)
        self.links = Links(reactor)
        self.links.target = port.getHost().port
        await self.links.listen()
        self.addCleanup(self.end)
        self.client = await self.connected()
        self.client.transport.write(b"hello")  # type: ignore[union-attr]
        await self.client.receives(b"hello")
        return self.client

    async def connected(self) -> Recorder:
        protocol: Recorder = await TCP4ClientEndpoint(or_global(None), LOOPBACK, self.links.port).connect(
            Collector(Recorder)
        )
        return protocol

    def end(self) -> Deferred[object]:
        """Nothing is left: neither of the carriers nor of what they led to."""
        gone = [protocol.loses() for protocol in (self.client, *self.server.built)]
        return gatherResults([Deferred.fromCoroutine(self.links.close()), *gone])

    async def test_carries(self) -> None:
        """What is said arrives, and so does the end."""
        client = await self.begin()
        client.transport.loseConnection()  # type: ignore[union-attr]
        await self.server.built[0].loses()
        await eventually(lambda: not self.links.halves)

    async def test_cut(self) -> None:
        """Both ends are told, and nobody gets through until it is mended."""
        client = await self.begin()
        self.links.cut()
        await gatherResults([client.loses(), self.server.built[0].loses()])
        await (await self.connected()).loses()
        self.assertEqual(1, len(self.server.built))
        self.links.mend()
        self.client = await self.connected()
        self.client.transport.write(b"again")  # type: ignore[union-attr]
        await self.client.receives(b"again")

    async def test_stall(self) -> None:
        """Nothing goes through until it is mended; then everything does that was said meanwhile."""
        client = await self.begin()
        self.links.stall()
        client.transport.write(b" there")  # type: ignore[union-attr]
        echo = self.server.built[0]
        await at_rest(lambda: len(echo.received))
        self.assertEqual(b"hello", bytes(echo.received))
        self.links.mend()
        await client.receives(b"hello there")

    async def test_slow_reader(self) -> None:
        """Who does not read stops who writes: the relay keeps little."""
        client = await self.begin()
        echo, writer = self.server.built[0], Writer()
        echo.transport.pauseProducing()
        client.transport.registerProducer(writer, True)  # type: ignore[union-attr]
        client.transport.write(BULK)  # type: ignore[union-attr]
        await at_rest(lambda: len(echo.received))
        self.assertEqual(0, writer.resumed)
        echo.transport.resumeProducing()
        await client.when(lambda: len(client.received) == len(b"hello") + len(BULK))
        self.assertLess(0, writer.resumed)
        client.transport.unregisterProducer()  # type: ignore[union-attr]

    async def test_no_server(self) -> None:
        """Where nobody listens, the client's carrier ends."""
        await self.begin()
        free = await TCP4ServerEndpoint(or_global(None), 0, interface=LOOPBACK).listen(Collector())
        self.links.target = free.getHost().port
        await free.stopListening()
        await (await self.connected()).loses()
