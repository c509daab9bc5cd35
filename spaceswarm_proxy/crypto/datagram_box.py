"""
Messages beside the encrypted stream: each is sealed by itself, and may be lost, repeated or overtaken on the way.

Bytes::  counter:8, low byte first | authentication:16 | ciphertext

They are under keys of their own, one for each direction, which follow from the handshake's hash.  The counter begins
anywhere and is the nonce, with 16 zero bytes after it: no value of it may come twice.

:source: npm ``@hyperswarm/secret-stream`` 6; spec/connect.md, section 8.6.
"""

from __future__ import annotations

from nacl.bindings import crypto_secretbox, crypto_secretbox_open
from nacl.exceptions import CryptoError
from nacl.utils import random

from spaceswarm_proxy.crypto.hashing import keyed_hash32, namespace
from spaceswarm_proxy.errors import LimitError

_COUNTER = 8
_COUNTERS = 1 << 8 * _COUNTER
_PADDING = bytes(16)
#: What a sealed message is longer than the message.
OVERHEAD = _COUNTER + 16

_INITIATOR, _RESPONDER, _SEND = 0, 1, 2


def sending_key(hash: bytes, label: str, initiator: bool) -> bytes:
    """
    :param hash: the handshake's, 64 bytes.
    :param label: what the network's streams are bound to.
    :returns: what that side seals with, 32 bytes.
    """
    side = namespace(label, _INITIATOR if initiator else _RESPONDER)
    return keyed_hash32(hash, side + namespace(label, _SEND))


class BoxSealer:
    """Seals what one side sends."""

    __slots__ = ("_counter", "_first", "_key")

    def __init__(self, hash: bytes, label: str, initiator: bool, first: int | None = None) -> None:
        """
        :param initiator: which side we are; the rest as for :func:`sending_key`.
        :param first: where the counter begins, of 64 bits; by default anywhere, as it must be but for tests.
        """
        self._key = sending_key(hash, label, initiator)
        self._first = int.from_bytes(random(_COUNTER), "little") if first is None else first
        self._counter = self._first

    def seal(self, message: bytes) -> bytes:
        """
        :returns: the sealed message, :data:`OVERHEAD` bytes longer.
        :raises LimitError: all counters were used; none will be again.
        """
        counter = (self._counter + 1) % _COUNTERS
        if counter == self._first:
            raise LimitError("max_messages", _COUNTERS - 1)
        self._counter = counter
        begin = counter.to_bytes(_COUNTER, "little")
        return begin + crypto_secretbox(message, begin + _PADDING, self._key)


class BoxOpener:
    """Opens what the other side has sealed."""

    __slots__ = ("_key",)

    def __init__(self, hash: bytes, label: str, initiator: bool) -> None:
        """:param initiator: which side *we* are; the rest as for :func:`sending_key`."""
        self._key = sending_key(hash, label, not initiator)

    def open(self, sealed: bytes) -> bytes | None:
        """
        :param sealed: whatever has come.
        :returns: the message, or ``None`` for what nobody who has the key has sealed.  The same one may come again.
        """
        if len(sealed) < OVERHEAD:
            return None
        try:
            return crypto_secretbox_open(sealed[_COUNTER:], sealed[:_COUNTER] + _PADDING, self._key)
        except CryptoError:
            return None
