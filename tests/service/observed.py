"""
A ``twistd`` that can be asked, from outside, what there is in it: ``SIGUSR1`` has it print a line.

As it is a real one, and has no way of its own to tell, the question is put in before it begins.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from tests.service.child import Child

#: What its line begins with.
MARK = "CENSUS "
#: What is run in the process before everything else.
_ANSWER = "from tests.service.observed import answer; answer()"


@dataclass(frozen=True)
class Census:
    """What there is in a process."""

    #: Of the server: clients, topics that are looked up, streams to peers, identities that are kept without a client.
    links: int
    lookups: int
    streams: int
    kept: int
    #: Of the reactor: delayed calls, and what it reads from and writes to.
    timers: int
    sockets: int
    #: Objects of each of our classes.
    objects: Counter[str] = field(compare=False)
    #: Of the process, as the system has it: file descriptors, and bytes in memory.
    files: int = 0
    memory: int = field(default=0, compare=False)

    @property
    def is_empty(self) -> bool:
        """Is nobody there, and nothing of anybody?"""
        return not (self.links or self.lookups or self.streams or self.kept)


class ObservedTwistd(Child):
    """One run of ``twistd --nodaemon``, which can be asked."""

    def __init__(self, reactor: Any, directory: str, *arguments: str, before: str = "") -> None:
        """
        Start it.

        :param arguments: what follows ``twistd --nodaemon --pidfile=``.
        :param before: Python code to be run before.
        """
        program = "\n".join([_ANSWER, before, "from twisted.scripts.twistd import run; run()"])
        super().__init__(reactor, directory, "-c", program, "--nodaemon", "--pidfile=", *arguments)

    async def port(self, kind: str = "tcp") -> int:
        """The port that it listens on, when it does."""
        return int((await self.line(rf"listening on {kind}:(\d+)"))[1])

    def census(self) -> Deferred[Census]:
        """:returns: a Deferred of what there is in it."""
        return Deferred.fromCoroutine(self._census())

    async def _census(self) -> Census:
        self.output = self.output.replace(MARK, "")
        os.kill(self.transport.pid, signal.SIGUSR1)
        found = json.loads((await self.line(rf"{MARK}(.*)"))[1])
        objects = Counter(found.pop("objects"))
        pid = self.transport.pid
        return Census(**found, objects=objects, files=open_files(pid), memory=resident_memory(pid))


def open_files(pid: int) -> int:
    """File descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_memory(pid: int) -> int:
    """Bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# In the process.


def answer() -> None:
    """Answer the signal from now on."""

    def handle(number: int, frame: object) -> None:
        from twisted.internet import reactor  # whichever ``twistd`` has chosen

        reactor.callFromThread(_tell, reactor)  # type: ignore[attr-defined]

    signal.signal(signal.SIGUSR1, handle)


def _tell(reactor: Any) -> None:
    assert sys.__stdout__ is not None
    sys.__stdout__.write(MARK + json.dumps(_count(reactor)) + "\n")
    sys.__stdout__.flush()


def _count(reactor: Any) -> dict[str, Any]:
    gc.collect()
    objects = gc.get_objects()
    (server,) = [each for each in objects if type(each).__name__ == "ProxyServer"]
    kinds = Counter(f"{type(each).__module__}.{type(each).__name__}" for each in objects)
    return {
        "links": len(server.links),
        "lookups": len(server.lookups),
        "streams": server.open_streams,
        "kept": server.identities.kept,
        "timers": len(reactor.getDelayedCalls()),
        "sockets": len(reactor.getReaders()) + len(reactor.getWriters()),
        "objects": {kind: count for kind, count in kinds.items() if kind.startswith("spaceswarm_proxy.")},
    }
