"""Tests of the benchmarks of UDX, with ends of ours alone; with ``udx-native`` they are run by hand."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.ratios import Figures, line
from benchmarks.udx import MEMORY, P50, P99, RATE, RECEIVE, ROWS, SEND, SIDE, idle, ping, transfer
from benchmarks.udx_ends import OURS, EndedError, Ends
from benchmarks.udx_lossy import BadPath, blackout, swallow_large, transfer as lossy_transfer

#: No JavaScript is run here.
ENDS = Ends("no-node", patience=60)


class RunTests(SynchronousTestCase):
    """The real thing, in its smallest form."""

    def assert_figures(self, figures: dict[str, float], *names: str) -> None:
        """These and no others, each above nothing."""
        self.assertEqual(sorted(figures), sorted(names))
        self.assertTrue(all(figure > 0 for figure in figures.values()), figures)

    def test_transfer(self) -> None:
        """A transfer has a rate, and costs each side something."""
        self.assert_figures(transfer(ENDS, OURS, OURS, 3_000_000), SEND, RECEIVE, SIDE, RATE)

    def test_ping(self) -> None:
        """Round trips have a median, and few take longer than p99."""
        figures = ping(ENDS, OURS, OURS, 200)
        self.assert_figures(figures, P50, P99)
        self.assertLessEqual(figures[P50], figures[P99])

    def test_idle(self) -> None:
        """Streams take memory."""
        self.assert_figures(idle(ENDS, OURS, 500), MEMORY)

    def test_bad_path(self) -> None:
        """A transfer over a bad path takes some time, and arrives."""
        path = BadPath("bad", {"delay": 1, "loss": 1}, swallow_large, 100_000)
        self.assertLess(lossy_transfer(ENDS, OURS, OURS, path, 1, 1.0, 4e6), 60)

    def test_end_that_ends(self) -> None:
        """A process that does not come to what is waited for is no reason to wait for ever."""
        with Ends("no-node", patience=0.1).end(OURS, "peer") as end:
            self.assertRaises(EndedError, end.event, "close")


class TableTests(SynchronousTestCase):
    """What is printed."""

    def figures(self, theirs: float, ours: float) -> Figures:
        """All of theirs are one number, all of ours another; two runs were out of line."""
        found: Figures = {}
        for row in ROWS:
            found[row.ours] = [ours, 1000 * ours, ours]
            found[row.theirs] = [theirs, theirs, theirs / 1000]
        return found

    def test_verdicts(self) -> None:
        """A ratio of medians reaches the aim, or what it must be, or neither; more may be better, or less."""
        cheap = [line(row, self.figures(10, 6)) for row in ROWS]
        self.assertIn("| sending to udx-native, CPU s/GB | 10 | 6 | 0.60 | 1 | 0.6 | aim reached |", cheap)
        self.assertIn("| receiving from udx-native, CPU s/GB | 10 | 6 | 0.60 | 1 | 0.5 | ok |", cheap)
        self.assertIn("| ours to ours, MB/s | 10 | 6 | 0.60 | 2 | 4 | missed |", cheap)
        fast = [line(row, self.figures(10, 25)) for row in ROWS]
        self.assertIn("| ours to ours, MB/s | 10 | 25 | 2.50 | 2 | 4 | ok |", fast)


class HookTests(SynchronousTestCase):
    """What is done to datagrams."""

    def test_swallow_large(self) -> None:
        """Those over 1,250 bytes are lost, the others are left to the relay."""
        hook = swallow_large()
        self.assertEqual([hook("a2b", 0, bytes(length)) for length in (1250, 1251)], [None, False])

    def test_blackout(self) -> None:
        """From some datagram on all are lost, whichever way, and then none."""
        hook = blackout(after=5, seconds=60.0)
        verdicts = [hook(*datagram, b"") for datagram in (("b2a", 7), ("a2b", 4), ("a2b", 5), ("b2a", 8))]
        self.assertEqual(verdicts, [None, None, False, False])
        over = blackout(after=5, seconds=0.0)
        self.assertEqual([over("a2b", index, b"") for index in (5, 6)], [None, None])
