"""
A server among liars: random bytes, damaged frames and sessions that break off, for as long as you like.

    .venv/bin/python benchmarks/soak.py --seconds 600

Server and liars are in one process, over loopback TCP.  Beside the liars there is one honest client, whose echo must
come back all the time, and a visitor, who connects to whomever it finds.  Every ten seconds there is a line; what
counts in it is that the memory does not grow, and that nothing is logged as unexpected.  If something was, or the
honest client lost its link, the status is 1.

``tests/benchmarks/test_soak.py`` runs a short one, and counts what is left in the end.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater, react
from twisted.logger import formatEvent, globalLogBeginner, globalLogPublisher
from twisted.python.failure import Failure

from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.features import ALL
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.server import ProxyServer
from spaceswarm_proxy.proxy.wire import Event, EventType, encode, encode_data, encode_end

TOPICS = [bytes([number]) * 32 for number in range(8)]
#: Small, so that they are reached, and short, so that what lingers is gone soon.
LIMITS = Limits(
    max_topics=4,
    max_streams=8,
    max_peers=16,
    max_frame=256 * 1024,
    max_partial_total=2 * 1024 * 1024,
    ready_timeout=3,
    close_timeout=3,
    half_close_grace=1,
    stall_timeout=3,
)
#: Seconds between the lines.
INTERVAL = 10.0
#: The longest that a liar pauses.
MAX_PAUSE = 0.05


class Echo(Protocol):
    """What peers do."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


def quiet(build: Callable[[], Protocol]) -> Factory:
    """A factory that says nothing of its connections."""
    factory = Factory.forProtocol(build)  # type: ignore[arg-type]
    factory.noisy = False
    return factory


