"""
Things go wrong, and everybody finds back by himself.

``CHAOS_SECONDS`` is how long they go wrong, a minute by default, and ``CHAOS_SEED`` what they are drawn from.  A
failure tells the seed, and what has happened.  Every night: ``CHAOS_SECONDS=600 CHAOS_SEED=$RANDOM``.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import TestCase

from spaceswarm_proxy._reactor import or_global
from tests.chaos.run import Chaos
from tests.chaos.world import temporary
from tests.interop.javascript import why_not

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
#: Seconds that a fault lasts at most, in the short run and in a longer one.
LONGEST, LONGEST_OF_ALL = 3.0, 10.0
SHORT_RUN = 120.0
#: Seconds that the beginning, the last episode and the end may take.
MARGIN = 180.0


class ChaosTests(TestCase):
    """A private network, a proxy, peers and clients of both kinds, in processes of their own."""

    skip = why_not()
    timeout = SECONDS + MARGIN

    async def test_everybody_finds_back(self) -> None:
        """
        Whatever is killed, stopped, cut, stalled or lost: within thirty seconds everybody has sent fresh bytes to
        everybody whom he should meet, and they have arrived; nobody complains of anything unexpected; and in the end
        the proxy has nothing of those who are gone.
        """
        said: list[str] = []
        longest = LONGEST if SECONDS <= SHORT_RUN else LONGEST_OF_ALL
        directory = temporary(self.mktemp())
        chaos = Chaos(or_global(None), directory, seed=SEED, profile="spaceswarm", longest=longest, say=said.append)
        try:
            await chaos.run(SECONDS)
        except AssertionError as problem:
            self.fail("\n".join([*said, str(problem)]))
        self.assertGreater(len(chaos.times), 1)
