"""
Making connections: whom to, when, how many at once, and when again.

A peer's record goes round: found (or asked for) -> queued -> being dialled -> connected -> ended -> waiting -> queued
... The rules are those of Hyperswarm 4 (priorities, back-off, explicit peers).  In some things this is more careful:

* A peer that waits until it may be tried again is put in the queue early only by its first report in a round of a
  lookup; a network that reports the same peer again and again does not undo the back-off.
* What fails because the network itself is not reachable does not count against the peer, and until it is, nothing is
  tried.
* A connection that takes long does not keep others from being begun: see ``dialling``.
* When a connection that the peer has made breaks off, we try as well, if we look for it; there only who made it does.
* A queued peer is dropped when its turn comes and all topics that it was found under have been left.

How much explicit peers take of ``max_peers`` is Hyperswarm's rule too; in its fork they take no more than others.
"""

from __future__ import annotations

from random import Random
from typing import Any

import txaio
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.errors import (
    ConnectCancelledError,
    DuplicateConnectionError,
    FirewallError,
    LinkError,
    PeerUnreachableError,
    SpaceswarmError,
)
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.swarm.connections import Connection, State
from spaceswarm_proxy.swarm.dialling import Dialling
from spaceswarm_proxy.swarm.firewall import Firewall
from spaceswarm_proxy.swarm.flushes import Flushes
from spaceswarm_proxy.swarm.limits import SwarmLimits
from spaceswarm_proxy.swarm.peer_info import PeerInfo
from spaceswarm_proxy.swarm.queue import ShuffledQueue
from spaceswarm_proxy.swarm.relaying import Relaying
from spaceswarm_proxy.swarm.retry import EAGER_ATTEMPTS, Delay, RetrySchedule, RetryTimes, choose_delay
from spaceswarm_proxy.swarm.roster import Roster

log = txaio.make_logger()


@implementer(IProtocolFactory)
class _DialFactory:
    """What the network builds the one protocol of an attempt with."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def doStart(self) -> None:
        """The user's factory is started by the swarm."""

    def doStop(self) -> None:
        """The user's factory is stopped by the swarm."""

    def buildProtocol(self, address: IAddress) -> IProtocol | None:
        connection = self._connection
        if connection.ending is not None or connection.state is not State.DIALLING:
            return None
        protocol = connection.user_factory.buildProtocol(address)
        if protocol is None:
            return None
        connection.accept(protocol)
        return connection


