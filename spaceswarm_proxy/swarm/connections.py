"""
The connections of a swarm, each seen from its beginning to its end.

A :class:`Connection` stands between a network's transport and the user's protocol only as far as it must: the network
calls it, it calls the user's protocol; that has the network's own transport, and neither notices.  It exists from the
moment at which a connection is wanted (one that we make) or has arrived and is not refused yet (one that is made to
us):

    DIALLING (no transport yet) --> OPEN --> ENDED        one that we make
    HELD (paused, nothing told to the user) --> OPEN --> ENDED        one that arrives

HELD is for as long as the firewall takes to decide, or the connection to end that it replaces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Any, Protocol

import txaio
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    ILoggingContext,
    IProtocol,
    IProtocolFactory,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import SpaceswarmError, StreamStalledError
from spaceswarm_proxy.interfaces import IByteCounts, ISignsOfLife
from spaceswarm_proxy.swarm.peer_info import PeerInfo

log = txaio.make_logger()

#: Bytes that a held connection may bring although it is paused; with more it is aborted.
EARLY_BYTES = 65536


class State(Enum):
    """Where a connection is in its life."""

    DIALLING = auto()
    HELD = auto()
    OPEN = auto()
    ENDED = auto()


class Owner(Protocol):
    """Who made a connection (the dialer, the doorman), and is told how it goes."""

    #: Where it takes itself out, before its end is told to anybody.
    connections: ConnectionSet

    def opened(self, connection: Connection) -> None:
        """The user's protocol is connected."""

    def ended(self, connection: Connection, reason: Failure) -> None:
        """It is over, and the user's protocol, if there was one, has been told."""

    def room(self) -> None:
        """Whoever waited for that end has gone on, so there may be room for others."""


def abort(transport: Any) -> None:
    """Close a transport without waiting for anything; one that can't is closed as it can."""
    getattr(transport, "abortConnection", transport.loseConnection)()


