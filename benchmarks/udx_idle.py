"""Both ends of many streams in one process, idle in the end: what they take, ``udx.py`` sees from outside."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Protocol

from benchmarks.udx_peer import say
from spaceswarm_proxy.udx.endpoint import UDXEndpoint

#: Bytes that go there and back on each stream, and streams that are opened at once.
GREETING = bytes(64)
AT_ONCE = 100
#: Seconds after which nothing is under way.
SETTLED = 0.2


class Greeter(Protocol):
    """Says something, and waits for the answer."""

    transport: Any

    def __init__(self, answered: Deferred[None]) -> None:
        self.answered = answered

    def connectionMade(self) -> None:
        self.transport.write(GREETING)

    def dataReceived(self, data: bytes) -> None:
        answered, self.answered = self.answered, None  # type: ignore[assignment]
        answered.callback(None)


class Echo(Protocol):
    """Answers."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Crowd:
    """The streams."""

    def __init__(self) -> None:
        self.ends = UDXEndpoint(reactor), UDXEndpoint(reactor)
        self.opened = 0

    async def open(self, count: int) -> None:
        """Open some, and wait until all have been used."""
        await gatherResults([self._open_one() for _ in range(count)])

    def _open_one(self) -> Deferred[None]:
        answered: Deferred[None] = Deferred()
        number = 2 * self.opened + 1
        self.opened += 1
        near, far = self.ends
        far.connect(number + 1, number, *near.address, Echo())
        near.connect(number, number + 1, *far.address, Greeter(answered))
        return answered


async def settle(event: str) -> None:
    """Say it when everything is quiet, and what nobody needs is gone."""
    await task.deferLater(reactor, SETTLED)
    gc.collect()
    say(event)


async def main(_: Any) -> None:
    """Stay until killed."""
    crowd = Crowd()
    await crowd.open(AT_ONCE)
    await settle("warm")
    for _opened in range(0, int(sys.argv[1]), AT_ONCE):
        await crowd.open(AT_ONCE)
    await settle("idle")
    await Deferred()


if __name__ == "__main__":
    task.react(main)
