"""
The real network, as a node of it.

::

    network = await DHTNetwork.start(reactor, profile="hyperswarm")
    await network.listen(Factory.forProtocol(Echo))
    network.announce(topic("my room"))
    await network.close()

A node can carry many networks, each known by a key of its own: one UDP port, one routing table, one cache of ways to
others.  The one that :meth:`DHTNetwork.start` gives owns its node; its :meth:`~DHTNetwork.with_identity` makes more.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from random import Random, SystemRandom
from typing import Any

import txaio
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, fail, gatherResults, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import (
    ClosedError,
    NetworkUnreachableError,
    PeerUnreachableError,
    SpaceswarmError,
)
from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import (
    HostPort,
    IKeeper,
    IPeeringNetwork,
    IPeerReceiver,
    ISealedNetwork,
    NetworkStatus,
    Peer,
)
from spaceswarm_proxy.network.dht_attempts import Attempts
from spaceswarm_proxy.network.dht_port import DHTPort
from spaceswarm_proxy.network.dht_topics import DHTAnnouncement, DHTLookup, TopicContext
from spaceswarm_proxy.network.rounds import RoundTimes
from spaceswarm_proxy.network.streams import OpenStreams
from spaceswarm_proxy.network.under_way import UnderWay
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.peering.port import Firewall
from spaceswarm_proxy.topics import check_topic

log = txaio.make_logger()


@implementer(IPeeringNetwork, ISealedNetwork)
class DHTNetwork:
    """
    A Spaceswarm or Hyperswarm network, and who we are in it.

    ``events`` tells ``connected()`` when somebody answers, and ``disconnected(error)`` when nobody does any more.
    Lookups and announcements go on through that, round by round.

    Who we are may be known by a key that is kept elsewhere; then all streams are sealed.

    While it is suspended it is not found, hears of nobody, and has no streams.  Whoever listens refuses a peer by
    ending its stream: there is no way to tell it the reason.
    """

    def __init__(
        self,
        node: DHTNode,
        key_pair: KeyPair | IKeeper | None = None,
        *,
        owns_node: bool = False,
        relay_through: Sequence[bytes] = (),
        local: bool = True,
        firewall: Firewall | None = None,
        times: RoundTimes | None = None,
        random: Random | None = None,
        parent: DHTNetwork | None = None,
    ) -> None:
        """
        :param node: what connects us; when it is closed, so is this.
        :param key_pair: who we are, or whoever keeps that key; by default, as whom the node knows itself.
        :param owns_node: :meth:`close`, :meth:`suspend` and :meth:`resume` do the same to the node.
        :param relay_through: public keys of blind relays, for streams to and from peers to whom no direct way leads.
        :param local: try addresses in local networks, and tell others ours there.
        :param firewall: asked before anything is done for a peer that connects to us; whoever is refused hears nothing.
        :param times: when topics are looked after; by default every ten to twelve minutes.
        :param random: for these times.
        :param parent: the network that this is another identity of.
        """
        self.node = node
        self.key_pair = node.key_pair if key_pair is None else key_pair
        self.public_key: bytes = self.key_pair.public_key
        #: See :class:`~spaceswarm_proxy.interfaces.ISealedNetwork`.
        self.profile = node.profile
        self.seals = True
        self.peer = Peer.keyed(self.public_key)
        self.events = Events("connected", "disconnected")
        self.relay_through = tuple(relay_through)
        self.local = local
        self.firewall = firewall
        self.listener: DHTPort | None = None
        #: Listeners that take their leave of the network.
        self.leaving = UnderWay()
        self.streams = OpenStreams()
        self._times = times or RoundTimes()
        self._random = random or SystemRandom()
        self._owns_node = owns_node
        self._parent = parent
        self._children: dict[DHTNetwork, None] = {}
        self._entries: dict[DHTLookup | DHTAnnouncement, None] = {}
        self._attempts = Attempts(node, self.key_pair, self.relay_through, local, self.streams, self._refusal)
        self._context = TopicContext(
            node,
            self.key_pair,
            self._times,
            self._random,
            self._relays,
            self._relays_known,
            self._announcements,
            self._forget,
        )
        self._turns = DeferredLock()
        self._suspended = False
        self._closed = False
        self._gone = False
        self._close_waiters: Waiters[None] = Waiters()
        self._was_online = False
        self._ready = node.ready()
        self._unsubscribe = self._subscribe()
        self._ready.addCallbacks(self._node_ready, self._node_not_ready)

    @classmethod
    def start(
        cls,
        reactor: Any = None,
        *,
        relay_through: Sequence[bytes] = (),
        local: bool = True,
        firewall: Firewall | None = None,
        times: RoundTimes | None = None,
        random: Random | None = None,
        **options: Any,
    ) -> Deferred[DHTNetwork]:
        """
        Start a node, and wait until it has looked for the network.

        :param reactor: one that watches file descriptors; by default the process's.
        :param relay_through, local, firewall, times, random: as for the class.
        :param options: as for :class:`~spaceswarm_proxy.peering.node.DHTNode`: ``profile``, ``bootstrap``,
            ``key_pair``, ``port``...
        :returns: a Deferred of a network that owns its node, whether anybody was found (see :meth:`status`) or not; it
            fails as the node's class does.  Cancelling it stops the node.
        """

        async def start() -> DHTNetwork:
            node = DHTNode(reactor, **options)
            ways: dict[str, Any] = {"relay_through": relay_through, "local": local, "firewall": firewall}
            return await cls(node, owns_node=True, **ways, times=times, random=random)._found()

        return Deferred.fromCoroutine(start())

    async def _found(self) -> DHTNetwork:
        try:
            await self.node.ready()
        except (CancelledError, ClosedError):
            await self.close()
            raise
        return self

    # The node's news.

    def _subscribe(self) -> Callable[[], None]:
        listeners: dict[str, Callable[[], object]] = {
            "reachable": self._look,
            "unreachable": self._look,
            "network_changed": self.streams.prod,
            "network_update": self._network_update,
            "closed": self.close,
        }
        ends = [self.node.events.on(name, listener) for name, listener in listeners.items()]

        def unsubscribe() -> None:
            for end in ends:
                end()

        return unsubscribe

    def _node_ready(self, _: None) -> None:
        self._look()

    def _node_not_ready(self, failure: Failure) -> None:
        """It was closed before, or we are."""
        self.close()

    def _network_update(self) -> None:
        self._look()
        self._refresh()

    def _look(self) -> None:
        """See whether we are online, and tell of it if that is news."""
        online = self.status().online
        if online != self._was_online:
            self._was_online = online
            if online:
                self.streams.prod()
                self._refresh()
                self.events.emit("connected")
            else:
                self.events.emit("disconnected", self._why_offline())

    def _why_offline(self) -> SpaceswarmError:
        if self._closed:
            return ClosedError("the network is closed")
        if self.quiet or self.node.suspended:
            return SpaceswarmError("the network is suspended")
        if not self._ready.called:
            return SpaceswarmError("still looking for it")
        return NetworkUnreachableError()

    def _refusal(self) -> SpaceswarmError | None:
        """:returns: why no stream can be opened, if that is so."""
        if self._closed:
            return ClosedError("the network is closed")
        return PeerUnreachableError("this network is suspended") if self.quiet else None

    def _refresh(self) -> None:
        for entry in list(self._entries):
            entry.refresh()

    # What it is.

    @property
    def quiet(self) -> bool:
        """Is this network suspended, or closed, or the one whose identity it is?"""
        return self._suspended or self._closed or (self._parent is not None and self._parent.quiet)

    def status(self) -> NetworkStatus:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        online = self._ready.called and not self.quiet and not self.node.suspended and self.node.online
        detail = f"a node of the {self.node.profile.name} network"
        return NetworkStatus(online, True, True, detail if online else f"{detail}: {self._why_offline()}")

    @property
    def randomized(self) -> bool:
        """See :class:`~spaceswarm_proxy.interfaces.IPeeringNetwork`."""
        address = self.node.public_address
        return address is not None and not address.port

    def check_open(self) -> None:
        """:raises ClosedError: it is closed."""
        if self._closed:
            raise ClosedError("the network is closed")

    # Topics.

    def lookup(self, topic: bytes, receiver: IPeerReceiver) -> DHTLookup:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        topic = check_topic(topic)
        self.check_open()
        lookup = DHTLookup(self._context, topic, receiver)
        self._entries[lookup] = None
        self._begin(lookup)
        return lookup

    def announce(self, topic: bytes) -> DHTAnnouncement:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        topic = check_topic(topic)
        self.check_open()
        announcement = DHTAnnouncement(self._context, topic)
        self._entries[announcement] = None
        self._begin(announcement)
        return announcement

    def _begin(self, entry: DHTLookup | DHTAnnouncement) -> None:
        if self.quiet:
            entry.suspend()
        else:
            entry.update()

    def _announcements(self, topic: bytes) -> list[DHTAnnouncement]:
        return [entry for entry in self._entries if isinstance(entry, DHTAnnouncement) and entry.topic == topic]

    def _forget(self, entry: DHTLookup | DHTAnnouncement) -> None:
        self._entries.pop(entry, None)

    def _relays(self) -> Sequence[HostPort]:
        return () if self.listener is None else self.listener.relay_addresses

    def _relays_known(self) -> Deferred[None]:
        return succeed(None) if self.listener is None else self.listener.openings.none()

    def relays_changed(self) -> None:
        """For the listener: others can connect to us by other ways than before."""
        for entry in self._entries:
            if isinstance(entry, DHTAnnouncement):
                entry.relays_changed()

    # Streams.

    def connect(
        self, peer: Peer, factory: IProtocolFactory, relay_through: Sequence[bytes] | None = None
    ) -> Deferred[IProtocol]:
        """
        See :class:`~spaceswarm_proxy.interfaces.IPeeringNetwork`.

        Only peers with a public key can be reached here, and nobody reaches himself.
        """
        return self._attempts.connect(peer, factory, relay_through)

    def listen(
        self,
        factory: IProtocolFactory,
        relay_through: Callable[[], Sequence[bytes]] | None = None,
        firewall: Firewall | None = None,
    ) -> Deferred[IListeningPort]:
        """
        See :class:`~spaceswarm_proxy.interfaces.IPeeringNetwork`.  While the network is suspended, it waits.

        :param firewall: asked when the network's own has no objection.
        """
        try:
            return DHTPort(self, factory, relay_through or self.relay_through, firewall).opened()
        except (ClosedError, CannotListenError) as problem:
            return fail(problem)

    # What it is as a whole.

    def with_identity(self, key_pair: KeyPair | IKeeper | None = None) -> DHTNetwork:
        """
        See :class:`~spaceswarm_proxy.interfaces.INetwork`, and
        :class:`~spaceswarm_proxy.interfaces.ISealedNetwork`.  Suspending this one suspends it too.
        """
        self.check_open()
        child = DHTNetwork(
            self.node,
            KeyPair.generate() if key_pair is None else key_pair,
            relay_through=self.relay_through,
            local=self.local,
            firewall=self.firewall,
            times=self._times,
            random=self._random,
            parent=self,
        )
        self._children[child] = None
        return child

    def suspend(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`.  Streams that are open are aborted."""
        if self._closed:
            return fail(ClosedError())
        return self._take_turn(self._suspend)

    def _take_turn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Deferred[None]:
        """
        Suspend or resume, one after the other.

        :returns: a Deferred of the result; who cancels it waits no more, the work goes on.
        """
        waiting: Deferred[None] = Deferred()
        self._turns.run(lambda: Deferred.fromCoroutine(work())).chainDeferred(waiting)
        return waiting

    async def _suspend(self) -> None:
        networks = [network for network in self._family() if not network.quiet]
        self._suspended = True
        await _all_of(network._go_quiet() for network in networks)
        if self._owns_node and not self._closed:
            await self.node.suspend()

    def _family(self) -> Iterator[DHTNetwork]:
        yield self
        for child in self._children:
            yield from child._family()

    def _go_quiet(self) -> Deferred[Any]:
        self._look()
        quiet = [entry.suspend() for entry in self._entries]
        if self.listener is not None:
            quiet.append(self.listener.suspend())
        return _all_of([*quiet, self._end_streams()])

    def _end_streams(self) -> Deferred[None]:
        self._attempts.cancel()
        return self.streams.abort()

    def resume(self) -> Deferred[None]:
        """
        See :class:`~spaceswarm_proxy.interfaces.INetwork`.

        It fails with ``CannotListenError`` when the node's port is not to be had, and can be tried again then.
        """
        if self._closed:
            return fail(ClosedError())
        return self._take_turn(self._resume)

    async def _resume(self) -> None:
        if self._owns_node:
            await self.node.resume()
        networks = [network for network in self._family() if network.quiet]
        self._suspended = False
        await _all_of(network._wake() for network in networks if not network.quiet)

    def _wake(self) -> Deferred[None]:
        for entry in list(self._entries):
            entry.resume()
        self._look()
        return succeed(None) if self.listener is None else self.listener.resume()

    def close(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`.  Streams that are open are aborted."""
        if self._gone:
            return succeed(None)
        done = self._close_waiters.wait()
        if not self._closed:
            self._closed = True
            self._unsubscribe()
            self._ready.cancel()
            Deferred.fromCoroutine(self._close()).addErrback(_log_unexpected).addCallback(self._left)
            self._look()
        return done

    async def _close(self) -> None:
        closing = [part.close() for part in [*self._children, *self._entries]]
        if self.listener is not None:
            closing.append(self.listener.stopListening())
        closing.append(self.leaving.none())
        try:
            await _all_of([*closing, self._end_streams()])
        finally:
            if self._owns_node:
                await self.node.close()

    def _left(self, _: None) -> None:
        self._gone = True
        if self._parent is not None:
            self._parent._children.pop(self, None)
        self._close_waiters.fire(None)


def _all_of(parts: Iterable[Deferred[None]]) -> Deferred[Any]:
    """:returns: a Deferred that fires when all of them have; it fails with the first that does."""
    return gatherResults(list(parts), consumeErrors=True)


def _log_unexpected(failure: Failure) -> None:
    log.failure("a network did not close as it should", failure=failure)
