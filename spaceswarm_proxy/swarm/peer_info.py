"""What a swarm knows of the peers that it has heard of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.swarm.retry import MOST_ATTEMPTS, NORMAL_PRIORITY, priority_of

#: How many of the oldest records are looked at, to find one to drop, before a newcomer is turned away.
LOOK_AT = 64


@dataclass(eq=False, slots=True)
class PeerInfo:
    """
    One peer's record.  What is public here is for reading, but for :meth:`ban` and :meth:`reconnect`.
    """

    #: Who it is, and the newest that is known of how to reach it.
    peer: Peer
    #: The topics under which it was found by us, each 32 bytes.
    topics: set[bytes] = field(default_factory=set)
    #: We made the last connection (and not the peer).
    client: bool = False
    #: Connections that we made and that failed or ended, in a row; a long one ends the row.
    attempts: int = 0
    #: A connection that we made was open once.
    proven: bool = False
    #: 0 to 4, see ``swarm/retry.py``; the higher, the sooner.
    priority: int = NORMAL_PRIORITY
    #: No direct way leads to it, as we have found out: it may need a relay.
    force_relaying: bool = False
    #: Is nobody between this process and the peer's who could read what goes over the connection that is open, or was
    #: last?  ``None`` before there was one.  See :attr:`~spaceswarm_proxy.interfaces.PeerAddress.end_to_end`.
    end_to_end: bool | None = None
    #: The user asked for this very peer, with ``join_peer``.
    explicit: bool = False
    #: No connection is made to it, and none taken from it.
    banned: bool = False
    #: Is it tried again after a connection has failed or ended?
    reconnecting: bool = True
    #: It waits to be connected to.
    queued: bool = False
    #: It waits until it may be tried again.
    waiting: bool = False
    #: Since when a connection that we made has been open, in the reactor's seconds.
    connected_at: float | None = None
    #: When the last connection that we made failed or ended, in the reactor's seconds.
    disconnected_at: float = 0.0

    @property
    def prioritized(self) -> bool:
        """Is it connected to as soon as others that were found, or sooner?"""
        return self.priority >= NORMAL_PRIORITY

    def ban(self, banned: bool = True) -> None:
        """Make no more connections to it and take none, or do so again; one that is open stays."""
        self.banned = banned

    def reconnect(self, reconnecting: bool = True) -> None:
        """Try it again after a connection has failed or ended, or don't."""
        self.reconnecting = reconnecting

    def learn(self, peer: Peer) -> None:
        """
        Take over what was just heard of how to reach it, if that is anything: unlike Hyperswarm, we forget nothing
        because of a report that says nothing.
        """
        if peer.relay_addresses or peer.address or not self.peer.relay_addresses:
            self.peer = peer

    def reset(self) -> None:
        """Begin anew with a peer of which there is news."""
        self.client = False
        self.proven = False
        self.attempts = 0

    def prepare(self) -> bool:
        """
        Compute the priority anew, for the queue.

        :returns: whether it may be queued.
        """
        if self.explicit and self.attempts > MOST_ATTEMPTS:
            self.attempts = MOST_ATTEMPTS
        if self.banned or self.queued or self.attempts > MOST_ATTEMPTS:
            return False
        self.priority = priority_of(self.attempts)
        return True

    def connected(self, now: float) -> None:
        """A connection that we made is open."""
        self.client = True
        self.proven = True
        self.connected_at = now

    def disconnected(self, now: float, forgive_after: float, counts: bool) -> None:
        """
        A connection that we made has ended, or did not come about.

        :param forgive_after: seconds that it must have been open to end the row of failures.
        :param counts: false if the peer had nothing to do with it.
        """
        if self.connected_at is not None and now - self.connected_at >= forgive_after:
            self.attempts = 0
        self.connected_at = None
        self.disconnected_at = now
        if counts:
            self.attempts += 1

    @property
    def needed(self) -> bool:
        """Is there anything to remember of it while it is not connected?"""
        return self.banned or self.queued or self.explicit or self.waiting


class PeerTable(Mapping[bytes, PeerInfo]):
    """The records by peer id; no more than a given number, of which the oldest that are not needed make room."""

    def __init__(self, limit: int, is_connected: Callable[[bytes], bool]) -> None:
        """:param is_connected: tells of a peer id whether there is a connection, open or on its way."""
        self._limit = limit
        self._is_connected = is_connected
        self._infos: dict[bytes, PeerInfo] = {}

    def __getitem__(self, id: bytes) -> PeerInfo:
        return self._infos[id]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def note(self, peer: Peer, must: bool = False) -> PeerInfo | None:
        """
        The peer's record, brought up to date or made.

        :param must: make it even above the limit, for what is bounded elsewhere: connections, and the user's own
            wishes.
        :returns: ``None`` if there was no room.
        """
        info = self._infos.get(peer.id)
        if info is not None:
            info.learn(peer)
            return info
        if len(self._infos) >= self._limit and not self._make_room() and not must:
            return None
        info = self._infos[peer.id] = PeerInfo(peer)
        return info

    def forget(self, info: PeerInfo) -> None:
        """Drop a record, unless it is needed."""
        if not info.needed and not self._is_connected(info.peer.id) and self._infos.get(info.peer.id) is info:
            del self._infos[info.peer.id]

    def _make_room(self) -> bool:
        """
        Drop one of the oldest records.

        Those looked at in vain move to the end, so that a flood of newcomers does not look at the same ones again and
        again. A ban is remembered only while there is room: otherwise whoever is refused with ever new keys would fill
        the table.
        """
        for id in list(islice(self._infos, LOOK_AT)):
            info = self._infos.pop(id)
            if not (info.queued or info.explicit or info.waiting or self._is_connected(id)):
                return True
            self._infos[id] = info
        return False
