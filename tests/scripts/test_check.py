"""How ``./check`` adds up: :mod:`scripts.check`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from scripts.check import Tally, judge, read_summary


class TallyTests(SynchronousTestCase):
    """The line at the end."""

    def test_text(self) -> None:
        """It names what was skipped only if something was."""
        self.assertEqual("3 passed, 0 failed", str(Tally(3)))
        self.assertEqual("3 passed, 1 failed, 2 skipped", str(Tally(3, 1, 2)))

    def test_plus(self) -> None:
        """Each count is added to its own kind."""
        self.assertEqual(Tally(11, 22, 33), Tally(1, 2, 3).plus(Tally(10, 20, 30)))


class SummaryTests(SynchronousTestCase):
    """What is made of trial's output."""

    def test_counts(self) -> None:
        """Errors are failures, and so is a success that was not expected; an expected failure is as good as a skip."""
        line = "FAILED (skips=1, expectedFailures=2, failures=3, errors=4, unexpectedSuccesses=5, successes=6)\n"
        self.assertEqual(Tally(6, 12, 3), read_summary(["....\n", "Ran 21 tests in 0.1s\n", "\n", line]))

    def test_last(self) -> None:
        """What a test prints does not count: the last summary is trial's."""
        self.assertEqual(Tally(2), read_summary(["FAILED (failures=9)\n", "PASSED (successes=2)\n"]))

    def test_none(self) -> None:
        """Without a summary there is no result."""
        self.assertIsNone(read_summary(["Segmentation fault\n", "PASSED by\n"]))


class JudgeTests(SynchronousTestCase):
    """When a test run is good."""

    def test_good(self) -> None:
        """Some passed, none failed, and trial says so too."""
        self.assertEqual(Tally(2, 0, 1), judge(Tally(2, 0, 1), 0))

    def test_counted(self) -> None:
        """A failure that trial has counted is not counted twice."""
        self.assertEqual(Tally(2, 1), judge(Tally(2, 1), 1))

    def test_nothing_ran(self) -> None:
        """A run in which nothing ran, or all was skipped, has failed."""
        self.assertEqual(Tally(0, 1), judge(read_summary(["PASSED\n"]), 0))
        self.assertEqual(Tally(0, 1, 7), judge(Tally(skipped=7), 0))

    def test_crash(self) -> None:
        """So has one that ended before its summary, or with an error that is not in it."""
        self.assertEqual(Tally(0, 1), judge(None, 0))
        self.assertEqual(Tally(5, 1), judge(Tally(5), 1))
