"""Tests of what clients that come and go leave in a server; ``benchmarks/soak_churn.py`` is the long form."""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from benchmarks import soak_churn
from benchmarks.soak_churn import Sample, Soak
from spaceswarm_proxy._reactor import or_global
from tests.interop.dht_support import until
from tests.interop.proxy_support import eventually
from tests.service.observed import Census

CLIENTS, PEERS = 20, 2
#: How many clients come in a round at least, and how many connections they have.
COME, MEET = 30, 20
#: By how much memory may have grown from one round to the next.
GROWTH = 0.1


class SoakTests(TestCase):
    """Some seconds of it."""

    timeout = 120

    async def test_nothing_is_left(self) -> None:
        """
        Clients come, meet peers, lose their links and go; when all have gone, the server has as many open files and
        timers as before, and after a second round no more memory than after the first.
        """
        for name, value in (("STAY", (1.0, 3.0)), ("PAUSE", 0.2), ("DROP", 0.2)):
            self.patch(soak_churn, name, value)
        soak = Soak(or_global(None), self.mktemp(), clients=CLIENTS, peers=PEERS)
        await soak.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(soak.close()))
        before = (await soak.sample()).census
        first = await self.round(soak, before)
        second = await self.round(soak, before)
        self.assertLess(second.memory, first.memory * (1 + GROWTH))
        self.assertGreater(soak.counts["drops"], COME / 2)
        self.assertGreater(soak.counts["bytes"], 100_000)
        self.assertNotIn("Traceback", soak.server.output + soak.server.errors)

    async def round(self, soak: Soak, before: Census) -> Census:
        """Clients come and go.  :returns: what the server has when they have gone, which is what it had before."""
        enough = soak.counts + Counter({"clients": COME, "connections": MEET})
        soak.come()
        await eventually(lambda: soak.counts >= enough)
        await soak.everybody_leaves()
        seen: list[Census] = []

        async def as_before() -> bool:
            seen.append((await soak.sample()).census)
            return seen[-1] == before

        await until(as_before)
        return seen[-1]


class FlatTests(TestCase):
    """What counts as flat."""

    def soak(self, memory: float, files: float) -> Soak:
        """:returns: one that has seen these figures grow by so much in ten minutes, from 100 MiB and 200."""
        soak = Soak(or_global(None), self.mktemp())
        for minute in range(11):
            census = Census(
                *[0] * 6,
                objects=soak.counts,
                files=200 + round(files * minute / 10),
                memory=round((100 + memory * minute / 10) * 2**20),
            )
            soak.samples.append(Sample(60.0 * minute, census))
        return soak

    def test_flat(self) -> None:
        """A little more memory is, and so are as many files as before."""
        self.assertTrue(self.soak(5, 0).is_flat())

    def test_memory(self) -> None:
        """Memory that grows is not."""
        self.assertFalse(self.soak(30, 0).is_flat())
        self.assertAlmostEqual(3.0, self.soak(30, 0).slopes()["memory, MiB"], places=3)

    def test_files(self) -> None:
        """Files that grow are not."""
        self.assertFalse(self.soak(0, 40).is_flat())
