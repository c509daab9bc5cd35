"""What people are told while the network is asked."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands.narrator import Narrator
from spaceswarm_proxy.commands.walking import walking


class WalkingTests(SynchronousTestCase):
    """A line a second."""

    def test_progress(self) -> None:
        """What has come since the beginning is told every second, and nothing after the end."""
        clock, told = Clock(), io.StringIO()
        node: Any = SimpleNamespace(stats=self.stats(5, 1, 0))
        with walking(clock, Narrator("lookup", False, told), node, "looking"):
            node.stats = self.stats(7, 1, 10)
            clock.advance(0.9)
            self.assertEqual("", told.getvalue())
            clock.advance(0.1)
            node.stats = self.stats(20, 3, 1)
            clock.advance(1)
        self.assertEqual([], clock.getDelayedCalls())
        lines = [
            "lookup: looking: 2 answers, 0 without one, 10 still asked",
            "lookup: looking: 15 answers, 2 without one, 1 still asked",
        ]
        self.assertEqual(lines, told.getvalue().splitlines())

    def stats(self, answered: int, timed_out: int, under_way: int) -> Any:
        return SimpleNamespace(requests_answered=answered, requests_timed_out=timed_out, requests_under_way=under_way)
