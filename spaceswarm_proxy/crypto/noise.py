"""
The Noise handshake: two sides that know each other's public key, or learn it, agree on keys that nobody else has.

Two patterns, over Ed25519 keys as they are, ChaCha20-Poly1305 and BLAKE2b-512::

    IK   -> e, es, s, ss, payload      the initiator knows the responder's key, and the responder learns its
         <- e, ee, se, payload
    XX   -> e, payload                 both learn each other's; the first payload is not encrypted
         <- e, ee, s, es, payload
         -> s, se, payload

:source: noiseprotocol.org, revision 34; npm ``noise-handshake`` and ``noise-curve-ed``; spec/connect.md, sections 2
    and 3.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b, sha512
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl.bindings import crypto_scalarmult_ed25519_noclamp
from nacl.exceptions import CryptoError

from spaceswarm_proxy.crypto.keys import PUBLIC_KEY_LENGTH, SEED_LENGTH, KeyPair
from spaceswarm_proxy.errors import HandshakeError

#: Bytes of a Noise message at most, and of what the authentication adds to what is encrypted.
MAX_MESSAGE = 65535
TAG_LENGTH = 16
#: Bytes of what is the same at both ends, and in no other session.
HASH_LENGTH = 64
_KEY_LENGTH = 32
_SEALED_KEY = PUBLIC_KEY_LENGTH + TAG_LENGTH

#: What each message carries, in turn from the initiator and from the responder.
_PATTERNS = {
    "IK": (("e", "es", "s", "ss"), ("e", "ee", "se")),
    "XX": (("e",), ("e", "ee", "s", "es"), ("s", "se")),
}


def diffie_hellman(secret_key: bytes, public_key: bytes) -> bytes:
    """
    What two key pairs have in common: scalar multiplication on the Edwards curve.

    :param secret_key: ours, 64 bytes.
    :param public_key: theirs, 32 bytes.
    :returns: 32 bytes.
    :raises HandshakeError: the public key is no point of the large subgroup, or in an odd encoding.
    """
    digest = bytearray(sha512(secret_key[:SEED_LENGTH]).digest()[:_KEY_LENGTH])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    try:
        return crypto_scalarmult_ed25519_noclamp(bytes(digest), public_key)
    except (CryptoError, TypeError, ValueError) as problem:
        raise HandshakeError("bad-key", public_key.hex()) from problem


def expand(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Noise's HKDF with two outputs.  :returns: 64 bytes each."""
    secret = hmac.digest(chaining_key, material, "blake2b")
    first = hmac.digest(secret, b"\x01", "blake2b")
    return first, hmac.digest(secret, first + b"\x02", "blake2b")


class SessionKeys(NamedTuple):
    """What a handshake has come to."""

    #: The key that we encrypt with, and the one that the other side does: 32 bytes each.
    send: bytes
    receive: bytes
    #: All 64 bytes: what is bound to this session by it cannot be used in another.
    hash: bytes
    remote_public_key: bytes

    def __repr__(self) -> str:
        """Without the keys: this may get into a log."""
        return f"<SessionKeys with {self.remote_public_key.hex()}>"


class _State(NamedTuple):
    """All that a message changes, so that one that fails changes nothing."""

    hash: bytes
    chaining_key: bytes
    key: bytes | None = None
    nonce: int = 0
    remote_static: bytes | None = None
    remote_ephemeral: bytes | None = None

    def mix_hash(self, data: bytes) -> _State:
        return self._replace(hash=blake2b(self.hash + data).digest())

    def mix_key(self, material: bytes) -> _State:
        chaining_key, key = expand(self.chaining_key, material)
        return self._replace(chaining_key=chaining_key, key=key[:_KEY_LENGTH], nonce=0)

    def encrypt(self, plaintext: bytes) -> tuple[_State, bytes]:
        sealed = plaintext
        if self.key is not None:
            sealed = ChaCha20Poly1305(self.key).encrypt(_nonce(self.nonce), plaintext, self.hash)
        return self._replace(nonce=self.nonce + 1).mix_hash(sealed), sealed

    def decrypt(self, sealed: bytes) -> tuple[_State, bytes]:
        """:raises HandshakeError: it was not encrypted with our key."""
        plaintext = sealed
        if self.key is not None:
            try:
                plaintext = ChaCha20Poly1305(self.key).decrypt(_nonce(self.nonce), sealed, self.hash)
            except InvalidTag:
                raise HandshakeError("bad-tag") from None
        return self._replace(nonce=self.nonce + 1).mix_hash(sealed), plaintext


def _nonce(counter: int) -> bytes:
    return bytes(4) + counter.to_bytes(8, "little")


