"""How commands end."""

from __future__ import annotations

import io
import signal
import sys
from argparse import Namespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.supervisor import supervise
from spaceswarm_proxy.errors import LinkLostError


class SuperviseTests(SynchronousTestCase):
    """A command of which the test decides how it goes."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactor()
        self.errors = io.StringIO()
        self.patch(sys, "stderr", self.errors)
        self.work: Deferred[int] = Deferred()
        self.cleaning: Deferred[None] = Deferred()

    def start(self, stays: bool = False) -> Deferred[None]:
        async def run(reactor: Any, options: Namespace) -> int:
            try:
                return await self.work
            finally:
                await self.cleaning

        return supervise(self.reactor, Namespace(command=Namespace(name="work", run=run, stays=stays)))

    def interrupt(self) -> Deferred[None]:
        ((function, args, kwargs),) = self.reactor.triggers["before"]["shutdown"]
        stopped: Deferred[None] = function(*args, **kwargs)
        return stopped

    def status(self, ended: Deferred[None]) -> Any:
        return self.failureResultOf(ended, SystemExit).value.code

    def test_done(self) -> None:
        """A command's status is the program's."""
        self.cleaning.callback(None)
        ended = self.start()
        self.assertNoResult(ended)
        self.work.callback(3)
        self.assertEqual(3, self.status(ended))
        self.assertEqual("", self.errors.getvalue())
        self.successResultOf(self.interrupt())

    def test_fails(self) -> None:
        """What can go wrong is told in one line, without a traceback."""
        for problem in (CommandError("no tea"), LinkLostError("no tea"), OSError("no tea")):
            self.setUp()
            self.cleaning.callback(None)
            ended = self.start()
            self.work.errback(problem)
            self.assertEqual(1, self.status(ended))
            self.assertEqual("spaceswarm work: no tea\n", self.errors.getvalue())

    def test_broken(self) -> None:
        """What can't go wrong and does is logged with its traceback."""
        self.cleaning.callback(None)
        ended = self.start()
        self.work.errback(ZeroDivisionError())
        self.assertEqual(1, self.status(ended))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_interrupted(self) -> None:
        """Ctrl-C cancels the command, and the reactor waits until it has cleaned up."""
        ended = self.start()
        stopped = self.interrupt()
        self.assertNoResult(stopped)
        self.cleaning.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(130, self.status(ended))
        self.assertEqual("", self.errors.getvalue())

    def test_sigterm(self) -> None:
        """A command that stays leaves with 0 when SIGTERM asks it to; a second SIGTERM is left to the system."""
        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        self.reactor.stop = self.interrupt
        self.reactor.callFromThread = lambda function: function()
        ended = self.start(stays=True)
        self.assertIs(before, signal.getsignal(signal.SIGTERM))
        for function, args, kwargs in self.reactor.whenRunningHooks:
            function(*args, **kwargs)
        self.assertIsNot(before, signal.getsignal(signal.SIGTERM))
        signal.raise_signal(signal.SIGTERM)
        self.assertIs(signal.SIG_DFL, signal.getsignal(signal.SIGTERM))
        self.assertNoResult(ended)
        self.cleaning.callback(None)
        self.assertEqual(0, self.status(ended))

    def test_sigterm_otherwise(self) -> None:
        """With other commands SIGTERM is the reactor's, as Ctrl-C is."""
        ended = self.start()
        self.assertEqual([], self.reactor.whenRunningHooks)
        self.cleaning.callback(None)
        self.work.callback(0)
        self.assertEqual(0, self.status(ended))
