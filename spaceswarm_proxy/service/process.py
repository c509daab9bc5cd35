"""What the service does with a process that it has for itself: signals, file descriptors, and the exit code."""

from __future__ import annotations

import atexit
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import txaio
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.service.options import Options
from spaceswarm_proxy.service.proxy import SpaceswarmProxyService, StartError

log = txaio.make_logger()


class Program(MultiService):
    """
    The service and its process.

    SIGTERM or SIGINT stops it in good order, with exit code 0; a second one cuts the clients off, a third one is the
    system's to handle.  SIGHUP has the token file read again, and ends nothing where there is none.
    """

    def __init__(self, proxy: SpaceswarmProxyService, reactor: Any, uid: int | None = None) -> None:
        """
        :param uid: the user that the process becomes when it has started, if that is another one.
        """
        super().__init__()
        self.proxy = proxy
        self.reactor = reactor
        self._uid = uid
        self._stopping = False
        proxy.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """Raise the limit of open files while we may, and listen: to signals first, as clients may come at once."""
        raise_file_limit()
        if self._uid is not None and self.proxy.settings.state is not None:
            make_directory(self.proxy.settings.state, self._uid)
        self._handle_signals()
        super().privilegedStartService()

    def startService(self) -> None:
        """Start the service."""
        super().startService()
        self.reactor.callWhenRunning(self._handle_signals)  # the reactor installs its own when it starts

    def stopService(self) -> Deferred[Any]:
        """:returns: a Deferred that fires when nothing is left."""
        self._stopping = True
        done: Deferred[Any] = super().stopService()
        return done

    def failed(self, problem: StartError) -> None:
        """An endpoint could not listen after all: exit with code 1."""
        atexit.register(_exit_with_failure)
        self.reactor.callWhenRunning(self._stop)

    # Signals.

    def _handle_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGHUP, self._on_reload_signal)

    def _on_stop_signal(self, number: int, frame: object) -> None:
        self.reactor.callFromThread(self._stop)

    def _on_reload_signal(self, number: int, frame: object) -> None:
        self.reactor.callFromThread(self.proxy.reload_tokens)

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self.reactor.stop()
            return
        log.info("asked again to stop: not waiting any longer")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        self.proxy.hurry()


def raise_file_limit() -> None:
    """Let the process have as many open files as the system allows: each client, and each peer of a client, is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as problem:
        log.warn("at most {soft} open files, for more are refused: {problem}", soft=soft, problem=problem)


def make_directory(path: str, uid: int) -> None:
    """
    Make a directory, if it is not there, for a user who could not make one there.

    One that is there stays whose it is: it may be anybody's.  What is wrong with it is told by who uses it.
    """
    try:
        Path(path).mkdir(parents=True)
        os.chown(path, uid, -1)
    except OSError:
        return


def _exit_with_failure() -> None:
    """``twistd`` has no way to say so."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def makeService(options: Options, reactor: Any = None) -> Program:
    """
    What ``twistd`` asks for.

    :param options: parsed.
    :param reactor: the global one unless given.
    """
    txaio.set_global_log_level(options.settings.log_level)
    reactor = or_global(reactor)
    proxy = SpaceswarmProxyService(options.settings, reactor)
    program = Program(proxy, reactor, None if options.parent is None else options.parent.get("uid"))
    proxy.failed = program.failed
    return program
