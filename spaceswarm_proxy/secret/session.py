"""
One side of an encrypted stream, from its first byte on: the handshake, unless its keys are known, then the messages.

What is sent before the keys are there is kept, and goes out first.
"""

from __future__ import annotations

from collections.abc import Sequence

from spaceswarm_proxy.crypto.datagram_box import BoxOpener, BoxSealer
from spaceswarm_proxy.crypto.noise import SessionKeys
from spaceswarm_proxy.crypto.secret_stream import MAX_MESSAGE, SecretStream
from spaceswarm_proxy.secret.opening import Opening


class Session:
    """Messages to bytes with :meth:`send`, bytes to messages with :meth:`receive`; datagrams beside them."""

    __slots__ = (
        "_early",
        "_header",
        "_labels",
        "_max_message",
        "_opener",
        "_opening",
        "_sealer",
        "_stream",
        "initiator",
        "keys",
        "public_key",
    )

    def __init__(
        self,
        initiator: bool,
        public_key: bytes,
        begin: Opening | SessionKeys,
        labels: Sequence[str],
        max_message: int = MAX_MESSAGE,
        *,
        header: bytes | None = None,
    ) -> None:
        """
        :param public_key: ours, 32 bytes.
        :param begin: the handshake to be done, or what one came to.
        :param labels: what the network's streams may be bound to, the likeliest first.
        :param max_message: bytes of the longest message taken, and so the most that a remote can make us hold.
        :param header: for tests only, see :class:`~spaceswarm_proxy.crypto.secret_stream.SecretStream`.
        """
        self.initiator = initiator
        self.public_key = public_key
        #: What the handshake came to, as soon as it has.
        self.keys: SessionKeys | None = None
        self._labels = labels
        self._max_message = max_message
        self._header = header
        self._opening: Opening | None = None
        self._stream: SecretStream | None = None
        self._early: list[bytes] = []
        self._sealer: BoxSealer | None = None
        self._opener: BoxOpener | None = None
        if isinstance(begin, Opening):
            self._opening = begin
        else:
            self._establish(begin)

    @property
    def label(self) -> str | None:
        """What the stream is bound to; known when the remote has been heard."""
        return None if self._stream is None else self._stream.label

    @property
    def is_ready(self) -> bool:
        """Does what is sent go out at once?"""
        return self._stream is not None and not self._stream.holds_back

    @property
    def raw_read(self) -> int:
        """See :attr:`SecretStream.raw_read`."""
        return 0 if self._stream is None else self._stream.raw_read

    @property
    def raw_written(self) -> int:
        """See :attr:`SecretStream.raw_written`."""
        return 0 if self._stream is None else self._stream.raw_written

    def start(self) -> None:
        """
        Say the first word, if it is ours.

        :raises HandshakeError: the remote's public key is none.
        """
        if self._opening is not None:
            self._opening.start()

    def send(self, message: bytes) -> None:
        """
        Send a message; an empty one is a keep-alive.

        :raises ValueError: it is longer than a frame can be.
        """
        if self._stream is None:
            self._early.append(message)
        else:
            self._stream.send(message)

    def data_to_send(self) -> list[bytes]:
        """:returns: what goes to the remote, in order; each once."""
        output = [] if self._opening is None else self._opening.data_to_send()
        if self._stream is not None:
            self._opening = None
            output += self._stream.data_to_send()
        return output

    def receive(self, data: bytes) -> list[bytes]:
        """
        :param data: whatever has come, cut anywhere.
        :returns: the messages that it completes; empty ones too.
        :raises ProtocolError: the remote is not who it should be, or the data is not what it sent; ``decoded`` has the
            messages before that.
        """
        if self._stream is None:
            assert self._opening is not None
            data = self._opening.receive(data)
            if self._opening.keys is None:
                return []
            self._establish(self._opening.keys)
        assert self._stream is not None
        return self._stream.receive(data)

    def seal(self, datagram: bytes) -> bytes | None:
        """
        :returns: the datagram, encrypted; ``None`` before the remote has been heard.
        :raises LimitError: there can be no more of them.
        """
        if self._sealer is None:
            if self.keys is None or self.label is None:
                return None
            self._sealer = BoxSealer(self.keys.hash, self.label, self.initiator)
        return self._sealer.seal(datagram)

    def unseal(self, sealed: bytes) -> bytes | None:
        """:returns: a datagram that the remote has sealed; ``None`` for any other, or before it has been heard."""
        if self._opener is None:
            if self.keys is None or self.label is None:
                return None
            self._opener = BoxOpener(self.keys.hash, self.label, self.initiator)
        return self._opener.open(sealed)

    def _establish(self, keys: SessionKeys) -> None:
        self.keys = keys
        self._stream = SecretStream(self.initiator, keys, self._labels, self._header, self._max_message)
        early, self._early = self._early, []
        for message in early:
            self._stream.send(message)
