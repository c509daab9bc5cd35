"""One lookup for each topic at the server, however many clients have joined it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol as Shape

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from spaceswarm_proxy.errors import LimitError
from spaceswarm_proxy.interfaces import IPeerReceiver, Peer

#: Peers of one topic that are remembered for clients that join later; the oldest news goes first.
MAX_CACHED_PEERS = 1024
#: Seconds after the beginning of a lookup for which no second round can be had.  Who has begun at the same moment, and
#: could not be found yet, can be by then.
FIRST_PAUSE = 2.0


class Subscriber(Shape):
    """Who is told what a shared lookup finds."""

    def peer_found(self, peer: Peer) -> None: ...

    def lookup_updated(self) -> None: ...


@implementer(IPeerReceiver)
class SharedLookup:
    """
    The lookup of one topic, and those who share it.

    A peer is passed on once in each round of the lookup, however often it is found.  What was found in this round
    or the one before is told to whoever comes later.
    """

    def __init__(self, lookups: SharedLookups, topic: bytes) -> None:
        self._lookups = lookups
        self.topic = topic
        self.subscribers: set[Subscriber] = set()
        self._fresh: dict[bytes, Peer] = {}
        self._stale: dict[bytes, Peer] = {}
        #: The earliest time of another round that clients ask for.
        self._next = lookups.clock.seconds() + min(FIRST_PAUSE, lookups.min_refresh)
        self._lookup = lookups.network.lookup(topic, self)

    def peer_found(self, peer: Peer) -> None:
        if peer.id in self._fresh:
            return
        if len(self._fresh) >= MAX_CACHED_PEERS:
            del self._fresh[next(iter(self._fresh))]
        self._fresh[peer.id] = peer
        for subscriber in tuple(self.subscribers):
            subscriber.peer_found(peer)

    def lookup_updated(self) -> None:
        self._stale, self._fresh = self._fresh, {}
        for subscriber in tuple(self.subscribers):
            subscriber.lookup_updated()

    def peer_gone(self, public_key: bytes) -> None:
        """A peer is found no more: whoever comes later is not told of it, and all are if it comes back."""
        id = Peer.keyed(public_key).id
        self._fresh.pop(id, None)
        self._stale.pop(id, None)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell ``subscriber`` what is known, at once, and then what is found; for one that comes later, look again."""
        if self.subscribers:
            self.refresh()
        self.subscribers.add(subscriber)
        for peer in {**self._stale, **self._fresh}.values():
            subscriber.peer_found(peer)

    def unsubscribe(self, subscriber: Subscriber) -> Deferred[None]:
        """Tell it no more; the last one closes the lookup."""
        self.subscribers.discard(subscriber)
        if self.subscribers:
            return succeed(None)
        self._lookups.forget(self)
        return self._lookup.close()

    def refresh(self) -> None:
        """Look again, now or as soon as may be: clients may ask as often as they like."""
        self._lookups.put_off.add(self)
        self.tick(self._lookups.clock.seconds())

    def tick(self, now: float) -> None:
        """Look again if clients have asked for it and it is time."""
        if now >= self._next:
            self._lookups.put_off.discard(self)
            self._next = now + self._lookups.min_refresh
            self._lookup.update()

    def flushed(self) -> Deferred[None]:
        """See :meth:`~spaceswarm_proxy.interfaces.ILookup.flushed`."""
        return self._lookup.flushed()


class SharedLookups:
    """The topics that anybody at a server has joined."""

    def __init__(
        self,
        network: Any,
        clock: Any,
        *,
        max_topics: int,
        min_refresh: float,
        joined: Callable[[bytes], None],
        left: Callable[[bytes], None],
    ) -> None:
        """
        :param max_topics: topics looked up at once.
        :param min_refresh: seconds between two rounds that clients ask for.
        :param joined: called with a topic when its first subscriber comes.
        :param left: called with a topic when its last one has gone.
        """
        self.network = network
        self.clock = clock
        self.max_topics = max_topics
        self.min_refresh = min_refresh
        self._joined = joined
        self._left = left
        self._shared: dict[bytes, SharedLookup] = {}
        #: Those that are to look again as soon as it is time.
        self.put_off: set[SharedLookup] = set()

    def __len__(self) -> int:
        return len(self._shared)

    def get(self, topic: bytes) -> SharedLookup | None:
        """The topic's lookup, if anybody has joined it."""
        return self._shared.get(topic)

    def join(self, topic: bytes) -> SharedLookup:
        """
        The topic's lookup; it is started if it is the first one's.  To be followed by ``subscribe``.

        :raises LimitError: too many topics.
        """
        shared = self._shared.get(topic)
        if shared is None:
            if len(self._shared) >= self.max_topics:
                raise LimitError("max_topics_total", self.max_topics)
            shared = self._shared[topic] = SharedLookup(self, topic)
            self._joined(topic)
        return shared

    def peer_gone(self, topic: bytes, public_key: bytes) -> None:
        """One of the server's own clients is found no more under a topic."""
        shared = self._shared.get(topic)
        if shared is not None:
            shared.peer_gone(public_key)

    def tick(self, now: float) -> None:
        """Have those look again whose time has come."""
        for shared in tuple(self.put_off):
            shared.tick(now)

    def forget(self, shared: SharedLookup) -> None:
        """Its last subscriber has left."""
        self.put_off.discard(shared)
        del self._shared[shared.topic]
        self._left(shared.topic)
