"""Making links to servers, one after the other, for as long as they are wanted."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure

from spaceswarm_proxy.errors import LinkLostError

#: Seconds that a connection attempt to the server may take.
DIAL_TIMEOUT = 30.0

_GROWING = backoffPolicy(0.5, 60.0, 1.5, jitter=lambda: 0.0)


def default_backoff(attempt: int) -> float:
    """
    Seconds before an attempt: half a second, then half as much again each time, up to a minute; at random down to half
    of that, so that the clients of a server that was restarted do not come back all at once.
    """
    return _GROWING(attempt) * random.uniform(0.5, 1.0)


class Dialler:
    """Connects a factory to one of several servers.  It stays with one until that has failed."""

    def __init__(
        self,
        clock: Any,
        endpoints: Sequence[IStreamClientEndpoint],
        backoff: Callable[[int], float],
        factory: IProtocolFactory,
        failed: Callable[[Exception], None],
        is_wanted: Callable[[], bool],
    ) -> None:
        """
        :param backoff: attempt (0, 1, ...) -> seconds before it.
        :param failed: told when an attempt has come to nothing, unless it was stopped.
        :param is_wanted: is there to be a link at all?
        """
        self.endpoints = endpoints
        self.backoff = backoff
        #: Attempts in a row that came to nothing, or not to much.
        self.failures = 0
        self._clock = clock
        self._factory = factory
        self._failed = failed
        self._is_wanted = is_wanted
        self._next = 0
        self._retry: Any = None
        self._attempt: Deferred[Any] | None = None
        self._stopped = False

    def now(self) -> None:
        """Try at once, that is in the next turn of the reactor, unless an attempt is under way or about to be."""
        if self._attempt is None:
            self._soon(0.0)

    def later(self) -> None:
        """Try again when so many failures have had their time."""
        self._soon(self.backoff(self.failures))

    def missed(self, next_server: bool) -> None:
        """
        An attempt came to nothing, or not to much.

        :param next_server: is it another one's turn?
        """
        self.failures += 1
        self._next += next_server

    def stop(self) -> None:
        """Let it be."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._attempt is not None:
            self._stopped = True
            self._attempt.cancel()

    def _soon(self, delay: float) -> None:
        if self.endpoints and self._retry is None and self._is_wanted():
            self._retry = self._clock.callLater(delay, self._dial)

    def _dial(self) -> None:
        self._retry = None
        self._stopped = False
        endpoint = self.endpoints[self._next % len(self.endpoints)]
        self._attempt = maybeDeferred(endpoint.connect, self._factory)
        self._attempt.addTimeout(DIAL_TIMEOUT, self._clock)
        self._attempt.addCallbacks(self._dialled, self._not_dialled)

    def _dialled(self, _: object) -> None:
        self._attempt = None

    def _not_dialled(self, failure: Failure) -> None:
        self._attempt = None
        if not self._stopped:
            self._failed(LinkLostError(f"cannot reach the proxy server: {failure.getErrorMessage()}"))
