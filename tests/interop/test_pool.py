"""Pools of ours and of JavaScript peers: one stream with each peer, and both sides choose the same."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import ConnectError, DuplicateConnectionError, StreamResetError
from spaceswarm_proxy.interfaces import PeerAddress
from spaceswarm_proxy.peering.pool import ConnectionPool
from tests.interop.connections_support import ConnectionCase, Talker
from tests.interop.dht_support import keyed
from tests.interop.peer_process import PeerEnd, PeerProcess
from tests.network.support import Collector

#: The first has the smaller public key.
SMALL, LARGE = sorted((keyed(1), keyed(2)), key=lambda pair: pair.public_key)


class PoolTests:
    """What both profiles have."""

    async def start(self: Any, ours: KeyPair, theirs: KeyPair, **options: Any) -> tuple[ConnectionPool, PeerProcess]:
        """
        A node of each kind that listens, with a pool.

        :param options: of our ``listen``.
        """
        peer: PeerProcess = await self.their_end()
        await peer.listen(seed=theirs.seed.hex(), pool=True)
        self.node = await self.our_end(key_pair=ours)
        pool: ConnectionPool = self.node.pool()
        self.collector = Collector(Talker)
        await pool.listen(None, self.collector, **options)
        return pool, peer

    async def assertAgree(self: Any, ours: KeyPair, theirs: KeyPair, protocol: Any, end: PeerEnd, both: Any) -> None:
        """This is the stream that both sides have, and the only one; words go both ways."""
        pool, peer = both
        protocol.say("hello JavaScript")
        self.assertEqual("hello JavaScript", (await end.event("data"))["text"])
        end.tell("write", text="hello Python")
        await protocol.receives(b"hello Python")
        self.assertEqual(({theirs.public_key: protocol}, 0), (pool.connections, pool.connecting))
        peer.tell("pool")
        told = await peer.process.event("pool")
        self.assertEqual(([ours.public_key.hex()], 0), (told["connections"], told["connecting"]))

    async def test_shared(self: Any) -> None:
        """They connect to us over the stream that we have opened, and we over theirs."""
        pool, peer = both = await self.start(SMALL, LARGE)
        ours = await pool.connect(LARGE.public_key, Collector(Talker))
        end = await peer.accepted()
        peer.connect(SMALL.public_key.hex(), seed=LARGE.seed.hex(), pool=True)
        await self.assertAgree(SMALL, LARGE, ours, end, both)
        self.assertEqual([], self.collector.built)
        self.assertIs(ours, await pool.connect(LARGE.public_key, Collector()))

    async def test_shared_with_us(self: Any) -> None:
        """The same, where they have opened it."""
        pool, peer = both = await self.start(SMALL, LARGE)
        end = peer.connect(SMALL.public_key.hex(), seed=LARGE.seed.hex(), pool=True)
        await end.event("open")
        theirs = await self.collector.connected()
        self.assertIs(theirs, await pool.connect(LARGE.public_key, Collector()))
        await self.assertAgree(SMALL, LARGE, theirs, end, both)

    async def test_we_replace(self: Any) -> None:
        """When they connect a second time, that stream takes the place of the first."""
        pool, peer = await self.start(SMALL, LARGE)
        first = peer.connect(SMALL.public_key.hex(), seed=LARGE.seed.hex())
        await first.event("open")
        old = await self.collector.connected()
        second = peer.connect(SMALL.public_key.hex(), seed=LARGE.seed.hex())
        self.assertEqual("ECONNRESET", (await first.event("close"))["code"])
        await old.loses()
        self.assertTrue(old.lost.check(DuplicateConnectionError), old.lost)
        new = await self.collector.connected(1)
        await second.event("open")
        self.assertEqual({LARGE.public_key: new}, pool.connections)

    async def test_they_replace(self: Any) -> None:
        """So it does when we connect to them."""
        _, peer = await self.start(SMALL, LARGE)
        first = await self.node.connect(LARGE.public_key, Collector(Talker))
        old = await peer.accepted()
        second = await self.node.connect(LARGE.public_key, Collector(Talker))
        new = await peer.accepted()
        self.assertEqual("DUPLICATE_CONNECTION", (await old.event("close"))["code"])
        await first.loses()
        self.assertTrue(first.lost.check(StreamResetError), first.lost)
        second.say("hello")
        self.assertEqual("hello", (await new.event("data"))["text"])

    async def cross(self: Any, ours: KeyPair, theirs: KeyPair) -> Any:
        """
        Both connect at once: they have begun, and are not let in before we have begun too.

        :returns: the pool and the peer; our Deferred; their end; and what lets them in.
        """
        asked: Deferred[None] = Deferred()
        answer: Deferred[bool] = Deferred()

        def firewall(_: PeerAddress) -> Deferred[bool]:
            if not asked.called:
                asked.callback(None)
            return answer

        both = pool, peer = await self.start(ours, theirs, firewall=firewall)
        end = peer.connect(ours.public_key.hex(), seed=theirs.seed.hex(), pool=True)
        await asked
        return both, pool.connect(theirs.public_key, Collector(Talker)), end, lambda: answer.callback(False)

    async def test_crossing_smaller(self: Any) -> None:
        """Ours is the smaller key: they give theirs up for ours."""
        both, connecting, theirs, let_in = await self.cross(SMALL, LARGE)
        end = await both[1].accepted()
        self.assertEqual("DUPLICATE_CONNECTION", (await theirs.event("close"))["code"])
        let_in()
        await self.assertAgree(SMALL, LARGE, await connecting, end, both)
        self.assertEqual([], self.collector.built)

    async def test_crossing_larger(self: Any) -> None:
        """Theirs is: they refuse ours, and we take theirs."""
        both, connecting, theirs, let_in = await self.cross(LARGE, SMALL)
        # Where servers speak first it may have been open for a moment.
        connecting.addErrback(lambda failure: failure.trap(ConnectError, DuplicateConnectionError))
        refused = await both[1].accepted()
        self.assertEqual("DUPLICATE_CONNECTION", (await refused.event("close"))["code"])
        let_in()
        await theirs.event("open")
        await self.assertAgree(LARGE, SMALL, await self.collector.connected(), theirs, both)
        await connecting


class SpaceswarmPoolTests(PoolTests, ConnectionCase):
    """Among Spaceswarm peers."""

    profile = "spaceswarm"


class HyperswarmPoolTests(PoolTests, ConnectionCase):
    """Among Hyperswarm peers."""

    profile = "hyperswarm"
