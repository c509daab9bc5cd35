"""Opening streams on the real network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectError,
    FirewallError,
    LimitError,
    PeerUnreachableError,
    SpaceswarmError,
    UnknownPeerError,
)
from spaceswarm_proxy.interfaces import Peer

if TYPE_CHECKING:
    from spaceswarm_proxy.crypto.keys import KeyPair
    from spaceswarm_proxy.interfaces import IKeeper
    from spaceswarm_proxy.network.streams import OpenStreams
    from spaceswarm_proxy.peering.node import DHTNode


class Attempts:
    """The attempts of one network that are under way."""

    def __init__(
        self,
        node: DHTNode,
        key_pair: KeyPair | IKeeper,
        relay_through: Sequence[bytes],
        local: bool,
        streams: OpenStreams,
        refusal: Callable[[], SpaceswarmError | None],
    ) -> None:
        """
        :param relay_through: as for :meth:`~spaceswarm_proxy.peering.node.DHTNode.connect`.
        :param local: there, ``local_connection``.
        :param streams: told of the streams that open.
        :param refusal: why there can't be any attempt at present, if that is so.
        """
        self._node = node
        self._key_pair = key_pair
        self._relay_through = relay_through
        self._local = local
        self._streams = streams
        self._refusal = refusal
        self._under_way: set[Deferred[IProtocol]] = set()

    def connect(
        self, peer: Peer, factory: IProtocolFactory, relay_through: Sequence[bytes] | None = None
    ) -> Deferred[IProtocol]:
        """One more.  See :meth:`~spaceswarm_proxy.interfaces.IPeeringNetwork.connect`."""
        try:
            key = self._reachable_key(peer)
        except SpaceswarmError as problem:
            return fail(problem)
        attempt = self._node.connect(
            key,
            factory,
            key_pair=self._key_pair,
            relay_addresses=peer.relay_addresses,
            relay_through=self._relay_through if relay_through is None else relay_through,
            local_connection=self._local,
            streams=self._streams,
        )
        self._under_way.add(attempt)
        return attempt.addBoth(self._done, attempt)

    def cancel(self) -> None:
        """All of them come to nothing."""
        for attempt in list(self._under_way):
            attempt.cancel()

    def _reachable_key(self, peer: Peer) -> bytes:
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
        if peer.public_key is None:
            raise UnknownPeerError(f"peer {peer} has no public key")
        if peer.public_key == self._key_pair.public_key:
            raise FirewallError("a network does not connect to itself")
        return peer.public_key

    def _done(self, result: IProtocol | Failure, attempt: Deferred[IProtocol]) -> IProtocol | Failure:
        self._under_way.discard(attempt)
        return Failure(self._told(result.value)) if isinstance(result, Failure) else result

    def _told(self, problem: BaseException) -> BaseException:
        """:returns: as what the user is told of a problem."""
        if not isinstance(problem, SpaceswarmError):
            return problem
        refusal = self._refusal()
        if refusal is not None:
            return refusal
        if isinstance(problem, (ConnectError, LimitError, ClosedError)):
            return problem
        reason = PeerUnreachableError(str(problem))
        reason.__cause__ = problem
        return reason
