"""What commands tell people."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands.narrator import WIPE, Narrator, watch_link
from spaceswarm_proxy.errors import AuthenticationError, ClosedError, LinkLostError
from spaceswarm_proxy.events import Events


class NarratorTests(SynchronousTestCase):
    """A line at a time."""

    def setUp(self) -> None:
        self.stream = io.StringIO()

    def test_quiet(self) -> None:
        """A quiet one tells only what must be known."""
        narrator = Narrator("pipe", True, self.stream)
        narrator.progress("it goes well")
        narrator.say("it does not")
        self.assertEqual("pipe: it does not\n", self.stream.getvalue())

    def test_nobody_listens(self) -> None:
        """A standard error that is gone stops nothing."""

        class Gone(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        Narrator("pipe", False, Gone()).say("hello")

    def test_passing_line(self) -> None:
        """On a terminal a line can give way to the next one, and does to whatever else is said."""
        self.patch(self.stream, "isatty", lambda: True)
        narrator = Narrator("send", False, self.stream)
        for percent in (1, 2):
            narrator.rewrite(f"{percent} %", otherwise=None)
        narrator.say("done")
        narrator.clear()
        self.assertEqual(f"{WIPE}send: 1 %{WIPE}send: 2 %{WIPE}send: done\n", self.stream.getvalue())

    def test_no_terminal(self) -> None:
        """Elsewhere it is a line like others, if it is wanted at all."""
        for quiet in (False, True):
            narrator = Narrator("send", quiet, self.stream)
            narrator.rewrite("[=] 1 %", otherwise=None)
            narrator.rewrite("[==] 2 %", otherwise="2 %")
            narrator.clear()
        self.assertEqual("send: 2 %\n", self.stream.getvalue())

    def test_link(self) -> None:
        """That the link is down is told once, until it was up again; that we close it, never."""
        events = Events("connected", "disconnected")
        network: Any = SimpleNamespace(events=events)
        refused: list[Exception] = []
        watch_link(network, "the network", Narrator("pipe", False, self.stream), refused.append)
        down, no = LinkLostError("it is down."), AuthenticationError()
        for event in (down, down, None, down, no, ClosedError()):
            events.emit("connected") if event is None else events.emit("disconnected", event)
        told = "pipe: it is down; trying again\n"
        self.assertEqual(f"{told}pipe: connected to the network\n{told}", self.stream.getvalue())
        self.assertEqual([no], refused)