class Handshake:
    """
    One side of a handshake: :meth:`write` and :meth:`read` in turn until :attr:`keys` are there.

    A message that can't be read leaves everything as it was: another one may still be the right one.
    """

    def __init__(
        self,
        pattern: str,
        initiator: bool,
        key_pair: KeyPair,
        *,
        remote_public_key: bytes | None = None,
        prologue: bytes = b"",
        ephemeral: KeyPair | None = None,
    ) -> None:
        """
        :param pattern: ``IK`` or ``XX``.
        :param key_pair: who we are.
        :param remote_public_key: who the other side is, for the initiator of IK.
        :param prologue: what both sides must know alike.
        :param ephemeral: made for this handshake alone; by default a fresh one, as it must be but for tests.
        """
        self.initiator = initiator
        #: What was agreed on, when all messages were exchanged.
        self.keys: SessionKeys | None = None
        self._messages = _PATTERNS[pattern]
        self._next = 0
        self._static = key_pair
        self._ephemeral = ephemeral or KeyPair.generate()
        name = f"Noise_{pattern}_Ed25519_ChaChaPoly_BLAKE2b".encode().ljust(blake2b().digest_size, b"\x00")
        state = _State(name, name).mix_hash(prologue)
        if pattern == "IK":
            responder = remote_public_key if initiator else key_pair.public_key
            if responder is None or len(responder) != PUBLIC_KEY_LENGTH:
                raise ValueError("the initiator of IK must know the responder's public key")
            state = state.mix_hash(responder)
            if initiator:
                state = state._replace(remote_static=responder)
        self._state = state

    @property
    def remote_public_key(self) -> bytes | None:
        """Who the other side is, as soon as it has said so."""
        return self._state.remote_static

    @property
    def is_our_turn(self) -> bool:
        """Is the next message ours to write?"""
        return self.keys is None and (self._next % 2 == 0) == self.initiator

    def write(self, payload: bytes = b"") -> bytes:
        """
        :returns: the next message.
        :raises HandshakeError: the other side's key is a bad one.
        :raises ValueError: it is not our turn, or the message would be too long.
        """
        if not self.is_our_turn:
            raise ValueError("it is not our turn")
        state, message = self._state, b""
        for token in self._messages[self._next]:
            if token == "e":
                state = state.mix_hash(self._ephemeral.public_key)
                message += self._ephemeral.public_key
            elif token == "s":
                state, sealed = state.encrypt(self._static.public_key)
                message += sealed
            else:
                state = state.mix_key(self._agree(token, state))
        state, sealed = state.encrypt(payload)
        message += sealed
        if len(message) > MAX_MESSAGE:
            raise ValueError("the message is too long")
        self._advance(state)
        return message

    def read(self, message: bytes) -> bytes:
        """
        :returns: the payload of the other side's next message.
        :raises HandshakeError: it is not one, or not for us.
        :raises ValueError: it is our turn.
        """
        if self.is_our_turn or self.keys is not None:
            raise ValueError("it is not the other side's turn")
        if len(message) > MAX_MESSAGE:
            raise HandshakeError("too-long", str(len(message)))
        state, rest = self._state, message
        for token in self._messages[self._next]:
            if token == "e":
                ephemeral, rest = _take(rest, PUBLIC_KEY_LENGTH)
                state = state.mix_hash(ephemeral)._replace(remote_ephemeral=ephemeral)
            elif token == "s":
                sealed, rest = _take(rest, PUBLIC_KEY_LENGTH if state.key is None else _SEALED_KEY)
                state, static = state.decrypt(sealed)
                state = state._replace(remote_static=static)
            else:
                state = state.mix_key(self._agree(token, state))
        state, payload = state.decrypt(rest)
        self._advance(state)
        return payload

    def _agree(self, token: str, state: _State) -> bytes:
        """:param token: whose key with whose, the initiator's first: static or ephemeral."""
        ours, theirs = (token[0], token[1]) if self.initiator else (token[1], token[0])
        pair = self._ephemeral if ours == "e" else self._static
        remote = state.remote_ephemeral if theirs == "e" else state.remote_static
        assert remote is not None
        return diffie_hellman(pair.secret_key, remote)

    def _advance(self, state: _State) -> None:
        self._state = state
        self._next += 1
        if self._next == len(self._messages):
            first, second = (key[:_KEY_LENGTH] for key in expand(state.chaining_key, b""))
            send, receive = (first, second) if self.initiator else (second, first)
            assert state.remote_static is not None
            self.keys = SessionKeys(send, receive, state.hash, state.remote_static)


def _take(data: bytes, length: int) -> tuple[bytes, bytes]:
    if len(data) < length:
        raise HandshakeError("cut", str(len(data)))
    return data[:length], data[length:]