@implementer(IProtocol, ILoggingContext)
class Connection:
    """One connection with one peer, and the protocol that the network has it by."""

    #: ``IProtocol`` asks for it; the user's protocol has its own.
    factory = None
    readConnectionLost: Callable[[], None]
    writeConnectionLost: Callable[[], None]

    def __init__(self, owner: Owner, peer_info: PeerInfo, initiator: bool, factory: IProtocolFactory) -> None:
        """
        :param initiator: this side makes it.
        :param factory: builds the user's protocol, when the time comes.
        """
        self.state = State.DIALLING if initiator else State.HELD
        self.peer_info = peer_info
        self.initiator = initiator
        self.user_factory = factory
        #: The user's protocol.
        self.protocol: IProtocol | None = None
        #: The network's.
        self.transport: ITransport | None = None
        #: What is under way to open it: dialling, or deciding.
        self.attempt: Deferred[Any] | None = None
        #: Callers who wait for the protocol of one that is being dialled.
        self.callers: Waiters[IProtocol] = Waiters()
        #: It is there only for them.
        self.by_hand = False
        #: Why this side ends it.
        self.ending: SpaceswarmError | None = None
        self._owner = owner
        self._ended: Waiters[None] = Waiters()
        self._early: deque[bytes] = deque()
        self._early_bytes = 0
        self._has_read = False
        self._reported = False

    @property
    def known_by_id(self) -> bool:
        """May it be compared with others?  One that arrives from a peer without a key has no id to compare."""
        return self.initiator or self.peer_info.peer.public_key is not None

    @property
    def is_active(self) -> bool:
        """
        Has it carried something both ways, be it only signs of life?  For a transport that doesn't count, data from the
        peer must do.
        """
        life: Any = ISignsOfLife(self.transport, None)
        if life is not None:
            return bool(life.raw_bytes_read and life.raw_bytes_written)
        counts: Any = IByteCounts(self.transport, None)
        if counts is None:
            return self._has_read
        return bool(counts.bytes_read and counts.bytes_written)

    @property
    def is_open(self) -> bool:
        """Is the user's protocol connected?"""
        return self.state is State.OPEN

    @property
    def has_ended(self) -> bool:
        """Is it over?"""
        return self.state is State.ENDED

    # Opening.

    def accept(self, protocol: IProtocol) -> None:
        """The user's protocol is there; it is connected at once, or as soon as the transport is there too."""
        self.protocol = protocol
        half = IHalfCloseableProtocol(protocol, None)
        if half is not None:
            self.readConnectionLost = half.readConnectionLost
            self.writeConnectionLost = half.writeConnectionLost
            alsoProvides(self, IHalfCloseableProtocol)
        if self.transport is not None:
            # What comes at once is still early data, and so stays in order.
            getattr(self.transport, "resumeProducing", _nothing)()
            self._begin()

    def makeConnection(self, transport: ITransport) -> None:
        """The network: the stream is open."""
        self.transport = transport
        if self.ending is not None:
            abort(transport)
        elif self.protocol is not None:
            self._begin()
        else:
            getattr(transport, "pauseProducing", _nothing)()

    def connectionMade(self) -> None:
        """Part of ``IProtocol``; the user's protocol has its own call of it."""

    def _begin(self) -> None:
        assert self.protocol is not None
        assert self.transport is not None
        self.peer_info.end_to_end = getattr(self.transport.getPeer(), "end_to_end", False)
        try:
            self.protocol.makeConnection(self.transport)
            while self._early and not self.has_ended:
                self.protocol.dataReceived(self._early.popleft())
        except Exception:
            log.failure("the protocol of {peer} failed as it was connected", peer=self.peer_info.peer)
            abort(self.transport)
        if not self.has_ended:
            self.state = State.OPEN
            self._report()

    def _report(self) -> None:
        if not self._reported:
            self._reported = True
            self._owner.opened(self)

    # While it is open.

    def dataReceived(self, data: bytes) -> None:
        """The network: the peer's bytes."""
        if self.state is State.OPEN:
            self._has_read = True
            self.protocol.dataReceived(data)  # type: ignore[union-attr]
        elif not self.has_ended:
            self._keep_early(data)

    def _keep_early(self, data: bytes) -> None:
        self._has_read = True
        self._early_bytes += len(data)
        if self._early_bytes > EARLY_BYTES:
            self.drop(StreamStalledError("more data than may wait until the connection is admitted"))
        else:
            self._early.append(data)

    def logPrefix(self) -> str:
        """The network: what it is called in logs."""
        named = ILoggingContext(self.protocol, None)
        return named.logPrefix() if named is not None else type(self.protocol or self).__name__

    def prod(self) -> None:
        """Send a sign of life, if there is such a thing: should the peer be gone, this ends the sooner."""
        life: Any = ISignsOfLife(self.transport, None)
        if life is not None:
            life.send_keep_alive()

    # Ending.

    def close(self) -> None:
        """End it, after what is written has gone out; one that isn't open yet, at once."""
        if self.state is State.OPEN and self.transport is not None:
            self.transport.loseConnection()

    def drop(self, problem: SpaceswarmError) -> None:
        """End it at once.  :param problem: what the user's protocol is told as the reason."""
        if self.has_ended:
            return
        self.ending = self.ending or problem
        self._cancel_attempt()
        if self.transport is not None and not self.has_ended:
            abort(self.transport)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """The network: the stream is over."""
        if not self.has_ended and self.protocol is not None:
            self._report()
        self.end(reason)

    def end(self, reason: Failure) -> None:
        """It is over, or did not come about; only the first call counts."""
        if self.has_ended:
            return
        self.state = State.ENDED
        if self.ending is not None:
            reason = Failure(self.ending)
        self._early.clear()
        self._owner.connections.discard(self)
        self._cancel_attempt()
        self._tell_user(reason)
        self._owner.ended(self, reason)
        self.callers.fail(reason)
        self._ended.fire(None)
        self._owner.room()

    def _cancel_attempt(self) -> None:
        # With a transport, dialling has succeeded, whether the network has told so already or not.
        under_way = self.transport is None or not self.initiator
        if under_way and self.attempt is not None and not self.attempt.called:
            self.attempt.cancel()

    def _tell_user(self, reason: Failure) -> None:
        if not self._reported or self.protocol is None:
            return
        try:
            self.protocol.connectionLost(reason)
        except Exception:
            log.failure("the protocol of {peer} failed as its connection was lost", peer=self.peer_info.peer)

    def when_ended(self) -> Deferred[None]:
        """:returns: a Deferred that fires when it is over, which it must not be yet."""
        return self._ended.wait()


def _nothing() -> None:
    """What a transport without the method does instead."""


class ConnectionSet:
    """All connections but the held ones: one at most for each peer that can be told from others."""

    def __init__(self) -> None:
        self._all: dict[Connection, None] = {}
        self._by_id: dict[bytes, Connection] = {}
        #: How many of them we make or made; the others came to us.
        self.client_count = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._all))

    @property
    def server_count(self) -> int:
        """How many came to us."""
        return len(self._all) - self.client_count

    def get(self, id: bytes) -> Connection | None:
        """The connection with the peer of this id."""
        return self._by_id.get(id)

    def has(self, id: bytes) -> bool:
        """Is there a connection with the peer of this id?"""
        return id in self._by_id

    def add(self, connection: Connection) -> None:
        """Put one in; there must be none with the same peer."""
        self._all[connection] = None
        self.client_count += connection.initiator
        if connection.known_by_id:
            self._by_id[connection.peer_info.peer.id] = connection

    def discard(self, connection: Connection) -> None:
        """Take one out, if it is in."""
        if connection not in self._all:
            return
        del self._all[connection]
        self.client_count -= connection.initiator
        if connection.known_by_id:
            del self._by_id[connection.peer_info.peer.id]
