"""
Nodes in processes of their own that listen, connect and talk as they are told: JavaScript ones
(``connection_peer.js``), and ours (``our_peer.py``).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from tests.interop.node import Event, EventProcess

#: Seconds: two who need luck to meet have met by then, or it has been given up.
PATIENCE = 60.0
#: Where ours are run.
ROOT = Path(__file__).parents[2]


def our_peer_command(*words: str) -> list[str]:
    """The words that run a node of ours, from :data:`ROOT`."""
    return [sys.executable, "-m", "tests.interop.our_peer", *words]


class PeerEnd:
    """One end of a connection, in a process that is told what to do with it."""

    def __init__(self, process: EventProcess, number: int) -> None:
        self._process = process
        self.number = number

    def tell(self, command: str, **fields: Any) -> None:
        """Let something be done with it."""
        self._process.write(json.dumps({"cmd": command, "connection": self.number, **fields}))

    def event(self, *names: str, timeout: float = PATIENCE) -> Deferred[Event]:
        """The next of these events that tells of it."""
        return self._process.any_event(names, lambda event: event.get("connection") == self.number, timeout)


class PeerProcess:
    """One node, of either kind."""

    def __init__(self, process: EventProcess) -> None:
        self.process = process
        self._connects = 0

    def tell(self, command: str, **fields: Any) -> None:
        """Give it a command."""
        self.process.write(json.dumps({"cmd": command, **fields}))

    async def listen(self, **fields: Any) -> str:
        """:returns: the key, in hex, under which it listens."""
        self.tell("listen", **fields)
        return str((await self.process.event("listening", timeout=PATIENCE))["publicKey"])

    def connect(self, key: str, **fields: Any) -> PeerEnd:
        """Begin to connect; a node that connects does not listen, and so numbers are as they are given."""
        self.tell("connect", key=key, **fields)
        self._connects += 1
        return PeerEnd(self.process, self._connects - 1)

    async def accepted(self) -> PeerEnd:
        """The next connection of a client."""
        return PeerEnd(self.process, (await self.process.event("connection", timeout=PATIENCE))["connection"])
