"""The transport that the user's protocol sees on an encrypted connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol
from zope.interface import implementer

from spaceswarm_proxy.errors import ValueTooLargeError
from spaceswarm_proxy.interfaces import (
    IMessageProtocol,
    IMessageTransport,
    IRecordProtocol,
    IRecordTransport,
    ISignsOfLife,
)
from spaceswarm_proxy.transport import StreamTransport

if TYPE_CHECKING:
    from spaceswarm_proxy.crypto.noise import SessionKeys
    from spaceswarm_proxy.secret.connection import SecretConnection


@implementer(IMessageTransport, IRecordTransport, ISignsOfLife)
class SecretTransport(StreamTransport):
    """
    A stream, encrypted from end to end.  ``getPeer()`` is a :class:`~spaceswarm_proxy.interfaces.PeerAddress`.

    Each ``write`` is one record, and comes as one if the far end's protocol is an
    :class:`~spaceswarm_proxy.interfaces.IRecordProtocol`; others get all that has come, joined.
    """

    __slots__ = ("_connection", "_keys", "_records", "lost")

    def __init__(self, connection: SecretConnection, keys: SessionKeys, host: IAddress, peer: IAddress) -> None:
        super().__init__(host, peer)
        self._connection = connection
        self._keys = keys
        self._records = False
        #: Called with this when the protocol has been told that it is over.
        self.lost: Callable[[SecretTransport], None] | None = None

    # Who is at the two ends.

    @property
    def public_key(self) -> bytes:
        """Ours, 32 bytes."""
        return self._connection.session.public_key

    @property
    def remote_public_key(self) -> bytes:
        """The far end's, 32 bytes: it has proven that it has the secret one."""
        return self._keys.remote_public_key

    @property
    def handshake_hash(self) -> bytes:
        """64 bytes that are the same at both ends, and in no other session."""
        return self._keys.hash

    @property
    def label(self) -> str | None:
        """What the stream is bound to: the network's name for that, as soon as the far end has been heard."""
        return self._connection.session.label

    # Its life.

    def set_keep_alive(self, seconds: float) -> None:
        """Send an empty record whenever nothing was written for so long; 0 never does.  Nobody is told of those."""
        self._connection.set_keep_alive(seconds)

    def set_timeout(self, seconds: float) -> None:
        """
        End with a :class:`~spaceswarm_proxy.errors.StreamTimeoutError` when not a byte has come for so long; 0 never.

        While the protocol has paused the transport, nothing can be heard, and the time stands still.
        """
        self._connection.set_timeout(seconds)

    def send_keep_alive(self) -> None:
        """Send an empty record now."""
        self._connection.send_keep_alive()

    @property
    def raw_bytes_read(self) -> int:
        """Encrypted bytes of all records that have come, as the reference counts them: without their lengths."""
        return self._connection.session.raw_read

    @property
    def raw_bytes_written(self) -> int:
        """Encrypted bytes of all records that were sent, their lengths too."""
        return self._connection.session.raw_written

    # IRecordTransport.

    @property
    def max_record(self) -> int:
        """See :class:`~spaceswarm_proxy.interfaces.IRecordTransport`."""
        return self._connection.settings.max_message

    def write_record(self, data: bytes) -> None:
        """
        Write one record; nothing if it is empty.

        :raises ValueTooLargeError: it is longer than :attr:`max_record`.
        """
        if len(data) > self.max_record:
            raise ValueTooLargeError("max_record", self.max_record)
        self.write(data)

    # IMessageTransport.

    @property
    def max_message(self) -> int:
        """See :class:`~spaceswarm_proxy.interfaces.IMessageTransport`; 0 unless the carrier has messages."""
        return self._connection.max_datagram

    def send_message(self, data: bytes) -> None:
        """
        Send a message beside the stream, encrypted too.  After the end, or before the far end was heard, it is lost.

        :raises ValueTooLargeError: it is longer than :attr:`max_message`.
        :raises NotSupportedError: the carrier has no messages.
        """
        self._connection.send_datagram(data)

    def message_arrived(self, data: bytes) -> None:
        """For the owner: a message has come, decrypted."""
        protocol = self.protocol
        if protocol is not None and self._reason is None and IMessageProtocol.providedBy(protocol):
            self._tell(protocol.message_received, data)

    # StreamTransport: what is different, and its hooks.

    def attach(self, protocol: IProtocol) -> None:
        """Connect the user's protocol, and deliver what already waits for it."""
        self._records = IRecordProtocol.providedBy(protocol)
        super().attach(protocol)

    def _take_held(self) -> bytes:
        if not self._records:
            return super()._take_held()
        held = self._held
        assert held  # _next_step saw it
        if len(held) == 1:
            self._held = None
            return held[0]
        if not isinstance(held, deque):
            held = self._held = deque(held)
        return held.popleft()

    def _call_soon(self, function: object) -> IDelayedCall:
        call: IDelayedCall = self._connection.clock.callLater(0, function)
        return call

    def _send(self, data: bytes) -> None:
        self._connection.send(data)

    def _send_end(self) -> None:
        self._connection.send_end()

    def _finish(self) -> None:
        self._connection.finish()

    def _abort(self, error: Exception) -> None:
        self._connection.abort_carrier()

    def _consumed(self, count: int) -> None:
        """The carrier is paused with us, and counts for itself."""

    def _reading_changed(self, paused: bool) -> None:
        self._connection.reading_changed(paused)

    def _disconnected(self) -> None:
        if self.lost is not None:
            self.lost(self)
