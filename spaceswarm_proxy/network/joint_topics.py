"""Looking for the peers of a topic in a near and a far network, and being one of them in both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import txaio
from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail, gatherResults, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import ClosedError, SpaceswarmError
from spaceswarm_proxy.interfaces import IAnnouncement, ILookup, INetwork, IPeerReceiver, Peer

log = txaio.make_logger()


@implementer(IPeerReceiver)
class _Ear:
    """Told by one of the two lookups."""

    def __init__(self, found: Callable[[Peer], None], updated: Callable[[], None]) -> None:
        self.peer_found = found
        self.lookup_updated = updated


@implementer(ILookup)
class JointLookup:
    """
    One lookup made of two.

    Neighbours are told of at once.  A round is over when one of the far network is, well or not, and after it one of
    the near network: what is true there is known at any time, and so it is what the round ends with.
    """

    def __init__(
        self,
        near: INetwork,
        far: INetwork,
        topic: bytes,
        receiver: IPeerReceiver,
        is_neighbour: Callable[[Peer], bool],
    ) -> None:
        """
        :param is_neighbour: is it for the near network alone to tell of a peer?
        :raises ValueError: the topic is not 32 bytes.
        :raises ClosedError: the networks are closed.
        """
        self._receiver = receiver
        self._is_neighbour = is_neighbour
        #: Ids of the neighbours told of since the last round was over.
        self._told: set[bytes] = set()
        # Is a round of the far network due?  Is one over, and that of the near network due?
        self._far_due = True
        self._near_due = False
        self._closed = False
        self._waiters: Waiters[None] = Waiters()
        self._far = far.lookup(topic, _Ear(self._found_far, self._far_over))
        self._near = near.lookup(topic, _Ear(self._found_near, self._near_over))
        self.topic: bytes = self._far.topic
        self._watch()

    def update(self) -> None:
        """See :class:`~spaceswarm_proxy.interfaces.ILookup`."""
        if not self._closed:
            self._far_due = True
            self._near.update()
            self._far.update()
            self._watch()

    def flushed(self) -> Deferred[None]:
        """
        See :class:`~spaceswarm_proxy.interfaces.ILookup`.

        It does not fail when the far network does not answer: neighbours are found all the same.
        """
        if self._closed:
            return fail(ClosedError("closed by its owner"))
        return self._waiters.wait() if self._far_due or self._near_due else succeed(None)

    def close(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.ILookup`."""
        self._end(ClosedError("closed by its owner"))
        closing = gatherResults([self._near.close(), self._far.close()], consumeErrors=True)
        return closing.addCallback(lambda _: None)

    def _end(self, problem: SpaceswarmError) -> None:
        self._closed = True
        self._waiters.fail(problem)

    # Peers.

    def _found_far(self, peer: Peer) -> None:
        if not self._is_neighbour(peer):
            self._receiver.peer_found(peer)

    def _found_near(self, peer: Peer) -> None:
        if not (self._near_due and peer.id in self._told):
            self._told.add(peer.id)
            self._receiver.peer_found(peer)

    # Rounds.

    def _watch(self) -> None:
        """The round that is due may fail: nobody is told of that but those who wait for it."""
        self._far.flushed().addCallbacks(lambda _: None, self._far_failed)

    def _far_failed(self, failure: Failure) -> None:
        problem = failure.value
        if self._closed:
            return
        if isinstance(problem, ClosedError):
            self._end(problem)
            return
        if not isinstance(problem, SpaceswarmError):
            log.failure("a lookup failed", failure=failure)
        self._far_over()

    def _far_over(self) -> None:
        self._far_due = False
        self._near_due = True
        self._near.update()

    def _near_over(self) -> None:
        if not self._near_due:
            return
        self._near_due = False
        self._told.clear()
        try:
            self._receiver.lookup_updated()
        finally:
            if not self._far_due:  # the receiver may have asked for another one
                self._waiters.fire(None)


@implementer(IAnnouncement)
class JointAnnouncement:
    """Being found under one topic in both networks."""

    def __init__(self, near: IAnnouncement, far: IAnnouncement) -> None:
        self.topic: bytes = near.topic
        self._near = near
        self._far = far

    def update(self) -> None:
        """See :class:`~spaceswarm_proxy.interfaces.IAnnouncement`."""
        self._near.update()
        self._far.update()

    def flushed(self) -> Deferred[None]:
        """
        See :class:`~spaceswarm_proxy.interfaces.IAnnouncement`.

        It does not fail while one of the two can be found: neighbours need no far network that answers.
        """
        done = DeferredList([self._near.flushed(), self._far.flushed()], consumeErrors=True)
        return done.addCallback(_either)

    def close(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.IAnnouncement`."""
        closing = gatherResults([self._near.close(), self._far.close()], consumeErrors=True)
        return closing.addCallback(lambda _: None)


def _either(results: list[tuple[bool, Any]]) -> None:
    """
    :param results: of the near and the far network.
    :raises Exception: that of the far one if both have failed, or the caller waits no more.
    """
    failures = [result for success, result in results if not success]
    for failure in failures:
        if failure.check(CancelledError):
            failure.raiseException()
    if len(failures) == len(results):
        failures[-1].raiseException()
