"""Tests of ``spaceswarm_proxy.swarm.retry``."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.swarm.retry import BEAT, CoarseTimer, Delay, RetrySchedule, RetryTimes, choose_delay, priority_of

quick = settings(deadline=None, max_examples=100)


class RetryTableTests(SynchronousTestCase):
    """How long a peer waits, and who goes first."""

    def test_proven(self) -> None:
        """A peer that was connected once waits a little longer each time, then is given up."""
        self.assertEqual(
            [choose_delay(attempts, True, False) for attempts in range(6)],
            [Delay.SHORT, Delay.SHORT, Delay.MEDIUM, Delay.LONG, None, None],
        )

    def test_not_proven(self) -> None:
        """A peer that was never connected waits one step longer."""
        self.assertEqual(
            [choose_delay(attempts, False, False) for attempts in range(6)],
            [Delay.SHORT, Delay.MEDIUM, Delay.LONG, Delay.LONG, None, None],
        )

    def test_explicit(self) -> None:
        """An explicit peer is never given up."""
        for proven in (True, False):
            self.assertEqual([choose_delay(attempts, proven, True) for attempts in (4, 9)], [Delay.EXPLICIT] * 2)
            self.assertEqual(choose_delay(3, proven, True), Delay.LONG)

    def test_priorities(self) -> None:
        """One failure raises the priority most; the third and the fourth lower it below that of a new peer."""
        self.assertEqual([priority_of(attempts) for attempts in range(6)], [2, 4, 3, 1, 0, 0])

    def test_drawn_delays(self) -> None:
        """The delays are drawn between their base, and that plus spread and jitter."""
        self.assertEqual(RetryTimes().draw(lambda low, high: low), (1.0, 5.0, 15.0, 600.0))
        self.assertEqual(RetryTimes().draw(lambda low, high: high), (2.0, 6.5, 17.5, 720.5))
        drawn = RetryTimes().draw(Random(1).uniform)
        self.assertTrue(1 <= drawn[0] <= 2 and 600 <= drawn[3] <= 720.5)


class CoarseTimerTests(SynchronousTestCase):
    """Items come out in beats."""

    def test_first_item(self) -> None:
        """The first item starts the beat, and so waits two of them."""
        timer: CoarseTimer[str] = CoarseTimer(10)
        timer.add("a", 100)
        self.assertAlmostEqual(timer.deadline() or 0, 113.2)
        self.assertEqual(timer.due(113.1), [])
        self.assertEqual(timer.due(113.21), ["a"])
        self.assertIsNone(timer.deadline())

    def test_together(self) -> None:
        """All that were added between two beats come out together, in order."""
        timer: CoarseTimer[str] = CoarseTimer(10)
        timer.add("a", 100)
        timer.add("b", 106.5)
        timer.add("c", 106.7)
        self.assertEqual(timer.due(113.3), ["a", "b"])
        self.assertEqual(timer.due(120), ["c"])

    def test_again(self) -> None:
        """An item that is added again moves to the end."""
        timer: CoarseTimer[str] = CoarseTimer(10)
        timer.add("a", 100)
        timer.add("a", 112)
        self.assertEqual(len(timer), 1)
        self.assertEqual(timer.due(114), [])
        self.assertEqual(timer.due(120), ["a"])

    def test_clock_set_back(self) -> None:
        """When the clock is set back, order is kept."""
        timer: CoarseTimer[str] = CoarseTimer(10)
        timer.add("a", 100)
        timer.add("b", 50)
        self.assertEqual(timer.due(114), ["a", "b"])

    @quick
    @given(st.floats(0.01, 1000), st.lists(st.floats(0, 5000), min_size=1, max_size=30))
    def test_bounds(self, delay: float, times: list[float]) -> None:
        """Whoever asks at each deadline gives each item its turn 0.66 to 1.32 delays after it was added."""
        timer: CoarseTimer[int] = CoarseTimer(delay)
        added = dict(enumerate(sorted(times)))
        waited: dict[int, float] = {}

        def run_until(now: float) -> None:
            while (deadline := timer.deadline()) is not None and deadline <= now:
                for item in timer.due(deadline):
                    waited[item] = deadline - added[item]

        for item, now in added.items():
            run_until(now)
            timer.add(item, now)
        run_until(float("inf"))
        self.assertEqual(waited.keys(), added.keys())
        for seconds in waited.values():
            self.assertGreaterEqual(seconds, BEAT * delay * 0.999999 - 1e-6)
            self.assertLessEqual(seconds, 2 * BEAT * delay * 1.000001 + 1e-6)


class RetryScheduleTests(SynchronousTestCase):
    """The four timers together."""

    def test_one_place(self) -> None:
        """An item waits once: the last delay counts."""
        schedule: RetrySchedule[str] = RetrySchedule((1, 5, 15, 600))
        schedule.add("a", Delay.LONG, 0)
        schedule.add("a", Delay.SHORT, 0)
        self.assertEqual(len(schedule), 1)
        self.assertAlmostEqual(schedule.deadline() or 0, 1.32)
        self.assertEqual(schedule.due(1.33), ["a"])
        self.assertIsNone(schedule.deadline())

    def test_clear(self) -> None:
        """Clearing gives back everybody."""
        schedule: RetrySchedule[str] = RetrySchedule((1, 5, 15, 600))
        schedule.add("a", Delay.LONG, 0)
        schedule.add("b", Delay.EXPLICIT, 0)
        self.assertEqual(sorted(schedule.clear()), ["a", "b"])
        self.assertEqual(len(schedule), 0)

    @quick
    @given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(Delay), st.floats(0, 100)), max_size=40))
    def test_nobody_is_lost_or_doubled(self, adds: list[tuple[int, Delay, float]]) -> None:
        """Each item comes out exactly once for its last delay, none before the schedule's deadline."""
        schedule: RetrySchedule[int] = RetrySchedule((1, 5, 15, 600))
        for item, delay, now in sorted(adds, key=lambda add: add[2]):
            schedule.add(item, delay, now)
        out: list[int] = []
        while (deadline := schedule.deadline()) is not None:
            self.assertEqual(schedule.due(deadline - 0.001 * max(1.0, deadline)), [])
            out += schedule.due(deadline)
        self.assertEqual(sorted(out), sorted({item for item, _, _ in adds}))
