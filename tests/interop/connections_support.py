"""
What the tests of connections with JavaScript peers are written with.

A test that holds whoever connects is written once, with :attr:`ConnectionCase.open`, and run for each role; and for
each profile, as everywhere (:mod:`tests.interop.dht_support`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

from zope.interface import implementer

from spaceswarm_proxy.dht.joining import Joining
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.interfaces import HostPort, IMessageProtocol, IRecordProtocol
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.udx.stream import Stream
from tests.interop.dht_support import PLENTY, DHTTestCase, OurNetwork, TheirNetwork, keyed
from tests.interop.our_peer import pattern
from tests.interop.peer_process import PeerEnd, PeerProcess
from tests.network.support import Collector, HalfCloseRecorder

#: Nodes in between: hole punching asks some of them what it looks like from outside.
SIZE = 6
#: Bytes that go each way; ``INTEROP_BYTES=100000000`` for many.
BULK = int(os.environ.get("INTEROP_BYTES", "10000000"))
OURS, THEIRS = keyed(1), keyed(2)

#: The sockets that a node always has; others are for hole punching.
NODES_OWN = (CLIENT_SOCKET, SERVER_SOCKET)


@implementer(IRecordProtocol, IMessageProtocol)
class Talker(HalfCloseRecorder):
    """Keeps what comes, as it was cut, and the unordered messages."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[bytes] = []
        self.messages: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self.records.append(data)
        super().dataReceived(data)

    def message_received(self, data: bytes) -> None:
        self.messages.append(data)
        self.changed()

    def say(self, text: str) -> None:
        """Write once."""
        self.transport.write(text.encode())  # type: ignore[union-attr]

    def said(self, text: str) -> bool:
        """Has all this come, and nothing else?"""
        return self.received == text.encode()


class Counter(HalfCloseRecorder):
    """Keeps of what comes only how much it was, and its hash."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.hash = sha256()

    def dataReceived(self, data: bytes) -> None:
        self.count += len(data)
        self.hash.update(data)
        self.changed()

    def has_all(self, count: int) -> bool:
        """Has the other side sent so many bytes and ended?"""
        return self.read_lost and (self.count, self.hash.digest()) == (count, sha256(pattern(count)).digest())


class Stopped(Counter):
    """Reads nothing until it is told to."""

    def connectionMade(self) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]
        super().connectionMade()


def raw(protocol: Any) -> Stream:
    """The stream under an encrypted one of ours: it shows which way that takes."""
    stream: Stream = protocol.transport._connection._carrier.stream
    return stream


class Opened(NamedTuple):
    """A connection between a node of ours and one of theirs."""

    protocol: Any
    end: PeerEnd
    ours: DHTNode
    theirs: PeerProcess


class ConnectionCase(DHTTestCase):
    """A network, a node of each kind, and what is between them."""

    network: OurNetwork | TheirNetwork | None = None

    async def bootstrap(self) -> HostPort:
        """Where nodes begin, in a network of ours unless there is another one."""
        if self.network is None:
            self.network = await self.our_network(SIZE, **PLENTY)
        return self.network.bootstrap

    async def our_end(self, **options: Any) -> DHTNode:
        """A node of ours that connects or listens."""
        return await self.our_node(await self.bootstrap(), **options)

    async def their_end(self, **options: Any) -> PeerProcess:
        """One of theirs."""
        process = self.script("connection_peer.js", bootstrap=await self.bootstrap(), **options)
        await process.event("ready")
        return PeerProcess(process)

    def behind_firewalls(self) -> dict[str, Any]:
        """
        From now on our nodes do not find out that everybody can reach them: on this machine they could.

        :returns: what theirs are told for the same.
        """
        self.patch(Joining, "_quick_answer", lambda *_: None)
        return {"quick_firewall": "false"}

    async def we_connect(
        self,
        build: Callable[[], Any] = Talker,
        *,
        echo: bool = False,
        ours: dict[str, Any] | None = None,
        theirs: dict[str, Any] | None = None,
        ask: dict[str, Any] | None = None,
        serve: dict[str, Any] | None = None,
    ) -> Opened:
        """
        A connection that we open.

        :param build: makes our protocol.
        :param echo: do they send back what they get?
        :param ours, theirs: options of the nodes; theirs are words of a command line.
        :param ask, serve: options of ``connect`` and ``listen``, as the node in question has them.
        """
        server = await self.their_end(**theirs or {})
        key = await server.listen(seed=THEIRS.seed.hex(), echo=echo, options=serve or {})
        node = await self.our_end(**ours or {})
        connecting = node.connect(key, Collector(build), key_pair=OURS, **ask or {})
        end = await server.accepted()
        return Opened(await connecting, end, node, server)

    async def they_connect(
        self,
        build: Callable[[], Any] = Talker,
        *,
        ours: dict[str, Any] | None = None,
        theirs: dict[str, Any] | None = None,
        ask: dict[str, Any] | None = None,
        serve: dict[str, Any] | None = None,
    ) -> Opened:
        """The same, opened by them."""
        node = await self.our_end(**ours or {})
        collector = Collector(build)
        await node.listen(OURS, collector, **serve or {})
        client = await self.their_end(**theirs or {})
        end = client.connect(OURS.public_key.hex(), seed=THEIRS.seed.hex(), options=ask or {})
        await end.event("open")
        return Opened(await collector.connected(), end, node, client)

    #: One of the two, for tests that hold for both.
    open: Callable[..., Any]


class EndTests:
    """How a connection ends that somebody opens."""

    async def test_we_end_first(self: Any) -> None:
        """When we have ended our direction, theirs still works; when that has ended too, it is over, in good order."""
        protocol, end, _, _ = await self.open()
        protocol.say("question")
        protocol.transport.loseWriteConnection()
        self.assertEqual(len("question"), (await end.event("end"))["bytes"])
        end.tell("write", text="answer")
        end.tell("end")
        await protocol.receives(b"answer")
        await protocol.loses()
        self.assertTrue(protocol.clean)
        self.assertIsNone((await end.event("close"))["code"])
