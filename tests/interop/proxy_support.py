"""What the tests of the proxy with JavaScript peers are written with."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from socket import socket
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.internet.tcp import Connection
from twisted.trial.unittest import SkipTest

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.interfaces import HostPort, Peer
from tests.interop.node import GRACE, InteropTestCase, NodeProcess
from tests.network.support import Collector, HalfCloseRecorder, Recorder

TOPIC = bytes(range(32))
MEGABYTE = 1024 * 1024
#: Much more than anything on the way could hold.
BULK = 50 * MEGABYTE
#: Seconds between two looks at something that tells no one when it changes, and how many looks there are at most.
POLL, POLLS = 0.02, 1000
#: Looks in a row at which a number has not changed, until it counts as at rest.
REST = 15


def digest(data: bytes) -> str:
    """As the scripts tell it."""
    return sha256(data).hexdigest()


def eventually(condition: Callable[[], object]) -> Deferred[None]:
    """
    For what tells no one when it changes, as in another process.

    :returns: a Deferred that fires when the condition holds, and fails when it does not come to hold.
    """
    looks = iter(range(POLLS))

    def look() -> None:
        if condition():
            polling.stop()
        else:
            assert next(looks, None) is not None, "it has not come about"

    polling = LoopingCall(look)
    polling.clock = or_global(None)
    return polling.start(POLL).addCallback(lambda _: None)


def at_rest(number: Callable[[], int]) -> Deferred[None]:
    """:returns: a Deferred that fires when the number has stopped to change."""
    seen: list[int] = []

    def rests() -> bool:
        seen.append(number())
        return len(seen) > REST and len(set(seen[-REST:])) == 1

    return eventually(rests)


async def nothing_where_ws_clients_go_first() -> None:
    """
    The client class of ``hyperswarm-proxy-ws`` tries this machine's port 4977 before any other.

    :raises SkipTest: somebody is there.
    """
    endpoint = clientFromString(or_global(None), "tcp:localhost:4977")
    try:
        stranger = await endpoint.connect(Collector())
    except ConnectionRefusedError:
        return
    stranger.transport.abortConnection()
    await stranger.loses()
    raise SkipTest("something listens on port 4977, where this client goes first")


class Greeter(Recorder):
    """Says hello."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")
        super().connectionMade()


class TCPPeer(HalfCloseRecorder):
    """Ends its own direction when it is told to, and is done when both have ended."""

    def end(self) -> None:
        assert isinstance(self.transport, Connection)
        self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        super().writeConnectionLost()
        self._close_if_done()

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self.read_lost and self.write_lost:
            assert self.transport is not None
            self.transport.loseConnection()


class Service(Collector):
    """A TCP service on this machine, as which a peer is known: a collector of its connections."""

    port: IListeningPort

    @property
    def address(self) -> HostPort:
        return HostPort("127.0.0.1", self.port.getHost().port)

    def their_peer(self, topic: bytes = TOPIC) -> Peer:
        """As it is known to clients of JavaScript servers."""
        return Peer.from_id(self.peer_in(topic).encode())

    def peer_in(self, topic: bytes = TOPIC) -> str:
        """Its id, as JavaScript clients and servers have it."""
        return f"{self.address.host}:{self.address.port}:{topic.hex()}"

    async def close(self) -> None:
        """Stop listening; whoever was connected has been disconnected, or is about to be."""
        await self.port.stopListening()
        lost = gatherResults([protocol.loses() for protocol in self.built])
        try:
            await lost.addTimeout(GRACE, or_global(None))
        except TimeoutError:
            for protocol in self.built:
                protocol.transport.abortConnection()
            raise


class ProxyTestCase(InteropTestCase):
    """Services, our server and JavaScript programs that end with the test, and leave nothing behind."""

    async def listen(self, endpoint: str, factory: Factory) -> IListeningPort:
        """Listen on this machine until the test is over."""
        port = await serverFromString(or_global(None), f"{endpoint}:interface=127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        return port

    def service(self, build: Callable[[], Recorder | None] = Recorder) -> Deferred[Service]:
        """A TCP service; that nobody stays connected with it is part of each test."""
        return Deferred.fromCoroutine(self._service(Service(build)))

    async def _service(self, service: Service) -> Service:
        service.port = await self.listen("tcp:0", service)
        self.addCleanup(lambda: Deferred.fromCoroutine(service.close()))
        return service

    def refusing_address(self) -> HostPort:
        """Where connections are refused: a port that is taken, and at which nobody listens."""
        taken = socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        return HostPort(*taken.getsockname())

    def script(self, name: str, **options: Any) -> NodeProcess:
        """Run a script that takes its options as JSON."""
        return self.node(name, json.dumps(options))
