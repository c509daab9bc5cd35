"""Tests of spaceswarm_proxy.crypto.message_cipher."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from nacl.bindings import (
    crypto_secretstream_xchacha20poly1305_init_pull,
    crypto_secretstream_xchacha20poly1305_init_push,
    crypto_secretstream_xchacha20poly1305_pull,
    crypto_secretstream_xchacha20poly1305_push,
    crypto_secretstream_xchacha20poly1305_state,
)
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto import message_cipher
from spaceswarm_proxy.crypto.message_cipher import HEADER_LENGTH, OVERHEAD, Decryptor, Encryptor
from spaceswarm_proxy.errors import StreamDamagedError

KEY = bytes(range(32))
#: Short ones, and such as need memory of their own.
MESSAGES = st.lists(st.binary(max_size=300) | st.builds(bytes, st.just(message_cipher._SHARED_LENGTH + 1)), max_size=4)


class OracleTests(SynchronousTestCase):
    """PyNaCl's own functions, which check all that they are given."""

    @settings(deadline=None)
    @given(MESSAGES)
    def test_encrypt(self, messages: list[bytes]) -> None:
        """What we encrypt is what they do, and they can read it."""
        ours = Encryptor(KEY, header := bytes(HEADER_LENGTH))
        theirs, reading = (crypto_secretstream_xchacha20poly1305_state() for _ in range(2))
        for state in (theirs, reading):
            crypto_secretstream_xchacha20poly1305_init_pull(state, header, KEY)
        for message in messages:
            frame = ours.encrypt(message)
            self.assertEqual(crypto_secretstream_xchacha20poly1305_push(theirs, message), frame)
            self.assertEqual((message, 0), crypto_secretstream_xchacha20poly1305_pull(reading, frame))

    @settings(deadline=None)
    @given(MESSAGES)
    def test_decrypt(self, messages: list[bytes]) -> None:
        """What they encrypt we can read."""
        theirs = crypto_secretstream_xchacha20poly1305_state()
        ours = Decryptor(KEY, crypto_secretstream_xchacha20poly1305_init_push(theirs, KEY))
        for message in messages:
            frame = crypto_secretstream_xchacha20poly1305_push(theirs, message)
            self.assertEqual(message, ours.decrypt(frame))


class CipherTests(SynchronousTestCase):
    """What nobody needs for it."""

    def test_random_header(self) -> None:
        """Each direction begins elsewhere, unless a test says where."""
        one, other = Encryptor(KEY), Encryptor(KEY)
        self.assertNotEqual(one.header, other.header)
        self.assertEqual(b"hello", Decryptor(KEY, one.header).decrypt(one.encrypt(b"hello")))
        self.assertEqual(HEADER_LENGTH, len(one.header))

    def test_damaged(self) -> None:
        """A frame that was changed, repeated, or is none at all is refused; the next good one is taken."""
        encryptor = Encryptor(KEY)
        decryptor = Decryptor(KEY, encryptor.header)
        frame = encryptor.encrypt(b"hello")
        self.assertEqual("bad-tag", self.problem(decryptor, bytes(len(frame))))
        self.assertEqual(b"hello", decryptor.decrypt(frame))
        self.assertEqual("bad-tag", self.problem(decryptor, frame))
        self.assertEqual("short-frame", self.problem(decryptor, bytes(OVERHEAD - 1)))
        self.assertEqual("bad-tag", self.problem(decryptor, bytes(OVERHEAD)))
        self.assertEqual(b"", decryptor.decrypt(encryptor.encrypt(b"")))

    def problem(self, decryptor: Decryptor, frame: bytes) -> str:
        return self.assertRaises(StreamDamagedError, decryptor.decrypt, frame).kind

    def test_lengths(self) -> None:
        """Keys and headers of other lengths are refused: the library would read beyond them."""
        for key, header in ((KEY[1:], bytes(HEADER_LENGTH)), (KEY, bytes(HEADER_LENGTH - 1))):
            self.assertRaises(ValueError, Decryptor, key, header)
            self.assertRaises(ValueError, Encryptor, key, header)
        self.assertRaises(ValueError, Encryptor, KEY[1:])

    def test_types(self) -> None:
        """What is not bytes never reaches the library."""
        self.assertRaises(TypeError, Encryptor(KEY).encrypt, "text")
        self.assertRaises(TypeError, Decryptor(KEY, bytes(HEADER_LENGTH)).decrypt, "text of twenty letters")
