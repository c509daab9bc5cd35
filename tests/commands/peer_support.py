"""Peers for the commands that open streams, and what these tell beside the data."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from spaceswarm_proxy.commands.standard_io import attach, detach
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.peering.node import DHTNode
from tests.commands.dht_support import DHTCommandCase, Event, events
from tests.commands.support import Terminal, reactor
from tests.network.support import Collector, HalfCloseRecorder

SEED = bytes(range(32))
PAIR = KeyPair.from_seed(SEED)
KEY = PAIR.public_key
#: For ``listen``: who it is.
IDENTITY = ("--seed", SEED.hex())


class TCPEcho(HalfCloseRecorder):
    """A service that sends back what it gets, and ends when that does."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.write(data)  # type: ignore[union-attr]

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self.transport.loseConnection()  # type: ignore[union-attr]


class PeerCommandCase(DHTCommandCase):
    """Commands, and peers of theirs in this process."""

    def descriptors(self) -> dict[str, int]:
        """Standard error, for the events of a command whose standard output is the peer's."""
        reading, writing = os.pipe()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        #: What the command that was started last has told there.
        self.news = news = Terminal(-1)
        attach(news, reading, nowhere, reactor)

        def put_away() -> None:
            detach(news.transport)
            for descriptor in (reading, writing, nowhere):
                os.close(descriptor)

        self.addCleanup(put_away)
        return {"stderr": writing}

    def told_beside(self) -> list[Event]:
        """:returns: the events of a command whose standard output is the peer's."""
        return events(self.news.text)

    async def listening(self, *arguments: str) -> tuple[Deferred[int], Terminal]:
        """:returns: ``listen``, when it can be found."""
        status, terminal = self.visit("listen", "--json", *IDENTITY, *arguments)
        await (terminal if "--tcp" in arguments else self.news).shows(b'"listening"')
        return status, terminal

    async def visitor(self, **options: Any) -> DHTNode:
        """:returns: one more node that has found the network."""
        node = self.net.node(**options)
        await node.ready()
        return node

    def connected(self, build: Callable[[], Any] = HalfCloseRecorder, **options: Any) -> Deferred[Any]:
        """:returns: a Deferred of the protocol of a stream to ``listen``; of a node of its own, with these options."""

        async def connect() -> Any:
            node = await self.visitor(**options)
            return await node.connect(KEY, Collector(build))

        return Deferred.fromCoroutine(connect())

    async def server(self, build: Callable[[], Any] = HalfCloseRecorder, **options: Any) -> Collector:
        """:returns: the protocols of the streams that are opened to :data:`KEY`."""
        node, collector = await self.visitor(), Collector(build)
        await node.listen(PAIR, collector, **options)
        return collector

    def tcp_service(self, build: Callable[[], Any] = TCPEcho) -> tuple[str, Collector]:
        """:returns: where a TCP service is, and its protocols."""
        collector = Collector(build)
        port = reactor.listenTCP(0, collector, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"127.0.0.1:{port.getHost().port}", collector
