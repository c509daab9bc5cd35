"""Connections with JavaScript peers of nodes whose key is kept elsewhere: the stream is sealed at our side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor

from spaceswarm_proxy.errors import StreamAbortedError
from spaceswarm_proxy.peering.node import DHTNode
from tests.interop.connections_support import NODES_OWN, OURS, THEIRS, ConnectionCase, EndTests, Opened, Talker
from tests.keepers import FakeKeeper, Unsealed, Unsealing
from tests.network.support import Collector


class SealedCase(ConnectionCase):
    """A node that is asked to connect, or to listen, for somebody who keeps his key to himself."""

    async def our_keeper(self, collector: Collector) -> tuple[DHTNode, FakeKeeper, Unsealing]:
        """Such a node; who keeps the key; and what that one does with streams."""
        node, keeper = await self.our_end(), FakeKeeper(OURS)
        return node, keeper, Unsealing(Unsealed(node, keeper, reactor, node.profile), collector)

    async def sealed_client(self, *, local: bool = True, theirs: dict[str, Any] | None = None) -> Opened:
        """
        A connection that we open.

        :param local: may they meet in the local network?
        """
        server = await self.their_end(**theirs or {})
        key = await server.listen(seed=THEIRS.seed.hex(), echo=False, options={"shareLocalAddress": local})
        node, keeper, unsealing = await self.our_keeper(Collector(Talker))
        secret: Any = await node.connect(key, unsealing, key_pair=keeper, local_connection=local)
        protocol = await secret.opened
        return Opened(protocol, await server.accepted(), node, server)

    async def sealed_server(self, *, local: bool = True, theirs: dict[str, Any] | None = None) -> Opened:
        """One that they open."""
        collector = Collector(Talker)
        node, keeper, unsealing = await self.our_keeper(collector)
        await node.listen(keeper, unsealing, share_local_address=local)
        client = await self.their_end(**theirs or {})
        end = client.connect(OURS.public_key.hex(), seed=THEIRS.seed.hex(), options={"localConnection": local})
        await end.event("open")
        return Opened(await collector.connected(), end, node, client)

    open: Callable[..., Any]


class SealedTests(EndTests):
    """What holds whoever connects."""

    async def test_who_is_there(self: Any) -> None:
        """Each side knows the key of the other, and a few words go both ways."""
        protocol, end, _, _ = await self.open()
        await self.talk(protocol, end)
        self.assertEqual(protocol.transport.getPeer().public_key, THEIRS.public_key)
        self.assertEqual(protocol.transport.getHost().public_key, OURS.public_key)

    async def talk(self: Any, protocol: Any, end: Any) -> None:
        protocol.say("hello JavaScript")
        self.assertEqual("hello JavaScript", (await end.event("data"))["text"])
        end.tell("write", text="hello Python")
        await protocol.receives(b"hello Python")

    async def test_punched(self: Any) -> None:
        """Where neither can be reached holes are punched: the messages about them need no key that we lack."""
        protocol, end, _, _ = await self.open(local=False, theirs=self.behind_firewalls())
        await self.talk(protocol, end)
        stream = protocol.transport._connection._carrier.stream
        self.assertNotIn(stream.socket, NODES_OWN)

    async def test_we_abort(self: Any) -> None:
        """They are told at once when we destroy a connection."""
        protocol, end, _, _ = await self.open()
        protocol.transport.abortConnection()
        self.assertEqual("ECONNRESET", (await end.event("close"))["code"])
        await protocol.loses()
        self.assertTrue(protocol.lost.check(StreamAbortedError))


class SpaceswarmClientTests(SealedTests, SealedCase):
    """We connect to Spaceswarm peers."""

    profile = "spaceswarm"
    open = SealedCase.sealed_client


class HyperswarmClientTests(SealedTests, SealedCase):
    """We connect to Hyperswarm peers."""

    profile = "hyperswarm"
    open = SealedCase.sealed_client


class SpaceswarmServerTests(SealedTests, SealedCase):
    """Spaceswarm peers connect to us."""

    profile = "spaceswarm"
    open = SealedCase.sealed_server


class HyperswarmServerTests(SealedTests, SealedCase):
    """Hyperswarm peers connect to us."""

    profile = "hyperswarm"
    open = SealedCase.sealed_server
