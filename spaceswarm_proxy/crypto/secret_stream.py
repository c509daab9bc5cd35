"""
The encrypted stream: messages over any byte stream, under the keys of a Noise handshake.

Bytes, in each direction::

    38 00 00 | id:32 | header:24          first: who speaks, bound to this handshake, and the cipher's beginning
    length:u24 | ciphertext               then a frame for each message, which is 17 bytes longer than that

What one side sends as a message the other receives as one.  An empty message is a keep-alive.

The id depends on the *label* of the network's streams, which is not known for certain of every network: a side may have
several candidates.  It recognises any of them in the remote's header.  The initiator speaks first, under the likeliest
one; a responder with several holds its own header back until it has seen the initiator's.

:source: npm ``@hyperswarm/secret-stream`` 6; spec/connect.md, section 8.
"""

from __future__ import annotations

from collections.abc import Sequence

from spaceswarm_proxy.codec.frames import HEAD, FrameReader, encode_frame
from spaceswarm_proxy.crypto.hashing import HASH_LENGTH, keyed_hash32, namespace
from spaceswarm_proxy.crypto.message_cipher import HEADER_LENGTH, OVERHEAD, Decryptor, Encryptor
from spaceswarm_proxy.crypto.noise import SessionKeys
from spaceswarm_proxy.errors import FrameError, HandshakeError, ProtocolError

#: Bytes of the longest message.
MAX_MESSAGE = (1 << 24) - 1 - OVERHEAD

_BEGINNING = HASH_LENGTH + HEADER_LENGTH
#: Bytes of a frame from which on it is not worth a copy to have its length in one piece with it.
_APART = 4 * 1024

_INITIATOR, _RESPONDER = 0, 1


def stream_id(hash: bytes, label: str, initiator: bool) -> bytes:
    """
    :param hash: the handshake's, 64 bytes.
    :returns: how that side names itself at the beginning of its stream, 32 bytes.
    """
    return keyed_hash32(hash, namespace(label, _INITIATOR if initiator else _RESPONDER))


class SecretStream:
    """One side: messages to bytes with :meth:`send`, bytes to messages with :meth:`receive`."""

    def __init__(
        self,
        initiator: bool,
        keys: SessionKeys,
        labels: Sequence[str],
        header: bytes | None = None,
        max_message: int = MAX_MESSAGE,
    ) -> None:
        """
        :param labels: the candidates, the likeliest first; at least one.
        :param header: of our cipher, 24 bytes; by default a random one, as it must be but for tests.
        :param max_message: bytes of the longest message that is taken, and so the most that a remote can make us hold.
        """
        #: Which of the labels it is, as soon as that is known: the remote's header has come.
        self.label: str | None = None
        #: Bytes in the frames of all messages so far: those sent with their lengths, those received without, as the
        #: reference counts them.
        self.raw_written = self.raw_read = 0
        self._max_message = max_message
        self._hash = keys.hash
        self._initiator = initiator
        self._reader = FrameReader(_BEGINNING)
        self._receive_key = keys.receive
        self._decryptor: Decryptor | None = None
        self._encryptor = Encryptor(keys.send, header)
        self._remote_ids = {stream_id(keys.hash, label, not initiator): label for label in labels}
        # Frames that wait until the header before them can be sent.
        self._held: list[bytes] | None = None
        self._output: list[bytes] = []
        if initiator or len(labels) == 1:
            self._begin(labels[0])
        else:
            self._held = []

    def _begin(self, label: str) -> None:
        self._output.append(encode_frame(stream_id(self._hash, label, self._initiator) + self._encryptor.header))
        held, self._held = self._held, None
        self._output += held or ()

    @property
    def partial(self) -> int:
        """Bytes that are held of a frame that is not complete yet."""
        return self._reader.held

    @property
    def holds_back(self) -> bool:
        """Is what we send kept here, until the remote's header has come?"""
        return self._held is not None

    def send(self, message: bytes) -> None:
        """
        Encrypt a message; it is in :meth:`data_to_send` next.

        :raises ValueError: it has more than :data:`MAX_MESSAGE` bytes.
        """
        if len(message) > MAX_MESSAGE:
            raise ValueError(f"a message has {MAX_MESSAGE} bytes at most, not {len(message)}")
        frame = self._encryptor.encrypt(message)
        self.raw_written += HEAD + len(frame)
        output = self._output if self._held is None else self._held
        if len(frame) < _APART:
            output.append(encode_frame(frame))
        else:
            output += (len(frame).to_bytes(HEAD, "little"), frame)

    def data_to_send(self) -> list[bytes]:
        """:returns: what goes to the remote, in order; each once."""
        output, self._output = self._output, []
        return output

    def receive(self, data: bytes) -> list[bytes]:
        """
        :param data: whatever has come, cut anywhere.
        :returns: the messages that it completes; empty ones too.
        :raises HandshakeError: the remote's header is none, or not of this handshake.
        :raises FrameError: a message is longer than it may be; ``decoded`` has those before it.
        :raises StreamDamagedError: a frame was changed, left out, or repeated; ``decoded`` likewise.
        """
        if self._decryptor is None:
            data = self._begin_reading(data)
            if self._decryptor is None:
                return []
        try:
            return self._decrypt_all(self._decryptor, self._reader.feed(data))
        except FrameError as problem:
            problem.decoded = self._decrypt_all(self._decryptor, problem.decoded)
            raise

    def _begin_reading(self, data: bytes) -> bytes:
        """Read the remote's header, if it is complete.  :returns: what comes after it."""
        try:
            frame, end = self._reader.take(data)
        except FrameError as problem:
            raise HandshakeError("bad-header", problem.detail) from None
        if frame is not None:
            self._decryptor = self._read_header(frame)
            self._reader.limit = self._max_message + OVERHEAD
        return data[end:]

    def _read_header(self, frame: bytes) -> Decryptor:
        if len(frame) != _BEGINNING:
            raise HandshakeError("bad-header", f"{len(frame)} bytes")
        self.label = self._remote_ids.get(frame[:HASH_LENGTH])
        if self.label is None:
            raise HandshakeError("unknown-stream", frame[:HASH_LENGTH].hex())
        if self._held is not None:
            self._begin(self.label)
        return Decryptor(self._receive_key, frame[HASH_LENGTH:])

    def _decrypt_all(self, decryptor: Decryptor, frames: list[bytes]) -> list[bytes]:
        messages: list[bytes] = []
        try:
            for frame in frames:
                messages.append(decryptor.decrypt(frame))
        except ProtocolError as problem:
            problem.decoded = list(messages)
            raise
        finally:
            self.raw_read += sum(map(len, messages)) + OVERHEAD * len(messages)
        return messages
