"""Tests that a server among liars is left with nothing of them; ``benchmarks/soak.py`` is the long form."""

from __future__ import annotations

import gc
from collections import Counter

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from benchmarks.soak import Soak
from spaceswarm_proxy.proxy.features import Feature, Role

SECONDS = 5.0


def census() -> Counter[str]:
    """How many objects there are of each of our classes."""
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    ours = ("spaceswarm_proxy.", "benchmarks.")
    return Counter({str(kind): count for kind, count in kinds.items() if str(kind.__module__).startswith(ours)})


class SoakTests(TestCase):
    """Some seconds of it."""

    async def test_nothing_is_left(self) -> None:
        """The honest client does not notice, nothing unexpected is logged, and no object of ours is left in the end."""
        remembered = [*map(Feature, range(128)), *map(Role, range(4))]  # an enumeration keeps what it was asked for
        before = census()
        await self.soak()
        await deferLater(reactor, 0)  # what told us that all is closed is still on the stack
        self.assertEqual(census() - before, Counter())
        self.assertEqual(len(remembered), 132)

    async def soak(self) -> None:
        soak = Soak(reactor)
        await soak.start()
        await deferLater(reactor, SECONDS)
        await soak.close()
        self.assertEqual(soak.problems, [])
        self.assertEqual(soak.honest_lost, 0)
        self.assertGreater(soak.echoes, 10)
        self.assertGreater(soak.server.stats.streams, 10)
        server = soak.server
        counts = (len(server.links), server.open_streams, server.partial.held, len(server.lookups))
        self.assertEqual(counts, (0, 0, 0, 0))
