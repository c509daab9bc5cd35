"""Runs one command: its log, its end, and what the user is told when it fails."""

from __future__ import annotations

import signal
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import txaio
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.narrator import Narrator
from spaceswarm_proxy.errors import SpaceswarmError

log = txaio.make_logger()

#: What a shell shows for a program that Ctrl-C has ended.
INTERRUPTED = 130
LEVELS = ("error", "info", "debug")


def begin_logging(verbose: int) -> None:
    """
    Log to standard error.

    :param verbose: 0 for what should never happen, 1 for information, more for debugging.
    """
    level = LEVELS[min(verbose, len(LEVELS) - 1)]
    txaio.set_global_log_level(level)
    threshold = LogLevelFilterPredicate(defaultLogLevel=LogLevel.lookupByName(level))
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [threshold])
    # Not redirected: standard output carries the commands' data.
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def supervise(reactor: Any, options: Namespace) -> Deferred[None]:
    """
    Run the command; for ``task.react``.

    When the reactor is about to stop (Ctrl-C), the command is cancelled, and may clean up before it does.

    :param options: with a ``command``.
    :returns: a Deferred that fails with ``SystemExit`` when it has ended.
    """
    command = options.command
    running = Deferred.fromCoroutine(command.run(reactor, options))
    stopped: Deferred[None] = Deferred()
    status_when_cancelled = INTERRUPTED

    def explain(failure: Failure) -> int:
        return status_when_cancelled if failure.check(CancelledError) else _explain(failure, command.name)

    def ended(status: int) -> None:
        stopped.callback(None)
        raise SystemExit(status)

    def interrupt() -> Deferred[None]:
        if not stopped.called:
            running.cancel()
        return stopped

    def leave() -> None:
        nonlocal status_when_cancelled
        status_when_cancelled = 0
        reactor.stop()

    reactor.addSystemEventTrigger("before", "shutdown", interrupt)
    if command.stays:
        # Not sooner: the reactor installs its own when it starts.
        reactor.callWhenRunning(_on_sigterm, reactor, leave)
    return running.addErrback(explain).addCallback(ended)


def _on_sigterm(reactor: Any, leave: Callable[[], None]) -> None:
    """Have SIGTERM ask to leave; a second one is the system's to handle."""

    def asked(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        reactor.callFromThread(leave)

    signal.signal(signal.SIGTERM, asked)


def _explain(failure: Failure, name: str) -> int:
    """:returns: the exit status; the reason has been told."""
    if failure.check(CommandError, SpaceswarmError, OSError):
        Narrator(f"spaceswarm {name}").say(failure.getErrorMessage())
    else:
        log.failure("{name} failed", failure=failure, name=name)
    return 1
