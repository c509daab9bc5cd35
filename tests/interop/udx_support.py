"""What the tests of our streams with those of ``udx-native`` are written with: ours is stream 1, theirs is stream 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from zope.interface import implementer

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.interfaces import HostPort, IMessageProtocol
from spaceswarm_proxy.udx.endpoint import UDXEndpoint
from tests.interop.node import Event, InteropTestCase, NodeProcess
from tests.network.support import HalfCloseRecorder

LOOPBACK = "127.0.0.1"
OURS, THEIRS = 1, 2
MEGABYTE = 1_000_000


@implementer(IMessageProtocol)
class UDXRecorder(HalfCloseRecorder):
    """Keeps the unordered messages too, and of the data no more than is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []

    def message_received(self, data: bytes) -> None:
        self.messages.append(data)
        self.changed()


class Hasher(UDXRecorder):
    """Keeps of the data only how much it was, and its hash."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.hash = sha256()

    def dataReceived(self, data: bytes) -> None:
        self.count += len(data)
        self.hash.update(data)
        self.changed()


class Peer:
    """Their end, in its process."""

    def __init__(self, process: NodeProcess, bound: Event) -> None:
        self.process = process
        self.address = HostPort(bound["host"], bound["port"])

    def tell(self, command: str, **fields: Any) -> None:
        """Give it a command."""
        self.process.write(json.dumps({"cmd": command, **fields}))

    async def event(self, name: str) -> Event:
        """The next event of that name."""
        return await self.process.event(name)

    async def stats(self) -> Event:
        """Its counters, as they are now."""
        self.tell("stats")
        return await self.event("stats")


class UDXTestCase(InteropTestCase):
    """One of our endpoints, and streams with theirs."""

    def setUp(self) -> None:
        self.endpoint = self.our_endpoint()

    def our_endpoint(self) -> UDXEndpoint:
        """An endpoint that is closed in the end."""
        endpoint = UDXEndpoint(or_global(None))
        self.addCleanup(endpoint.close)
        return endpoint

    async def their_peer(self, mode: str, **options: Any) -> Peer:
        """Start one of theirs."""
        words = [word for name, value in options.items() for word in ("--" + name.replace("_", "-"), str(value))]
        numbers = ("--local-id", str(THEIRS), "--remote-id", str(OURS))
        process = self.node("udx_peer.js", "--mode", mode, *numbers, *words)
        return Peer(process, await process.event("bound"))

    async def we_connect(
        self, mode: str, build: Callable[[], Any] = UDXRecorder, ours: int = 0, theirs: int = 0, **options: Any
    ) -> tuple[Any, Peer]:
        """
        We send the first packet.

        :param ours, theirs: the numbers of the first packets.
        :returns: our protocol, which has spoken as soon as it writes, and their end.
        """
        peer = await self.their_peer(mode, seq=theirs, ack=ours, **options)
        protocol = build()
        self.endpoint.connect(OURS, THEIRS, *peer.address, protocol, first=ours, remote_first=theirs)
        return protocol, peer

    async def they_connect(
        self, mode: str, build: Callable[[], Any] = UDXRecorder, ours: int = 0, theirs: int = 0, **options: Any
    ) -> tuple[Any, Peer]:
        """They send the first packet, an empty message, and we learn from it where they are; otherwise the same."""
        protocol = build()
        self.endpoint.accept(OURS, THEIRS, lambda: protocol, first=ours, remote_first=theirs)
        port = self.endpoint.address.port
        peer = await self.their_peer(mode, seq=theirs, ack=ours, remote_port=port, **options)
        peer.tell("send", hex="")
        await protocol.when(lambda: protocol.messages)
        protocol.messages.clear()
        return protocol, peer
