"""
JavaScript programs as the other end of a test.

Each script here prints one JSON object a line, with an ``event`` member; :class:`NodeProcess` runs it and lets a test
wait for such events::

    class MyTests(InteropTestCase):
        async def test_it(self):
            server = self.node("proxy_server.js", "--tcp", "0")
            port = (await server.event("ready"))["tcp"]
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from spaceswarm_proxy._reactor import or_global
from tests.interop.javascript import HERE, find_node, why_not

Event = dict[str, Any]
Predicate = Callable[[Event], bool]

#: Seconds until a process that was asked to end is killed.
GRACE = 5.0
#: Seconds to wait for an event, unless told otherwise.
PATIENCE = 30.0


class NodeError(Exception):
    """The process can't be run, ended too early, or did not say what was waited for; with all that it printed."""


@dataclass(eq=False)
class _Waiter:
    """Somebody who waits for an event."""

    names: Sequence[str]
    predicate: Predicate
    deferred: Deferred[Event]

    def wants(self, event: Event) -> bool:
        return event["event"] in self.names and self.predicate(event)


def _either(names: Sequence[str]) -> str:
    return " or ".join(map(repr, names))


class EventProcess(ProcessProtocol):
    """One running program that prints events."""

    transport: IProcessTransport

    def __init__(self, name: str, command: Sequence[str], path: Path = HERE, reactor: Any = None) -> None:
        """
        Start it.

        :param name: what it is called where something is wrong with it.
        :param command: the program and its arguments.
        :param path: the directory that it runs in.
        """
        #: Every event so far, also those that were waited for.
        self.events: list[Event] = []
        #: Standard error so far, and whatever else was not an event.
        self.noise = ""
        #: Why it ended; ``None`` while it runs.
        self.reason: Failure | None = None
        self._name = name
        self._partial_line = b""
        self._unclaimed: list[Event] = []
        self._waiters: list[_Waiter] = []
        self._ending: list[Deferred[None]] = []
        self._reactor = or_global(reactor)
        self._reactor.spawnProcess(self, command[0], list(command), env=dict(os.environ), path=str(path))

    def event(self, name: str, predicate: Predicate = lambda event: True, timeout: float = PATIENCE) -> Deferred[Event]:
        """
        The first event of that name that no other call has had: it may have come already.

        :param predicate: which of them is meant.
        :param timeout: seconds.
        :returns: a Deferred of the event; it fails with :class:`NodeError` when the time is over or the process ends.
        """
        return self.any_event((name,), predicate, timeout)

    def any_event(
        self, names: Sequence[str], predicate: Predicate = lambda event: True, timeout: float = PATIENCE
    ) -> Deferred[Event]:
        """The same, for any of several names."""
        waiter = _Waiter(names, predicate, Deferred(lambda _: self._waiters.remove(waiter)))
        for event in self._unclaimed:
            if waiter.wants(event):
                self._unclaimed.remove(event)
                return succeed(event)
        self._waiters.append(waiter)
        if self.reason is not None:
            self._disappoint()
        return waiter.deferred.addTimeout(timeout, self._reactor, lambda *_: self._timed_out(names, timeout))

    def write(self, line: str) -> None:
        """Write a line to its standard input."""
        self.transport.write(line.encode() + b"\n")

    def stop(self, grace: float | None = None) -> Deferred[None]:
        """
        End it: SIGTERM, and SIGKILL if that does not help.

        :param grace: seconds until then; by default :data:`GRACE`.
        :returns: a Deferred that fires when it is gone, and fails with :class:`NodeError` when it had to be killed.
        """
        return Deferred.fromCoroutine(self._stop(GRACE if grace is None else grace))

    def kill(self) -> None:
        """End it without giving it a chance to say anything."""
        self._signal("KILL")

    async def _stop(self, grace: float) -> None:
        if self.reason is not None:
            return
        self._signal("TERM")
        try:
            await self.ended().addTimeout(grace, self._reactor)
        except TimeoutError:
            self._signal("KILL")
            await self.ended()
            raise self._problem(f"had to be killed: it did not end within {grace:g} s of SIGTERM") from None

    def ended(self) -> Deferred[None]:
        """:returns: a Deferred that fires when the process is gone; :attr:`reason` tells why."""
        if self.reason is not None:
            return succeed(None)
        gone: Deferred[None] = Deferred(lambda _: self._ending.remove(gone))
        self._ending.append(gone)
        return gone

    # What Twisted calls.

    def outReceived(self, data: bytes) -> None:
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        for line in lines:
            self._line_received(line)

    def errReceived(self, data: bytes) -> None:
        self.noise += data.decode("utf-8", "replace")

    def processEnded(self, reason: Failure) -> None:
        self.reason = reason
        self._disappoint()
        ending, self._ending = self._ending, []
        for gone in ending:
            gone.callback(None)

    def _line_received(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            event["event"]
        except (ValueError, TypeError, KeyError):
            self.noise += line.decode("utf-8", "replace") + "\n"
            return
        self.events.append(event)
        for waiter in self._waiters:
            if waiter.wants(event):
                self._waiters.remove(waiter)
                waiter.deferred.callback(event)
                return
        self._unclaimed.append(event)

    def _disappoint(self) -> None:
        """Tell those who still wait that nothing more will come."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.deferred.errback(self._problem(f"ended before {_either(waiter.names)} ({self._end()})"))

    def _timed_out(self, names: Sequence[str], timeout: float) -> Event:
        raise self._problem(f"no {_either(names)} within {timeout:g} s")

    def _end(self) -> str:
        return self.reason.getErrorMessage() if self.reason else "it runs"

    def _problem(self, text: str) -> NodeError:
        seen = "\n".join(json.dumps(event) for event in self.events[-20:]) or "nothing"
        return NodeError(f"{self._name}: {text}\nlast events:\n{seen}\nerrors:\n{self.noise or 'none'}")

    def _signal(self, name: str) -> None:
        try:
            self.transport.signalProcess(name)
        except ProcessExitedAlready:
            return  # Gone, only its pipes are not closed yet: processEnded is about to be called.


class NodeProcess(EventProcess):
    """One running script."""

    def __init__(self, script: str, *arguments: str, reactor: Any = None) -> None:
        """
        Start it.

        :param script: a file of this directory, or an absolute path.
        :param arguments: its command line.
        :raises NodeError: there is no Node.
        """
        super().__init__(script, node_command(script, *arguments), reactor=reactor)


def node_command(script: str, *arguments: str) -> list[str]:
    """
    The words that run a script; see :class:`NodeProcess`.

    :raises NodeError: there is no Node.
    """
    node = find_node()
    if node is None:
        raise NodeError("no Node; python -m tests.interop.javascript installs it")
    return [node, str(HERE / script), *arguments]


class InteropTestCase(TestCase):
    """A test with JavaScript programs, which end with it."""

    skip = why_not()
    timeout = 60

    def node(self, script: str, *arguments: str) -> NodeProcess:
        """Run a script until the test is over.  One that does not end when it is asked to fails the test."""
        process = NodeProcess(script, *arguments)
        self.addCleanup(process.stop)
        return process
