"""
One end of a stream in a process of its own: our counterpart of ``tests/interop/udx_peer.js``, for benchmarks and tests.

It takes a part of that one's options, and prints the same lines: ``bound`` at the beginning, ``close`` at the end.  In
mode ``ping`` it measures round trips, as ``tests/interop/udx_bench.js`` does.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # what is measured is this checkout, whatever is installed

from twisted.internet import reactor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.udx.endpoint import UDXEndpoint

_DIGESTS = 2048


def block(seed: bytes = b"udx") -> bytes:
    """:returns: what a source repeats."""
    return b"".join(hashlib.sha256(seed + number.to_bytes(4, "big")).digest() for number in range(_DIGESTS))


def say(event: str, **fields: Any) -> None:
    """Print a line."""
    print(json.dumps({"event": event, **fields}), flush=True)


@implementer(IHalfCloseableProtocol)
class End(Protocol):
    """Reads everything."""

    transport: Any

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.received = self.sent = 0
        self.hash_in = None if options.no_hash else hashlib.sha256()
        self.first = self.last = 0.0
        self.ended = False

    def dataReceived(self, data: bytes) -> None:
        self.last = time.perf_counter()
        if not self.received:
            self.first = self.last
            say("first-data", bytes=len(data))
        self.received += len(data)
        if self.hash_in is not None:
            self.hash_in.update(data)

    def readConnectionLost(self) -> None:
        self.ended = True
        say("end", received=self.received)
        self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """All that there is has been written."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        sender = self.transport.stream.sender
        say(
            "close",
            error=None if reason.check(ConnectionDone) else reason.value.code,
            ended=self.ended,
            received=self.received,
            sha256_in=None if self.hash_in is None else self.hash_in.hexdigest(),
            sent=self.sent,
            receive_ms=1000 * (self.last - self.first),
            retransmits=sender.retransmitted,
            timeouts=sender.timed_out,
            mtu=sender.mtu.size,
        )
        reactor.callLater(self.options.linger / 1000, reactor.stop)


class Echo(End):
    """Sends back what it reads."""

    def connectionMade(self) -> None:
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.sent += len(data)
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.transport.unregisterProducer()
        super().readConnectionLost()


class Source(End):
    """Writes as fast as that is taken."""

    def connectionMade(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.block = block()
        self.paused = False
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused and self.sent < self.options.bytes:
            start = self.sent % len(self.block)
            piece = self.block[start : start + min(self.options.chunk, self.options.bytes - self.sent)]
            self.sent += len(piece)
            self.transport.write(piece)
        if self.sent == self.options.bytes:
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.paused = True

    def readConnectionLost(self) -> None:
        self.ended = True
        say("end", received=self.received)


class Reply(Source):
    """Writes when the remote has ended."""

    def connectionMade(self) -> None:
        """It is the remote's turn."""

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self.begin()


class Ping(End):
    """Measures round trips, one after the other."""

    def connectionMade(self) -> None:
        self.times: list[float] = []
        self.message = bytes(self.options.size)
        self.ping()

    def ping(self) -> None:
        self.missing = self.options.size
        self.began = time.perf_counter()
        self.transport.write(self.message)

    def dataReceived(self, data: bytes) -> None:
        self.missing -= len(data)
        if self.missing:
            return
        self.times.append(time.perf_counter() - self.began)
        if len(self.times) < self.options.count:
            self.ping()
            return
        ordered = sorted(self.times[len(self.times) // 10 :])
        say("pinged", p50_us=1e6 * ordered[len(ordered) // 2], p99_us=1e6 * ordered[len(ordered) * 99 // 100])
        self.transport.loseWriteConnection()


MODES = {"echo": Echo, "sink": End, "source": Source, "reply": Reply, "ping": Ping}


def main() -> None:
    """Run one end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", default="echo", choices=MODES)
    parser.add_argument("--local-id", type=int, default=2)
    parser.add_argument("--remote-id", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--remote-host", default="127.0.0.1")
    parser.add_argument("--remote-port", type=int, default=0, help="by default, wherever the first packet comes from")
    parser.add_argument("--bytes", type=int, default=0)
    parser.add_argument("--chunk", type=int, default=65536)
    parser.add_argument("--count", type=int, default=1000, help="round trips")
    parser.add_argument("--size", type=int, default=64, help="bytes of one")
    parser.add_argument("--linger", type=float, default=50, help="milliseconds")
    parser.add_argument("--no-hash", action="store_true")
    parser.add_argument("--profile", help="a file for the profiler's figures")
    options = parser.parse_args()
    gc.freeze()
    endpoint = UDXEndpoint(reactor, port=options.port)
    say("bound", port=endpoint.address.port)
    build = MODES[options.mode]
    if options.remote_port:
        remote = (options.remote_host, options.remote_port)
        endpoint.connect(options.local_id, options.remote_id, *remote, build(options))
    else:
        endpoint.accept(options.local_id, options.remote_id, lambda: build(options))
    run(options.profile)
    endpoint.close()


def run(profile: str | None) -> None:
    """Until the stream is over."""
    if profile is None:
        reactor.run()
        return
    import cProfile

    profiler = cProfile.Profile()
    profiler.runcall(reactor.run)
    profiler.dump_stats(profile)


if __name__ == "__main__":
    main()
