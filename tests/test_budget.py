"""Tests for ``spaceswarm_proxy.budget``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.budget import Budget


class BudgetTests(SynchronousTestCase):
    """One limit for many."""

    def test_the_last_straw(self) -> None:
        """Who passes the limit is told, even if others hold most; giving back is always right, and makes room."""
        budget = Budget(100)
        self.assertTrue(budget.change(100))
        self.assertFalse(budget.change(1))
        self.assertTrue(budget.change(-1))
        self.assertTrue(budget.change(-50))
        self.assertTrue(budget.change(40))
        self.assertEqual(budget.held, 90)
