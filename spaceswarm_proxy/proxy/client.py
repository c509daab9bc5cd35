"""``ProxyNetwork``: the network at the far end of a byte stream."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import txaio
from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    ConnectTimeoutError,
    LinkError,
    LinkLostError,
    NotSupportedError,
    SpaceswarmError,
)
from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import INetwork, IPeerReceiver, NetworkStatus, Peer, PeerAddress
from spaceswarm_proxy.proxy.client_link import ClientLink, status_detail
from spaceswarm_proxy.proxy.features import Feature
from spaceswarm_proxy.proxy.joined import Announcement, JoinedTopic, Lookup
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.listening import ProxyPort
from spaceswarm_proxy.proxy.wire import EventType
from spaceswarm_proxy.topics import check_topic

log = txaio.make_logger()

#: What a client allows its server: as much as a server allows a client, but more of its own user's data.
CLIENT_LIMITS = Limits(max_streams=4096, max_buffered=64 * 1024 * 1024)
#: Seconds between two looks at the clock.
TICK = 1.0
#: Seconds that a connection attempt to the server may take.
DIAL_TIMEOUT = 30.0
#: Seconds by which the server's own time limit for a connection comes first, so that its reason is the one told.
REPLY_MARGIN = 5.0
#: Seconds that a link must have been ready for, for its loss not to count as a failed attempt.
STABLE_AFTER = 10.0

_GROWING = backoffPolicy(0.5, 60.0, 1.5, jitter=lambda: 0.0)


def default_backoff(attempt: int) -> float:
    """
    Seconds before an attempt: half a second, then half as much again each time, up to a minute; at random down to half
    of that, so that the clients of a server that was restarted do not come back all at once.
    """
    return _GROWING(attempt) * random.uniform(0.5, 1.0)


@implementer(INetwork)
class ProxyNetwork:
    """
    A network reached through a proxy server, ours or a JavaScript one::

        network = ProxyNetwork(clientFromString(reactor, "tcp:127.0.0.1:4978"))

    It connects by itself, and again whenever the link is lost; what was asked of it (lookups, announcements,
    listening) holds until it is closed, link or no link.  ``events`` tells ``connected()`` and ``disconnected(error)``.
    """

    def __init__(
        self,
        endpoints: IStreamClientEndpoint | Iterable[IStreamClientEndpoint] = (),
        *,
        key_pair: KeyPair | None = None,
        token: bytes | None = None,
        limits: Limits = CLIENT_LIMITS,
        backoff: Callable[[int], float] = default_backoff,
        reactor: Any = None,
    ) -> None:
        """
        :param endpoints: where servers are.  The next one is tried only when one has failed.  None at all: see
            :meth:`over`.
        :param key_pair: who to be in the network, on every link; by default somebody new.  The server learns the
            secret key: it acts for us.
        :param token: the credential that the server asks for.
        :param limits: of which ``window``, ``max_*`` of a client and the time-outs apply.
        :param backoff: attempt (0, 1, ...) -> seconds before it.
        :param reactor: an ``IReactorTime``; by default the global one.
        """
        self.clock = or_global(reactor)
        self.key_pair = key_pair or KeyPair.generate()
        self.token = token
        self.limits = limits
        self.events = Events("connected", "disconnected")
        self.listener: ProxyPort | None = None
        self.link: ClientLink | None = None
        #: As whom the server knows us; ``None`` when it has no identities, and before it has said so.
        self.public_key = key_pair.public_key if key_pair else None
        self._endpoints = [endpoints] if IStreamClientEndpoint.providedBy(endpoints) else list(endpoints)
        self._backoff = backoff
        self._topics: dict[bytes, JoinedTopic] = {}
        #: Connections asked for while there was no link.
        self._waiting: dict[Deferred[IProtocol], tuple[Peer, IProtocolFactory]] = {}
        self._online: Waiters[None] = Waiters()
        self._children: list[ProxyNetwork] = []
        self._factory = _LinkFactory(self)
        self._next_endpoint = 0
        self._failures = 0
        self._retry: Any = None
        self._dialling: Deferred[Any] | None = None
        self._suspended = False
        self._closed = False
        self._closing: Waiters[None] | None = Waiters()
        self._gone: Waiters[None] = Waiters()
        self._resumed: Waiters[None] = Waiters()
        self._ready_since = 0.0
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = self.clock
        self._connect_soon(0.0)

    @classmethod
    def over(cls, transport: Any, **options: Any) -> ProxyNetwork:
        """
        A network over a transport that is already connected; when that is lost, it is offline for good.

        :param transport: what it receives must go to the ``protocol`` that is set on it (Twisted's own transports
            do that).
        :param options: as for the class.
        """
        network = cls((), **options)
        link = ClientLink(network)
        transport.protocol = link
        link.makeConnection(transport)
        return network

    # The link.

    def _connect_soon(self, delay: float) -> None:
        if self._endpoints and self._retry is None and not self._closed and not self._suspended:
            self._retry = self.clock.callLater(delay, self._connect_now)

    def _connect_now(self) -> None:
        self._retry = None
        endpoint = self._endpoints[self._next_endpoint % len(self._endpoints)]
        self._dialling = maybeDeferred(endpoint.connect, self._factory)
        self._dialling.addTimeout(DIAL_TIMEOUT, self.clock)
        self._dialling.addCallbacks(self._dialled, self._dial_failed)

    def wants_link(self) -> bool:
        """May a connection that came about become the link?  An endpoint may not have minded being cancelled."""
        return self.link is None and not self._closed and not self._suspended

    def _dialled(self, _: object) -> None:
        self._dialling = None

    def _dial_failed(self, failure: Failure) -> None:
        self._dialling = None
        if not self._closed and not self._suspended:
            self._failed(LinkLostError(f"cannot reach the proxy server: {failure.getErrorMessage()}"))

    def _failed(self, problem: Exception, next_server: bool = True) -> None:
        """An attempt came to nothing, or not to much."""
        if next_server:
            self._next_endpoint += 1
        if self._failures == 0:
            log.warn("{problem}; trying again", problem=str(problem))
        self._failures += 1
        self._resumed.fire(None)
        self.events.emit("disconnected", problem)
        self._connect_soon(self._backoff(self._failures))

    def link_made(self, link: ClientLink) -> None:
        """The carrier is there; READY is not."""
        self.link = link
        if not self._ticker.running:
            self._ticker.start(TICK, now=False)

    def link_ready(self, link: ClientLink, public_key: bytes | None) -> None:
        """The server has answered: ask it for everything that was asked of us."""
        self._ready_since = self.clock.seconds()
        self.public_key = public_key
        for joined in list(self._topics.values()):
            joined.online(link)
        if self.listener is not None:
            self.listener.online(link)
        waiting, self._waiting = self._waiting, {}
        for done, (peer, factory) in waiting.items():
            if not done.called:
                link.connect(peer, factory, done)
        log.info("connected to the proxy server at {address}", address=link.transport.getPeer())
        self._online.fire(None)
        self._tell_resumed()
        self.events.emit("connected")

    def link_lost(self, link: ClientLink, problem: Exception) -> None:
        """The link is gone; its streams and requests have been told."""
        self.link = None
        if self._ticker.running:
            self._ticker.stop()
        for joined in list(self._topics.values()):
            joined.offline()
        if self.listener is not None:
            self.listener.offline()
        if self._offline_for_good:
            self._give_up(problem)
        if self._closed or self._suspended:
            if link.ready:
                self.events.emit("disconnected", problem)
        elif link.ready and self.clock.seconds() - self._ready_since >= STABLE_AFTER:
            self._failures = 0
            log.warn("the link to the proxy server is lost: {problem}", problem=str(problem))
            self.events.emit("disconnected", problem)
            self._connect_soon(self._backoff(0))
        else:
            self._failed(problem, next_server=not link.ready)
        self._gone.fire(None)

    def _give_up(self, problem: Exception) -> None:
        """Nothing that still waits will come about."""
        waiting, self._waiting = self._waiting, {}
        for done in waiting:
            if not done.called:
                done.errback(problem)
        self._online.fail(problem)
        for joined in list(self._topics.values()):
            joined.closed(problem)
        if self.listener is not None:
            self.listener.closed(problem)

    def _tick(self) -> None:
        if self.link is not None:
            self.link.tick(self.clock.seconds())

    @property
    def ready_link(self) -> ClientLink | None:
        """The link, if it is up and the server has said READY."""
        return self.link if self.link is not None and self.link.ready else None

    def when_online(self) -> Deferred[None]:
        """
        :returns: a Deferred that fires when the link is up and ready; it fails with ``ClosedError``, or with
            ``LinkError`` when there is none and will be none, and can be cancelled.
        """
        if self._closed:
            return fail(ClosedError())
        if self._offline_for_good:
            return fail(LinkLostError("there is no link to a proxy server"))
        if self.ready_link is not None:
            return succeed(None)
        return self._online.wait()

    # INetwork.

    @property
    def address(self) -> PeerAddress:
        """Our own address, as far as it is known."""
        return PeerAddress(Peer.keyed(self.public_key) if self.public_key else Peer(b"proxy"))

    def status(self) -> NetworkStatus:
        link = self.ready_link
        able = link is None or Feature.ROLES in link.features
        return NetworkStatus(link is not None, able, able, status_detail(link))

    def lookup(self, topic: bytes, receiver: IPeerReceiver) -> Lookup:
        return Lookup(self._topic(topic), receiver)

    def announce(self, topic: bytes) -> Announcement:
        return Announcement(self._topic(topic))

    def _topic(self, topic: bytes) -> JoinedTopic:
        topic = check_topic(topic)
        self._check_open()
        joined = self._topics.get(topic)
        if joined is None:
            joined = self._topics[topic] = JoinedTopic(self, topic, self.ready_link)
            if self._offline_for_good:
                joined.closed(LinkLostError("there is no link to a proxy server"))
        return joined

    def forget(self, joined: JoinedTopic) -> None:
        """Nobody is in the topic any more."""
        self._topics.pop(joined.topic, None)

    def peer_found(self, topic: bytes, peer: Peer) -> None:
        """The server's news."""
        joined = self._topics.get(topic)
        if joined is not None:
            joined.peer_found(peer)

    def lookup_updated(self, topic: bytes) -> None:
        """The server's news."""
        joined = self._topics.get(topic)
        if joined is not None:
            joined.lookup_updated()

    def connect(self, peer: Peer, factory: IProtocolFactory) -> Deferred[IProtocol]:
        try:
            self._check_open()
        except ClosedError as problem:
            return fail(problem)
        if self._offline_for_good:
            return fail(LinkLostError("there is no link to a proxy server"))
        done: Deferred[IProtocol] = Deferred(self._connect_cancelled)
        link = self.ready_link
        if link is not None:
            link.connect(peer, factory, done)
        else:
            self._waiting[done] = (peer, factory)
        return done.addTimeout(self.limits.connect_timeout + REPLY_MARGIN, self.clock, _time_out)

    def _connect_cancelled(self, done: Deferred[IProtocol]) -> None:
        self._waiting.pop(done, None)
        done.errback(ConnectCancelledError())

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Fires when a server says that peers can connect; until there is one, it waits."""
        if self._closed:
            return fail(ClosedError())
        if self.listener is not None:
            return fail(CannotListenError("proxy", str(self.address), Exception("something listens already")))
        if self._offline_for_good:
            return fail(LinkLostError("there is no link to a proxy server"))
        return ProxyPort(self, factory).open(self.ready_link)

    def with_identity(self, key_pair: KeyPair | None) -> ProxyNetwork:
        self._check_open()
        if not self._endpoints:
            raise NotSupportedError("an identity needs a link of its own, and this network has only one")
        child = ProxyNetwork(
            self._endpoints,
            key_pair=key_pair or KeyPair.generate(),
            token=self.token,
            limits=self.limits,
            backoff=self._backoff,
            reactor=self.clock,
        )
        self._children = [each for each in self._children if not each._closed]
        self._children.append(child)
        return child

    def suspend(self) -> Deferred[None]:
        self._suspended = True
        self._take_leave()
        return self._stop(LinkError("suspended"))

    def resume(self) -> Deferred[None]:
        """Fires when all is as before, or when that can't be had now: then it goes on trying."""
        self._suspended = False
        if self.link is None and self._dialling is None:
            self._connect_soon(0.0)
        resumed = self._resumed.wait()
        if self.ready_link is not None:
            self._tell_resumed()
        elif self._closed or self._offline_for_good:
            self._resumed.fire(None)
        return resumed

    def _tell_resumed(self) -> None:
        if self.listener is None:
            self._resumed.fire(None)
        else:  # whether the server has taken it up or not
            self.listener.listening().addBoth(lambda _: self._resumed.fire(None))

    def close(self) -> Deferred[None]:
        if not self._closed:
            self._closed = True
            problem = ClosedError("the network was closed")
            self._take_leave()
            self._give_up(problem)
            everything = [self._stop(problem), *(child.close() for child in self._children)]
            DeferredList(everything, consumeErrors=True).addCallback(lambda _: self._all_closed())
        return self._closing.wait() if self._closing is not None else succeed(None)

    def _all_closed(self) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            closing.fire(None)

    def _stop(self, problem: Exception) -> Deferred[None]:
        """Give up the link, or the attempt to make one."""
        self._resumed.fire(None)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._dialling is not None:
            self._dialling.cancel()
        if self.link is None:
            return succeed(None)
        gone = self._gone.wait()
        self.link.close(problem)
        return gone

    def _take_leave(self) -> None:
        """Tell the server that we shall not be back in a moment, so that nobody is to find us."""
        link = self.ready_link
        if link is None:
            return
        for topic in self._topics:
            link.request(EventType.LEAVE, topic).addErrback(_trap_ours)
        if self.listener is not None and Feature.ROLES in link.features:
            link.request(EventType.UNLISTEN).addErrback(_trap_ours)

    @property
    def _offline_for_good(self) -> bool:
        return self.link is None and not self._endpoints

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the network is closed")


class _LinkFactory(Factory):
    """Builds the network's link, as long as it wants one."""

    noisy = False

    def __init__(self, network: ProxyNetwork) -> None:
        self.network = network

    def buildProtocol(self, addr: IAddress | None) -> ClientLink | None:
        return ClientLink(self.network) if self.network.wants_link() else None


def _trap_ours(failure: Failure) -> None:
    """No answer is waited for."""
    failure.trap(SpaceswarmError)


def _time_out(result: IProtocol | Failure, seconds: float) -> IProtocol | Failure:
    if isinstance(result, Failure) and result.check(ConnectCancelledError):
        raise ConnectTimeoutError(f"no answer in {seconds:g} s")
    return result
