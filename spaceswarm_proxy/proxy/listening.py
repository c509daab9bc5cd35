"""Listening through a proxy, whether the link is up or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import txaio
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import ClosedError, NotSupportedError, SpaceswarmError
from spaceswarm_proxy.interfaces import PeerAddress
from spaceswarm_proxy.proxy.features import Feature
from spaceswarm_proxy.proxy.wire import EventType

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.client import ProxyNetwork
    from spaceswarm_proxy.proxy.client_link import ClientLink

log = txaio.make_logger()


@implementer(IListeningPort)
class ProxyPort:
    """
    Listening for the streams that peers open, until it is stopped: each new link is told.

    It *opens* when a server has said for the first time that peers can connect.
    """

    def __init__(self, network: ProxyNetwork, factory: IProtocolFactory) -> None:
        self._network = network
        self.factory = factory
        #: Has a server ever said that peers can connect?  And the one that we are connected to?
        self._opened = False
        self._open = False
        self._waiting: Waiters[IListeningPort] = Waiters()
        self._stopping = False
        self._stopped: Waiters[None] = Waiters()

    def open(self, link: ClientLink | None) -> Deferred[IListeningPort]:
        """
        Begin to listen.

        :param link: the one that is up, if any.
        :returns: a Deferred of this port; cancelled, it stops.
        """
        self.startListening()
        opening = self.listening().addErrback(self._not_opened)
        if link is not None:
            self.online(link)
        return opening

    def _not_opened(self, failure: Failure) -> Failure:
        self._unlisten().addErrback(_trap_ours)
        self._release()
        return failure

    def listening(self) -> Deferred[IListeningPort]:
        """:returns: a Deferred that fires when the server we are connected to says that peers can connect."""
        waiting = self._waiting.wait()
        if self._open:
            self._waiting.fire(self)
        return waiting

    def online(self, link: ClientLink) -> None:
        """There is a link: ask its server."""
        if Feature.ROLES in link.features:
            asked = link.request(EventType.LISTEN)
            asked.addCallbacks(self._answered, lambda failure: self._refused(link, failure))
        else:
            self._refused(link, Failure(NotSupportedError("nobody can connect to us through a JavaScript server")))

    def offline(self) -> None:
        """The link is gone."""
        self._open = False

    def _answered(self, _: None) -> None:
        self._opened = self._open = True
        self._waiting.fire(self)

    def _refused(self, link: ClientLink, failure: Failure) -> None:
        if link.lost:  # the next one is asked again
            return
        if self._opened:
            log.warn("the proxy server does not let peers connect to us now: {problem}", problem=str(failure.value))
        self._waiting.fail(failure)

    def closed(self, problem: Exception) -> None:
        """There will be no more links."""
        self._waiting.fail(problem)
        self._release()

    def startListening(self) -> None:
        """See ``IListeningPort``; :meth:`open` has done it."""
        self._stopping = False
        self._network.listener = self
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """
        Take no more streams; those that are open stay.

        :returns: a Deferred that fires when the server knows.  Until then, what it had let in already still comes.
        """
        if self._network.listener is not self:
            return succeed(None)
        stopped = self._stopped.wait()
        if not self._stopping:
            self._stopping = True
            self._unlisten().addBoth(lambda _: self._release())
        return stopped

    def _unlisten(self) -> Deferred[None]:
        link = self._network.ready_link
        if link is None or Feature.ROLES not in link.features:
            return succeed(None)
        return link.request(EventType.UNLISTEN)

    def _release(self) -> None:
        if self._network.listener is self:
            self._network.listener = None
            self.factory.doStop()
        self._stopped.fire(None)
        self._waiting.fail(ClosedError("it was stopped"))

    def getHost(self) -> PeerAddress:
        """Our own address."""
        return self._network.address


def _trap_ours(failure: Failure) -> None:
    """It has stopped here, whatever the server, or the loss of the link, has to say to that."""
    failure.trap(SpaceswarmError)
