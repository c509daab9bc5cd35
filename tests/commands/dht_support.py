"""A small network of its own for the commands of the DHT, and what they tell."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from spaceswarm_proxy.testing import TestNet
from tests.commands.support import Terminal, TerminalCase, reactor

#: What is parsed from a line of ``--json``.
Event = dict[str, Any]


class OwnTime(Clock):
    """The real reactor's sockets, and time that a test moves."""

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


def events(output: bytes) -> list[Event]:
    """:returns: what a command has told with ``--json``."""
    return [json.loads(line) for line in output.splitlines()]


class DHTCommandCase(TerminalCase):
    """Commands on a network of a few nodes in this process."""

    #: How many.
    NODES = 3

    def setUp(self) -> Any:
        super().setUp()
        self.net = TestNet(reactor, self.NODES)
        self.addCleanup(self.net.close)
        (self.bootstrap,) = map(str, self.net.bootstrap)
        return self.net.ready()

    def visit(self, name: str, *arguments: str, reactor: Any = reactor) -> tuple[Deferred[int], Terminal]:
        """Run a command of the DHT on this network here."""
        return self.start(name, *arguments, "--host", "127.0.0.1", "--bootstrap", self.bootstrap, reactor=reactor)

    async def output(self, name: str, *arguments: str) -> bytes:
        """:returns: all that a command has written, which was to end well."""
        status, terminal = self.visit(name, *arguments)
        self.assertEqual(0, await status)
        return await terminal.ended

    async def told(self, name: str, *arguments: str) -> list[Event]:
        """:returns: the events of a command that was to end well, without the first two."""
        listening, ready, *others = events(await self.output(name, *arguments, "--json"))
        self.assertEqual(["listening", "ready"], [listening["event"], ready["event"]])
        return others

    async def refused(self, kind: type[Exception], name: str, *arguments: str) -> tuple[str, Event]:
        """:returns: why a command has failed, and the last of its events."""
        status, terminal = self.visit(name, *arguments, "--json")
        problem = await self.assertFailure(status, kind)
        return str(problem), events(await terminal.ended)[-1]
