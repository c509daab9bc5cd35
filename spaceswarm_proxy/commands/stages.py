"""What a command that goes on for a while waits for."""

from __future__ import annotations

from twisted.internet.defer import Deferred


class Stages:
    """That it can begin, then that it is done; either may fail instead."""

    def __init__(self) -> None:
        #: Fires when there is somebody to work with.
        self.begun: Deferred[None] = Deferred()
        #: Fires when there is nothing left to do.
        self.finished: Deferred[None] = Deferred()

    def begin(self) -> None:
        """The first stage is reached; only the first call counts."""
        if not self.begun.called:
            self.begun.callback(None)

    def finish(self) -> None:
        """The second is; only the first call counts."""
        if not self.finished.called:
            self.finished.callback(None)

    def fail(self, problem: Exception) -> None:
        """The stage that is waited for is never reached."""
        for waiting in (self.begun, self.finished):
            if not waiting.called:
                waiting.errback(problem)
                return
