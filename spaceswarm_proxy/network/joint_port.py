"""Listening in two networks at once."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort
from zope.interface import implementer


@implementer(IListeningPort)
class JointPort:
    """Two listeners with the same factory, which begin and end together."""

    def __init__(self, near: IListeningPort, far: IListeningPort) -> None:
        self._near = near
        self._far = far

    def startListening(self) -> None:
        """
        Begin again.

        :raises CannotListenError: something listens already.
        :raises ClosedError: the networks are closed.
        """
        self._far.startListening()
        self._near.startListening()

    def stopListening(self) -> Deferred[None]:
        """Accept no more; streams that are open stay.  :returns: a Deferred that fires when nobody finds us."""
        stopping = [maybeDeferred(port.stopListening) for port in (self._near, self._far)]
        return gatherResults(stopping, consumeErrors=True).addCallback(lambda _: None)

    def getHost(self) -> IAddress:
        """Our own address."""
        return self._near.getHost()
