"""
What ours does for ``connection.py``, in a process of its own: see ``tests/interop/connection_bench.js`` for the tasks.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # what is measured is this checkout, whatever is installed

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import Deferred, gatherResults  # noqa: E402
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol  # noqa: E402
from twisted.internet.protocol import Factory, Protocol, connectionDone  # noqa: E402
from twisted.python.failure import Failure  # noqa: E402
from zope.interface import implementer  # noqa: E402

from spaceswarm_proxy import DHTNode  # noqa: E402

_CHUNK = bytes(65536)
_ECHO = b"e"


def say(event: str, **fields: Any) -> None:
    """Print a line."""
    print(json.dumps({"event": event, **fields}), flush=True)


@implementer(IHalfCloseableProtocol)
class Served(Protocol):
    """Echoes, or reads."""

    echo: bool | None = None

    def dataReceived(self, data: bytes) -> None:
        if self.echo is None:
            self.echo = data[:1] == _ECHO
        if self.echo:
            self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()
        say("ended")

    def writeConnectionLost(self) -> None:
        """All is written."""


@implementer(IHalfCloseableProtocol)
class Writing(Protocol):
    """Writes so many bytes, then ends."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        say("open")
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Write a chunk."""
        self.transport.write(_CHUNK[: self.left])
        self.left -= len(_CHUNK)
        if self.left <= 0:
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()

    def stopProducing(self) -> None:
        """Nobody wants more."""

    def readConnectionLost(self) -> None:
        say("done")

    def writeConnectionLost(self) -> None:
        """All is written."""


class Pinging(Protocol):
    """Sends a message when the last one is back."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.times: list[float] = []
        self.missing = 0

    def connectionMade(self) -> None:
        say("open")
        self.send()

    def send(self) -> None:
        """One more."""
        self.missing = 64
        self.began = time.perf_counter()
        self.transport.write(_ECHO * 64)

    def dataReceived(self, data: bytes) -> None:
        self.missing -= len(data)
        if self.missing:
            return
        self.times.append((time.perf_counter() - self.began) * 1e6)
        if len(self.times) < self.count:
            self.send()
            return
        ordered = sorted(self.times[len(self.times) // 10 :])
        say("pinged", p50_us=ordered[len(ordered) // 2], p99_us=ordered[int(len(ordered) * 0.99)])


class Greeting(Protocol):
    """Says a word, and hears it back."""

    def __init__(self) -> None:
        self.heard: Deferred[Greeting] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(_ECHO)

    def dataReceived(self, data: bytes) -> None:
        self.heard.callback(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


def made(protocol: IProtocol) -> Factory:
    """:returns: a factory of this one."""
    factory = Factory()
    factory.noisy = False
    factory.buildProtocol = lambda address: protocol
    return factory


class Tasks:
    """What can be asked for."""

    def __init__(self, node: DHTNode, arguments: list[str]) -> None:
        self.node = node
        self.key, self.count, self.parallel = ([*arguments, "", "0", "0"][at] for at in range(3))

    async def serve(self) -> None:
        port = await self.node.listen(None, Factory.forProtocol(Served))
        say("listening", publicKey=port.getHost().public_key.hex())

    async def bulk(self) -> None:
        await self.node.connect(self.key, made(Writing(int(self.count))))

    async def ping(self) -> None:
        await self.node.connect(self.key, made(Pinging(int(self.count))))

    async def hello(self) -> Greeting:
        """One connection that has been used."""
        greeting = Greeting()
        await self.node.connect(self.key, made(greeting))
        return await greeting.heard

    async def cycle(self) -> None:
        """One connection from its beginning to its end."""
        greeting = await self.hello()
        greeting.transport.loseConnection()
        await greeting.lost

    async def cycles(self) -> None:
        await self.node.ready()
        await self.cycle()
        say("ready")
        left = iter(range(int(self.count)))

        async def work() -> None:
            for _ in left:
                await self.cycle()

        await gatherResults([Deferred.fromCoroutine(work()) for _ in range(int(self.parallel))])
        say("done")

    async def idle(self) -> None:
        await self.hello()
        say("warm")
        for _ in range(int(self.count)):
            await self.hello()
        say("idle")


def main() -> None:
    """Run one end, until it is killed."""
    task, where, *arguments = sys.argv[1:]
    node = DHTNode(reactor, profile="hyperswarm", bootstrap=[where], host="127.0.0.1", port=0)
    began = Deferred.fromCoroutine(getattr(Tasks(node, arguments), task)())
    began.addErrback(lambda failure: (failure.printTraceback(), reactor.stop()))
    reactor.run()


if __name__ == "__main__":
    main()
