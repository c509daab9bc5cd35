"""The topics that a swarm has joined."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from spaceswarm_proxy.swarm.discovery import Discovery, Roles, TopicStatus
from spaceswarm_proxy.swarm.search import SearchContext, TopicSearch


class Searches:
    """One search for each joined topic, and those that are on their way out."""

    def __init__(self, context: SearchContext) -> None:
        self._context = context
        self._joined: dict[bytes, TopicSearch] = {}
        self._leaving: dict[bytes, TopicSearch] = {}
        self._suspended = False

    @property
    def topics(self) -> tuple[bytes, ...]:
        """Those that are joined."""
        return tuple(self._joined)

    def are_any_joined(self, topics: set[bytes]) -> bool:
        """Is one of them joined?"""
        return not topics.isdisjoint(self._joined)

    def status(self, topic: bytes) -> TopicStatus | None:
        """How it stands with a topic."""
        search = self._joined.get(topic)
        return search.status() if search is not None else None

    def join(self, topic: bytes, roles: Roles, limit: float) -> Discovery:
        """One more session of a topic."""
        search = self._joined.get(topic)
        if search is None:
            search = TopicSearch(topic, self._context, self.leave, self._leaving.get(topic), self._suspended)
            self._joined[topic] = search
        return search.join(roles, limit)

    def leave(self, topic: bytes) -> Deferred[None]:
        """End all sessions of a topic.  :returns: a Deferred that fires when the network knows."""
        search = self._joined.pop(topic, None)
        if search is None:
            leaving = self._leaving.get(topic)
            return leaving.quiet() if leaving is not None else succeed(None)
        self._leaving[topic] = search
        return search.close().addBoth(self._left, search)

    def _left(self, result: Any, search: TopicSearch) -> Any:
        if self._leaving.get(search.topic) is search:
            del self._leaving[search.topic]
        return result

    def leave_all(self) -> list[Deferred[None]]:
        """Leave every topic."""
        return [self.leave(topic) for topic in self.topics]

    def refresh(self) -> None:
        """Ask again for every topic."""
        for search in tuple(self._joined.values()):
            search.refresh()

    def flushed(self) -> list[Deferred[bool]]:
        """:returns: for each topic, a Deferred that fires when its refresh under way is complete."""
        return [search.flushed() for search in self._joined.values()]

    def suspend(self) -> list[Deferred[None]]:
        """Let every search rest, and those that are begun from now on."""
        self._suspended = True
        return [search.suspend() for search in tuple(self._joined.values())]

    def resume(self) -> None:
        """Undo :meth:`suspend`."""
        self._suspended = False
        for search in tuple(self._joined.values()):
            search.resume()
