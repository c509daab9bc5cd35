"""
Our streams with those of ``udx-native`` over bad paths: everything arrives, as it was sent.

How fast that is ``benchmarks/udx_lossy.py`` compares.
"""

from __future__ import annotations

from random import Random
from time import monotonic
from typing import Any

from tests.interop.lossy_udp import LossyRelay
from tests.interop.proxy_support import digest
from tests.interop.udx_support import OURS, THEIRS, Hasher, UDXTestCase
from tests.network.support import Source

#: Bytes each way.
SIZE = 400_000
#: The same for everybody who runs this, so that a failure can be looked into.
SEED = 3


class LossyTests(UDXTestCase):
    """Both ends send, through something that treats datagrams badly."""

    async def exchange(self, size: int = SIZE, **impairment: Any) -> LossyRelay:
        """Data goes both ways at once, and each end gets what the other has sent.  :returns: what was in between."""
        peer = await self.their_peer("source", bytes=size)
        relay = LossyRelay(b_addr=tuple(peer.address), seed=SEED, **impairment)
        relay.start()
        self.addCleanup(relay.stop)
        protocol = Hasher()
        self.endpoint.connect(OURS, THEIRS, "127.0.0.1", relay.port_a, protocol)
        data = Random(SEED).randbytes(size)
        Source(protocol.transport, data)
        protocol.transport.loseWriteConnection()
        closed = await peer.event("close")
        await protocol.loses()
        self.assertEqual((closed["error"], protocol.clean), (None, True))
        self.assertEqual((protocol.count, protocol.hash.hexdigest()), (size, closed["sha256_out"]))
        self.assertEqual((closed["received"], closed["sha256_in"]), (size, digest(data)))
        return relay

    def assert_happened(self, relay: LossyRelay, what: str) -> None:
        """It was as bad as it was meant to be, in both directions."""
        self.assertTrue(all(counts[what] for counts in relay.stats.values()), relay.stats)

    async def test_loss(self) -> None:
        """One datagram in twenty is lost."""
        self.assert_happened(await self.exchange(loss=5), "lost")

    async def test_reordering(self) -> None:
        """One datagram in twenty comes 5 ms late."""
        self.assert_happened(await self.exchange(delay=1, reorder=5), "reordered")

    async def test_duplication(self) -> None:
        """One datagram in ten comes twice."""
        self.assert_happened(await self.exchange(dup=10), "duplicated")

    async def test_everything_at_once(self) -> None:
        """Datagrams are lost, late and repeated, and take between 5 and 10 ms."""
        relay = await self.exchange(delay=5, jitter=5, loss=2, reorder=2, dup=2)
        for what in ("lost", "reordered", "duplicated"):
            self.assert_happened(relay, what)

    async def test_long_path(self) -> None:
        """Datagrams take 100 ms."""
        await self.exchange(100_000, delay=100)

    async def test_slow_path(self) -> None:
        """The path carries 1 MB a second, and holds no more than 20 datagrams back."""
        await self.exchange(delay=5, rate=1_000_000, queue=30_000)

    async def test_narrow_path(self) -> None:
        """Datagrams over 1,250 bytes do not arrive."""
        swallowed = []

        def swallow(direction: str, index: int, data: bytes) -> bool | None:
            if len(data) <= 1250:
                return None
            swallowed.append(direction)
            return False

        await self.exchange(delay=1, hook=swallow)
        self.assertIn("a2b", swallowed)

    async def test_blackout(self) -> None:
        """For half a second nothing arrives."""
        began: list[float] = []

        def swallow(direction: str, index: int, data: bytes) -> bool | None:
            if index == 20 and not began:
                began.append(monotonic())
            return False if began and monotonic() - began[0] < 0.5 else None

        self.assert_happened(await self.exchange(delay=5, hook=swallow), "lost")
