"""
The cipher of the encrypted stream: a state for each direction, that each message changes.

It is libsodium's secret stream, by way of PyNaCl's library, but not of PyNaCl's functions: their checks cost more than
the encryption of a short message, and each of their states keeps working memory of its own, which it fills with zeros
for every long one.  Here all share one; ``tests/crypto/test_message_cipher.py`` holds the two equal.

:source: libsodium, crypto_secretstream_xchacha20poly1305(3).
"""

from __future__ import annotations

from typing import Any

from nacl._sodium import ffi, lib  # type: ignore[import-not-found]

from spaceswarm_proxy.errors import StreamDamagedError

KEY_LENGTH = 32
#: Bytes of the beginning of a direction.
HEADER_LENGTH = 24
#: What a frame is longer than its message: the tag's byte, and the authentication.
OVERHEAD = 17

_NO_TAG = 0
_STATE_LENGTH = lib.crypto_secretstream_xchacha20poly1305_statebytes()
_NULL = ffi.NULL
_encrypt = lib.crypto_secretstream_xchacha20poly1305_push
_decrypt = lib.crypto_secretstream_xchacha20poly1305_pull
_bytes_of = ffi.buffer
#: Makes memory that is not cleared first.
_allocate = ffi.new_allocator(should_clear_after_alloc=False)
#: Bytes of the working memory that all share; a longer message has some of its own.
_SHARED_LENGTH = 64 * 1024 + OVERHEAD
_shared = ffi.new("unsigned char[]", _SHARED_LENGTH)


def _room(length: int) -> Any:
    """:returns: working memory for so many bytes, until the next call."""
    return _shared if length <= _SHARED_LENGTH else _allocate("unsigned char[]", length)


def _new_state() -> Any:
    return _allocate("unsigned char[]", _STATE_LENGTH)


class Encryptor:
    """The direction that we send."""

    __slots__ = ("_state", "header")

    def __init__(self, key: bytes, header: bytes | None = None) -> None:
        """
        :param key: 32 bytes.
        :param header: for tests only: where a state begins that is not at random.
        """
        _check(key, KEY_LENGTH)
        self._state = _new_state()
        if header is None:
            begun = _allocate("unsigned char[]", HEADER_LENGTH)
            lib.crypto_secretstream_xchacha20poly1305_init_push(self._state, begun, key)
            header = _bytes_of(begun)[:]
        else:
            # The same state for either side; only so the header can be chosen.
            lib.crypto_secretstream_xchacha20poly1305_init_pull(self._state, _check(header, HEADER_LENGTH), key)
        #: What the other side begins with, 24 bytes.
        self.header: bytes = header

    def encrypt(self, message: bytes) -> bytes:
        """:returns: the frame of the next message."""
        length = len(message)
        frame = _room(length + OVERHEAD)
        _encrypt(self._state, frame, _NULL, message, length, _NULL, 0, _NO_TAG)
        encrypted: bytes = _bytes_of(frame, length + OVERHEAD)[:]
        return encrypted


class Decryptor:
    """The direction that we receive."""

    __slots__ = ("_state",)

    def __init__(self, key: bytes, header: bytes) -> None:
        """
        :param key: 32 bytes.
        :param header: 24 bytes.
        """
        self._state = _new_state()
        _check(key, KEY_LENGTH)
        lib.crypto_secretstream_xchacha20poly1305_init_pull(self._state, _check(header, HEADER_LENGTH), key)

    def decrypt(self, frame: bytes) -> bytes:
        """
        :returns: the message of the next frame.
        :raises StreamDamagedError: the frame was changed, left out, or repeated.
        """
        length = len(frame) - OVERHEAD
        if length < 0:
            raise StreamDamagedError("short-frame", f"{len(frame)} bytes")
        message = _room(length)
        if _decrypt(self._state, message, _NULL, _NULL, frame, len(frame), _NULL, 0):
            raise StreamDamagedError("bad-tag")
        decrypted: bytes = _bytes_of(message, length)[:]
        return decrypted


def _check(part: bytes, length: int) -> bytes:
    """The library reads as much as it needs, whatever there is."""
    if len(part) != length:
        raise ValueError(f"{length} bytes are needed, not {len(part)}")
    return part
