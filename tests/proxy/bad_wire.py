"""A link between a client and a server in this process: it carries what the test says, and breaks when it says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IConsumer, IProtocol, IPushProducer, IStreamClientEndpoint, ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.interfaces import Peer, PeerAddress

#: Bytes under way at which a sender is told to stop.
HIGH_WATER = 4096


@implementer(ITransport, IConsumer, IPushProducer)
class WireEnd:
    """One end, as a transport."""

    far: WireEnd

    def __init__(self, clock: Clock, address: PeerAddress) -> None:
        self.clock = clock
        self.address = address
        self.protocol: Any = None
        self.under_way: deque[bytes] = deque()
        self.size = 0
        self.reading = True
        self.disconnecting = False
        self.lost = False
        self._producer: Any = None
        self._paused = False

    def attach(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.makeConnection(self)

    def getPeer(self) -> PeerAddress:
        return self.address

    def getHost(self) -> PeerAddress:
        return self.address

    # What the protocol does.

    def write(self, data: bytes) -> None:
        if self.lost or self.disconnecting or not data:
            return
        self.under_way.append(data)
        self.size += len(data)
        if self.size > HIGH_WATER and self._producer is not None and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def stopProducing(self) -> None:
        self.loseConnection()

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.clock.callLater(0, self._end)

    def abortConnection(self) -> None:
        self.disconnecting = True
        self.under_way.clear()
        self.size = 0
        self.clock.callLater(0, self._lose, ConnectionAborted())

    # What the wire does.

    def carry(self, count: int) -> None:
        """Let up to ``count`` bytes of what was sent from here arrive at the far end, in one piece."""
        far = self.far
        if far.lost or not far.reading or not self.under_way:
            return
        piece = self.under_way.popleft()
        while len(piece) < count and self.under_way:
            piece += self.under_way.popleft()
        if len(piece) > count:
            self.under_way.appendleft(piece[count:])
            piece = piece[:count]
        self.size -= len(piece)
        far.protocol.dataReceived(piece)
        if self._paused and self.size <= HIGH_WATER // 2 and not self.lost:
            self._paused = False
            if self._producer is not None:
                self._producer.resumeProducing()
        self._end()

    def _end(self) -> None:
        if self.disconnecting and not self.under_way and not self.lost:
            self._lose(ConnectionDone())

    def _lose(self, reason: Exception) -> None:
        """This end is lost, and the far one learns of it."""
        for end, problem in ((self, reason), (self.far, ConnectionLost())):
            if not end.lost:
                end.lost = True
                end.under_way.clear()
                end.size = 0
                end.protocol.connectionLost(Failure(problem))

    def cut(self) -> None:
        """The wire breaks."""
        self._lose(ConnectionLost())


@implementer(IStreamClientEndpoint)
class WireEndpoint:
    """Each connection is a wire to what ``build`` makes."""

    def __init__(self, clock: Clock, build: Callable[[PeerAddress], IProtocol | None]) -> None:
        self.clock = clock
        self.build = build
        self.refuses = False
        #: The client's end and the server's, for each connection so far.
        self.wires: list[tuple[WireEnd, WireEnd]] = []

    def connect(self, factory: Any) -> Deferred[IProtocol]:
        address = PeerAddress(Peer.at("192.0.2.2", 1 + len(self.wires)))
        server = None if self.refuses else self.build(address)
        if server is None:
            return fail(ConnectionRefusedError())
        client = factory.buildProtocol(address)
        near, far = WireEnd(self.clock, address), WireEnd(self.clock, address)
        near.far, far.far = far, near
        self.wires.append((near, far))
        far.attach(server)
        near.attach(client)
        return succeed(client)

    def up(self) -> list[tuple[WireEnd, WireEnd]]:
        """The wires that hold."""
        return [wire for wire in self.wires if not (wire[0].lost and wire[1].lost)]

    def flow(self) -> bool:
        """Carry everything, both ways.  :returns: whether there was anything."""
        ends = [end for wire in self.up() for end in wire if end.under_way and end.far.reading and not end.far.lost]
        for end in ends:
            end.carry(1 << 20)
        return bool(ends)
