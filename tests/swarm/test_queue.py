"""Tests of ``spaceswarm_proxy.swarm.queue``."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.swarm.queue import ShuffledQueue


class ShuffledQueueTests(SynchronousTestCase):
    """Who comes out first."""

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.integers(0, 4)), st.integers())
    def test_order(self, priorities: list[int], seed: int) -> None:
        """All come out once, the highest priorities first."""
        queue: ShuffledQueue[int] = ShuffledQueue(Random(seed).randrange)
        for number, priority in enumerate(priorities):
            queue.add(number, priority)
        self.assertEqual((len(queue), sorted(queue)), (len(priorities), list(range(len(priorities)))))
        out = [queue.pop() for _ in priorities]
        self.assertEqual([priorities[number] for number in out], sorted(priorities, reverse=True))
        self.assertEqual(sorted(out), list(range(len(priorities))))

    def test_shuffled(self) -> None:
        """Among the same priority, each is as likely as another to be the first."""
        random = Random(1)
        firsts: Counter[str] = Counter()
        for _ in range(900):
            queue: ShuffledQueue[str] = ShuffledQueue(random.randrange)
            for item in "abc":
                queue.add(item, 2)
            firsts[queue.pop()] += 1
        self.assertTrue(all(250 < count < 350 for count in firsts.values()), firsts)

    def test_empty(self) -> None:
        """There is nothing to take out of an empty one."""
        queue: ShuffledQueue[str] = ShuffledQueue(Random(1).randrange)
        self.assertRaises(IndexError, queue.pop)
        queue.add("a", 1)
        self.assertEqual(queue.clear(), ["a"])
        self.assertRaises(IndexError, queue.pop)
