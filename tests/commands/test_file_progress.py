"""How far files have come."""

from __future__ import annotations

import io
import sys
from argparse import Namespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands.file_progress import BAR, EACH_LINE, INTERVAL, Meter, Transfer, amount, duration
from spaceswarm_proxy.commands.narrator import COLUMNS, WIPE
from spaceswarm_proxy.commands.output import Output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class MeterTests(SynchronousTestCase):
    """While files are on their way."""

    def watch(self, stream: io.StringIO, transfers: int = 1, intervals: int = 1, **settings: Any) -> str:
        """:returns: what people are told meanwhile."""
        self.patch(sys, "stderr", stream)
        options = Namespace(command=Namespace(name="send"), json=False, quiet=False, **settings)
        clock = Clock()
        meter = Meter(clock, Output(options, -1))
        keys = ("aa" * 32, "bb" * 32)[:transfers]
        managers = [meter.watching(Transfer(key, 1000, 100)) for key in keys]
        underway = [each.__enter__() for each in managers]
        for _ in range(intervals):
            underway[0].more(50)
            clock.advance(INTERVAL)
        for each in managers:
            each.__exit__(None, None, None)
        self.assertEqual([], clock.getDelayedCalls())
        return stream.getvalue()

    def test_terminal(self) -> None:
        """On a terminal there is one line, which is gone in the end."""
        first = "send: [===                 ] 15 % of 1 kB, 50 bytes/s, 17 s left"
        second = "send: [====                ] 20 % of 1 kB, 50 bytes/s, 16 s left"
        self.assertEqual(f"{WIPE}{first}{WIPE}{second}{WIPE}", self.watch(Terminal(), intervals=2))

    def test_elsewhere(self) -> None:
        """Elsewhere there is a line now and then."""
        told = self.watch(io.StringIO(), intervals=EACH_LINE)
        self.assertEqual(f"send: {10 + 5 * EACH_LINE} % of 1 kB, 50 bytes/s, 8 s left\n", told)

    def test_two(self) -> None:
        """All are in the same line."""
        told = self.watch(Terminal(), transfers=2)
        both = "aaaaaaaa: 15 % of 1 kB, 50 bytes/s, 17 s left; bbbbbbbb: 10 % of 1 kB, 0 bytes/s"
        # All that there is room for.
        self.assertEqual(f"{WIPE}{f'send: {both}'[: COLUMNS - 1]}{WIPE}", told)

    def test_amounts(self) -> None:
        """Numbers are short, and in bytes while they are small."""
        for count, wanted in (
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1500, "1.5 kB"),
            (123_456_789, "123 MB"),
            (10**21, "1000 EB"),
        ):
            self.assertEqual(wanted, amount(count))

    def test_empty(self) -> None:
        """A file without anything in it is all there."""
        empty = Transfer("", 0, 0)
        self.assertEqual(("100 % of 0 bytes, 0 bytes/s", f"[{'=' * BAR}]"), (empty.text(), empty.bar()))

    def test_durations(self) -> None:
        """Times are short too."""
        for seconds, wanted in ((0.4, "0 s"), (99, "99 s"), (600, "10 min"), (7200, "2 h")):
            self.assertEqual(wanted, duration(seconds))