class Dialer:
    """Everything that a swarm does to be connected to others."""

    def __init__(
        self,
        roster: Roster,
        firewall: Firewall,
        factory: IProtocolFactory,
        limits: SwarmLimits,
        times: RetryTimes,
        random: Random,
        relaying: Relaying,
        reactor: Any,
    ) -> None:
        """:param relaying: the network."""
        self.connections = roster.connections
        self.flushes: Flushes[PeerInfo] = Flushes()
        self._roster = roster
        self._firewall = firewall
        self._factory = factory
        self._limits = limits
        self._times = times
        self._relaying = relaying
        self._reactor = reactor
        self._queue: ShuffledQueue[PeerInfo] = ShuffledQueue(random.randrange)
        self._schedule: RetrySchedule[PeerInfo] = RetrySchedule(times.draw(random.uniform))
        self._timer: Any = None
        self._deadline: float | None = None
        self._dialling: Dialling[Connection] = Dialling(reactor, limits.max_parallel, self.start)
        self._explicit: dict[PeerInfo, None] = {}
        self._starting = False
        self._paused = False

    @property
    def connecting(self) -> int:
        """How many connections are being made."""
        return len(self._dialling)

    # Whom to connect to.

    def found(self, peer: Peer, topic: bytes, first_in_round: bool) -> None:
        """A lookup has reported a peer."""
        if self._roster.is_self(peer):
            return
        info = self._roster.peers.note(peer)
        if info is None:
            return
        info.topics.add(topic)
        self._roster.events.emit("peer", peer, topic)
        if self.connections.has(peer.id) or (info.waiting and not first_in_round):
            return
        if not info.prioritized or not info.client:
            info.reset()
        self._enqueue(info)

    def join_peer(self, peer: Peer) -> None:
        """Keep up a connection with this very peer."""
        if self._roster.is_self(peer):
            return
        info = self._roster.peers.note(peer, must=True)
        assert info is not None  # that is what ``must`` means
        info.explicit = True
        self._explicit[info] = None
        if not self.connections.has(peer.id):
            self._enqueue(info)

    def leave_peer(self, peer: Peer) -> None:
        """It is a peer like any other again."""
        info = self._roster.peers.get(peer.id)
        if info is not None:
            info.explicit = False
            self._explicit.pop(info, None)
            self._roster.peers.forget(info)
            # With fewer explicit peers there may be room for others.
            self.start()

    def _enqueue(self, info: PeerInfo) -> None:
        self._put_in_queue(info)
        self.start()

    def _put_in_queue(self, info: PeerInfo) -> None:
        if info.prepare():
            info.queued = True
            self._queue.add(info, info.priority)

    # How many at once.

    @property
    def _has_room(self) -> bool:
        """May there be another connection?  The more peers were asked for by name, the sooner there may not."""
        explicit = len(self._explicit)
        factor = (1, 2, 3, 3)[explicit] if explicit < 4 else 4
        return (
            factor * len(self.connections) < self._limits.max_peers
            and self.connections.client_count < self._limits.max_client_connections
        )

    @property
    def _has_slot(self) -> bool:
        """May another be begun at the same time?"""
        return not self._paused and not self._dialling.is_full

    def start(self) -> None:
        """Begin as many connections as there may be."""
        if self._starting or self._paused or not self._roster.online:
            return
        self._starting = True
        try:
            self._start_explicit()
            while self._queue and self._has_slot and self._has_room:
                self._start_next()
        finally:
            self._starting = False
        if not self.connecting and not self._has_room:
            self.flushes.finish(True)

    def _start_explicit(self) -> None:
        now = self._reactor.seconds()
        for info in tuple(self._explicit):
            if not self._has_slot:
                return
            rested = now - info.disconnected_at >= info.attempts
            if rested and info.attempts < EAGER_ATTEMPTS and self._may_dial(info):
                self._dial(info)

    def _start_next(self) -> None:
        info = self._queue.pop()
        info.queued = False
        if self._may_dial(info) and self._roster.wanted(info):
            self._dial(info)
        else:
            self._roster.peers.forget(info)
            self.flushes.settle(info)

    def _may_dial(self, info: PeerInfo) -> bool:
        return not info.banned and not self.connections.has(info.peer.id)

    # Connecting.

    def _dial(self, info: PeerInfo) -> None:
        self._begin(Connection(self, info, True, self._factory))

    def _begin(self, connection: Connection) -> None:
        self.connections.add(connection)
        self._dialling.add(connection)
        if connection.user_factory is not self._factory:
            connection.user_factory.doStart()
        attempt = connection.attempt = Deferred.fromCoroutine(self._attempt(connection))
        attempt.addCallbacks(self._dialled, self._failed, callbackArgs=(connection,), errbackArgs=(connection,))
        if connection.ending is not None:
            attempt.cancel()
        if connection.state is State.DIALLING:
            self._roster.tell_update()

    async def _attempt(self, connection: Connection) -> None:
        peer = connection.peer_info.peer
        await self._firewall.admit(peer)
        self._roster.stats.attempts += 1
        await self._relaying.connect(connection.peer_info, _DialFactory(connection))

    def _dialled(self, _: None, connection: Connection) -> None:
        if connection.state is State.OPEN and connection.protocol is not None:
            connection.callers.fire(connection.protocol)
        elif connection.state is State.DIALLING and connection.transport is None:
            connection.end(Failure(PeerUnreachableError("the network opened a stream without a transport")))

    def _failed(self, failure: Failure, connection: Connection) -> None:
        if failure.check(SpaceswarmError, CancelledError) is None:
            log.failure("connecting to {peer} failed", failure=failure, peer=connection.peer_info.peer)
        if failure.check(CancelledError):
            failure = Failure(ConnectCancelledError())
        if connection.transport is None:
            connection.end(failure)

    def opened(self, connection: Connection) -> None:
        """See :class:`~spaceswarm_proxy.swarm.connections.Owner`."""
        info = connection.peer_info
        self._dialling.discard(connection)
        self._roster.stats.opened_by_client += 1
        info.connected(self._reactor.seconds())
        self._roster.tell_opened(connection)
        self.flushes.settle(info)
        self._roster.tell_update()
        self.start()

    def ended(self, connection: Connection, reason: Failure) -> None:
        """See :class:`~spaceswarm_proxy.swarm.connections.Owner`."""
        info = connection.peer_info
        was_open = connection not in self._dialling
        self._dialling.discard(connection)
        self._count_end(reason, was_open)
        if not was_open:
            self._relaying.failed(info, reason)
        blameless = self._paused or reason.check(LinkError) is not None or not self._roster.online
        info.disconnected(self._reactor.seconds(), self._times.forgive_after, counts=not blameless)
        self._retry_later(info)
        self._roster.peers.forget(info)
        if connection.user_factory is not self._factory:
            connection.user_factory.doStop()
        if was_open:
            self._roster.tell_ended(connection, reason)
        self.flushes.settle(info)

    def _count_end(self, reason: Failure, was_open: bool) -> None:
        stats = self._roster.stats
        if was_open:
            stats.closed_by_client += 1
        elif reason.check(FirewallError):
            stats.refused += 1
        else:
            stats.failed += 1

    def room(self) -> None:
        """See :class:`~spaceswarm_proxy.swarm.connections.Owner`."""
        self.start()
        self._roster.tell_update()

    # Trying again.

    def _retry_later(self, info: PeerInfo) -> None:
        if self._paused or info.banned or not info.reconnecting or not self._roster.wanted(info):
            return
        delay = choose_delay(info.attempts, info.proven, info.explicit)
        if delay is not None:
            info.waiting = True
            self._schedule.add(info, delay, self._reactor.seconds())
            self._arm()

    def broke_off(self, info: PeerInfo) -> None:
        """A connection that the peer had made broke off: see to another one, unless the peer does before."""
        if not (self._paused or info.banned or info.queued) and info.reconnecting and self._roster.wanted(info):
            info.waiting = True
            self._schedule.add(info, Delay.MEDIUM, self._reactor.seconds())
            self._arm()

    def _arm(self) -> None:
        deadline = self._schedule.deadline()
        if deadline == self._deadline:
            return
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._deadline = deadline
        if deadline is not None:
            self._timer = self._reactor.callLater(max(0.0, deadline - self._reactor.seconds()), self._on_beat, deadline)

    def _on_beat(self, deadline: float) -> None:
        self._deadline = None
        # Rounding must not make the beat early by its own measure.
        for info in self._schedule.due(max(deadline, self._reactor.seconds())):
            info.waiting = False
            if self.connections.has(info.peer.id):
                continue
            self._put_in_queue(info)
            self._roster.peers.forget(info)
        self._arm()
        self.start()

    # One peer by hand.

    def connect(self, peer: Peer, factory: IProtocolFactory | None) -> Deferred[IProtocol]:
        """See :meth:`~spaceswarm_proxy.swarm.Swarm.connect`."""
        existing = self.connections.get(peer.id)
        if existing is None:
            return self._connect_by_hand(peer, factory or self._factory)
        if existing.ending is None and factory in (None, existing.user_factory):
            return self._wait_for(existing) if existing.protocol is None else succeed(existing.protocol)
        return fail(DuplicateConnectionError("there is a connection with this peer already"))

    def _connect_by_hand(self, peer: Peer, factory: IProtocolFactory) -> Deferred[IProtocol]:
        if self._paused:
            return fail(ConnectCancelledError("the swarm is suspended"))
        info = self._roster.peers.note(peer, must=True)
        assert info is not None  # that is what ``must`` means
        connection = Connection(self, info, True, factory)
        connection.by_hand = True
        # It may open or fail at once.
        waiting = self._wait_for(connection)
        self._begin(connection)
        return waiting

    def _wait_for(self, connection: Connection) -> Deferred[IProtocol]:
        return connection.callers.wait().addErrback(self._caller_left, connection)

    def _caller_left(self, failure: Failure, connection: Connection) -> Failure:
        if failure.check(CancelledError) and connection.by_hand and not connection.callers:
            connection.drop(ConnectCancelledError())
        return failure

    # All of it.

    def flush(self) -> Deferred[bool]:
        """
        :returns: a Deferred that fires when those who are queued or being dialled now have been tried; false if given
            up.
        """
        if not self.connecting and not self._has_room:
            return succeed(True)
        return self.flushes.wait([*self._queue, *(connection.peer_info for connection in self._dialling)])

    def pause(self, reason: SpaceswarmError) -> None:
        """Give up whatever is being dialled, and all who wait; begin nothing until :meth:`resume`."""
        self._paused = True
        self.flushes.finish(False)
        for connection in tuple(self._dialling):
            connection.drop(reason)
        for info in self._queue.clear() + self._schedule.clear():
            info.queued = info.waiting = False
            self._roster.peers.forget(info)
        self._arm()

    def resume(self) -> None:
        """Undo :meth:`pause`; those who were found before must be found again."""
        self._paused = False
        for info in self._explicit:
            if not self.connections.has(info.peer.id):
                self._put_in_queue(info)
        self.start()
