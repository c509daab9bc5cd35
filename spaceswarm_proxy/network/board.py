"""
The notice board of a :class:`~spaceswarm_proxy.network.local.LocalHub`: who is to be found under which topic, who asks.

An announcement is *posted* a moment after it was made, and every lookup of its topic hears of it a moment later: never
from inside a call of the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import txaio
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import ClosedError, LimitError
from spaceswarm_proxy.interfaces import IAnnouncement, ILookup, Peer

log = txaio.make_logger()


class _Topic:
    """What the board has under one topic, both in the order in which it came."""

    __slots__ = ("announcements", "lookups")

    def __init__(self) -> None:
        self.announcements: dict[Announcement, None] = {}
        self.lookups: dict[Lookup, None] = {}


class Board:
    """Announcements and lookups by topic."""

    def __init__(self, reactor: Any, latency: float, max_peers_per_topic: int) -> None:
        self.reactor = reactor
        #: Seconds until news arrives.
        self.latency = latency
        self.max_peers_per_topic = max_peers_per_topic
        self._topics: dict[bytes, _Topic] = {}

    def post(self, announcement: Announcement) -> None:
        """
        Put an announcement up, or show it again; those who look are told.

        :raises LimitError: the topic is full.
        """
        topic = self._topic(announcement.topic)
        if announcement not in topic.announcements:
            if len(topic.announcements) >= self.max_peers_per_topic:
                raise LimitError("max_peers_per_topic", self.max_peers_per_topic)
            topic.announcements[announcement] = None
        for lookup in topic.lookups:
            lookup.posted(announcement)

    def take_down(self, announcement: Announcement) -> None:
        """Remove an announcement, if it is there."""
        self._topic(announcement.topic).announcements.pop(announcement, None)
        self._tidy(announcement.topic)

    def watch(self, lookup: Lookup) -> None:
        """Tell a lookup from now on what is posted."""
        self._topic(lookup.topic).lookups[lookup] = None

    def unwatch(self, lookup: Lookup) -> None:
        """Undo :meth:`watch`."""
        self._topic(lookup.topic).lookups.pop(lookup, None)
        self._tidy(lookup.topic)

    def posted(self, topic: bytes) -> list[Announcement]:
        """What is up under a topic, hidden or not."""
        known = self._topics.get(topic)
        return list(known.announcements) if known else []

    def _topic(self, topic: bytes) -> _Topic:
        return self._topics.setdefault(topic, _Topic())

    def _tidy(self, topic: bytes) -> None:
        known = self._topics[topic]
        if not known.announcements and not known.lookups:
            del self._topics[topic]


class _Entry:
    """What announcements and lookups have in common: they work in a later turn, and many may wait for it."""

    def __init__(self, board: Board, topic: bytes, quiet: Callable[[], bool], closed: Callable[[Any], None]) -> None:
        self.topic = topic
        self._board = board
        self._quiet = quiet
        self._tell_closed = closed
        self._waiters: Waiters[None] = Waiters()
        self._call: IDelayedCall | None = None
        self._closed = False

    def _schedule(self) -> None:
        if self._call is None and not self._closed:
            self._call = self._board.reactor.callLater(self._board.latency, self._run)

    def _run(self) -> None:
        self._call = None
        if not self._quiet():
            self._work()

    def _work(self) -> None:
        raise NotImplementedError

    def _remove(self) -> None:
        raise NotImplementedError

    def close(self) -> Deferred[None]:
        """See the interface."""
        if not self._closed:
            self._closed = True
            if self._call is not None:
                self._call.cancel()
                self._call = None
            self._remove()
            self._tell_closed(self)
            self._waiters.fail(ClosedError("closed by its owner"))
        return succeed(None)


@implementer(IAnnouncement)
class Announcement(_Entry):
    """A peer's notice under one topic."""

    def __init__(
        self,
        board: Board,
        topic: bytes,
        peer: Peer,
        quiet: Callable[[], bool],
        closed: Callable[[Announcement], None],
    ) -> None:
        """
        :param peer: who is to be found.
        :param quiet: tells whether it is hidden at the moment.
        :param closed: is called with this when it is closed.
        """
        super().__init__(board, topic, quiet, closed)
        self.peer = peer
        self._posted = False
        self._refusal: LimitError | None = None
        self._schedule()

    @property
    def hidden(self) -> bool:
        """Is it not to be found at the moment?"""
        return self._quiet()

    def update(self) -> None:
        """See :class:`~spaceswarm_proxy.interfaces.IAnnouncement`."""
        self._schedule()

    def flushed(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.IAnnouncement`."""
        if self._closed:
            return fail(ClosedError("closed by its owner"))
        if self._call is not None or self._quiet():
            return self._waiters.wait()
        return succeed(None) if self._refusal is None else fail(self._refusal)

    def _work(self) -> None:
        try:
            self._board.post(self)
        except LimitError as refusal:
            self._refusal = refusal
            self._waiters.fail(refusal)
        else:
            self._refusal = None
            self._waiters.fire(None)

    def _remove(self) -> None:
        self._board.take_down(self)


@implementer(ILookup)
class Lookup(_Entry):
    """Somebody who looks for the peers of one topic."""

    def __init__(
        self,
        board: Board,
        topic: bytes,
        receiver: Any,
        own_id: bytes,
        quiet: Callable[[], bool],
        closed: Callable[[Lookup], None],
    ) -> None:
        """
        :param receiver: an ``IPeerReceiver``.
        :param own_id: the peer id that is not reported: the looker's own.
        :param quiet: tells whether nothing is to be reported at the moment.
        :param closed: is called with this when it is closed.
        """
        super().__init__(board, topic, quiet, closed)
        self._receiver = receiver
        self._own_id = own_id
        #: What was posted since the last report, where no whole round is due.
        self._news: dict[Announcement, None] = {}
        self._round_due = False
        board.watch(self)
        self.update()

    def update(self) -> None:
        """See :class:`~spaceswarm_proxy.interfaces.ILookup`."""
        self._round_due = True
        self._schedule()

    def flushed(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.ILookup`."""
        if self._closed:
            return fail(ClosedError("closed by its owner"))
        return self._waiters.wait() if self._round_due else succeed(None)

    def posted(self, announcement: Announcement) -> None:
        """Report an announcement in the next turn."""
        self._news[announcement] = None
        self._schedule()

    def _work(self) -> None:
        whole_round, self._round_due = self._round_due, False
        news, self._news = self._news, {}
        for peer in self._visible(whole_round, news):
            self._tell(self._receiver.peer_found, peer)
        if whole_round:
            self._tell(self._receiver.lookup_updated)
            if not self._round_due:  # the receiver may have asked for another one
                self._waiters.fire(None)

    def _visible(self, whole_round: bool, news: dict[Announcement, None]) -> list[Peer]:
        found: dict[Peer, Peer] = {}
        for announcement in self._board.posted(self.topic):
            wanted = whole_round or announcement in news
            if wanted and not announcement.hidden and announcement.peer.id != self._own_id:
                found[announcement.peer] = announcement.peer
        return list(found)

    def _tell(self, method: Callable[..., object], *args: object) -> None:
        if self._closed:
            return
        try:
            method(*args)
        except Exception:
            log.failure("{method} failed", method=method)

    def _remove(self) -> None:
        self._board.unwatch(self)
