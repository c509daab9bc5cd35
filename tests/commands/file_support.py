"""Files, and both ends of their way."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from spaceswarm_proxy.commands import receive
from spaceswarm_proxy.commands.file_messages import Begin, Have, Offer, Verdict
from spaceswarm_proxy.commands.file_stream import FileStream
from tests.commands.dht_support import Event, events
from tests.commands.peer_support import IDENTITY, KEY, PAIR, PeerCommandCase
from tests.commands.support import Terminal
from tests.network.support import Collector

NAME = "big.iso"
CONTENT = random.Random(1).randbytes(3_000_000)
HASH = hashlib.sha256(CONTENT).digest()
OFFER = Offer(NAME, len(CONTENT), HASH)
NOTHING = Have(0, hashlib.sha256(b"").digest())


class FileCommandCase(PeerCommandCase):
    """``send`` and ``receive``, and ends of the stream that a test plays."""

    def setUp(self) -> Any:
        self.patch(receive, "FIRST_DELAY", 0.01)
        #: Where files are to be sent from, and where they come.
        self.here, self.there = Path(self.mktemp()), Path(self.mktemp())
        for directory in (self.here, self.there):
            directory.mkdir()
        self.source = self.here / NAME
        self.source.write_bytes(CONTENT)
        self.received = self.there / NAME
        self.partial = self.there / f"{NAME}.part"
        return super().setUp()

    def descriptors(self) -> dict[str, int]:
        """Standard output has all that there is."""
        return {}

    async def sending(self, *arguments: str) -> tuple[Deferred[int], Terminal]:
        """:returns: ``send``, when it can be found."""
        status, terminal = self.visit("send", str(self.source), "--json", *IDENTITY, *arguments)
        await terminal.shows(b'"listening"')
        return status, terminal

    def receiving(self, *arguments: str) -> tuple[Deferred[int], Terminal]:
        """:returns: ``receive``, on its way."""
        return self.visit("receive", KEY.hex(), "--json", "--output", str(self.there), *arguments)

    async def end(self) -> FileStream:
        """:returns: the receiver's end of a stream to ``send``."""
        stream = FileStream()
        await (await self.visitor()).connect(KEY, Collector(lambda: stream))  # type: ignore[arg-type, return-value]
        return stream

    async def play(self, *scripts: Any) -> Any:
        """
        Be the sender.

        :param scripts: what is done with the streams that come, one after the other.
        """
        left = list(scripts)

        def begun(stream: FileStream) -> None:
            done = Deferred.fromCoroutine(left.pop(0)(stream))
            done.addErrback(lambda failure: failure.trap(Exception) and None)

        collector = Collector(lambda: FileStream(begun) if left else None)  # type: ignore[arg-type, return-value]
        node = await self.visitor()
        return await node.listen(PAIR, collector)

    async def take(self, stream: FileStream, have: Have = NOTHING) -> tuple[Offer, bytes]:
        """:returns: what ``send`` offers and sends to a receiver that has so much."""
        offer = Offer.parse(await stream.message())
        stream.say(have.encode())
        begin = Begin.parse(await stream.message(), have)
        content = bytearray()
        await stream.receive(offer.size - begin.offset, content.extend)
        stream.say(Verdict.RECEIVED.encode())
        return offer, bytes(content)

    def named(self, terminal: Terminal, name: str) -> list[Event]:
        """:returns: the events of that name."""
        return [each for each in events(terminal.text) if each["event"] == name]
