"""What commands tell people."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands.narrator import Narrator, watch_link
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

    def test_link(self) -> None:
        """That the link is down is told once, until it was up again; that we close it, never."""
        events = Events("connected", "disconnected")
        network: Any = SimpleNamespace(events=events)
        refused: list[Exception] = []
        watch_link(network, Narrator("pipe", False, self.stream), refused.append)
        down, no = LinkLostError("it is down."), AuthenticationError()
        for event in (down, down, None, down, no, ClosedError()):
            events.emit("connected") if event is None else events.emit("disconnected", event)
        told = "pipe: it is down; trying again\n"
        self.assertEqual(f"{told}pipe: connected to the proxy server\n{told}", self.stream.getvalue())
        self.assertEqual([no], refused)
