"""What is due when: :mod:`spaceswarm_proxy.peering.schedule`."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.peering.schedule import Delayed, Schedule

#: What is done to a schedule: a delay, a cancellation, or time that passes.
steps = st.lists(
    st.tuples(st.just("call"), st.integers(0, 9))
    | st.tuples(st.just("cancel"), st.integers(0, 9))
    | st.tuples(st.just("advance"), st.integers(0, 5)),
    max_size=40,
)


class ScheduleTests(SynchronousTestCase):
    """A schedule, and the times at which something was done."""

    def setUp(self) -> None:
        self.schedule = Schedule()
        self.done: list[tuple[str, float]] = []

    def call_at(self, when: float, name: str) -> Delayed:
        return self.schedule.call_at(when, lambda now: self.done.append((name, now)))

    def test_order(self) -> None:
        """What is due is done in the order of its times, and those that are equal in the order of the calls."""
        for when, name in ((3, "c"), (1, "a"), (3, "d"), (2, "b"), (4, "e")):
            self.call_at(when, name)
        self.assertEqual(1, self.schedule.next_deadline())
        self.schedule.advance(0.9)
        self.assertEqual([], self.done)
        self.schedule.advance(3)
        self.assertEqual([("a", 3), ("b", 3), ("c", 3), ("d", 3)], self.done)
        self.assertEqual((4, 1), (self.schedule.next_deadline(), len(self.schedule)))

    def test_cancel(self) -> None:
        """What was cancelled is not done, and nothing waits for it; to cancel twice, or too late, is harmless."""
        first, second = self.call_at(1, "a"), self.call_at(2, "b")
        first.cancel()
        first.cancel()
        self.assertEqual(2, self.schedule.next_deadline())
        self.schedule.advance(2)
        second.cancel()
        self.assertEqual([("b", 2)], self.done)
        self.assertEqual((None, 0), (self.schedule.next_deadline(), len(self.schedule)))

    def test_cancelled_meanwhile(self) -> None:
        """What is done may cancel what is due at the same time."""
        self.schedule.call_at(1, lambda now: second.cancel())
        second = self.call_at(1, "b")
        self.schedule.advance(1)
        self.assertEqual([], self.done)

    def test_again(self) -> None:
        """What puts itself off until now does not keep the clock from going on: it comes at the next call."""

        def again(now: float) -> None:
            self.done.append(("again", now))
            self.schedule.call_at(now, again)

        self.schedule.call_at(1, again)
        self.schedule.advance(1)
        self.assertEqual([("again", 1)], self.done)
        self.assertEqual(1, self.schedule.next_deadline())
        self.schedule.advance(2)
        self.assertEqual([("again", 1), ("again", 2)], self.done)

    @settings(deadline=None)
    @given(steps)
    def test_model(self, steps: list[tuple[str, int]]) -> None:
        """Everything is done once, at the first call from its time on, unless it was cancelled before."""
        schedule, now = Schedule(), 0.0
        done: list[int] = []
        waiting: dict[int, tuple[float, Delayed]] = {}
        for number, (kind, value) in enumerate(steps):
            if kind == "call":
                delayed = schedule.call_at(now + value, lambda now, number=number: done.append(number))  # type: ignore[misc]
                waiting[number] = (now + value, delayed)
            elif kind == "cancel" and waiting:
                chosen = sorted(waiting)[value % len(waiting)]
                waiting.pop(chosen)[1].cancel()
            elif kind == "advance":
                now += value
                schedule.advance(now)
                due = sorted((when, each) for each, (when, _) in waiting.items() if when <= now)
                self.assertEqual([each for _, each in due], done)
                done.clear()
                for _, each in due:
                    del waiting[each]
            self.assertEqual(min((when for when, _ in waiting.values()), default=None), schedule.next_deadline())