class Lies:
    """What one liar says, drawn from a generator of random numbers."""

    def __init__(self, random: Random, peer: bytes) -> None:
        """:param peer: the id of one that is there."""
        self.random = random
        self.peer = peer

    def told(self) -> Iterator[bytes]:
        """:returns: one piece after the other, to be sent with pauses."""
        random = self.random
        damage = random.choice([0.0, 0.0, 0.02, 0.2])
        if random.random() < 0.1:
            yield random.randbytes(random.randrange(1, 5000))
            return
        yield self._ready()
        for _ in range(random.randrange(40)):
            frames = b"".join(self._frame() for _ in range(random.randrange(1, 8)))
            if random.random() < damage:
                frames = self._damaged(frames)
            cut = random.randrange(len(frames) + 1)
            yield frames[:cut]
            yield frames[cut:]

    def _ready(self) -> bytes:
        features = self.random.choice([None, 0, 1, 2, int(ALL), int(ALL), int(ALL), self.random.randrange(2**70)])
        return encode(Event(EventType.READY, features=features, window=self.random.choice([None, 0, 1000, 2**18])))

    def _frame(self) -> bytes:
        random = self.random
        stream, request = random.randrange(4), random.choice([None, random.randrange(100)])
        topic = random.choice(TOPICS)
        roles = random.choice([None, 0, 1, 2, 3])
        choices = (
            lambda: encode(Event(EventType.JOIN, topic=topic, request=request, roles=roles)),
            lambda: encode(Event(EventType.LEAVE, topic=topic, request=request)),
            lambda: encode(Event(EventType.CONNECT, peer=self.peer, request=request)),
            lambda: encode(Event(EventType.CONNECT, peer=random.randbytes(32).hex().encode(), request=request)),
            lambda: encode_data(stream, random.randbytes(random.randrange(20_000))),
            lambda: encode_end(stream),
            lambda: encode(Event(EventType.ON_STREAM_CLOSE, stream=stream)),
            lambda: encode(Event(EventType.ON_STREAM_ERROR, stream=stream, data=b"no", code="reset")),
            lambda: encode(Event(EventType.WINDOW, stream=stream, window=random.choice([1, 10_000, 2**60]))),
            lambda: encode(Event(random.choice([EventType.LISTEN, EventType.UNLISTEN]), request=request)),
            lambda: encode(Event(EventType.PING, data=random.randbytes(random.randrange(100)))),
            lambda: encode(Event(random.randrange(1, 40), topic=topic, data=b"?", stream=stream)),
        )
        return random.choice(choices)()

    def _damaged(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        for _ in range(self.random.randrange(1, 4)):
            start = self.random.randrange(len(damaged) + 1)
            damaged[start : start + self.random.randrange(3)] = self.random.randbytes(self.random.randrange(3))
        return bytes(damaged)


class Liar(Protocol):
    """One session."""

    def __init__(self, soak: Soak, lies: Lies) -> None:
        self.soak = soak
        self.random = lies.random
        self.pieces = lies.told()
        self.next: Any = None
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.soak.liars.add(self)
        if self.random.random() < 0.2:
            self.transport.pauseProducing()  # type: ignore[attr-defined]
        self._say()

    def _say(self) -> None:
        self.next = None
        piece = next(self.pieces, None)
        if piece is not None:
            self.soak.lied += len(piece)
            self.transport.write(piece)  # type: ignore[union-attr]
            self.next = self.soak.reactor.callLater(self.random.uniform(0, MAX_PAUSE), self._say)
        elif self.random.random() < 0.5:
            self.transport.loseConnection()  # type: ignore[union-attr]
        else:
            self.transport.abortConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.soak.liars.discard(self)
        if self.next is not None:
            self.next.cancel()
        self.lost.callback(None)


class HonestClient(Protocol):
    """Counts the echoes; each asks for the next."""

    def __init__(self, soak: Soak) -> None:
        self.soak = soak
        self.next: Any = None

    def connectionMade(self) -> None:
        self._say()

    def dataReceived(self, data: bytes) -> None:
        self.soak.echoes += 1
        self.next = self.soak.reactor.callLater(0.01, self._say)

    def _say(self) -> None:
        self.next = None
        self.transport.write(b".")  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.next is not None:
            self.next.cancel()
        self.soak.honest_lost += not self.soak.closing


class Visitor:
    """Connects to whomever a lookup finds, a few at a time, and says a word to each."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._visiting = 0

    def peer_found(self, peer: Peer) -> None:
        if self._visiting < 4:
            self._visiting += 1
            visit = self._network.connect(peer, quiet(Protocol))
            visit.addCallbacks(self._greet, lambda failure: failure.trap(SpaceswarmError))
            visit.addBoth(self._visited)

    def _greet(self, protocol: Protocol) -> None:
        assert protocol.transport is not None
        protocol.transport.write(b"hello")
        protocol.transport.loseConnection()

    def _visited(self, result: object) -> object:
        self._visiting -= 1
        return result

    def lookup_updated(self) -> None:
        """Nothing follows from it."""


class Soak:
    """All of it: a server, an honest client, and so many liars."""

    def __init__(self, reactor: Any, liars: int = 40, seed: int = 1) -> None:
        self.reactor = reactor
        self.random = Random(seed)
        self.hub = LocalHub(reactor)
        self.server = ProxyServer(self.hub.network(), limits=LIMITS, reactor=reactor)
        self.count = liars
        self.liars: set[Liar] = set()
        self.closing = False
        #: Sessions begun, bytes that they said, and the honest client's echoes and losses.
        self.sessions = self.lied = self.echoes = self.honest_lost = 0
        #: What was logged with a traceback.
        self.problems: list[str] = []
        self._running: list[Deferred[None]] = []

    async def start(self) -> None:
        """Listen, and let everybody in."""
        globalLogPublisher.addObserver(self._observe)
        self.port: IListeningPort = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(self.server)
        peer = self.hub.network()
        await peer.listen(quiet(Echo))
        self._peer = Peer.keyed(peer.public_key)
        visitor = self.hub.network()
        for topic in TOPICS:
            peer.announce(topic)
            visitor.lookup(topic, Visitor(visitor))
        self.honest = ProxyNetwork(self._endpoint(), reactor=self.reactor)
        await self.honest.connect(self._peer, quiet(lambda: HonestClient(self)))
        self._running = [Deferred.fromCoroutine(self._lie(Random(self.random.random()))) for _ in range(self.count)]

    def _endpoint(self) -> TCP4ClientEndpoint:
        return TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port.getHost().port)

    async def _lie(self, random: Random) -> None:
        """One session after the other."""
        while not self.closing:
            self.sessions += 1
            liar = Liar(self, Lies(random, self._peer.id))
            await self._endpoint().connect(quiet(lambda liar=liar: liar))
            await liar.lost

    async def close(self) -> None:
        """End everything; when this is done, nothing is left."""
        self.closing = True
        for liar in tuple(self.liars):
            liar.transport.abortConnection()  # type: ignore[union-attr]
        await DeferredList(self._running)
        await self.honest.close()
        await self.port.stopListening()
        await self.server.close()
        await self.hub.close()
        globalLogPublisher.removeObserver(self._observe)

    def _observe(self, event: dict[str, Any]) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            self.problems.append(f"{formatEvent(event)}\n{failure.getTraceback()}")

    def line(self) -> str:
        """How it stands."""
        stats = self.server.stats
        return (
            f"{resident_memory() / 2**20:7.1f} MiB {len(self.server.links):4} links"
            f" {self.server.open_streams:4} streams {stats.streams:7} so far {self.sessions:7} sessions"
            f" {self.lied / 2**20:7.1f} MiB lied {sum(stats.violations.values()):6} violations"
            f" {sum(stats.limits.values()):6} limits {self.echoes:7} echoes {self.honest_lost} honest links lost"
            f" {len(self.problems)} unexpected"
        )


def resident_memory() -> int:
    """Bytes of this process that are in memory; 0 where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


async def run(reactor: Any, seconds: float, liars: int, seed: int) -> int:
    """:returns: the process's exit status."""
    soak = Soak(reactor, liars, seed)
    await soak.start()
    begun = reactor.seconds()
    while (passed := reactor.seconds() - begun) < seconds:
        print(f"{passed:6.0f} s {soak.line()}", flush=True)
        await deferLater(reactor, min(INTERVAL, seconds - passed))
    print(f"{passed:6.0f} s {soak.line()}")
    await soak.close()
    print(f"closed   {soak.line()}")
    print("\n".join(soak.problems[:10]), file=sys.stderr)
    return 1 if soak.problems or soak.honest_lost else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--liars", type=int, default=40, help="how many at a time")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers")
    options = parser.parse_args()

    async def soak(reactor: Any) -> None:
        sys.exit(await run(reactor, options.seconds, options.liars, options.seed))

    # Until logging begins, Twisted keeps what is logged, and so everything that is mentioned there.
    globalLogBeginner.beginLoggingTo([lambda event: None], discardBuffer=True, redirectStandardIO=False)
    react(soak)


if __name__ == "__main__":
    main()
