"""One topic that one client has joined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import DeferredList, succeed

from spaceswarm_proxy.interfaces import IAnnouncement, Peer
from spaceswarm_proxy.proxy.features import Role

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from spaceswarm_proxy.proxy.lookups import SharedLookup
    from spaceswarm_proxy.proxy.server_link import ServerLink


class Membership:
    """A client's share in a topic: its place in the shared lookup, and its own announcement."""

    __slots__ = ("announcement", "link", "lookup", "topic")

    def __init__(self, link: ServerLink, topic: bytes) -> None:
        self.link = link
        self.topic = topic
        self.lookup: SharedLookup | None = None
        self.announcement: IAnnouncement | None = None

    @property
    def roles(self) -> Role:
        """What the client is doing in the topic."""
        roles = Role(0)
        if self.lookup is not None:
            roles |= Role.LOOKUP
        if self.announcement is not None:
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

    def stop_announcement(self) -> Deferred[None]:
        """Be found no more."""
        announcement, self.announcement = self.announcement, None
        return succeed(None) if announcement is None else announcement.close()

    def leave(self) -> Deferred[None]:
        """:returns: a Deferred that fires when nothing of it is left."""
        done = DeferredList([self.stop_lookup(), self.stop_announcement()], consumeErrors=True)
        return done.addCallback(lambda _: None)
