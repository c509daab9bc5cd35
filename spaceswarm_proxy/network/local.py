"""
A network inside one process: the embedded default, the demo, and what programs test themselves with.

Everybody on one :class:`LocalHub` can find and reach everybody else::

    hub = LocalHub()
    alice, bob = hub.network(), hub.network()
    await bob.listen(Factory.forProtocol(Echo))
    bob.announce(topic("room"))

    class Finder:
        def peer_found(self, peer):
            alice.connect(peer, Factory.forProtocol(Hello))

        def lookup_updated(self):
            print("that was everybody")

    alice.lookup(topic("room"), Finder())

In a test, give the hub a ``twisted.internet.task.Clock`` as its reactor: nothing happens then but by
``clock.advance(0)``.  Close the hub, or each network, at the end: nothing is left in the reactor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import SPACESWARM, Profile, profile_named
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    PeerUnreachableError,
    SpaceswarmError,
    UnknownPeerError,
)
from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import HostPort, IKeeper, INetwork, IPeerReceiver, ISealedNetwork, NetworkStatus, Peer
from spaceswarm_proxy.network import pipe
from spaceswarm_proxy.network.board import Announcement, Board, Lookup
from spaceswarm_proxy.network.listener import LocalListener
from spaceswarm_proxy.network.local_streams import open_plain
from spaceswarm_proxy.network.sealed import Meeting, give_up
from spaceswarm_proxy.network.streams import OpenStreams
from spaceswarm_proxy.network.tcp import dial
from spaceswarm_proxy.topics import check_topic

Entry = TypeVar("Entry", Lookup, Announcement)

#: Announcements under one topic; more are refused with ``LimitError``.
MAX_PEERS_PER_TOPIC = 4096


class LocalHub:
    """Where the networks of one process meet."""

    def __init__(
        self,
        reactor: Any = None,
        *,
        window: int = pipe.WINDOW,
        max_peers_per_topic: int = MAX_PEERS_PER_TOPIC,
        latency: float = 0,
        profile: Profile | str = SPACESWARM,
    ) -> None:
        """
        :param reactor: the process's own unless given.
        :param window: bytes of a stream that its reader may leave unused before its writer is paused.
        :param max_peers_per_topic: announcements under one topic; the ``flushed`` of more fails with ``LimitError``.
        :param latency: seconds that everything takes to arrive.
        :param profile: the names that streams which are encrypted are bound to, or what they are called.
        :raises ValueError: there are no names that are called so.
        """
        self.reactor = or_global(reactor)
        self.window = window
        self.latency = latency
        self.profile = profile_named(profile)
        self.board = Board(self.reactor, latency, max_peers_per_topic)
        self._networks: dict[LocalNetwork, None] = {}
        self._by_key: dict[bytes, list[LocalNetwork]] = {}
        self._addresses: dict[Announcement, None] = {}

    def network(self, key_pair: KeyPair | IKeeper | None = None) -> LocalNetwork:
        """
        :param key_pair: whom the network is known as, or who keeps that key; a fresh one unless given.
        :returns: a network on this hub, to be closed by the caller or with the hub.
        """
        return LocalNetwork(self, KeyPair.generate() if key_pair is None else key_pair)

    def announce_address(self, topic: bytes, host: str, port: int) -> Announcement:
        """
        Let a TCP service be found under a topic.

        :param topic: 32 bytes.
        :returns: the announcement; it ends with its ``close()``.
        """
        peer = Peer.at(host, port, frozenset({check_topic(topic)}))
        announcement = Announcement(self.board, topic, peer, lambda: False, self._addresses.pop)
        self._addresses[announcement] = None
        return announcement

    def close(self) -> Deferred[None]:
        """
        Close every network, and end the announcements.

        :returns: a Deferred that fires when nothing is left of them.
        """
        for announcement in list(self._addresses):
            announcement.close()
        return gatherResults([network.close() for network in list(self._networks)]).addCallback(lambda _: None)

    # For its networks.

    def enter(self, network: LocalNetwork) -> None:
        """A network is there.  Several with one key are one peer."""
        self._networks[network] = None
        self._by_key.setdefault(network.public_key, []).append(network)

    def leave(self, network: LocalNetwork) -> None:
        """A network is there no more."""
        self._networks.pop(network, None)
        same_key = self._by_key.get(network.public_key, [])
        if network in same_key:
            same_key.remove(network)
            if not same_key:
                del self._by_key[network.public_key]

    def listener(self, public_key: bytes) -> LocalListener:
        """
        Who takes streams to a key: the newest, where several networks share it.

        :raises UnknownPeerError: there is no such peer.
        :raises PeerUnreachableError: it does not listen, or is suspended.
        """
        networks = self._by_key.get(public_key)
        if networks is None:
            raise UnknownPeerError(f"no peer {public_key.hex()[:8]}... on this hub")
        for network in reversed(networks):
            if network.listener is not None and not network.quiet:
                return network.listener
        raise PeerUnreachableError("the peer does not listen")

    def has(self, public_key: bytes) -> bool:
        """Is anybody here known by this key, whether it listens or not?"""
        return public_key in self._by_key

    def address(self, peer: Peer) -> HostPort:
        """
        Where the TCP service is that a peer's id speaks of.

        :raises UnknownPeerError: it is not announced.
        """
        for announced in self._addresses:
            if announced.peer == peer and announced.peer.address is not None:
                return announced.peer.address
        raise UnknownPeerError(f"no peer {peer} on this hub")

    def __len__(self) -> int:
        """How many networks there are."""
        return len(self._networks)


@implementer(INetwork, ISealedNetwork)
class LocalNetwork:
    """
    One peer's view of a :class:`LocalHub`; :meth:`LocalHub.network` makes them.

    A stream between two whose keys are here is a plain pipe; if either is known by an
    :class:`~spaceswarm_proxy.interfaces.IKeeper`, see :mod:`spaceswarm_proxy.network.sealed`.

    While it is suspended it is not found, hears of nobody, and streams cannot be opened from or to it
    (``PeerUnreachableError``).  Streams that are open stay: it is their users who know whether to keep them.
    """

    #: There are keepers for whom it can be known.
    seals = True

    def __init__(self, hub: LocalHub, key_pair: KeyPair | IKeeper, parent: LocalNetwork | None = None) -> None:
        #: Whom it is known as, or who keeps that key.
        self.key_pair = key_pair
        self.is_sealed = not isinstance(key_pair, KeyPair)
        self.public_key: bytes = key_pair.public_key
        self.profile = hub.profile
        self.peer = Peer.keyed(self.public_key)
        self.events = Events("connected", "disconnected")
        self.listener: LocalListener | None = None
        self.streams = OpenStreams()
        #: Handshakes for the streams that are being opened from here.
        self.meetings: set[Meeting] = set()
        self._hub = hub
        self._parent = parent
        self._children: dict[LocalNetwork, None] = {}
        self._entries: dict[Lookup | Announcement, None] = {}
        self._attempts: set[Deferred[IProtocol]] = set()
        self._suspended = False
        self._closed = False
        self._gone = False
        self._close_waiters: Waiters[None] = Waiters()
        hub.enter(self)

    @property
    def quiet(self) -> bool:
        """Is this network suspended, or the one whose identity it is?"""
        return self._suspended or (self._parent is not None and self._parent.quiet)

    def status(self) -> NetworkStatus:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        state = "closed" if self._closed else "suspended" if self.quiet else f"{len(self._hub)} on this hub"
        return NetworkStatus(not self._closed and not self.quiet, True, True, f"inside this process: {state}")

    def sees(self, public_key: bytes) -> bool:
        """Is anybody on this hub known by this key, whether it listens or not?"""
        return self._hub.has(public_key)

    def lookup(self, topic: bytes, receiver: IPeerReceiver) -> Lookup:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        topic = check_topic(topic)
        self._check_open()
        return self._keep(Lookup(self._hub.board, topic, receiver, self.peer.id, self._is_quiet, self._forget))

    def announce(self, topic: bytes) -> Announcement:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        topic = check_topic(topic)
        self._check_open()
        peer = Peer.keyed(self.public_key, topics=frozenset({topic}))
        return self._keep(Announcement(self._hub.board, topic, peer, self._is_quiet, self._forget))

    def _is_quiet(self) -> bool:
        return self.quiet

    def _keep(self, entry: Entry) -> Entry:
        self._entries[entry] = None
        return entry

    def _forget(self, entry: Lookup | Announcement) -> None:
        self._entries.pop(entry, None)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError()

    # Streams.

    def connect(self, peer: Peer, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See :class:`~spaceswarm_proxy.interfaces.INetwork`.

        A peer with a key is reached on this hub, one with a host and port by TCP, if it is announced here.
        """
        if self._closed:
            return fail(ClosedError())
        attempt: Deferred[Any] = deferLater(self._hub.reactor, self._hub.latency, self._reach, peer, factory)
        self._attempts.add(attempt)
        return attempt.addBoth(self._attempted, attempt)

    def _reach(self, peer: Peer, factory: IProtocolFactory) -> IProtocol | Deferred[IProtocol]:
        if self.quiet:
            raise PeerUnreachableError("this network is suspended")
        if peer.public_key is not None:
            return self._open(peer, peer.public_key, factory)
        return dial(self._hub.reactor, self._hub.address(peer), factory, streams=self.streams)

    def _attempted(self, result: Any, attempt: Deferred[IProtocol]) -> Any:
        self._attempts.discard(attempt)
        if isinstance(result, Failure) and result.check(CancelledError, ConnectCancelledError):
            if self._closed:
                raise ClosedError() from None
            if result.check(CancelledError):
                raise ConnectCancelledError() from None
        return result

    def _open(self, peer: Peer, public_key: bytes, factory: IProtocolFactory) -> IProtocol | Deferred[IProtocol]:
        listener = self._hub.listener(public_key)
        if self.is_sealed or listener.network.is_sealed:
            return Meeting(self._hub, self, listener, peer, factory).begin()
        return open_plain(self._hub, self, listener, peer, factory)

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        if self._closed:
            return fail(ClosedError())
        try:
            return succeed(LocalListener(self, factory))
        except CannotListenError as problem:
            return fail(problem)

    # What it is as a whole.

    def with_identity(self, key_pair: KeyPair | IKeeper | None = None) -> LocalNetwork:
        """See :class:`~spaceswarm_proxy.interfaces.ISealedNetwork`.  Suspending this one suspends it too."""
        self._check_open()
        child = LocalNetwork(self._hub, KeyPair.generate() if key_pair is None else key_pair, self)
        self._children[child] = None
        return child

    def suspend(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        return self._set_suspended(True)

    def resume(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        return self._set_suspended(False)

    def _set_suspended(self, suspended: bool) -> Deferred[None]:
        if self._closed:
            return fail(ClosedError())
        before = [(network, network.quiet) for network in self._family()]
        self._suspended = suspended
        for network, was_quiet in before:
            if network.quiet != was_quiet:
                network._quiet_changed()
        return succeed(None)

    def _family(self) -> Iterator[LocalNetwork]:
        yield self
        for child in self._children:
            yield from child._family()

    def _quiet_changed(self) -> None:
        if self.quiet:
            give_up(self.meetings, PeerUnreachableError("this network is suspended"))
            if self.listener is not None:
                self.listener.give_up()
            self.events.emit("disconnected", SpaceswarmError("the network is suspended"))
            return
        for entry in list(self._entries):
            entry.update()
        self.events.emit("connected")

    def close(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`.  Streams that are open are aborted."""
        if self._gone:
            return succeed(None)
        done = self._close_waiters.wait()
        if not self._closed:
            was_online = self.status().online
            self._closed = True
            self._close_all().addCallback(self._left)
            if was_online:
                self.events.emit("disconnected", ClosedError())
        return done

    def _close_all(self) -> Deferred[Any]:
        closing = [child.close() for child in list(self._children)]
        closing += [entry.close() for entry in list(self._entries)]
        if self.listener is not None:
            closing.append(self.listener.stopListening())
        for attempt in list(self._attempts):
            attempt.cancel()
        give_up(self.meetings, ClosedError())  # such as are just asking: they can't be cancelled
        return gatherResults([*closing, self.streams.abort()])

    def _left(self, _: object) -> None:
        self._gone = True
        self._hub.leave(self)
        if self._parent is not None:
            self._parent._children.pop(self, None)
        self._close_waiters.fire(None)
