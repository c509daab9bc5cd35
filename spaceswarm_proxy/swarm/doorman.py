"""
Taking the connections that peers make to us: listening, and whom to let in.

The network asks for a protocol the moment a stream is open.  Mostly the answer is there at once.  Where it is not,
because the firewall thinks about it or because another connection must end first, the stream is held: its protocol is
ours alone, its transport is paused, and the user hears of it only if it is admitted.  There are few places to be held
in.

Where the network can do that, the firewall is asked before there is any stream, and whoever is refused hears nothing;
elsewhere his stream is ended.

Which of two connections with one peer stays is Hyperswarm 4's rule; it does not enforce ``max_server_connections``, and
we do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import txaio
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    DuplicateConnectionError,
    FirewallError,
    LimitError,
    NotSupportedError,
    SpaceswarmError,
    StreamError,
)
from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.swarm.connections import Connection
from spaceswarm_proxy.swarm.dialer import Dialer
from spaceswarm_proxy.swarm.duplicates import keep_new
from spaceswarm_proxy.swarm.firewall import Firewall
from spaceswarm_proxy.swarm.limits import SwarmLimits
from spaceswarm_proxy.swarm.peer_info import PeerInfo
from spaceswarm_proxy.swarm.relaying import Relaying
from spaceswarm_proxy.swarm.roster import Roster

log = txaio.make_logger()

#: Arriving connections that may be held at the same time; further ones are refused.
MAX_HELD = 64


@implementer(IProtocolFactory)
class Doorman:
    """The factory that a swarm listens with, and the port."""

    def __init__(
        self,
        roster: Roster,
        firewall: Firewall,
        factory: IProtocolFactory,
        limits: SwarmLimits,
        dialer: Dialer,
        relaying: Relaying,
    ) -> None:
        """
        :param dialer: is told when there is room again.
        :param relaying: the network.
        """
        self.connections = roster.connections
        self._roster = roster
        self._firewall = firewall
        self._factory = factory
        self._limits = limits
        self._dialer = dialer
        self._relaying = relaying
        self._held: dict[Connection, None] = {}
        #: What is being decided before there is a stream; the network bounds how many that are.
        self._decisions: set[Deferred[bool]] = set()
        self._open = True
        self._port: IListeningPort | None = None
        self._opening: Deferred[IListeningPort] | None = None
        self._listening: Waiters[None] = Waiters()

    # Listening.

    def listen(self) -> Deferred[None]:
        """
        Be there for peers who connect to us, from now on.

        :returns: a Deferred that fires when we are; it fails with what the network says, or ``NotSupportedError``.
        """
        waiting = self._listening.wait()
        if not self._open:
            self._listening.fail(ClosedError("the swarm takes no connections now"))
        elif self._port is not None:
            self._listening.fire(None)
        elif self._opening is None:
            self._begin_to_listen()
        return waiting

    def _begin_to_listen(self) -> None:
        status = self._roster.network.status()
        if status.online and not status.listens:
            self._listening.fail(NotSupportedError(status.detail or "peers cannot connect to this network"))
            return
        opening = maybeDeferred(self._relaying.listen, self, self.is_refused)
        self._opening = opening
        opening.addCallbacks(self._opened_port, self._not_opened)

    def _opened_port(self, port: IListeningPort) -> None:
        self._opening = None
        self._port = port
        self._listening.fire(None)

    def _not_opened(self, failure: Failure) -> None:
        self._opening = None
        self._listening.fail(failure)

    @property
    def is_listening(self) -> bool:
        """Can peers connect to us, or will they soon?"""
        return self._port is not None or self._opening is not None

    def stop(self, reason: SpaceswarmError) -> Deferred[None]:
        """
        Take no more connections, and let go of those that are held.

        :returns: a Deferred that fires when the network listens no more.
        """
        self._open = False
        for connection in tuple(self._held):
            connection.drop(reason)
        for decision in tuple(self._decisions):
            decision.cancel()
        if self._opening is not None:
            self._opening.cancel()
        port, self._port = self._port, None
        return succeed(None) if port is None else _stop(port)

    def reopen(self) -> None:
        """Undo :meth:`stop`, but for listening."""
        self._open = True

    # Whom to let in.

    def doStart(self) -> None:
        """The user's factory is started by the swarm."""

    def doStop(self) -> None:
        """The user's factory is stopped by the swarm."""

    def is_refused(self, address: PeerAddress) -> Deferred[bool]:
        """The network: a peer wants to connect, and there is no stream yet.  :returns: a Deferred; true refuses it."""
        decision = Deferred.fromCoroutine(self._refuses(address.peer))
        if not decision.called:
            self._decisions.add(decision)
            decision.addBoth(self._decided, decision)
        return decision

    async def _refuses(self, peer: Peer) -> bool:
        if not self._open:
            return True
        try:
            await self._firewall.admit(peer)
        except FirewallError:
            self._roster.stats.refused += 1
            return True
        except CancelledError:
            return True
        return False

    def _decided(self, result: bool, decision: Deferred[bool]) -> bool:
        self._decisions.discard(decision)
        return result

    def buildProtocol(self, address: IAddress) -> IProtocol | None:
        """The network: a peer has connected."""
        arrival = Connection(self, self._info_for(cast(PeerAddress, address)), False, self._factory)
        self._held[arrival] = None
        decision = arrival.attempt = Deferred.fromCoroutine(self._decide(arrival, address))
        decision.addErrback(self._turn_away, arrival)
        if not decision.called and len(self._held) > MAX_HELD:
            arrival.drop(LimitError("max_held", MAX_HELD))
        return None if arrival.ending is not None else arrival

    def _info_for(self, address: PeerAddress) -> PeerInfo:
        """The record that there is, or one that is put in the table only when the connection is admitted."""
        return self._roster.peers.get(address.peer.id) or PeerInfo(address.peer)

    async def _decide(self, arrival: Connection, address: IAddress) -> None:
        peer = arrival.peer_info.peer
        if not self._open:
            raise ClosedError("the swarm takes no connections now")
        if self._relaying.asks_first:
            self._firewall.check(peer)
        else:
            await self._firewall.admit(peer)
        if arrival.known_by_id:
            await self._replace_existing(arrival)
        if self.connections.server_count >= self._limits.max_server_connections:
            raise LimitError("max_server_connections", self._limits.max_server_connections)
        protocol = self._factory.buildProtocol(address)
        if protocol is None:
            raise FirewallError("refused by the factory")
        self._admit(arrival, protocol)

    async def _replace_existing(self, arrival: Connection) -> None:
        """
        Return when there is no other connection with the peer.

        :raises DuplicateConnectionError: there is, and it stays.
        """
        peer = arrival.peer_info.peer
        while (existing := self.connections.get(peer.id)) is not None:
            own, theirs = self._roster.own_key or b"", peer.public_key or b""
            if existing.ending is None:
                self._roster.stats.duplicates += 1
                if not keep_new(own, theirs, existing.is_active, new_is_initiator=False):
                    existing.prod()
                    raise DuplicateConnectionError()
            ended = existing.when_ended()
            existing.drop(DuplicateConnectionError())
            await ended

    def _admit(self, arrival: Connection, protocol: IProtocol) -> None:
        del self._held[arrival]
        if arrival.known_by_id:
            info = self._roster.peers.note(arrival.peer_info.peer, must=True)
            assert info is not None  # that is what ``must`` means
            arrival.peer_info = info
        self.connections.add(arrival)
        arrival.accept(protocol)

    def _turn_away(self, failure: Failure, arrival: Connection) -> None:
        self._held.pop(arrival, None)
        problem = arrival.ending or failure.value
        if isinstance(problem, CancelledError):
            problem = ConnectCancelledError()
        elif not isinstance(problem, SpaceswarmError):
            log.failure("a connection from {peer} failed", failure=failure, peer=arrival.peer_info.peer)
            problem = StreamError(str(problem))
        if isinstance(problem, (FirewallError, LimitError)):
            self._roster.stats.refused += 1
        if arrival.ending is None:
            arrival.drop(problem)

    # How it goes.

    def opened(self, connection: Connection) -> None:
        """See :class:`~spaceswarm_proxy.swarm.connections.Owner`."""
        connection.peer_info.client = False
        self._roster.stats.opened_by_server += 1
        self._roster.tell_opened(connection)
        self._roster.tell_update()

    def ended(self, connection: Connection, reason: Failure) -> None:
        """See :class:`~spaceswarm_proxy.swarm.connections.Owner`."""
        if connection.protocol is not None:
            self._roster.stats.closed_by_server += 1
            if connection.ending is None and reason.check(ConnectionDone) is None:
                self._dialer.broke_off(connection.peer_info)
            self._roster.peers.forget(connection.peer_info)
            self._roster.tell_ended(connection, reason)

    def room(self) -> None:
        """See :class:`~spaceswarm_proxy.swarm.connections.Owner`."""
        self._dialer.room()


def _stop(port: IListeningPort) -> Deferred[None]:
    # It may answer with a Deferred or at once.
    stop = cast("Callable[[], Deferred[None]]", port.stopListening)
    return maybeDeferred(stop)
