"""
The work of a client in ``path.py``, over any network: what ``tests/interop/path/workloads.js`` does with theirs.

A *link* is one client session, a network of its own; a *flow* is one stream over it to the peer, which is told by the
first sixteen bytes what to do on it (``tests/interop/path/peer.js``).  A workload prepares, then works; what that
returns is told to whoever measures.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from time import perf_counter
from typing import Any, NamedTuple, Protocol as Shape

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.interfaces import INetwork, IPeerReceiver, Peer

ECHO, SINK, SOURCE = range(3)
_HEADER = struct.Struct("<IIQ")
#: Bytes that go there and back in a cycle.
_CYCLE = bytes(64)
#: Bytes that are read before the application, the link or the peer stands still.
_READ_FIRST = 1_000_000
#: Seconds after which the peer's process has been stopped.
_UNTIL_STOPPED = 0.5

Figures = dict[str, float]


@dataclass
class Task:
    """What is to be done."""

    key: str
    topic: str
    #: Over all streams.
    bytes: int = 0
    #: Of one write.
    chunk: int = 65536
    count: int = 0
    streams: int = 1
    #: Of the payload of a round trip.
    size: int = 64
    seconds: int = 8

    @property
    def peer(self) -> Peer:
        """The far end."""
        return Peer.keyed(bytes.fromhex(self.key))

    def share(self, whole: int) -> int:
        """:returns: what each stream has of it, rounded up."""
        return -(-whole // self.streams)


class Link(NamedTuple):
    """A client session."""

    network: INetwork
    #: Ends it as a network that is lost would.
    drop: Callable[[], Awaitable[None]]


Open = Callable[[], Awaitable[Link]]


class Client(Shape):
    """Where the work is done."""

    reactor: Any
    #: Makes another link.
    open_link: Open

    def say(self, event: str, **fields: Any) -> None:
        """Tell whoever measures."""


@implementer(IPushProducer)
class Flow(Protocol):
    """One stream to the peer."""

    transport: Any

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()
        #: Bytes that the stream has taken from :meth:`pump`.
        self.accepted = 0
        # Bytes that are waited for; below zero, those that have come before they were.
        self._missing = 0
        self._arrived: Callable[[], None] | None = None
        self._paused = False
        self._left = 0
        self._piece = b""

    def begin(self, operation: int, chunk: int = 0, count: int = 0) -> None:
        """Tell the peer what it is to do."""
        self.transport.write(_HEADER.pack(operation, chunk, count))

    # Reading.

    def take(self, count: int) -> Deferred[None]:
        """:returns: a Deferred that fires when so many bytes more have come, and fails when they do not come."""
        taken: Deferred[None] = Deferred()
        self.await_bytes(count, lambda: taken.callback(None))
        self.lost.addCallback(lambda _: taken.called or taken.errback(EOFError(f"{self._missing} bytes are missing")))
        return taken

    def await_bytes(self, count: int, arrived: Callable[[], None]) -> None:
        """:param arrived: called when so many bytes more have come."""
        self._missing += count
        self._arrived = arrived
        self._look()

    def dataReceived(self, data: bytes) -> None:
        self._missing -= len(data)
        self._look()

    def _look(self) -> None:
        if self._missing <= 0 and self._arrived is not None:
            arrived, self._arrived = self._arrived, None
            arrived()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)

    # Writing.

    def round_trip(self, payload: bytes) -> Deferred[None]:
        """:returns: a Deferred that fires when the echoing peer has sent it back."""
        back = self.take(len(payload))
        self.transport.write(payload)
        return back

    def pump(self, chunk: int, count: int) -> None:
        """Write so many bytes, as fast as the stream takes them."""
        self._piece, self._left = bytes(chunk), count
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """See ``IPushProducer``."""
        self._paused = False
        while self._left and not self._paused:
            piece = self._piece if self._left >= len(self._piece) else self._piece[: self._left]
            self._left -= len(piece)
            self.accepted += len(piece)
            self.transport.write(piece)
        if not self._left:
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """See ``IPushProducer``."""
        self._paused = True

    def stopProducing(self) -> None:
        """See ``IPushProducer``."""
        self._left = 0


class Flows(Factory):
    """Makes them."""

    noisy = False

    def buildProtocol(self, address: IAddress) -> Flow:
        return Flow()


FLOWS = Flows()


async def connect(link: Link, peer: Peer) -> Flow:
    """:returns: a new stream."""
    flow = await link.network.connect(peer, FLOWS)
    assert isinstance(flow, Flow)
    return flow


async def cycle(link: Link, peer: Peer) -> Flow:
    """:returns: a new stream, over which some bytes have gone there and back."""
    flow = await connect(link, peer)
    flow.begin(ECHO)
    await flow.round_trip(_CYCLE)
    return flow


async def end(flow: Flow) -> None:
    """Close a stream, and wait until it is."""
    flow.transport.loseConnection()
    await flow.lost


def together(work: Iterable[Awaitable[Any]]) -> Deferred[list[Any]]:
    """:returns: a Deferred of all results."""
    return gatherResults([Deferred.fromCoroutine(_awaited(each)) for each in work], consumeErrors=True)


async def _awaited(one: Awaitable[Any]) -> Any:
    return await one


def quantiles(samples: Iterable[float], unit: str) -> Figures:
    """:returns: the median, and what all but one in a hundred are below."""
    ordered = sorted(samples)
    return {f"p{part}_{unit}": ordered[min(len(ordered) - 1, len(ordered) * part // 100)] for part in (50, 99)}


class Workload:
    """One of them."""

    def __init__(self, task: Task, client: Client) -> None:
        self.task = task
        self.client = client
        self.samples: list[float] = []

    async def prepare(self) -> None:
        """What is not measured."""

    async def work(self) -> Figures:
        """What is."""
        raise NotImplementedError

    def note(self, began: float, unit: float) -> None:
        """:param unit: how many of it are a second."""
        self.samples.append((perf_counter() - began) * unit)

    def timed(self, unit: str) -> Figures:
        """:returns: what the samples come to."""
        return {"items": len(self.samples), **quantiles(self.samples, unit)}

    def sleep(self, seconds: float) -> Deferred[None]:
        """:returns: a Deferred that fires when they are over."""
        return deferLater(self.client.reactor, seconds)


class OverFlows(Workload):
    """One that has its streams before it begins."""

    flows: list[Flow]

    async def prepare(self) -> None:
        link = await self.client.open_link()
        self.flows = await together(connect(link, self.task.peer) for _ in range(self.task.streams))

    def moved(self) -> Figures:
        """:returns: what has gone over all of them."""
        moved = self.task.share(self.task.bytes) * len(self.flows)
        return {"bytes": moved, "items": moved / self.task.chunk}


class Down(OverFlows):
    """The peer sends."""

    async def work(self) -> Figures:
        await together(self._flow(flow, self.task.share(self.task.bytes)) for flow in self.flows)
        return self.moved()

    async def _flow(self, flow: Flow, share: int) -> None:
        done = flow.take(share)
        flow.begin(SOURCE, self.task.chunk, share)
        await done


class Up(OverFlows):
    """We send; the peer says a byte when it has all."""

    async def work(self) -> Figures:
        await together(self._flow(flow, self.task.share(self.task.bytes)) for flow in self.flows)
        return self.moved()

    async def _flow(self, flow: Flow, share: int) -> None:
        done = flow.take(1)
        flow.begin(SINK, 0, share)
        flow.pump(self.task.chunk, share)
        await done


class Ping(OverFlows):
    """Round trips, one under way on each stream."""

    async def prepare(self) -> None:
        await super().prepare()
        for flow in self.flows:
            flow.begin(ECHO)
            await flow.round_trip(bytes(self.task.size))

    async def work(self) -> Figures:
        await together(self._flow(flow, self.task.share(self.task.count)) for flow in self.flows)
        return self.timed("us")

    def _flow(self, flow: Flow, count: int) -> Deferred[None]:
        """Without a Deferred for each: it would cost as much as some of what is measured."""
        done: Deferred[None] = Deferred()
        payload, left = bytes(self.task.size), iter(range(count))

        def send() -> None:
            if next(left, None) is None:
                done.callback(None)
                return
            began = perf_counter()
            flow.await_bytes(len(payload), lambda: back(began))
            flow.transport.write(payload)

        def back(began: float) -> None:
            self.note(began, 1e6)
            send()

        send()
        return done


class Cycles(Workload):
    """Connect, some bytes out and back, close; on one link."""

    link: Link

    async def prepare(self) -> None:
        self.link = await self.client.open_link()
        await end(await cycle(self.link, self.task.peer))

    async def work(self) -> Figures:
        left = iter(range(self.task.count))
        await together(self._worker(left) for _ in range(self.task.streams))
        return self.timed("ms")

    async def _worker(self, left: Iterable[int]) -> None:
        for _ in left:
            began = perf_counter()
            flow = await cycle(self.link, self.task.peer)
            self.note(began, 1e3)
            await end(flow)


class Relink(Workload):
    """A new link, a cycle over it; then it is cut."""

    async def work(self) -> Figures:
        for _ in range(self.task.count):
            began = perf_counter()
            link = await self.client.open_link()
            await cycle(link, self.task.peer)
            self.note(began, 1e3)
            await link.drop()
        return self.timed("ms")


@implementer(IPeerReceiver)
class First:
    """Whoever is found first under a topic."""

    def __init__(self, network: INetwork, topic: bytes) -> None:
        self.found: Deferred[Peer] = Deferred()
        self._lookup = network.lookup(topic, self)

    def peer_found(self, peer: Peer) -> None:
        """That is enough: nobody else is looked for."""
        if not self.found.called:
            self.found.callback(peer)

    def lookup_updated(self) -> None:
        """A round is over."""
        if not self.found.called:
            self.found.errback(LookupError("nobody found under the topic"))

    async def peer(self) -> Peer:
        """:returns: the first one; the topic is forgotten then."""
        peer = await self.found
        await self._lookup.close()
        return peer


class Lookup(Workload):
    """From asking for a topic to the first bytes back from a peer that was found there."""

    link: Link

    def _first(self) -> Awaitable[Peer]:
        return First(self.link.network, topic_of(self.task.topic)).peer()

    async def prepare(self) -> None:
        self.link = await self.client.open_link()
        await end(await cycle(self.link, await self._first()))

    async def work(self) -> Figures:
        found = []
        for _ in range(self.task.count):
            began = perf_counter()
            peer = await self._first()
            found.append((perf_counter() - began) * 1e3)
            flow = await cycle(self.link, peer)
            self.note(began, 1e3)
            await end(flow)
        return {**self.timed("ms"), "found_ms": quantiles(found, "ms")["p50_ms"]}


@implementer(IPeerReceiver)
class Nobody:
    """Does not care who is found."""

    def peer_found(self, peer: Peer) -> None:
        """It is us, if anybody."""

    def lookup_updated(self) -> None:
        """A round is over."""


class Idle(Workload):
    """Links that accept connections, each announced and looked up under a topic of its own."""

    def __init__(self, task: Task, client: Client) -> None:
        super().__init__(task, client)
        self.links: list[Link] = []

    async def work(self) -> Figures:
        left = iter(range(self.task.count))
        await together(self._worker(left) for _ in range(self.task.streams))
        return {"items": len(self.links)}

    async def _worker(self, left: Iterable[int]) -> None:
        for number in left:
            link = await self.client.open_link()
            self.links.append(link)
            topic, network = topic_of(f"{self.task.topic}/{number}"), link.network
            listening = network.listen(FLOWS)
            announced = network.announce(topic).flushed()
            found = network.lookup(topic, Nobody()).flushed()
            await gatherResults([listening, announced, found], consumeErrors=True)


class SlowClient(OverFlows):
    """The application reads some, and then no more."""

    async def work(self) -> Figures:
        (flow,) = self.flows
        some = flow.take(min(self.task.bytes, _READ_FIRST))
        flow.begin(SOURCE, self.task.chunk, self.task.bytes)
        await some
        flow.transport.pauseProducing()
        await self.sleep(self.task.seconds)
        return {"bytes": self.task.bytes}


class SlowLink(OverFlows):
    """It reads on; its process is stopped from outside."""

    async def work(self) -> Figures:
        (flow,) = self.flows
        some = flow.take(min(self.task.bytes, _READ_FIRST))
        flow.begin(SOURCE, self.task.chunk, self.task.bytes)
        await some
        self.client.say("flowing")
        await flow.take(self.task.bytes - _READ_FIRST)
        return {"bytes": self.task.bytes}


class SlowPeer(OverFlows):
    """The peer's process is stopped: how much does the stream take?"""

    async def work(self) -> Figures:
        (flow,) = self.flows
        flow.begin(SINK, 0, self.task.bytes)
        self.client.say("flowing")
        await self.sleep(_UNTIL_STOPPED)
        flow.pump(self.task.chunk, self.task.bytes)
        await self.sleep(self.task.seconds)
        return {"bytes": self.task.bytes, "accepted": flow.accepted}


def topic_of(text: str) -> bytes:
    """:returns: the topic that a text means."""
    return sha256(text.encode()).digest()


WORKLOADS: dict[str, type[Workload]] = {
    "down": Down,
    "up": Up,
    "ping": Ping,
    "cycles": Cycles,
    "relink": Relink,
    "lookup": Lookup,
    "idle": Idle,
    "slow-client": SlowClient,
    "slow-link": SlowLink,
    "slow-peer": SlowPeer,
}
