"""
One stream with each peer, whoever opens it.

::

    pool = node.pool()
    port = await pool.listen(None, factory)
    protocol = await pool.connect(public_key, factory)      # the stream that there is, or a new one

The pool is told of a stream twice: its :class:`_Door` is the factory that the node knows, and is asked for a protocol
when the peer has been heard; and it is what the node tells of transports (:class:`~.securing.Streams`).

:source: spec/connect.md, 10.11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.codec.key_text import decode_key
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import ConnectCancelledError, DuplicateConnectionError
from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import IKeeper, PeerAddress
from spaceswarm_proxy.peering.duplicates import replaces
from spaceswarm_proxy.peering.port import PeerPort

if TYPE_CHECKING:
    from spaceswarm_proxy.peering.node import DHTNode


class ConnectionPool:
    """
    The streams of a node that were opened or accepted through this pool: one with each peer.

    A second one with a peer is either refused or takes the place of the first; both sides choose the same.  The one
    that does not stay ends with a :class:`~spaceswarm_proxy.errors.DuplicateConnectionError`.

    ``events`` tells ``connection(protocol)``, once for each stream that stays, when its protocol is connected.

    A pool has nothing to close: it ends with its node, and its streams and ports may be ended one by one.
    """

    def __init__(self, node: DHTNode, call_soon: Callable[[Callable[[], None]], Any]) -> None:
        """
        :param node: opens and accepts the streams; :meth:`~spaceswarm_proxy.peering.node.DHTNode.pool` makes its pools.
        :param call_soon: calls a function in the next turn of the reactor.
        """
        self.events = Events("connection")
        self._node = node
        self._call_soon = call_soon
        self._entries: dict[bytes, _Entry] = {}

    def __contains__(self, public_key: bytes) -> bool:
        """Is there a stream with this peer, open or being opened by us?"""
        return self._get(public_key) is not None

    @property
    def connections(self) -> dict[bytes, IProtocol]:
        """The protocols of the streams that are open, by the peers' public keys."""
        entries = self._entries.items()
        return {key: entry.protocol for key, entry in entries if entry.protocol is not None and not entry.is_over}

    @property
    def connecting(self) -> int:
        """How many streams are being opened by us."""
        return sum(entry.protocol is None for entry in self._entries.values())

    def connect(self, public_key: bytes | str, factory: IProtocolFactory, **options: Any) -> Deferred[IProtocol]:
        """
        Get the stream with a server: the one that is open or being opened, by whichever side, or a new one.

        :param public_key: the server's: 32 bytes, or as text (hex, z-base-32, ``pear://``).
        :param factory: builds the protocol of a new one; of no concern if there is one.
        :param options: of a new one, as for :meth:`~spaceswarm_proxy.peering.node.DHTNode.connect`.
        :returns: a Deferred, one for each caller, of the stream's protocol.  It fails as that of the node.  When the
            server connects to us at the same moment, and its stream is the one that stays, it fails with
            ``DuplicateConnectionError``, or with a ``ConnectError`` if we have been refused before that has come; the
            next call gets the stream that stays.  When all callers have cancelled theirs, the attempt ends.
        """
        try:
            key = decode_key(public_key) if isinstance(public_key, str) else bytes(public_key)
        except ValueError as problem:
            return fail(problem)
        entry = self._get(key)
        if entry is not None:
            return entry.wait()
        entry = _Entry(initiator=True)
        door = _Door(self, factory, self._own_key(options.get("key_pair")), entry)
        attempt = self._node.connect(key, door, streams=door, **options)
        self._entries[key] = entry
        waiting = entry.wait()
        entry.attempt = attempt
        attempt.addCallbacks(lambda _: self._opened(key, entry), lambda failure: self._failed(key, entry, failure))
        return waiting

    def listen(
        self, key_pair: KeyPair | IKeeper | None, factory: IProtocolFactory, **options: Any
    ) -> Deferred[PeerPort]:
        """
        Accept streams into the pool.

        :param factory: builds the protocols of streams that stay; with ``None`` a stream is refused, and the one that
            there is stays.
        :param key_pair, options: as for :meth:`~spaceswarm_proxy.peering.node.DHTNode.listen`.
        :returns: as there.
        """
        door = _Door(self, factory, self._own_key(key_pair))
        return self._node.listen(key_pair, door, streams=door, **options)

    def _get(self, key: bytes) -> _Entry | None:
        entry = self._entries.get(key)
        return None if entry is None or entry.is_over else entry

    def _own_key(self, key_pair: KeyPair | IKeeper | None) -> bytes:
        own: bytes = (self._node.key_pair if key_pair is None else key_pair).public_key
        return own

    # What the doors tell.

    def build(self, address: PeerAddress, own_key: bytes, entry: _Entry, factory: IProtocolFactory) -> IProtocol | None:
        """
        A peer has been heard, on a stream that we opened (its entry is in the pool already) or not.

        :raises DuplicateConnectionError: there is another stream, which stays.
        """
        key = address.public_key
        assert key is not None  # the peer has proved that it has it
        existing = self._get(key)
        if existing is entry:
            existing = None
        elif existing is not None and not replaces(own_key, key, entry.initiator == existing.initiator):
            raise DuplicateConnectionError()
        protocol = factory.buildProtocol(address)
        if protocol is not None:
            entry.protocol = protocol
            self._entries[key] = entry
            if existing is not None:
                existing.end(DuplicateConnectionError())
            if not entry.initiator:
                self._call_soon(lambda: self._opened(key, entry))
        return protocol

    def lost(self, key: bytes, transport: Any) -> None:
        """A stream is over, and its protocol has been told."""
        entry = self._entries.get(key)
        if entry is not None and entry.transport is transport:
            del self._entries[key]

    def _opened(self, key: bytes, entry: _Entry) -> None:
        """A protocol is connected."""
        stays = self._entries.get(key) is entry
        entry.opened()
        if stays:
            self.events.emit("connection", entry.protocol)

    def _failed(self, key: bytes, entry: _Entry, failure: Failure) -> None:
        if self._entries.get(key) is entry:
            del self._entries[key]
        entry.failed(failure)


