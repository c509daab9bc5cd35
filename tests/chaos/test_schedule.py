"""Tests of tests.chaos.schedule."""

from __future__ import annotations

from itertools import islice

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.schedule import COMBINATIONS, LONGEST_PAUSE, SHORTEST, Episode, schedule, told

PARTS = {
    "proxy": ["proxy"],
    "peers": ["our peers", "their peers"],
    "clients": ["our clients", "their clients"],
    "nodes": ["node 0", "node 1", "node 2"],
    "links": ["tcp links", "ws links"],
    "weather": ["weather"],
}
SORT_OF = {part: sort for sort, parts in PARTS.items() for part in parts}


def episodes(seed: int, count: int = 50, longest: float = 4.0) -> list[Episode]:
    return list(islice(schedule(seed, PARTS, longest), count))


def combinations(of: list[Episode]) -> list[tuple[str, str]]:
    """What befalls which sort, in order."""
    return [(fault.kind, SORT_OF[fault.part]) for episode in of for fault in episode.faults]


class ScheduleTests(SynchronousTestCase):
    """What is drawn from a seed."""

    def test_reproducible(self) -> None:
        """The same seed gives the same, another one something else."""
        self.assertEqual(episodes(7), episodes(7))
        self.assertNotEqual(episodes(7), episodes(8))

    def test_everything_in_turn(self) -> None:
        """Every combination comes once before any comes again."""
        drawn = combinations(episodes(7))
        count = len(COMBINATIONS)
        for start in (0, count, 2 * count):
            self.assertEqual(set(COMBINATIONS), set(drawn[start : start + count]))

    def test_every_part(self) -> None:
        """No part is spared for ever."""
        parts = {fault.part for episode in episodes(7) for fault in episode.faults}
        self.assertEqual(set(SORT_OF), parts)

    def test_together(self) -> None:
        """Some faults come alone and some in twos, which never befall the same sort of parts."""
        sorts = [[SORT_OF[fault.part] for fault in episode.faults] for episode in episodes(7, 200)]
        self.assertEqual({1, 2}, set(map(len, sorts)))
        self.assertTrue(all(len(set(each)) == len(each) for each in sorts))

    def test_how_long(self) -> None:
        """Faults and pauses are as long as was said."""
        for episode in episodes(7, 200, longest=2.0):
            self.assertTrue(0.0 <= episode.pause <= LONGEST_PAUSE)
            self.assertTrue(all(SHORTEST <= fault.seconds <= 2.0 for fault in episode.faults))
            self.assertEqual(episode.seconds, max(fault.seconds for fault in episode.faults))

    def test_told(self) -> None:
        """The text names the seed and each fault."""
        lines = told(7, PARTS, 4.0, 3).splitlines()
        self.assertEqual((4, "seed 7"), (len(lines), lines[0]))
        for number, episode in enumerate(episodes(7, 3), 1):
            self.assertEqual(f"{number}. {episode}", lines[number])
            for fault in episode.faults:
                self.assertIn(f"{fault.kind} {fault.part} for {fault.seconds:.1f} s", lines[number])
