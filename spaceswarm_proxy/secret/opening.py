"""
The handshake of a stream that stands alone: Noise messages as frames, before the first one of the stream.

Bytes, from each side in turn::

    length:u24 | Noise message        with an empty payload: 32, 96 and 64 bytes in XX, 96 and 48 in IK

Who the other side is gets known with its last message at the latest.  It is checked there and then: nobody else is
answered, or sent anything.

:source: npm ``@hyperswarm/secret-stream`` 6; spec/connect.md, sections 3 and 8.2.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from spaceswarm_proxy.codec.frames import FrameReader, encode_frame
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.noise import Handshake, SessionKeys
from spaceswarm_proxy.errors import FrameError, HandshakeError

#: Bytes of the longest message taken; the payloads, empty as they are, may grow a little.
MAX_HANDSHAKE_MESSAGE = 1024

#: Is this public key (32 bytes) one to speak with?
Accepts = Callable[[bytes], bool]


def anybody(public_key: bytes) -> bool:
    """Whoever it is will do."""
    return True


def only(public_keys: Collection[bytes]) -> Accepts:
    """:returns: what accepts these public keys and no others."""
    return frozenset(public_keys).__contains__


class Opening:
    """One side: what has come with :meth:`receive`, until :attr:`keys` are there."""

    def __init__(
        self,
        pattern: str,
        initiator: bool,
        key_pair: KeyPair,
        *,
        remote_public_key: bytes | None = None,
        accepts: Accepts = anybody,
        ephemeral: KeyPair | None = None,
    ) -> None:
        """
        :param pattern: ``XX`` or ``IK``; both sides must be of one mind.
        :param key_pair: who we are.
        :param remote_public_key: who the other side is, 32 bytes; the initiator of IK must know it.
        :param accepts: says of any other whether it will do.
        :param ephemeral: for tests only.
        """
        self._handshake = Handshake(
            pattern, initiator, key_pair, remote_public_key=remote_public_key, ephemeral=ephemeral
        )
        self._accepts = accepts if remote_public_key is None else only((remote_public_key,))
        #: What was agreed on, when all messages were exchanged, and the other side is one to speak with.
        self.keys: SessionKeys | None = None
        self._reader = FrameReader(MAX_HANDSHAKE_MESSAGE)
        self._output: list[bytes] = []

    def start(self) -> None:
        """
        Say the first word, if it is ours.

        :raises HandshakeError: the other side's public key is none.
        """
        if self._handshake.is_our_turn:
            self._say()

    def receive(self, data: bytes) -> bytes:
        """
        :param data: whatever has come, cut anywhere.
        :returns: what comes after the handshake.
        :raises HandshakeError: it is none, or with somebody who is not accepted.
        """
        while self.keys is None:
            try:
                message, end = self._reader.take(data)
            except FrameError as problem:
                raise HandshakeError("too-long", problem.detail) from None
            data = data[end:]
            if message is None:
                break
            self._hear(message)
        return data

    def data_to_send(self) -> list[bytes]:
        """:returns: what goes to the other side, in order; each once."""
        output, self._output = self._output, []
        return output

    def _hear(self, message: bytes) -> None:
        self._handshake.read(message)
        remote = self._handshake.remote_public_key
        if remote is not None and not self._accepts(remote):
            raise HandshakeError("unknown-key", remote.hex())
        if self._handshake.is_our_turn:
            self._say()
        self.keys = self._handshake.keys

    def _say(self) -> None:
        self._output.append(encode_frame(self._handshake.write()))
