"""A query as its user sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.dht.contact import host_port
from spaceswarm_proxy.dht.query import Query
from spaceswarm_proxy.dht.results import Reply
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.interfaces import HostPort

Value = TypeVar("Value", covariant=True)


class Replies(Generic[Value]):
    """
    The replies to a query, as they come; one for each node that has something to say.

    Iterate over them with ``async for``, wait for :meth:`finished`, or both.  The loop ends with the query; it raises
    what the query fails with.  A query asks a bounded number of nodes, so what is kept until somebody reads it is
    bounded too.
    """

    def __init__(self) -> None:
        self._query: Query | None = None
        self._replies: deque[Reply[Value]] = deque()
        self._readers: Waiters[None] = Waiters()
        self._waiters: Waiters[None] = Waiters()
        self._ended = False
        self._problem: Exception | None = None

    def attach(self, query: Query) -> None:
        """This is the query; for the node alone."""
        self._query = query

    def found(self, reply: Reply[Any]) -> None:
        """A node has answered."""
        self._replies.append(reply)
        self._readers.fire(None)

    def end(self, problem: SpaceswarmError | None) -> None:
        """The query is over."""
        self._end(problem)

    def cancel(self) -> None:
        """End the query now: nothing of it is left.  Who waits for it gets ``CancelledError``; loops end."""
        if not self._ended:
            if self._query is not None:
                self._query.cancel()
            self._end(CancelledError())

    def _end(self, problem: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._problem = problem
        self._readers.fire(None)
        if problem is None:
            self._waiters.fire(None)
        else:
            self._waiters.fail(problem)

    def finished(self) -> Deferred[None]:
        """
        :returns: a Deferred, one for each caller, that fires with ``None`` when the query is over, and all that it was
            to store is stored; it fails with a :class:`~spaceswarm_proxy.errors.SpaceswarmError`.  Cancelling it
            cancels the query.
        """
        if self._ended:
            return succeed(None) if self._problem is None else fail(self._problem)
        waiting: Deferred[None] = Deferred(lambda _: self.cancel())
        self._waiters.wait().chainDeferred(waiting)
        return waiting

    @property
    def closest(self) -> tuple[HostPort, ...]:
        """The nearest nodes that have answered so far, nearest first: what the next query may begin with."""
        if self._query is None:
            return ()
        return tuple(host_port(address) for address in self._query.closest_addresses)

    @property
    def stored(self) -> int:
        """How many nodes have taken what was to be stored there."""
        return 0 if self._query is None else self._query.stored

    @property
    def successes(self) -> int:
        """How many nodes have answered."""
        return 0 if self._query is None else self._query.successes

    @property
    def errors(self) -> int:
        """How many nodes have not, or with an error."""
        return 0 if self._query is None else self._query.errors

    def __aiter__(self) -> AsyncIterator[Reply[Value]]:
        return self

    async def __anext__(self) -> Reply[Value]:
        while not self._replies:
            if self._ended:
                if self._problem is None or isinstance(self._problem, CancelledError):
                    raise StopAsyncIteration
                raise self._problem
            await self._readers.wait()
        return self._replies.popleft()
