"""Looking for the peers of a topic on the real network, and being one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import txaio
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import NetworkUnreachableError, SpaceswarmError
from spaceswarm_proxy.interfaces import HostPort, IAnnouncement, IKeeper, ILookup, IPeerReceiver, Peer
from spaceswarm_proxy.network.rounds import Rounds, RoundTimes
from spaceswarm_proxy.network.under_way import UnderWay
from spaceswarm_proxy.peering.node import DHTNode

log = txaio.make_logger()

#: Seconds that the network has to take note that we are not there any more.
FAREWELL = 3.0


@dataclass(frozen=True, slots=True)
class TopicContext:
    """What lookups and announcements need of the network that they belong to."""

    node: DHTNode
    key_pair: KeyPair | IKeeper
    times: RoundTimes
    random: Random
    #: Nodes through which others can connect to us.
    relays: Callable[[], Sequence[HostPort]]
    #: Gives a Deferred that fires when these are known, if there are to be any.
    relays_known: Callable[[], Deferred[None]]
    #: All announcements of a topic that are open or being taken back.
    announcements: Callable[[bytes], Iterable[DHTAnnouncement]]
    #: Takes one that is gone.
    forget: Callable[[DHTLookup | DHTAnnouncement], None]

    def rounds(self, run: Any) -> Rounds:
        """:returns: the rounds of a lookup or announcement."""
        return Rounds(self.node.reactor, run, self.times, self.random)


@implementer(ILookup)
class DHTLookup:
    """A search for the peers of one topic, round by round."""

    def __init__(self, context: TopicContext, topic: bytes, receiver: IPeerReceiver) -> None:
        self.topic = topic
        self._context = context
        self._receiver = receiver
        #: Where the next round begins.
        self._closest: Sequence[HostPort] = ()
        self._rounds = context.rounds(self._round)

    def update(self) -> None:
        """See :class:`~spaceswarm_proxy.interfaces.ILookup`."""
        self._rounds.update()

    def refresh(self) -> None:
        """The network is not what it was: ask again."""
        self._rounds.again()

    def flushed(self) -> Deferred[None]:
        """
        See :class:`~spaceswarm_proxy.interfaces.ILookup`.

        When a round fails, because nobody answers, so do those who wait for it; the lookup goes on.
        """
        return self._rounds.flushed()

    def suspend(self) -> Deferred[None]:
        """Look no more, until :meth:`resume`."""
        self._rounds.suspend()
        return succeed(None)

    def resume(self) -> None:
        """Undo :meth:`suspend`."""
        self._rounds.resume()

    def close(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.ILookup`."""
        self._rounds.close()
        self._context.forget(self)
        return succeed(None)

    async def _round(self) -> None:
        told: dict[bytes | None, Sequence[HostPort]] = {}
        replies = self._context.node.lookup(self.topic, nodes=self._closest)
        try:
            async for reply in replies:
                self._tell_all(reply.value.peers, told)
                if self._rounds.stopped:
                    return
        finally:
            self._closest = replies.closest or self._closest
            replies.cancel()
        if not replies.successes:
            raise NetworkUnreachableError()
        self._tell(self._receiver.lookup_updated)

    def _tell_all(self, peers: Iterable[Peer], told: dict[bytes | None, Sequence[HostPort]]) -> None:
        """
        Tell of those that were not told of in this round yet, or are said to have other relays.

        :param told: by key, the relays that were told of.
        """
        for peer in peers:
            key, relays = peer.public_key, peer.relay_addresses
            if key != self._context.key_pair.public_key and told.get(key) != relays:
                told[key] = relays
                self._tell(self._receiver.peer_found, peer)

    def _tell(self, method: Callable[..., object], *args: object) -> None:
        if self._rounds.stopped:
            return
        try:
            method(*args)
        except Exception:
            log.failure("{method} failed", method=method)


@implementer(IAnnouncement)
class DHTAnnouncement:
    """
    A record at the nodes nearest to a topic, which they are reminded of round by round.

    A node that has a record of ours keeps it as it is, so the first one, and one that names other relays than the last,
    takes back first what is there.
    """

    def __init__(self, context: TopicContext, topic: bytes) -> None:
        self.topic = topic
        self._context = context
        #: Where the next round begins.
        self._closest: Sequence[HostPort] = ()
        #: The relays in our last record; ``None`` when there may be others, or there is none.
        self._relays: frozenset[HostPort] | None = None
        #: May anybody have a record of ours?
        self._told = False
        #: Is a round under way that has not looked yet which relays there are?
        self._undecided = False
        self._leaving = UnderWay()
        self._rounds = context.rounds(self._round)

    @property
    def closed(self) -> bool:
        """Is it closed, though others may not know yet?"""
        return self._rounds.closed

    def update(self) -> None:
        """See :class:`~spaceswarm_proxy.interfaces.IAnnouncement`."""
        self._rounds.update()

    def refresh(self) -> None:
        """The network is not what it was: announce again."""
        self._rounds.again()

    def relays_changed(self) -> None:
        """Others can connect to us by other ways: announce again, if they are told wrong ones."""
        if self._undecided:
            return
        if self._relays != frozenset(self._context.relays()):
            self._rounds.again(self._context.times.settle if self._relays else None)

    def flushed(self) -> Deferred[None]:
        """
        See :class:`~spaceswarm_proxy.interfaces.IAnnouncement`.

        When a round fails, because nobody answers, so do those who wait for it; the next one may go well.
        """
        return self._rounds.flushed()

    def suspend(self) -> Deferred[None]:
        """Be found no more, until :meth:`resume`.  :returns: a Deferred that fires when the network knows."""
        self._rounds.suspend()
        self._take_back()
        return self._leaving.none()

    def resume(self) -> None:
        """Undo :meth:`suspend`."""
        self._rounds.resume()

    def close(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.IAnnouncement`."""
        if not self._rounds.closed:
            self._rounds.close()
            self._leave_topic()
            self._leaving.none().addCallback(lambda _: self._context.forget(self))
        return self._leaving.none()

    def _leave_topic(self) -> None:
        """Be found no more, unless another announcement of ours is there to stay."""
        for other in self._context.announcements(self.topic):
            if not other.closed:
                other._told = other._told or self._told
                return
        self._take_back()

    def _take_back(self) -> None:
        if self._told:
            self._told = False
            self._relays = None
            context = self._context
            taking = context.node.unannounce(self.topic, context.key_pair, nodes=self._closest)
            taking.addTimeout(FAREWELL, context.node.reactor)
            self._leaving.add(taking.addErrback(_not_taken_back))

    async def _round(self) -> None:
        for each in self._context.announcements(self.topic):
            await each._leaving.none()
        relays = await self._known_relays()
        clear, self._told = self._relays != frozenset(relays), True
        if clear:
            self._relays = None
        replies = self._context.node.announce(
            self.topic, self._context.key_pair, relays, clear=clear, nodes=self._closest
        )
        try:
            await replies.finished()
            self._relays = frozenset(relays)
        finally:
            self._closest = replies.closest or self._closest

    async def _known_relays(self) -> tuple[HostPort, ...]:
        """:returns: those that a listener has which is being opened: a record without them would have to be renewed."""
        self._undecided = True
        try:
            await self._context.relays_known()
        finally:
            self._undecided = False
        return tuple(self._context.relays())


def _not_taken_back(failure: Failure) -> None:
    """Nobody tells of us for long: records that are not renewed are forgotten."""
    failure.trap(SpaceswarmError, TimeoutError, CancelledError)
    log.debug("an announcement could not be taken back: {problem}", problem=failure.value)
