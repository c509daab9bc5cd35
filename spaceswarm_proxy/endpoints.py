"""
Topics and peers as ordinary Twisted endpoints.

Whatever listens or connects by way of an endpoint runs over the swarm with these.  The network stays the caller's;
``own_network`` has the variant that makes and closes one for each use, and ``endpoint_strings`` the text forms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import txaio
from twisted.internet import error
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.errors import ConnectTimeoutError, SpaceswarmError
from spaceswarm_proxy.interfaces import IAnnouncement, INetwork, IPeerReceiver, Peer
from spaceswarm_proxy.topics import check_topic

log = txaio.make_logger()

#: Seconds in which a connection must come about.
TIMEOUT = 30.0
#: Seconds for one peer of a topic, before it is another's turn.
ATTEMPT_TIMEOUT = 10.0
#: Peers of a topic that wait for their turn; more are not needed.
MAX_CANDIDATES = 256


@implementer(IStreamServerEndpoint)
class TopicServerEndpoint:
    """Accepts the streams of peers that find us under a topic."""

    def __init__(self, network: INetwork, topic: bytes) -> None:
        """
        :param network: stays the caller's.
        :param topic: 32 bytes.
        :raises ValueError: the topic is not 32 bytes.
        """
        self._network = network
        self._topic = check_topic(topic)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        See ``IStreamServerEndpoint``.

        :returns: a Deferred of the port, when others can find us.  It fails as the network's ``listen`` and the
            announcement do.
        """
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        port = await self._network.listen(factory)
        try:
            announcement = self._network.announce(self._topic)
        except SpaceswarmError:
            await maybeDeferred(port.stopListening)
            raise
        found = TopicPort(port, announcement)
        try:
            await announcement.flushed()
        except Exception:
            await found.stopListening()
            raise
        return found


@implementer(IListeningPort)
class TopicPort:
    """Listening, and being found: stopping ends both."""

    def __init__(self, port: IListeningPort, announcement: IAnnouncement) -> None:
        self._port = port
        self._announcement = announcement

    def startListening(self) -> None:
        """See ``IListeningPort``; the port came listening already."""
        raise error.CannotListenError("spaceswarm", None, Exception("a topic's port is started by its endpoint alone"))

    def stopListening(self) -> Deferred[None]:
        """:returns: a Deferred that fires when neither is left; a second call likewise."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await self._announcement.close()
        finally:
            await maybeDeferred(self._port.stopListening)

    def getHost(self) -> IAddress:
        """Our own ``PeerAddress``."""
        return self._port.getHost()


@implementer(IStreamClientEndpoint)
class PeerClientEndpoint:
    """Connects to one peer."""

    def __init__(self, network: INetwork, peer: Peer, timeout: float = TIMEOUT, reactor: Any = None) -> None:
        """
        :param network: stays the caller's.
        :param timeout: seconds.
        :param reactor: an ``IReactorTime``; by default the global one.
        """
        self._network = network
        self._peer = peer
        self._timeout = timeout
        self._reactor = reactor

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See ``IStreamClientEndpoint``.  It fails as the network's ``connect`` does, or is too late."""
        return _in_time(self._network.connect(self._peer, protocolFactory), self._timeout, or_global(self._reactor))


@implementer(IStreamClientEndpoint)
class TopicClientEndpoint:
    """Connects to the first peer found under a topic that can be connected to."""

    def __init__(self, network: INetwork, topic: bytes, timeout: float = TIMEOUT, reactor: Any = None) -> None:
        """
        :param network: stays the caller's.
        :param topic: 32 bytes.
        :param timeout: seconds, for finding and connecting together.
        :param reactor: an ``IReactorTime``; by default the global one.
        :raises ValueError: the topic is not 32 bytes.
        """
        self._network = network
        self._topic = check_topic(topic)
        self._timeout = timeout
        self._reactor = reactor

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See ``IStreamClientEndpoint``.

        Peers are tried one after the other, in the order in which they are found; each that fails, again when it is
        found again.

        :returns: a Deferred of the protocol.  It fails with ``ConnectTimeoutError``, whose ``__cause__`` is what went
            wrong with the last peer, or as the lookup does.
        """
        search = _Search(self._network, protocolFactory, or_global(self._reactor))
        return search.first(self._topic, self._timeout)


@implementer(IPeerReceiver)
class _Search:
    """One ``connect`` to a topic."""

    def __init__(self, network: INetwork, factory: IProtocolFactory, clock: Any) -> None:
        self._network = network
        self._factory = factory
        self._clock = clock
        self._candidates: deque[Peer] = deque()
        self._waiter: Deferred[None] | None = None
        self._refusal: Exception | None = None
        self._last_problem: Exception | None = None
        self._cancelled = False

    def first(self, topic: bytes, timeout: float) -> Deferred[IProtocol]:
        """:returns: a Deferred of the first protocol that could be connected."""
        running = Deferred.fromCoroutine(self._run(topic))

        def cancel(_: object) -> None:
            self._cancelled = True
            running.cancel()

        first: Deferred[IProtocol] = Deferred(cancel)
        running.chainDeferred(first)
        return _in_time(first, timeout, self._clock, lambda: self._last_problem)

    def peer_found(self, peer: Peer) -> None:
        """See ``IPeerReceiver``."""
        if peer not in self._candidates and len(self._candidates) < MAX_CANDIDATES:
            self._candidates.append(peer)
            self._wake()

    def lookup_updated(self) -> None:
        """See ``IPeerReceiver``.  The lookup goes on; so does the wait."""

    async def _run(self, topic: bytes) -> IProtocol:
        lookup = self._network.lookup(topic, self)
        flushed = lookup.flushed().addErrback(self._refused)
        try:
            return await self._try_in_turn()
        finally:
            flushed.cancel()
            lookup.close().addErrback(lambda failure: log.failure("a lookup did not close", failure=failure))

    async def _try_in_turn(self) -> IProtocol:
        while True:
            peer = await self._next()
            attempt = self._network.connect(peer, self._factory)
            try:
                return await _in_time(attempt, ATTEMPT_TIMEOUT, self._clock)
            except (SpaceswarmError, error.ConnectError) as problem:
                if self._cancelled:
                    raise
                self._last_problem = problem
                log.debug("{peer} cannot be reached: {problem}", peer=peer, problem=problem)

    async def _next(self) -> Peer:
        while not self._candidates:
            if self._refusal is not None:
                raise self._refusal
            self._waiter = Deferred()
            try:
                await self._waiter
            finally:  # Cancelled or dropped, it is not to be woken by the end of the lookup that follows.
                self._waiter = None
        return self._candidates.popleft()

    def _refused(self, failure: Failure) -> None:
        self._refusal = failure.value
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)


def _in_time(
    connecting: Deferred[IProtocol],
    seconds: float,
    clock: Any,
    cause: Callable[[], Exception | None] = lambda: None,
) -> Deferred[IProtocol]:
    """Cancel a connection attempt after some seconds, and have it fail with ``ConnectTimeoutError``."""

    def too_late(result: IProtocol | Failure, seconds: float) -> IProtocol:
        if not isinstance(result, Failure):
            return result
        raise ConnectTimeoutError(f"no connection in {seconds:g} s") from cause()

    return connecting.addTimeout(seconds, clock, too_late)
