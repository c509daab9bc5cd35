"""
The policy on top of a network: one class, the same behaviour whatever the network is.

:class:`Swarm` itself only puts the parts together.  Each has a file and one subject:

* ``discovery``: the topics, and what each of them asks the network;
* ``dialer``: the connections that we make; its rules are ``retry``, ``queue``, ``flushes``;
* ``doorman``: the connections that are made to us; its rule for two with one peer is ``duplicates``;
* ``firewall``: the user's word on both; ``relaying``: his word on the way that they take;
* ``roster``: peers, connections, counters, events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from random import Random, SystemRandom
from types import MappingProxyType
from typing import Any

import txaio
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import ClosedError, SpaceswarmError
from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import INetwork, Peer
from spaceswarm_proxy.swarm.dialer import Dialer
from spaceswarm_proxy.swarm.discovery import Discovery, TopicStatus, checked_roles
from spaceswarm_proxy.swarm.doorman import Doorman
from spaceswarm_proxy.swarm.firewall import Firewall, FirewallRule
from spaceswarm_proxy.swarm.limits import SwarmLimits
from spaceswarm_proxy.swarm.peer_info import PeerInfo
from spaceswarm_proxy.swarm.relaying import Relaying, RelayRule, Relays
from spaceswarm_proxy.swarm.retry import RetryTimes
from spaceswarm_proxy.swarm.roster import Roster, SwarmStats
from spaceswarm_proxy.swarm.search import SearchContext
from spaceswarm_proxy.swarm.searches import Searches
from spaceswarm_proxy.topics import check_topic

log = txaio.make_logger()

#: Seconds that connections have to end by themselves when the swarm closes.
CLOSE_GRACE = 5.0


class Swarm:
    """
    Finds the peers of topics, keeps connections with them, and takes theirs.

    ``factory.buildProtocol`` is called with a :class:`~spaceswarm_proxy.interfaces.PeerAddress` for every connection,
    made or taken; ``None`` refuses it.  The protocol's transport is the network's own.  There is one connection at
    most with each peer.

    ``events`` tells of

    * ``connection(protocol, peer_info)``, ``disconnection(protocol, peer_info, reason)``: always in pairs; the reason
      is a ``Failure``;
    * ``peer(peer, topic)``: a peer was found; ``updated(topic)``: a round of looking for them is complete;
    * ``update()``: something has changed in connections or attempts;
    * ``ban(peer_info)``: the firewall has banned a peer;
    * ``connected()``, ``disconnected(error)``: the network is reachable, or ceased to be.
    """

    def __init__(
        self,
        network: INetwork,
        factory: IProtocolFactory,
        *,
        reactor: Any = None,
        max_peers: int = 64,
        max_parallel: int = 3,
        max_client_connections: float = inf,
        max_server_connections: float = inf,
        max_known_peers: int = 4096,
        firewall: FirewallRule | None = None,
        relay_through: Relays | RelayRule = None,
        random: Random | None = None,
        retry_times: RetryTimes | None = None,
        owns_network: bool = True,
    ) -> None:
        """
        :param network: what finds and reaches peers.
        :param factory: builds the protocol of each connection.
        :param max_peers: with so many connections, no more are made.  Peers asked for by name (:meth:`join_peer`,
            :meth:`connect`) are connected to all the same; connections that peers make to us are limited by
            ``max_server_connections``.
        :param max_parallel: connections that are being made at the same time, :meth:`connect` apart; one that takes
            longer than half a second counts no more, until there are sixteen times as many.
        :param max_client_connections: connections made by us.
        :param max_server_connections: connections made to us; further ones are refused.
        :param max_known_peers: records of peers; above it, the oldest that nobody needs makes room, or a new one is
            ignored.
        :param firewall: called with a peer and its :class:`~spaceswarm_proxy.swarm.peer_info.PeerInfo` (``None`` if
            there is none yet) before each connection; may answer with a Deferred.  True refuses it, and bans the peer.
        :param relay_through: public keys of blind relays, one or several, for peers to whom no hole could be punched,
            and for all while the network's ``randomized`` is true; or a function that says which, whenever there is a
            connection to be made: called with true for such a peer, else with false.
        :param random: for the order of peers and the length of pauses.
        :param retry_times: the pauses before a peer is tried again.
        :param owns_network: :meth:`close`, :meth:`suspend` and :meth:`resume` do the same to the network.
        :raises NotSupportedError: ``relay_through`` on a network that is no
            :class:`~spaceswarm_proxy.interfaces.IPeeringNetwork`: behind a proxy, its operator decides that.
        """
        self._network = network
        self._factory = factory
        self._reactor = or_global(reactor)
        self._owns_network = owns_network
        self._random = random or SystemRandom()
        limits = SwarmLimits(max_peers, max_parallel, max_client_connections, max_server_connections, max_known_peers)
        self._roster = Roster(network, max_known_peers, self._wanted)
        gate = Firewall(firewall, self._roster, self._reactor)
        times = retry_times or RetryTimes()
        relaying = Relaying(network, relay_through)
        self._dialer = Dialer(self._roster, gate, factory, limits, times, self._random, relaying, self._reactor)
        self._doorman = Doorman(self._roster, gate, factory, limits, self._dialer, relaying)
        self._searches = Searches(self._search_context())
        self._suspended = False
        self._listen_on_resume = False
        self._turns = DeferredLock()
        self._closing = False
        self._closed = False
        self._goodbye: Deferred[None] | None = None
        self._when_closed: Waiters[None] = Waiters()
        self._unsubscribe = self._subscribe()
        factory.doStart()

    def _search_context(self) -> SearchContext:
        return SearchContext(
            self._network,
            self._reactor,
            self._random,
            self._doorman.listen,
            self._dialer.found,
            lambda topic: self.events.emit("updated", topic),
            self._roster.connections.has,
        )

    def _wanted(self, info: PeerInfo) -> bool:
        return info.explicit or self._searches.are_any_joined(info.topics)

    # What there is.

    @property
    def network(self) -> INetwork:
        """The network below."""
        return self._network

    @property
    def events(self) -> Events:
        """See the class."""
        return self._roster.events

    @property
    def topics(self) -> tuple[bytes, ...]:
        """The topics that are joined, each 32 bytes."""
        return self._searches.topics

    @property
    def peers(self) -> Mapping[bytes, PeerInfo]:
        """The records of the peers that are of use, by the peer's id."""
        return MappingProxyType(self._roster.peers)

    @property
    def connections(self) -> tuple[IProtocol, ...]:
        """The user's protocols that are connected."""
        return tuple(c.protocol for c in self._roster.connections if c.is_open and c.protocol is not None)

    @property
    def connecting(self) -> int:
        """How many connections are being made."""
        return self._dialer.connecting

    @property
    def stats(self) -> SwarmStats:
        """What has happened so far, in numbers."""
        return self._roster.stats

    @property
    def suspended(self) -> bool:
        """Does it rest, after :meth:`suspend`?"""
        return self._suspended

    def status(self, topic: bytes) -> TopicStatus | None:
        """
        How it stands with a topic, and what the network can't do of what was asked.

        :param topic: 32 bytes.
        :returns: ``None`` if it isn't joined.
        """
        return self._searches.status(check_topic(topic))

    # Topics.

    def join(self, topic: bytes, server: bool = True, client: bool = True, limit: int | None = None) -> Discovery:
        """
        Look for the peers of a topic, or be one of them.  Joining it again adds to what was joined before.

        :param topic: 32 bytes.
        :param server: be found by others, and let them connect.
        :param client: find others, and connect to them.
        :param limit: new peers that each refresh may bring; ``None``: as many as there are.  Of several joins, the
            highest counts.
        :raises ValueError: not a topic, or neither of the roles.
        :raises ClosedError: the swarm is closed.
        """
        topic = check_topic(topic)
        roles = checked_roles(server, client)
        self._check_open()
        return self._searches.join(topic, roles, inf if limit is None else limit)

    def leave(self, topic: bytes) -> Deferred[None]:
        """
        Look for a topic's peers no more, and be none, however often it was joined.  Connections stay.

        :param topic: 32 bytes; one that isn't joined is left already.
        :returns: a Deferred that fires when the network knows.
        """
        return self._searches.leave(check_topic(topic))

    # Peers.

    def join_peer(self, peer: Peer | bytes) -> None:
        """
        Be connected with one very peer, whatever the limits on peers; it is tried again and again.

        :param peer: the peer, or its public key (32 bytes).
        :raises ClosedError: the swarm is closed.
        """
        self._check_open()
        self._dialer.join_peer(_as_peer(peer))

    def leave_peer(self, peer: Peer | bytes) -> None:
        """
        Undo :meth:`join_peer`; a connection stays.

        :param peer: the peer, or its public key (32 bytes).
        """
        self._dialer.leave_peer(_as_peer(peer))

    def connect(self, peer: Peer | bytes, factory: IProtocolFactory | None = None) -> Deferred[IProtocol]:
        """
        Connect to one peer now, once, whatever the limits.

        :param peer: the peer, or its public key (32 bytes).
        :param factory: builds the protocol; ``None``: the swarm's own.  A connection that there is already, or that is
            being made, will do if it is from the same factory.
        :returns: a Deferred of the user's protocol, connected.  It fails with a ``ConnectError``,
            ``DuplicateConnectionError`` if there is another connection with the peer, or what else the network says.
            Cancelled, it gives the attempt up.
        """
        if self._closing:
            return fail(ClosedError("the swarm is closed"))
        return self._dialer.connect(_as_peer(peer), factory)

    def listen(self) -> Deferred[None]:
        """
        Let peers connect to us, even if no topic is joined.

        :returns: a Deferred that fires when they can; it fails with ``NotSupportedError`` where they can't.
        """
        if self._closing:
            return fail(ClosedError("the swarm is closed"))
        return self._doorman.listen()

    def flush(self) -> Deferred[bool]:
        """
        Wait until every topic was looked for, and the peers that are known then were tried.

        :returns: a Deferred of true; of false when the swarm was closed or suspended meanwhile.
        """
        return Deferred.fromCoroutine(self._flush())

    async def _flush(self) -> bool:
        await DeferredList(self._searches.flushed(), consumeErrors=True)
        if self._closing or self._suspended:
            return False
        return await self._dialer.flush()

    # The network's news.

    def _subscribe(self) -> Callable[[], None]:
        events: Events = self._network.events
        ends = (events.on("connected", self._network_connected), events.on("disconnected", self._network_disconnected))

        def unsubscribe() -> None:
            for end in ends:
                end()

        return unsubscribe

    def _network_connected(self) -> None:
        self.events.emit("connected")
        if self._closing or self._suspended:
            return
        self._searches.refresh()
        self._dialer.start()

    def _network_disconnected(self, error: Exception) -> None:
        self.events.emit("disconnected", error)

    # Resting.

    def suspend(self) -> Deferred[None]:
        """
        Close all connections, be found no more, do nothing; topics stay joined.

        :returns: a Deferred that fires when all is quiet.
        """
        if self._closing:
            return fail(ClosedError("the swarm is closed"))
        return self._turns.run(lambda: Deferred.fromCoroutine(self._suspend()))

    async def _suspend(self) -> None:
        if self._suspended or self._closing:
            return
        self._suspended = True
        reason = ClosedError("the swarm is suspended")
        self._listen_on_resume = self._doorman.is_listening
        self._dialer.pause(reason)
        await _all([self._doorman.stop(reason), *self._searches.suspend()])
        await self._end_connections(reason)
        if self._owns_network:
            await self._network.suspend()

    def resume(self) -> Deferred[None]:
        """
        Undo :meth:`suspend`.

        :returns: a Deferred that fires when looking for peers has begun again.
        """
        if self._closing:
            return fail(ClosedError("the swarm is closed"))
        return self._turns.run(lambda: Deferred.fromCoroutine(self._resume()))

    async def _resume(self) -> None:
        if not self._suspended:
            return
        if self._owns_network:
            await self._network.resume()
        if self._closing:
            return
        self._suspended = False
        self._doorman.reopen()
        if self._listen_on_resume:
            self._doorman.listen().addErrback(_log_unexpected)
        self._searches.resume()
        self._dialer.resume()

    # Closing.

    def close(self, force: bool = False) -> Deferred[None]:
        """
        Leave all topics, let the connections end, close the network if it is the swarm's own.

        :param force: don't wait for what is being written or for the network to be told; may follow on a call without.
        :returns: a Deferred that fires when nothing is left; a second call likewise.
        """
        waiting = self._when_closed.wait()
        if self._closed:
            self._when_closed.fire(None)
        elif not self._closing:
            self._closing = True
            Deferred.fromCoroutine(self._close(force)).addErrback(_log_unexpected).addBoth(self._all_closed)
        elif force and self._goodbye is not None:
            self._goodbye.cancel()
        return waiting

    async def _close(self, force: bool) -> None:
        reason = ClosedError("the swarm is closed")
        self._unsubscribe()
        self._dialer.pause(reason)
        goodbye = self._goodbye = _all([self._doorman.stop(reason), *self._searches.leave_all(), *self._ask_to_end()])
        if force:
            goodbye.cancel()
        await goodbye.addTimeout(CLOSE_GRACE, self._reactor)
        await self._end_connections(reason)
        if self._owns_network:
            await self._network.close()

    def _ask_to_end(self) -> list[Deferred[None]]:
        ended = []
        for connection in self._roster.connections:
            ended.append(connection.when_ended())
            connection.close()
        return ended

    async def _end_connections(self, reason: SpaceswarmError) -> None:
        ended = []
        for connection in self._roster.connections:
            ended.append(connection.when_ended())
            connection.drop(reason)
        await _all(ended)

    def _all_closed(self, _: None) -> None:
        self._closed = True
        self._factory.doStop()
        self._when_closed.fire(None)

    def _check_open(self) -> None:
        if self._closing:
            raise ClosedError("the swarm is closed")


def _as_peer(peer: Peer | bytes) -> Peer:
    return peer if isinstance(peer, Peer) else Peer.keyed(peer)


def _all(steps: list[Deferred[None]]) -> Deferred[Any]:
    """
    :returns: a Deferred that fires when all have; one that fails is logged.  Cancelled, it waits for none of them any
        longer.
    """
    return DeferredList([step.addErrback(_log_unexpected) for step in steps])


def _log_unexpected(failure: Failure) -> None:
    if failure.check(CancelledError) is None:
        log.failure("a swarm could not end something", failure=failure)