class _Entry:
    """A stream of the pool, from the moment at which it is wanted or has arrived."""

    def __init__(self, *, initiator: bool) -> None:
        """:param initiator: this side opens it."""
        self.initiator = initiator
        #: As soon as the peer has been heard.
        self.protocol: IProtocol | None = None
        self.transport: Any = None
        #: What opens it, if that is us.
        self.attempt: Deferred[IProtocol] | None = None
        self._is_open = False
        self._callers: Waiters[IProtocol] = Waiters()

    @property
    def is_over(self) -> bool:
        """Has the stream ended?  That is so before its protocol is told, which may want another one at once."""
        return self.transport is not None and not self.transport.connected

    def wait(self) -> Deferred[IProtocol]:
        """:returns: a Deferred of the protocol when it is connected."""
        if self._is_open:
            assert self.protocol is not None
            return succeed(self.protocol)
        return self._callers.wait().addErrback(self._left)

    def _left(self, failure: Failure) -> Failure:
        """A caller hears of a failure: that may be its own cancelling."""
        if failure.check(CancelledError) is None:
            return failure
        if not self._callers and self.attempt is not None:
            self.attempt.cancel()
        return Failure(ConnectCancelledError())

    def opened(self) -> None:
        """The protocol is connected."""
        assert self.protocol is not None
        self._is_open = True
        self._callers.fire(self.protocol)

    def failed(self, failure: Failure | Exception) -> None:
        """There won't be a protocol."""
        self._callers.fail(failure)

    def end(self, problem: DuplicateConnectionError) -> None:
        """Another one has taken its place."""
        self.failed(problem)
        if self.transport is not None:
            self.transport.abort(problem)
        elif self.attempt is not None:
            self.attempt.cancel()


@implementer(IProtocolFactory)
class _Door:
    """Where the streams of one ``connect`` or ``listen`` come into the pool."""

    def __init__(
        self, pool: ConnectionPool, factory: IProtocolFactory, own_key: bytes, entry: _Entry | None = None
    ) -> None:
        """
        :param factory: the user's.
        :param own_key: the public key that we are known by.
        :param entry: the stream that we open; ``None`` where streams arrive.
        """
        self._pool = pool
        self._factory = factory
        self._own_key = own_key
        self._entry = entry
        # The one whose protocol was built last.
        self._built = entry

    def doStart(self) -> None:
        """See ``IProtocolFactory``."""
        self._factory.doStart()

    def doStop(self) -> None:
        """See ``IProtocolFactory``."""
        self._factory.doStop()

    def buildProtocol(self, address: IAddress) -> IProtocol | None:
        """:raises DuplicateConnectionError: there is a stream with this peer, which stays."""
        assert isinstance(address, PeerAddress)
        entry = self._entry or _Entry(initiator=False)
        protocol = self._pool.build(address, self._own_key, entry, self._factory)
        self._built = entry
        return protocol

    def opened(self, transport: Any) -> None:
        """See :class:`~.securing.Streams`: this is the transport of the protocol that was just built."""
        assert self._built is not None
        self._built.transport = transport

    def lost(self, transport: Any) -> None:
        """See :class:`~.securing.Streams`."""
        self._pool.lost(transport.getPeer().public_key, transport)
