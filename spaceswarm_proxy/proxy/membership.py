"""One topic that one client has joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import DeferredList, succeed

from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.proxy.features import Role

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from spaceswarm_proxy.proxy.identity import Announced
    from spaceswarm_proxy.proxy.lookups import SharedLookup
    from spaceswarm_proxy.proxy.server_link import ServerLink


class Membership:
    """A client's share in a topic: its place in the shared lookup, and in what its identity announces."""

    __slots__ = ("announced", "link", "lookup", "topic")

    def __init__(self, link: ServerLink, topic: bytes) -> None:
        self.link = link
        self.topic = topic
        self.lookup: SharedLookup | None = None
        self.announced: Announced | None = None

    @property
    def roles(self) -> Role:
        """What the client is doing in the topic."""
        roles = Role(0)
        if self.lookup is not None:
            roles |= Role.LOOKUP
        if self.announced is not None:
            roles |= Role.ANNOUNCE
        return roles

    def peer_found(self, peer: Peer) -> None:
        """The shared lookup's news."""
        self.link.peer_found(self.topic, peer)

    def lookup_updated(self) -> None:
        """A round of the shared lookup is complete."""
        self.link.lookup_updated(self.topic)

    def start_lookup(self, lookup: SharedLookup) -> None:
        """Take part in the topic's lookup."""
        self.lookup = lookup
        lookup.subscribe(self)

    def stop_lookup(self) -> Deferred[None]:
        """Take part no more."""
        lookup, self.lookup = self.lookup, None
        return succeed(None) if lookup is None else lookup.unsubscribe(self)

    def announce(self) -> None:
        """Be found."""
        self.announced = self.link.identity.announce(self.topic)

    def stop_announcement(self) -> Deferred[None]:
        """Be found no more."""
        announced, self.announced = self.announced, None
        return succeed(None) if announced is None else self.link.identity.withdraw(announced)

    def flushed(self) -> Deferred[Any]:
        """:returns: a Deferred that fires when the client can be found, and has been told who can."""
        waiting = [] if self.lookup is None else [self.lookup.flushed()]
        if self.announced is not None:
            waiting.append(self.announced.announcement.flushed())
        return DeferredList(waiting, fireOnOneErrback=True, consumeErrors=True)

    def leave(self) -> Deferred[None]:
        """:returns: a Deferred that fires when nothing of it is left."""
        done = DeferredList([self.stop_lookup(), self.stop_announcement()], consumeErrors=True)
        return done.addCallback(lambda _: None)
