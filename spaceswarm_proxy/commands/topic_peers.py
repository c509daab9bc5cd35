"""
The peers of one topic, for a command that opens streams to any of them.

They are looked for as long as the command runs, so that those who connect need not wait for a lookup.  A stream goes to
the peer that could be reached last, else to the others in the order in which they were found; one that cannot be
reached is forgotten until it is found again.
"""

from __future__ import annotations

from typing import Any

import txaio
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.commands.options import within
from spaceswarm_proxy.endpoints import ATTEMPT_TIMEOUT, MAX_CANDIDATES
from spaceswarm_proxy.errors import ConnectCancelledError, SpaceswarmError, UnknownPeerError
from spaceswarm_proxy.interfaces import ILookup, INetwork, IPeerReceiver, Peer

log = txaio.make_logger()


@implementer(IPeerReceiver)
class TopicPeers:
    """Whoever is found, the best first."""

    def __init__(self, network: INetwork, topic: bytes, reactor: Any) -> None:
        """
        :param network: stays the caller's, and ends the lookup when it is closed.
        :param topic: 32 bytes.
        """
        self._network = network
        self._reactor = reactor
        self._peers: dict[bytes, Peer] = {}
        #: Fires when somebody is found.
        self._found: Waiters[None] = Waiters()
        self._lookup = network.lookup(topic, self)

    def peer_found(self, peer: Peer) -> None:
        """See ``IPeerReceiver``."""
        if peer.id in self._peers or len(self._peers) < MAX_CANDIDATES:
            self._peers[peer.id] = peer
            self._found.fire(None)

    def lookup_updated(self) -> None:
        """See ``IPeerReceiver``.  Who waits for it asks the lookup."""

    def demote(self, peer: Peer) -> None:
        """It can be reached, and is of no use: prefer others, and see whether there are more."""
        known = self._peers.pop(peer.id, None)
        if known is not None:
            self._peers[peer.id] = known
        self._lookup.update()

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Open a stream to the first peer that can be reached.

        Each is tried once.  When all that are known have failed, the network is asked for more.

        :returns: a Deferred of the protocol, which can be cancelled.  It fails with ``UnknownPeerError`` when nobody is
            under the topic, or as the connection with the last peer did, or as the lookup does.
        """
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        tried: set[bytes] = set()
        problem: Exception = UnknownPeerError("nobody is found under the topic")
        question = _Question(self._lookup, self._found)
        while True:
            peer = next((peer for id, peer in self._peers.items() if id not in tried), None)
            if peer is not None:
                tried.add(peer.id)
                try:
                    return await self._try(peer, factory)
                except ConnectCancelledError:
                    raise
                except (SpaceswarmError, error.ConnectError) as failed:
                    log.debug("{peer} cannot be reached: {problem}", peer=peer, problem=failed)
                    problem = failed
            elif question.answered:
                raise question.problem or problem
            else:
                await question.more()

    async def _try(self, peer: Peer, factory: IProtocolFactory) -> IProtocol:
        try:
            protocol = await within(ATTEMPT_TIMEOUT, self._network.connect(peer, factory), self._reactor)
        except Exception:
            self._peers.pop(peer.id, None)
            raise
        self._peers = {peer.id: peer, **self._peers}
        return protocol


class _Question:
    """Whether there is anybody else, asked by one who has tried all."""

    def __init__(self, lookup: ILookup, found: Waiters[None]) -> None:
        """:param found: fired when somebody is found; also by this, when that is all."""
        self.answered = False
        #: Why there was no answer.
        self.problem: Exception | None = None
        self._lookup = lookup
        self._found = found
        self._asked = False

    def more(self) -> Deferred[None]:
        """:returns: a Deferred that fires when somebody else is found, or the question is answered."""
        waiting = self._found.wait()
        if not self._asked:
            self._asked = True
            self._lookup.update()
            self._lookup.flushed().addBoth(self._answer)
        return waiting

    def _answer(self, result: Failure | None) -> None:
        self.answered = True
        if isinstance(result, Failure):
            self.problem = result.value
        self._found.fire(None)
