"""The CONNECTs of one link that were sent and not answered."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory

from spaceswarm_proxy.interfaces import Peer


class Pending(NamedTuple):
    """One of them."""

    peer: Peer
    factory: IProtocolFactory
    done: Deferred[IProtocol]
    #: What a sealed stream may be bound to; the first one is tried.
    labels: tuple[str, ...] = ()

    def fail(self, problem: BaseException) -> None:
        """It has come to this, if anybody still wants to know."""
        if not self.done.called:
            self.done.errback(problem)


class Connects:
    """All of them: those to a server that answers by their numbers, and those to one that gives no replies."""

    __slots__ = ("_by_peer", "_by_request")

    def __init__(self) -> None:
        self._by_request: dict[int, Pending] = {}
        # In the order in which they were sent.
        self._by_peer: dict[bytes, deque[Pending]] = {}

    def __len__(self) -> int:
        return len(self._by_request) + sum(map(len, self._by_peer.values()))

    def add(self, pending: Pending, request: int | None) -> None:
        """:param request: its number; ``None`` where there are no replies."""
        if request is None:
            self._by_peer.setdefault(pending.peer.id, deque()).append(pending)
        else:
            self._by_request[request] = pending

    def answered(self, request: int) -> Pending | None:
        """The server has answered one by its number.  :returns: that, if it is one."""
        return self._by_request.pop(request, None)

    def opened(self, peer: bytes) -> Pending | None:
        """
        The one that an OPEN without a number answers: the first that somebody still waits for.

        As a JavaScript server may never answer, one that was given up must not stand in the way of the next.
        """
        queue = self._by_peer.get(peer)
        if not queue:
            return None
        pending = next((each for each in queue if not each.done.called), queue[0])
        queue.remove(pending)
        if not queue:
            del self._by_peer[peer]
        return pending

    def are_to(self, public_key: bytes) -> bool:
        """Is any of them to this peer?"""
        return any(pending.peer.public_key == public_key for pending in self._by_request.values())

    def fail(self, problem: Exception) -> None:
        """None of them will be answered."""
        pendings = [*self._by_request.values(), *(each for queue in self._by_peer.values() for each in queue)]
        self._by_request.clear()
        self._by_peer.clear()
        for pending in pendings:
            pending.fail(problem)
