"""``ProxyNetwork``: the network at the far end of a byte stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import txaio
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import SPACESWARM, Profile
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    ConnectTimeoutError,
    LinkError,
    LinkLostError,
    NotSupportedError,
)
from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import (
    IKeeper,
    INetwork,
    IPeerReceiver,
    ISealedNetwork,
    NetworkStatus,
    Peer,
    PeerAddress,
)
from spaceswarm_proxy.proxy.client_link import ClientLink, status_detail
from spaceswarm_proxy.proxy.dialler import Dialler, default_backoff
from spaceswarm_proxy.proxy.features import ALL, Feature, Role
from spaceswarm_proxy.proxy.joined import Announcement, JoinedTopic, Lookup
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.listening import ProxyPort
from spaceswarm_proxy.topics import check_topic

log = txaio.make_logger()

#: What a client allows its server: as much as a server allows a client, but more of its own user's data.
CLIENT_LIMITS = Limits(max_streams=4096, max_buffered=64 * 1024 * 1024)
#: Seconds between two looks at the clock.
TICK = 1.0
#: Seconds by which the server's own time limit for a connection comes first, so that its reason is the one told.
REPLY_MARGIN = 5.0
#: Seconds that a link must have been ready for, for its loss not to count as a failed attempt.
STABLE_AFTER = 10.0


@implementer(INetwork, ISealedNetwork)
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
        key_pair: KeyPair | IKeeper | None = None,
        end_to_end: bool | None = None,
        token: bytes | None = None,
        limits: Limits = CLIENT_LIMITS,
        backoff: Callable[[int], float] = default_backoff,
        reactor: Any = None,
    ) -> None:
        """
        :param endpoints: where servers are.  The next one is tried only when one has failed.  None at all: see
            :meth:`over`.
        :param key_pair: who to be in the network, on every link; by default somebody new.
        :param end_to_end: keep the secret key here, so that the server carries only what it can't read.  By default
            that is so whenever the server can; ``True`` has nothing to do with one that can't; with ``False`` the
            server learns the key, and acts for us.
        :param token: the credential that the server asks for.
        :param limits: of which ``window``, ``max_*`` of a client and the time-outs apply.
        :param backoff: attempt (0, 1, ...) -> seconds before it.
        :param reactor: an ``IReactorTime``; by default the global one.
        :raises ValueError: the server is to have a key that is not here.
        """
        if end_to_end is False and not isinstance(key_pair, KeyPair | None):
            raise ValueError("a key that is kept elsewhere can't be given to a server")
        self.clock = or_global(reactor)
        self.key_pair = KeyPair.generate() if key_pair is None else key_pair
        self.end_to_end = end_to_end
        #: What we can do, on every link.
        self.features = ALL & ~Feature.END_TO_END if end_to_end is False else ALL
        self.token = token
        self.limits = limits
        self.events = Events("connected", "disconnected")
        self.listener: ProxyPort | None = None
        self.link: ClientLink | None = None
        #: As whom the server knows us; ``None`` when it has no identities, and before it has said so.
        self.public_key = None if key_pair is None else key_pair.public_key
        self._topics: dict[bytes, JoinedTopic] = {}
        #: Connections asked for while there was no link.
        self._waiting: dict[Deferred[IProtocol], tuple[Peer, IProtocolFactory]] = {}
        self._online: Waiters[None] = Waiters()
        self._children: list[ProxyNetwork] = []
        where = [endpoints] if IStreamClientEndpoint.providedBy(endpoints) else list(endpoints)
        self._dialler = Dialler(self.clock, where, backoff, _LinkFactory(self), self._failed, self._wants_links)
        #: The names of the network behind the server, since it lets us keep the key; for as long as it does.
        self._sealed_profile: Profile | None = None
        self._suspended = False
        self._closed = False
        self._closing: Waiters[None] | None = Waiters()
        self._gone: Waiters[None] = Waiters()
        self._resumed: Waiters[None] = Waiters()
        #: Are we taking leave of a server?  Who waits for the end of that?
        self._leaving = False
        self._left: Waiters[None] = Waiters()
        self._ready_since = 0.0
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = self.clock
        self._dialler.now()

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

    def _wants_links(self) -> bool:
        return not (self._closed or self._suspended or self._leaving)

    def wants_link(self) -> bool:
        """May a connection that came about become the link?  An endpoint may not have minded being cancelled."""
        return self.link is None and self._wants_links()

    def _failed(self, problem: Exception, next_server: bool = True) -> None:
        """An attempt came to nothing, or not to much."""
        if self._dialler.failures == 0:
            log.warn("{problem}; trying again", problem=str(problem))
        self._dialler.missed(next_server)
        self._resumed.fire(None)
        self.events.emit("disconnected", problem)
        self._dialler.later()

    def link_made(self, link: ClientLink) -> None:
        """The carrier is there; READY is not."""
        self.link = link
        if not self._ticker.running:
            self._ticker.start(TICK, now=False)

    def link_ready(self, link: ClientLink, public_key: bytes | None) -> None:
        """The server has answered: ask it for everything that was asked of us."""
        self._ready_since = self.clock.seconds()
        self.public_key = public_key
        self._sealed_profile = None if link.sealed is None else link.sealed.sealer.profile
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
        self._offline()
        if self._offline_for_good:
            self._give_up(problem)
        if not self._wants_links():
            if link.ready:
                self.events.emit("disconnected", problem)
        elif link.ready and self.clock.seconds() - self._ready_since >= STABLE_AFTER:
            self._dialler.failures = 0
            log.warn("the link to the proxy server is lost: {problem}", problem=str(problem))
            self.events.emit("disconnected", problem)
            self._dialler.later()
        else:
            self._failed(problem, next_server=not link.ready)
        self._gone.fire(None)

    def _offline(self) -> None:
        """Nothing more can be asked of the server."""
        for joined in list(self._topics.values()):
            joined.offline()
        if self.listener is not None:
            self.listener.offline()

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
        """The link, if it is up and the server has said READY, and we are not taking leave of it."""
        return self.link if self.link is not None and self.link.ready and not self._leaving else None

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

    # What it is, and who we are there.

    @property
    def secret_key(self) -> bytes:
        """
        Ours, for a server that acts for us: 64 bytes.

        :raises NotSupportedError: it is not in this process.
        """
        if not isinstance(self.key_pair, KeyPair):
            raise NotSupportedError("the secret key is elsewhere, and the server can't do without it")
        return self.key_pair.secret_key

    @property
    def seals(self) -> bool:
        """
        See :class:`~spaceswarm_proxy.interfaces.ISealedNetwork`.

        What the last server could the next one can; so that nobody gives us a key only because the link is down.
        """
        return bool(self._dialler.endpoints) and self._sealed_profile is not None

    @property
    def profile(self) -> Profile:
        """See :class:`~spaceswarm_proxy.interfaces.ISealedNetwork`; known while it :attr:`seals`."""
        return self._sealed_profile or SPACESWARM

    def is_announced(self, topic: bytes) -> bool:
        """Do we want to be found under a topic?"""
        joined = self._topics.get(topic)
        return joined is not None and Role.ANNOUNCE in joined.roles

    @property
    def wants_visitors(self) -> bool:
        """Are others to be able to connect to us?"""
        return self.listener is not None or any(Role.ANNOUNCE in joined.roles for joined in self._topics.values())

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
        if self.link is not None:
            self.link.cancelled(done)

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Fires when a server says that peers can connect; until there is one, it waits."""
        if self._closed:
            return fail(ClosedError())
        if self.listener is not None:
            return fail(CannotListenError("proxy", str(self.address), Exception("something listens already")))
        if self._offline_for_good:
            return fail(LinkLostError("there is no link to a proxy server"))
        return ProxyPort(self, factory).open(self.ready_link)

    def with_identity(self, key_pair: KeyPair | IKeeper | None) -> ProxyNetwork:
        self._check_open()
        if not self._dialler.endpoints:
            raise NotSupportedError("an identity needs a link of its own, and this network has only one")
        child = ProxyNetwork(
            self._dialler.endpoints,
            key_pair=KeyPair.generate() if key_pair is None else key_pair,
            end_to_end=self.end_to_end if key_pair is None or isinstance(key_pair, KeyPair) else True,
            token=self.token,
            limits=self.limits,
            backoff=self._dialler.backoff,
            reactor=self.clock,
        )
        self._children = [each for each in self._children if not each._closed]
        self._children.append(child)
        return child

    def suspend(self) -> Deferred[None]:
        self._suspended = True
        return self._leave(LinkError("suspended"))

    def resume(self) -> Deferred[None]:
        """Fires when all is as before, or when that can't be had now: then it goes on trying."""
        self._suspended = False
        resumed = self._resumed.wait()
        if self.ready_link is not None:
            self._tell_resumed()
        elif self._closed or self._offline_for_good:
            self._resumed.fire(None)
        elif self.link is None:
            self._dialler.now()
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
            left = self._leave(problem)
            self._give_up(problem)
            everything = [left, *(child.close() for child in self._children)]
            DeferredList(everything, consumeErrors=True).addCallback(lambda _: self._all_closed())
        return self._closing.wait() if self._closing is not None else succeed(None)

    def _all_closed(self) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            closing.fire(None)

    def _leave(self, problem: Exception) -> Deferred[None]:
        """Take leave of the server, and give up the link, or the attempt to make one."""
        self._resumed.fire(None)
        left = self._left.wait()
        if not self._leaving:
            link = self.ready_link
            farewell = succeed(None) if link is None else link.farewell(self._topics, self.listener is not None)
            self._leaving = True
            self._offline()
            farewell.addCallback(lambda _: self._stop(problem)).addCallback(self._has_left)
        return left

    def _stop(self, problem: Exception) -> Deferred[None]:
        self._dialler.stop()
        if self.link is None:
            return succeed(None)
        gone = self._gone.wait()
        self.link.close(problem)
        return gone

    def _has_left(self, _: None) -> None:
        self._leaving = False
        self._dialler.now()  # if it was resumed meanwhile
        self._left.fire(None)

    @property
    def _offline_for_good(self) -> bool:
        return self.link is None and not self._dialler.endpoints

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


def _time_out(result: IProtocol | Failure, seconds: float) -> IProtocol | Failure:
    if isinstance(result, Failure) and result.check(ConnectCancelledError):
        raise ConnectTimeoutError(f"no answer in {seconds:g} s")
    return result
