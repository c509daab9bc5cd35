"""
A node of the network, as its users see it: it looks up and stores, connects and listens.

::

    node = DHTNode(reactor, profile="hyperswarm")
    await node.ready()
    async for reply in node.lookup(topic("my room")):
        print(reply.value.peers)

    port = await node.listen(KeyPair.generate(), Factory.forProtocol(Echo))
    protocol = await node.connect(port.getHost().public_key, Factory.forProtocol(Hello))
    await node.close()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import txaio
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.codec.key_text import decode_key
from spaceswarm_proxy.crypto.keeper import Keeper, OwnKeys
from spaceswarm_proxy.crypto.keys import PUBLIC_KEY_LENGTH, KeyPair
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.node import QueryNode
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.interfaces import HostPort, IKeeper
from spaceswarm_proxy.peering.admission import AdmissionLimits
from spaceswarm_proxy.peering.attempt import Attempt, SealedAttempt, WayFinder
from spaceswarm_proxy.peering.connector import ConnectOptions
from spaceswarm_proxy.peering.listener import ListenOptions
from spaceswarm_proxy.peering.mux_protocol import MuxProtocol
from spaceswarm_proxy.peering.pool import ConnectionPool
from spaceswarm_proxy.peering.port import Firewall, PeerPort, Serve
from spaceswarm_proxy.peering.protomux import MAX_MESSAGE
from spaceswarm_proxy.peering.relay_port import RelayObserver, RelayPort
from spaceswarm_proxy.peering.relay_server import RelayLimits
from spaceswarm_proxy.peering.relays import Relays
from spaceswarm_proxy.peering.room import RelayChoice
from spaceswarm_proxy.peering.runner import Leave, PeeringRunner
from spaceswarm_proxy.peering.sealing import Sealing
from spaceswarm_proxy.peering.securing import Build, Securing, Streams, builder
from spaceswarm_proxy.udx.stats import StreamStats

log = txaio.make_logger()

#: Seconds without a write after which connections say that they are still there, and in which a peer that a connection
#: leads to has to be heard first.
KEEP_ALIVE = 5.0
OPENING_TIMEOUT = 20.0


class DHTNode(QueryNode):
    """
    A node of a Spaceswarm or Hyperswarm network.

    It works from its construction on, whether it finds anybody or not, until it is closed.

    While it is suspended or closed, what returns :class:`~spaceswarm_proxy.dht.replies.Replies` raises
    ``SuspendedError`` or ``ClosedError`` at once, and what returns a Deferred fails with it.  So it is with arguments
    that make no sense, and ``ValueError``; :meth:`ping` raises that one.
    """

    def _add_rooms(self) -> None:
        self._peering = PeeringRunner(self._reactor, self._runner)
        self._securing = Securing(self._reactor, self._peering, self.profile.stream_labels)
        self._sealing = Sealing(self._peering)
        # What is said to relays, and by them, is short.
        self._relay_securing = Securing(self._reactor, self._peering, self.profile.stream_labels, MAX_MESSAGE)
        room = self._peering.core.room
        room.relaying = Relays(self._peering, room.schedule, self.key_pair.public_key, self._dial_relay)
        self._closed: Waiters[None] | None = None
        self.events.on("network_changed", self._network_changed)

    def _network_changed(self) -> None:
        self._peering.core.network_changed(self._peering.now())
        self._peering.arm()

    @property
    def stream_stats(self) -> StreamStats:
        """What its streams have done so far; ``stats`` tells the rest."""
        return StreamStats.of(self._peering.streams.core)

    # Connections.

    def connect(
        self,
        public_key: bytes | str,
        factory: IProtocolFactory,
        *,
        key_pair: KeyPair | IKeeper | None = None,
        relay_addresses: Sequence[HostPort] = (),
        relay_through: Sequence[bytes] = (),
        local_connection: bool = True,
        fast_open: bool = True,
        reusable_socket: bool = False,
        keep_alive: float = KEEP_ALIVE,
        timeout: float = OPENING_TIMEOUT,
        streams: Streams | None = None,
    ) -> Deferred[IProtocol]:
        """
        Open an encrypted stream to a server, wherever it is.

        :param public_key: the server's: 32 bytes, or as text (hex, z-base-32, ``pear://``).
        :param factory: its ``buildProtocol`` is called with a :class:`~spaceswarm_proxy.interfaces.PeerAddress` when
            the server has been heard.
        :param key_pair: who we are; by default the node's own; or whoever keeps it: then the stream is sealed, the
            factory is given a :class:`~spaceswarm_proxy.interfaces.SealedAddress` as soon as there is a way to the
            server, and all that is sent is what its protocol writes.
        :param relay_addresses: nodes that know the way, best first, if any are known.
        :param relay_through: public keys of blind relays, one of which is used while there is no direct way.
        :param local_connection: try the local network, and tell the server our addresses there.
        :param fast_open: send to the server before both sides know what they are behind.
        :param reusable_socket: later connections with the same server may take the same way.
        :param keep_alive: seconds without a write after which an empty message is sent; 0 never sends any.  Of no
            concern to sealed streams.
        :param timeout: seconds that the server has to be heard in, once there is a way to it.
        :param streams: told of the connection's transport, and when that is lost.
        :returns: a Deferred of the protocol; cancelling it ends the attempt.  It fails with a
            :class:`~spaceswarm_proxy.errors.ConnectError` whose ``reference_code`` is the one that JavaScript peers
            have for it; or as whoever keeps the key does.
        """
        try:
            key = decode_key(public_key) if isinstance(public_key, str) else bytes(public_key)
            options = ConnectOptions(
                relay_addresses=[address_of(*each) for each in relay_addresses],
                local_connection=local_connection,
                fast_open=fast_open,
                reusable_socket=reusable_socket,
                relay_through=_checked(relay_through),
            )
            attempt = self._attempt(key_pair, builder(factory, streams), keep_alive, timeout)
            attempt.start(key, options)
        except (SpaceswarmError, ValueError) as problem:
            return fail(problem)
        return attempt.result

    def _attempt(
        self, key_pair: KeyPair | IKeeper | None, build: Build, keep_alive: float, timeout: float
    ) -> WayFinder:
        keeper = self._keeper(key_pair)
        if isinstance(keeper, OwnKeys):
            return Attempt(self._peering, self._securing, keeper, build, keep_alive, timeout)
        return SealedAttempt(self._peering, self._sealing, keeper, build, timeout)

    def listen(
        self,
        key_pair: KeyPair | IKeeper | None,
        factory: IProtocolFactory,
        *,
        firewall: Firewall | None = None,
        relay_through: RelayChoice = (),
        share_local_address: bool = True,
        holepunch: bool = True,
        reusable_socket: bool = False,
        keep_alive: float = KEEP_ALIVE,
        limits: AdmissionLimits | None = None,
        streams: Streams | None = None,
    ) -> Deferred[PeerPort]:
        """
        Accept streams under a public key.

        :param key_pair: who we are, or whoever keeps that key: then streams are sealed, as for :meth:`connect`;
            ``None`` for the node's own.
        :param factory: its ``buildProtocol`` is called with a :class:`~spaceswarm_proxy.interfaces.PeerAddress` for
            each stream whose client has been heard; with ``None`` the stream is refused.
        :param firewall: asked before anything is done for a client; whoever is refused hears nothing at all.
        :param relay_through: public keys of blind relays, one of which is proposed to each client; or a function that
            tells them for each.
        :param share_local_address: tell clients our addresses in local networks.
        :param holepunch: help clients to reach us through address translations.
        :param reusable_socket: later connections with the same client may take the same way.
        :param keep_alive: as for :meth:`connect`.
        :param limits: what strangers may cost us.
        :param streams: as for :meth:`connect`.
        :returns: a Deferred of an ``IListeningPort`` whose ``getHost()`` is our own address, when clients can find us;
            cancelling it ends that.  It fails with ``KeyPairInUseError``, ``SuspendedError`` or ``ClosedError``.
        """
        try:
            relays = _asking(relay_through) if callable(relay_through) else _checked(relay_through)
        except ValueError as problem:
            return fail(problem)
        options = ListenOptions(
            share_local_address=share_local_address,
            punches=holepunch,
            reusable_socket=reusable_socket,
            relay_through=relays,
            limits=limits or AdmissionLimits(),
        )
        keeper, serve = self._server(key_pair, builder(factory, streams), keep_alive)
        return PeerPort(self._peering, keeper, factory, serve, firewall, options).open()

    def _server(self, key_pair: KeyPair | IKeeper | None, build: Build, keep_alive: float) -> tuple[Keeper, Serve]:
        keeper = self._keeper(key_pair)
        if isinstance(keeper, OwnKeys):
            return keeper, partial(self._securing.serve, keeper.public_key, build, keep_alive, OPENING_TIMEOUT)
        return keeper, partial(self._sealing.serve, keeper.public_key, build, OPENING_TIMEOUT)

    def pool(self) -> ConnectionPool:
        """:returns: a new pool, whose ``connect`` and ``listen`` see to it that there is one stream with each peer."""
        return ConnectionPool(self, self._peering.streams.call_soon)

    # Blind relays.

    def relay(
        self,
        key_pair: KeyPair | None = None,
        *,
        firewall: Firewall | None = None,
        limits: RelayLimits | None = None,
        admission: AdmissionLimits | None = None,
        observer: RelayObserver | None = None,
    ) -> Deferred[RelayPort]:
        """
        Be a blind relay: carry streams of peers that cannot reach each other, without seeing what is in them.

        :param key_pair: who the relay is; ``None`` for the node's own.
        :param firewall: as for :meth:`listen`: who may use it.
        :param limits: what peers may have of it.
        :param admission: what strangers may cost us.
        :param observer: told of what happens there.
        :returns: a Deferred of an ``IListeningPort``, whose ``stats`` are counters, when peers can find it; it can be
            cancelled, and fails, as that of :meth:`listen`.
        """
        options = ListenOptions(limits=admission or AdmissionLimits())
        port = RelayPort(
            self._peering,
            self._relay_securing,
            OwnKeys(key_pair or self.key_pair),
            firewall,
            options,
            KEEP_ALIVE,
            OPENING_TIMEOUT,
            limits,
            observer,
        )
        return port.open()

    def _dial_relay(self, public_key: bytes, protocol: MuxProtocol) -> Attempt:
        peering, securing = self._peering, self._relay_securing
        attempt = Attempt(peering, securing, OwnKeys(self.key_pair), lambda _: protocol, KEEP_ALIVE, OPENING_TIMEOUT)
        # The way to a relay does not lead through another one, whatever it says.
        attempt.start(public_key, ConnectOptions(follows_relays=False))
        return attempt

    # Life.

    def suspend(self) -> Deferred[None]:
        """
        Go quiet: servers are taken back from the network, connections end, sockets close; what is under way fails with
        ``SuspendedError``.

        :returns: a Deferred that fires when that is done.
        """
        if self.suspended:
            return super().suspend()
        return self._leave(self._peering.core.suspend).addCallback(self._suspend_rest)

    def _suspend_rest(self, _: None) -> Deferred[None]:
        self._peering.drop_streams()
        return super().suspend()

    def resume(self) -> Deferred[None]:
        """
        Undo :meth:`suspend`, on the same ports if they are free; servers announce themselves again.

        :returns: a Deferred that fires when that is done, and fails with ``CannotListenError`` or ``ClosedError``.
        """
        return super().resume().addCallback(self._resume_servers)

    def _resume_servers(self, _: None) -> None:
        self._peering.core.resume(self._peering.now())
        self._peering.arm()

    def close(self) -> Deferred[None]:
        """
        Stop: servers are taken back from the network, connections end, what is under way fails with ``ClosedError``.

        :returns: a Deferred that fires when no timer, socket or query is left; a second call likewise.
        """
        if self._core.closed:
            return succeed(None)
        if self._closed is None:
            self._closed = Waiters()
            closed = self._closed.wait()
            self._leave(self._peering.core.close).addCallback(self._close_rest)
            return closed
        return self._closed.wait()

    def _close_rest(self, _: None) -> None:
        self._peering.close()
        super().close()
        assert self._closed is not None
        self._closed.fire(None)

    def _leave(self, leave: Leave) -> Deferred[None]:
        """:returns: a Deferred that fires when the network knows that our servers are gone, or does not answer."""
        left: Deferred[None] = Deferred()
        self._peering.leave(leave, lambda: left.callback(None))
        return left


def _checked(public_keys: Sequence[bytes]) -> tuple[bytes, ...]:
    """:raises ValueError: one of them is none."""
    keys = tuple(map(bytes, public_keys))
    if any(len(key) != PUBLIC_KEY_LENGTH for key in keys):
        raise ValueError(f"a relay's public key has {PUBLIC_KEY_LENGTH} bytes")
    return keys


def _asking(choose: Callable[[], Sequence[bytes]]) -> Callable[[], Sequence[bytes]]:
    """:returns: the same function, but when it fails, there is no relay."""

    def asked() -> Sequence[bytes]:
        try:
            return _checked(choose())
        except Exception:
            log.failure("relay_through failed: no relay is proposed")
            return ()

    return asked
