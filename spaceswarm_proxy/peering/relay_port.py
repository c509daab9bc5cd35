"""A blind relay that anyone can run: what listens under its key, and serves whoever connects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.peering.listener import ListenOptions
from spaceswarm_proxy.peering.mux_protocol import MuxProtocol
from spaceswarm_proxy.peering.port import Firewall, PeerPort
from spaceswarm_proxy.peering.raw import Firewall as PacketFirewall
from spaceswarm_proxy.peering.relay_server import RelayLimits, RelayServer, RelaySession
from spaceswarm_proxy.peering.runner import PeeringRunner
from spaceswarm_proxy.peering.schedule import Delayed
from spaceswarm_proxy.peering.securing import Securing, builder
from spaceswarm_proxy.udx.core import UDXCore


@dataclass(frozen=True)
class RelayStats:
    """What a relay does and has done."""

    #: Peers that are connected; places that wait for their other one; couples.
    peers: int
    waiting: int
    couples: int
    #: Since the beginning: places taken; couples made; places given up, refused, and waited for in vain.
    requested: int
    matched: int
    cancelled: int
    refused: int
    expired: int
    #: Packets passed on, by all relays of the node.
    packets: int


class RelayObserver(Protocol):
    """Who wants to know what happens at a relay."""

    def came(self, public_key: bytes) -> None:
        """A peer is connected."""

    def left(self, public_key: bytes) -> None:
        """It is not any more."""

    def coupled(self) -> None:
        """Two peers have met."""


class RelayPort(PeerPort):
    """Serves peers under one key, until it is stopped."""

    def __init__(
        self,
        peering: PeeringRunner,
        securing: Securing,
        keeper: Keeper,
        firewall: Firewall | None,
        options: ListenOptions,
        keep_alive: float,
        timeout: float,
        limits: RelayLimits | None,
        observer: RelayObserver | None,
    ) -> None:
        """See :class:`~spaceswarm_proxy.peering.port.PeerPort`; :param limits: what peers may have of it."""
        service = self._service = RelayService(peering, limits, observer)
        serve = partial(securing.serve, keeper.public_key, builder(service, None), keep_alive, timeout)
        super().__init__(peering, keeper, service, serve, firewall, options)

    @property
    def stats(self) -> RelayStats:
        """What it does and has done, up to now."""
        return self._service.stats

    def stopListening(self) -> Deferred[None]:
        """
        Serve nobody any more: couples part, and connections end.

        :returns: a Deferred that fires when nobody finds us.
        """
        self._service.close()
        return super().stopListening()


class RelayService(Factory):
    """The factory of the connections with peers."""

    noisy = False

    def __init__(self, peering: PeeringRunner, limits: RelayLimits | None, observer: RelayObserver | None) -> None:
        self.server = RelayServer(RelayedStreams(peering.streams.core, peering.now), limits)
        self.observer = observer
        self._peering = peering
        self._peers: set[RelayedPeer] = set()
        self._timer: Delayed | None = None
        self._matched = 0

    @property
    def stats(self) -> RelayStats:
        """See :attr:`RelayPort.stats`."""
        server = self.server
        return RelayStats(
            peers=len(self._peers),
            waiting=server.waiting,
            couples=server.couples,
            requested=server.requested,
            matched=server.matched,
            cancelled=server.cancelled,
            refused=server.refused,
            expired=server.expired,
            packets=self._peering.streams.core.relayed,
        )

    def buildProtocol(self, address: Any) -> RelayedPeer | None:
        """:returns: the protocol of a peer; ``None`` when there are too many."""
        if len(self._peers) >= self.server.limits.max_peers:
            return None
        return RelayedPeer(self, self._peering.now, address.public_key)

    def close(self) -> None:
        """End all connections."""
        for peer in list(self._peers):
            peer.close()

    # What peers tell.

    def came(self, peer: RelayedPeer) -> None:
        """One is connected."""
        self._peers.add(peer)
        if self.observer is not None:
            self.observer.came(peer.public_key)

    def left(self, peer: RelayedPeer) -> None:
        """One is not any more."""
        self._peers.discard(peer)
        if self.observer is not None:
            self.observer.left(peer.public_key)

    def served(self) -> None:
        """One has asked for something: see when places get too old, and whether two have met."""
        self._plan()
        if self.server.matched != self._matched:
            self._matched = self.server.matched
            if self.observer is not None:
                self.observer.coupled()

    def _plan(self) -> None:
        deadline = self.server.next_deadline()
        if deadline is not None and self._timer is None:
            self._peering.soon(partial(self._set_timer, deadline))

    def _set_timer(self, deadline: float, now: float) -> None:
        if self._timer is None:
            self._timer = self._peering.core.room.schedule.call_at(deadline, self._advance)

    def _advance(self, now: float) -> None:
        self._timer = None
        self.server.advance(now)
        self._plan()


class RelayedPeer(MuxProtocol):
    """The connection with one peer."""

    def __init__(self, service: RelayService, now: Callable[[], float], public_key: bytes) -> None:
        """:param public_key: the peer's."""
        super().__init__(now, service.served, self._gone)
        self.public_key = public_key
        self._service = service
        self._session: RelaySession | None = None

    def connectionMade(self) -> None:
        """Serve it."""
        super().connectionMade()
        self._session = self._service.server.accept(self.mux, self.public_key, self._now())
        self._service.came(self)

    def close(self) -> None:
        """End the connection, and what the peer has here."""
        if self._session is not None:
            self._session.close(self._now())
        self.finish()

    def _gone(self, reason: Failure = connectionDone) -> None:
        self._service.left(self)


class RelayedStreams:
    """Makes the streams that are passed on: those of ``udx``."""

    def __init__(self, core: UDXCore, now: Callable[[], float]) -> None:
        self._core = core
        self._now = now

    def create(self, firewall: PacketFirewall, ended: Callable[[float], None]) -> Any:
        """See :class:`~spaceswarm_proxy.peering.relay_server.RelayStreams`."""
        stream = self._core.create(firewall)
        stream.owner = _Passing(lambda: ended(self._now()))
        return stream


class _Passing:
    """The owner of a stream that is passed on: it learns of nothing but the end."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def stream_received(self, chunks: list[bytes]) -> None:
        """Never: data is for somebody else."""

    def stream_ended(self) -> None:
        """Never, likewise."""

    def stream_message(self, message: bytes) -> None:
        """Never, likewise."""

    def stream_drained(self) -> None:
        """Never: nothing is written."""

    def stream_moved(self) -> None:
        """Never: it stays where it is."""

    def stream_closed(self, problem: SpaceswarmError | None) -> None:
        """Its peer has destroyed it."""
        self._ended()
