"""The proxy server: shows a network to whoever is at the other end of a byte stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import txaio
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, ITransport
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.budget import Budget
from spaceswarm_proxy.crypto.profile import PROFILES
from spaceswarm_proxy.errors import ClosedError, DrainingError, LimitError, NotSupportedError, ProtocolError, to_code
from spaceswarm_proxy.interfaces import HostPort, INetwork, ISealedNetwork, Peer
from spaceswarm_proxy.network.tcp import dial
from spaceswarm_proxy.proxy.features import ALL, Feature
from spaceswarm_proxy.proxy.identity import Identities
from spaceswarm_proxy.proxy.incoming import Handler, Incoming
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.lookups import SharedLookups
from spaceswarm_proxy.proxy.relay import Dial, Relay
from spaceswarm_proxy.proxy.server_link import ServerLink, token_matches
from spaceswarm_proxy.topics import check_topic

log = txaio.make_logger()

#: Seconds between two looks at the clock; time limits are kept to within this.
TICK = 1.0


@dataclass(slots=True)
class ServerStats:
    """What a server has seen since it was made; plain counters, to be read at any time."""

    clients: int = 0
    dials: int = 0
    dials_failed: int = 0
    streams: int = 0
    #: Protocol violations by kind, and limits reached by name.
    violations: Counter[str] = field(default_factory=Counter)
    limits: Counter[str] = field(default_factory=Counter)


class ProxyServer(Factory):
    """
    A factory whose every connection is a client of the proxy protocol; listen with it on any endpoint::

        server = ProxyServer(LocalHub().network())
        await serverFromString(reactor, "tcp:4978:interface=127.0.0.1").listen(server)

    Clients look up topics, connect to the peers found, and are found themselves, each by a key of its own where the
    network has such (:meth:`INetwork.with_identity`).  Nothing that a client does reaches another.
    """

    noisy = False

    def __init__(
        self,
        network: INetwork,
        *,
        announce: bool = False,
        end_to_end: bool = True,
        handle_incoming: Handler | None = None,
        tokens: Iterable[bytes] = (),
        limits: Limits | None = None,
        identity_grace: float = 0.0,
        reactor: Any = None,
    ) -> None:
        """
        :param network: what to show; it is closed by :meth:`close`.
        :param announce: announce the topics of clients that do not say (JavaScript ones can't), so that peers find
            them.
        :param end_to_end: let clients keep their secret keys, if they can and the network can.
        :param handle_incoming: announce the server itself under every topic that is joined, and have this build the
            protocols of the connections that come in: a protocol factory, or a function from a ``PeerAddress`` to a
            protocol.
        :param tokens: if there are any, a client must have one of them.
        :param limits: see :class:`Limits`.
        :param identity_grace: seconds for which a client that has given its key stays announced when its link is lost
            without a farewell: it may be back soon.
        :param reactor: an ``IReactorTime`` and ``IReactorTCP``; by default the global one.
        """
        self.network = network
        self.announce = announce
        self.end_to_end = end_to_end
        self.tokens = tuple(tokens)
        self.limits = limits or Limits()
        self.clock = or_global(reactor)
        self.stats = ServerStats()
        self.links: set[ServerLink] = set()
        self._incoming = None if handle_incoming is None else Incoming(network, handle_incoming)
        if self._incoming is not None:
            self.settle(self._incoming.listening)
        self.lookups = SharedLookups(
            network,
            self.clock,
            max_topics=self.limits.max_topics_total,
            min_refresh=self.limits.min_refresh,
            joined=self._topic_joined,
            left=self._topic_left,
        )
        self.identities = Identities(
            network, self.settle, self.lookups.peer_gone, grace=identity_grace, max_kept=self.limits.max_clients
        )
        self.draining = False
        #: Is it draining, and has the network been told all that takes the clients' signatures?
        self.lets_go = False
        self.closed = False
        self._per_address: Counter[str] = Counter()
        #: TCP services that the operator told the clients of.
        self._services: set[HostPort] = set()
        self._logged: dict[str, float] = {}
        self._lingering: dict[Relay, float] = {}
        #: Connections to peers, open or being made, for all clients.
        self.open_streams = 0
        #: Bytes of unfinished frames, over all clients.
        self.partial = Budget(self.limits.max_partial_total)
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = self.clock
        self._idle: Waiters[None] = Waiters()

    @property
    def features(self) -> Feature:
        """What it can do at this time."""
        return ALL if self.end_to_end and _seals(self.network) else ALL & ~Feature.END_TO_END

    # Links.

    def buildProtocol(self, address: IAddress | None) -> ServerLink | None:
        if self.closed:
            return None
        return ServerLink(self, address)

    def handle_stream(self, transport: ITransport) -> ServerLink:
        """
        Serve a client over a transport that is already connected.

        :param transport: any ``ITransport`` that is a producer and a consumer; from now on what it receives must go
            to the protocol returned (transports with a ``protocol`` attribute, as Twisted's own have, are changed
            to do so).
        :returns: the client's protocol; :meth:`ServerLink.close` or losing the transport ends it.
        :raises ClosedError: the server is closed.
        """
        if self.closed:
            raise ClosedError("the proxy server is closed")
        link = ServerLink(self, transport.getPeer())
        if hasattr(transport, "protocol"):
            transport.protocol = link
        link.makeConnection(transport)
        return link

    def admit(self, link: ServerLink) -> Exception | None:
        """A link has begun.  :returns: why it may not go on, if so."""
        host = _host(link.address)
        self.links.add(link)
        if host is not None:
            self._per_address[host] += 1
        self.stats.clients += 1
        self._keep_ticking()
        if self.draining:
            return DrainingError()
        if len(self.links) > self.limits.max_clients:
            return LimitError("max_clients", self.limits.max_clients)
        if host is not None and self._per_address[host] > self.limits.max_clients_per_address:
            return LimitError("max_clients_per_address", self.limits.max_clients_per_address)
        return None

    def left(self, link: ServerLink) -> None:
        """A link is gone."""
        self.links.discard(link)
        host = _host(link.address)
        if host is not None:
            self._per_address[host] -= 1
            if not self._per_address[host]:
                del self._per_address[host]
        self._rest()

    def authorized(self, token: bytes | None) -> bool:
        """May who has this token come in?"""
        return not self.tokens or token_matches(token, self.tokens)

    def stream_refused(self, count: int) -> LimitError | None:
        """:returns: the limit that another stream of a client that has ``count`` would break."""
        if count >= self.limits.max_streams:
            return LimitError("max_streams", self.limits.max_streams)
        if self.open_streams >= self.limits.max_streams_total:
            return LimitError("max_streams_total", self.limits.max_streams_total)
        return None

    def note(self, link: ServerLink, problem: BaseException) -> None:
        """Count what a client did wrong, and log it in a line; of a limit, one in a second: they are easily reached."""
        if isinstance(problem, ProtocolError):
            self.stats.violations[problem.kind] += 1
        elif isinstance(problem, LimitError):
            self.stats.limits[problem.name] += 1
            now = self.clock.seconds()
            if now - self._logged.get(problem.name, -TICK) < TICK:
                return
            self._logged[problem.name] = now
        # As text: whoever keeps the log's events would keep the link as well, by the exception's frames.
        code, text = to_code(problem)[0], str(problem)
        log.warn("client {address}: {code}: {problem}", address=link.address, code=code, problem=text)

    def settle(self, done: Deferred[Any]) -> None:
        """Nobody waits for this; a failure of it is logged."""
        done.addErrback(_log_unless_closed)

    # Peers.

    def dial(self, link: ServerLink, peer: Peer, attempt: Dial) -> Deferred[Any]:
        """Connect a client to a peer: a service that the operator named by itself, anybody else through the network."""
        if peer.address is not None and peer.address in self._services:
            return dial(self.clock, peer.address, attempt, timeout=None)
        # A peer without a key does not ask who comes, and its id may mean nothing but where it was found.
        network = link.network() if peer.public_key is not None else self.network
        result: Deferred[Any] = network.connect(peer, attempt)
        return result

    def connect_clients_to(self, topic: bytes, port: int, host: str = "127.0.0.1") -> None:
        """
        Tell the clients that have joined a topic of a TCP service, as of any peer found.

        :param topic: 32 bytes.
        :param port: 1-65535, at ``host``.
        """
        shared = self.lookups.get(check_topic(topic))
        if shared is not None:
            self._services.add(HostPort(host, port))
            shared.peer_found(Peer.at(host, port, frozenset({topic})))

    def _topic_joined(self, topic: bytes) -> None:
        if self._incoming is not None:
            self._incoming.joined(topic)

    def _topic_left(self, topic: bytes) -> None:
        if self._incoming is not None:
            self.settle(self._incoming.left(topic))

    # Time.

    def linger(self, relay: Relay) -> None:
        """Let a connection to a peer write what it has; each call grants it ``close_timeout`` from now."""
        self._lingering[relay] = self.clock.seconds() + self.limits.close_timeout
        self._keep_ticking()

    def lingered(self, relay: Relay) -> None:
        """It is gone."""
        if self._lingering.pop(relay, None) is not None:
            self._rest()

    def _keep_ticking(self) -> None:
        if not self._ticker.running:
            self._ticker.start(TICK, now=False)

    def _tick(self) -> None:
        now = self.clock.seconds()
        for link in tuple(self.links):
            link.tick(now)
        self.lookups.tick(now)
        self.identities.tick(now)
        for relay in [relay for relay, when in self._lingering.items() if now >= when]:
            relay.give_up()
        self._rest()

    def _rest(self) -> None:
        if self.links or self._lingering:
            return
        if self._ticker.running and not self.identities.kept:
            self._ticker.stop()
        self._idle.fire(None)

    # The end.

    def _keep_nothing(self) -> None:
        self.identities.close()
        self._rest()

    def when_idle(self) -> Deferred[None]:
        """:returns: a Deferred that fires when no client is left, and nothing of one."""
        if not self.links and not self._lingering:
            return succeed(None)
        return self._idle.wait()

    def drain(self, grace: float) -> Deferred[None]:
        """
        Take no new clients, topics or streams; give the streams that are there some time; then close.

        A client that understands why (*replies*) is let go as soon as it has no stream; it loses nothing by that.

        :param grace: seconds until the links are closed, whatever they carry.
        :returns: a Deferred that fires when the server is closed.
        """
        self.draining = True
        self._keep_nothing()
        self.identities.take_leave(self.clock).addCallback(self._let_go)
        waiting = self.when_idle()
        timer = self.clock.callLater(grace, waiting.cancel)
        waiting.addErrback(lambda _: None)

        def close(_: None) -> Deferred[None]:
            if timer.active():
                timer.cancel()
            return self.close()

        return waiting.addCallback(close)

    def _let_go(self, _: object) -> None:
        self.lets_go = True
        for link in tuple(self.links):
            link.tick(self.clock.seconds())

    def close(self) -> Deferred[None]:
        """
        Close every link, lookup and announcement, and the network.

        :returns: a Deferred that fires when nothing is left.  The ports that listen with this factory are their
            owner's to close.
        """
        self.closed = self.draining = True
        self._keep_nothing()
        return self.identities.take_leave(self.clock).addCallback(self._close)

    def _close(self, _: object) -> Deferred[None]:
        for link in tuple(self.links):
            link.close(ClosedError("the proxy server is closing"))
        done = self.when_idle()
        if self._incoming is not None:
            self.settle(self._incoming.close())
        return done.addCallback(lambda _: self.network.close())


def _seals(network: Any) -> bool:
    """Can a network be known by its clients' own keys, and do they know its names when they hear what it is called?"""
    if not ISealedNetwork.providedBy(network) or not network.seals:
        return False
    known = PROFILES.get(network.profile.name)
    return known is not None and known.label == network.profile.label


def _host(address: object) -> str | None:
    """The source address that clients are counted by; a UNIX socket or a pipe has none."""
    return getattr(address, "host", None)


def _log_unless_closed(failure: Failure) -> None:
    if failure.check(ClosedError, NotSupportedError) is None:
        log.failure("the network failed", failure=failure)
