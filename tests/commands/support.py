"""Commands run in this process or as children, and a proxy server for them."""

from __future__ import annotations

import inspect
import io
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ProcessProtocol, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.commands.standard_io import attach, detach
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.server import ProxyServer

#: The reactor that trial runs, untyped as everywhere.
reactor: Any = global_reactor
PROJECT = Path(__file__).resolve().parent.parent.parent


def fire_found(waiting: list[tuple[bytes, Deferred[None]]], text: bytes) -> None:
    """Tell those who wait for something that has come."""
    for each in [each for each in waiting if each[0] in text]:
        waiting.remove(each)
        each[1].callback(None)


@implementer(IHalfCloseableProtocol)
class Terminal(Protocol):
    """Who types into a command that runs in this process, and reads what it writes."""

    transport: Any

    def __init__(self, typing_end: int) -> None:
        self.text = b""
        self.ended: Deferred[bytes] = Deferred()
        self._typing_end = typing_end
        self._waiting: list[tuple[bytes, Deferred[None]]] = []

    def type(self, data: bytes) -> None:
        """Type something."""
        self.transport.write(data)

    def end_input(self) -> None:
        """Type Ctrl-D."""
        self.transport.loseWriteConnection()

    def shows(self, text: bytes) -> Deferred[None]:
        """:returns: a Deferred that fires when the text has come."""
        shown: Deferred[None] = Deferred()
        self._waiting.append((text, shown))
        self._look()
        return shown

    def dataReceived(self, data: bytes) -> None:
        self.text += data
        self._look()

    def _look(self) -> None:
        fire_found(self._waiting, self.text)

    def readConnectionLost(self) -> None:
        self.ended.callback(self.text)

    def writeConnectionLost(self) -> None:
        self.close_typing_end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.close_typing_end()

    def close_typing_end(self) -> None:
        if self._typing_end >= 0:
            os.close(self._typing_end)
            self._typing_end = -1


class Child(ProcessProtocol):
    """A command in a process of its own."""

    def __init__(self) -> None:
        self.output = b""
        self.errors = b""
        #: Fires when its standard output has ended.
        self.ended: Deferred[None] = Deferred()
        #: Fires with the exit status.
        self.status: Deferred[int | None] = Deferred()
        self._told: list[tuple[bytes, Deferred[None]]] = []
        self._printed: list[tuple[bytes, Deferred[None]]] = []

    def says(self, text: bytes) -> Deferred[None]:
        """:returns: a Deferred that fires when the text has come on standard error."""
        said: Deferred[None] = Deferred()
        self._told.append((text, said))
        self.errReceived(b"")
        return said

    def prints(self, text: bytes) -> Deferred[None]:
        """:returns: a Deferred that fires when the text has come on standard output."""
        printed: Deferred[None] = Deferred()
        self._printed.append((text, printed))
        self.outReceived(b"")
        return printed

    def outReceived(self, data: bytes) -> None:
        self.output += data
        fire_found(self._printed, self.output)

    def errReceived(self, data: bytes) -> None:
        self.errors += data
        fire_found(self._told, self.errors)

    def outConnectionLost(self) -> None:
        self.ended.callback(None)

    def processEnded(self, reason: Failure) -> None:
        reason.trap(ProcessDone, ProcessTerminated)
        self.status.callback(reason.value.exitCode)


class Errors(io.StringIO):
    """Standard error, which can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[bytes, Deferred[None]]] = []

    def write(self, text: str) -> int:
        count = super().write(text)
        fire_found(self._waiting, self.getvalue().encode())
        return count

    def shows(self, text: str) -> Deferred[None]:
        """:returns: a Deferred that fires when the text has come."""
        shown: Deferred[None] = Deferred()
        self._waiting.append((text.encode(), shown))
        self.write("")
        return shown


class TerminalCase(TestCase):
    """Runs commands, with standard error to look at."""

    timeout = 60

    def setUp(self) -> None:
        self.errors = Errors()
        self.patch(sys, "stderr", self.errors)

    def start(self, name: str, *arguments: str, reactor: Any = reactor) -> tuple[Deferred[int], Terminal]:
        """
        Run a command here.

        :param reactor: what the command is given.
        :returns: its exit status to be, and who uses it.
        """
        options = make_parser().parse_args([name, *arguments])
        stdin, typing = os.pipe()
        reading, stdout = os.pipe()
        terminal = Terminal(typing)
        attach(terminal, reading, typing, global_reactor)
        run = options.command.run
        descriptors = {"stdin": stdin, "stdout": stdout, **self.descriptors()}
        taken = {name: descriptors[name] for name in inspect.signature(run).parameters if name in descriptors}
        status = Deferred.fromCoroutine(run(reactor, options, **taken))

        def close(result: Any) -> Any:
            os.close(stdin)
            os.close(stdout)
            return result

        status.addBoth(close)
        self.addCleanup(self._put_away, status, terminal, reading)
        return status, terminal

    async def _put_away(self, status: Deferred[int], terminal: Terminal, reading: int) -> None:
        status.cancel()
        status.addErrback(lambda _: None)
        await status
        if not terminal.ended.called:
            await terminal.ended
        detach(terminal.transport)
        os.close(reading)

    def descriptors(self) -> dict[str, int]:
        """:returns: what else a command is given, by the names of its parameters."""
        return {}

    def spawn(self, *arguments: str, files: dict[int, int] | None = None) -> Child:
        """
        Run a command in a process of its own.

        :param files: what its standard input and output are, instead of ours.
        """
        child = Child()
        command = [sys.executable, "-m", "spaceswarm_proxy.commands", *arguments]
        descriptors: dict[int, Any] = {0: "w", 1: "r", 2: "r", **(files or {})}
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        process = reactor.spawnProcess(child, sys.executable, command, environment, childFDs=descriptors)

        async def put_away() -> None:
            if not child.status.called:
                process.signalProcess("KILL")
                await child.status

        self.addCleanup(put_away)
        return child


class CommandCase(TerminalCase):
    """What commands of the proxy need: a server on a small network in this process."""

    def setUp(self) -> None:
        super().setUp()
        hub = LocalHub(reactor)
        self.addCleanup(hub.close)
        self.server = ProxyServer(hub.network(), reactor=reactor)
        self.addCleanup(self.server.close)
        self.port = reactor.listenTCP(0, self.server, interface="127.0.0.1")
        self.addCleanup(lambda: self.port.stopListening())
        self.proxy = f"tcp:127.0.0.1:{self.port.getHost().port}"

    def start(self, name: str, *arguments: str, reactor: Any = reactor) -> tuple[Deferred[int], Terminal]:
        """Run a command with this proxy server here."""
        return super().start(name, *arguments, "--proxy", self.proxy, reactor=reactor)
