"""What the user holds of a topic that is joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import Deferred, succeed

from spaceswarm_proxy.errors import ClosedError

if TYPE_CHECKING:
    from spaceswarm_proxy.swarm.search import TopicSearch


class Roles(NamedTuple):
    """What a topic was joined as."""

    #: Be found by others.
    server: bool
    #: Find others, and connect to them.
    client: bool


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """How it stands with a topic."""

    topic: bytes
    #: We look for peers and connect to them.
    client: bool
    #: Peers should find us.
    server: bool
    #: They can.
    announced: bool
    #: What the network cannot do of this, for people; empty if it can do it all.
    degraded: str = ""


class Discovery:
    """One join of a topic.  It lasts until :meth:`destroy`, or until the topic is left."""

    def __init__(self, search: TopicSearch, roles: Roles, limit: float) -> None:
        self.topic = search.topic
        self.roles = roles
        self.limit = limit
        self._search = search
        self._destroyed = False

    def flushed(self) -> Deferred[bool]:
        """
        :returns: a Deferred that fires when the refresh now under way is complete: true, or false if it failed.  Then
            we are announced, and the peers that could be found have been.
        """
        return self._search.flushed()

    def refresh(
        self, server: bool | None = None, client: bool | None = None, limit: int | None = None
    ) -> Deferred[bool]:
        """
        Ask again now, perhaps in other roles.

        :param server: be found by others; ``None`` leaves it as it is.
        :param client: find others and connect to them; ``None`` leaves it as it is.
        :param limit: new peers that each refresh may bring from now on; ``None`` leaves it as it is.
        :returns: as :meth:`flushed`.
        :raises ValueError: neither of the roles would be left.
        :raises ClosedError: it was destroyed, or the topic left.
        """
        if self._destroyed or self._search.closed:
            raise ClosedError("the topic was left")
        self.roles = checked_roles(
            self.roles.server if server is None else server, self.roles.client if client is None else client
        )
        self.limit = self.limit if limit is None else limit
        return self._search.refresh()

    def destroy(self) -> Deferred[None]:
        """
        Take this join back; with the last one, the topic is left.

        :returns: a Deferred that fires when the network knows.
        """
        if self._destroyed:
            return succeed(None)
        self._destroyed = True
        return self._search.remove(self)


def checked_roles(server: bool, client: bool) -> Roles:
    """:raises ValueError: neither."""
    if not (server or client):
        raise ValueError("a topic is joined as server, as client, or as both")
    return Roles(bool(server), bool(client))
