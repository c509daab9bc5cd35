"""Tests of spaceswarm_proxy.dht.window."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.window import DRAIN, MAX_IN_SLOT, CongestionWindow


def send_all(window: CongestionWindow, now: float, most: int = 1000) -> int:
    """Send until the window is full; how many that were."""
    count = 0
    while count < most and not window.is_full(now):
        window.sent()
        count += 1
    return count


class WindowTests(SynchronousTestCase):
    """How many requests may be under way."""

    def test_slot(self) -> None:
        """In the time of one drain a slot's worth of requests goes out, and the next ones after it."""
        window = CongestionWindow(0.0)
        self.assertEqual(send_all(window, 0.0), MAX_IN_SLOT)
        self.assertEqual(send_all(window, 0.74), 0)
        self.assertEqual(window.due, DRAIN)
        self.assertEqual(send_all(window, DRAIN), MAX_IN_SLOT)

    def test_together(self) -> None:
        """Two slots' worth without an answer is all, until those of four drains ago are not counted any more."""
        window = CongestionWindow(100.0)
        sent = [send_all(window, 100.0 + number * DRAIN) for number in range(10)]
        self.assertEqual(
            sent, [MAX_IN_SLOT, MAX_IN_SLOT, 0, 0, MAX_IN_SLOT, MAX_IN_SLOT, 0, 0, MAX_IN_SLOT, MAX_IN_SLOT]
        )

    def test_finished(self) -> None:
        """An answer makes room for one more at once."""
        window = CongestionWindow(0.0)
        send_all(window, 0.0)
        for _ in range(300):
            window.finished()
            self.assertEqual(send_all(window, 0.5), 1)

    def test_finished_late(self) -> None:
        """An answer to a request of an earlier drain does not make room that there was not."""
        window = CongestionWindow(0.0)
        send_all(window, 0.0)
        self.assertFalse(window.is_full(DRAIN))
        for _ in range(MAX_IN_SLOT):
            window.finished()
        self.assertEqual(send_all(window, DRAIN), MAX_IN_SLOT)
        self.assertEqual(send_all(window, 2 * DRAIN), 0)

    def test_long_silence(self) -> None:
        """After a silence nothing of before counts, and drains come when they would have come."""
        for silence in (3.0, 3.5, 1e6 + 0.5):
            window = CongestionWindow(0.0)
            send_all(window, 0.0)
            send_all(window, DRAIN)
            self.assertEqual(send_all(window, DRAIN + silence), MAX_IN_SLOT)
            self.assertEqual(window.due % DRAIN, 0.0)
            self.assertTrue(DRAIN + silence < window.due <= 2 * DRAIN + silence)

    def test_own_size(self) -> None:
        """The size is the owner's choice."""
        window = CongestionWindow(0.0, max_in_slot=2)
        self.assertEqual([send_all(window, number * DRAIN) for number in range(5)], [2, 2, 0, 0, 2])

    @settings(deadline=None, max_examples=120)
    @given(
        st.integers(1, 5),
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8), st.integers(0, 8)), max_size=30),
    )
    def test_bounds(self, size: int, steps: list[tuple[int, int, int]]) -> None:
        """Whoever asks before sending has never more than a slot's worth out of a drain, or two out of four."""
        window, now = CongestionWindow(0.0, size), 0.0
        sent: Counter[int] = Counter()
        finished: Counter[int] = Counter()
        for quarters, wanted, answers in steps:
            now += quarters / 4
            drain = int(now // DRAIN)
            sent[drain] += send_all(window, now, wanted)
            self.assertLessEqual(sent[drain], size + finished[drain])
            last_four = range(drain - 3, drain + 1)
            self.assertLessEqual(sum(sent[number] - finished[number] for number in last_four), 2 * size)
            if wanted:
                self.assertLess(now, window.due)
            for _ in range(answers):
                window.finished()
            finished[drain] += answers
            self.assertEqual(window._total, sum(window._slots))
            self.assertGreaterEqual(min(window._slots), 0)
        self.assertEqual(send_all(window, now + 4 * DRAIN), size)
