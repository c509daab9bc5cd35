"""A program, mostly a Python one or a ``twistd`` of our own, in another process."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

import spaceswarm_proxy

#: Where the package is, and the plugins beside it: a checkout, or site-packages.
ROOT = Path(spaceswarm_proxy.__file__).resolve().parent.parent


class Program(ProcessProtocol):
    """One run of a program."""

    transport: IProcessTransport

    def __init__(self, reactor: Any, directory: str, command: Sequence[str], **environment: str) -> None:
        """
        Start it.

        :param directory: where it runs; made if it is not there.
        :param command: the program, and its arguments.
        :param environment: what it is to have beside our own.
        """
        #: What it has printed so far.
        self.output = ""
        self.errors = ""
        #: Fires with the exit code, or the negated number of the signal that ended it.
        self.ended: Deferred[int] = Deferred()
        self._waiting: tuple[re.Pattern[str], Deferred[re.Match[str]]] | None = None
        Path(directory).mkdir(exist_ok=True)
        reactor.spawnProcess(self, command[0], list(command), {**os.environ, **environment}, directory)

    def line(self, pattern: str) -> Deferred[re.Match[str]]:
        """:returns: a Deferred that fires when a line of its output matches, and fails if the process ends before."""
        waiter: Deferred[re.Match[str]] = Deferred()
        self._waiting = (re.compile(pattern + r".*\n"), waiter)
        self._look()
        return waiter

    def signal(self, name: str) -> None:
        """Send it a signal: ``TERM``."""
        self.transport.signalProcess(name)

    async def kill(self) -> None:
        """Whatever it is doing, end it."""
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            return
        await self.ended

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode()
        self._look()

    def errReceived(self, data: bytes) -> None:
        self.errors += data.decode()

    def processEnded(self, reason: Failure) -> None:
        status: Any = reason.value
        if self._waiting is not None:
            self._waiting[1].errback(AssertionError(f"it ended: {self.output}{self.errors}"))
        self.ended.callback(status.exitCode if status.signal is None else -status.signal)

    def _look(self) -> None:
        if self._waiting is None:
            return
        pattern, waiter = self._waiting
        match = pattern.search(self.output)
        if match is not None:
            self._waiting = None
            waiter.callback(match)


class Child(Program):
    """One run of Python."""

    def __init__(self, reactor: Any, directory: str, *arguments: str) -> None:
        """
        Start it.

        :param arguments: what follows ``python``.
        """
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, *arguments]
        super().__init__(reactor, directory, command, PYTHONPATH=path, PYTHONUNBUFFERED="1")


class Twistd(Child):
    """One run of ``twistd --nodaemon``."""

    def __init__(self, reactor: Any, directory: str, *arguments: str) -> None:
        """
        Start it.

        :param arguments: what follows ``twistd --nodaemon --pidfile=``.
        """
        run = "from twisted.scripts.twistd import run; run()"
        super().__init__(reactor, directory, "-c", run, "--nodaemon", "--pidfile=", *arguments)

    async def port(self) -> int:
        """The TCP port that it listens on, when it does."""
        return int((await self.line(r"listening on tcp:(\d+):"))[1])
