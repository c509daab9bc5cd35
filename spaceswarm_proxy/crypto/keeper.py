"""
Whoever keeps a secret key, and does what needs it.

Mostly that is this process (:class:`OwnKeys`).  But a client of a proxy server may keep its key to itself.  The server
then does everything for it but two things, for which it asks: the messages of handshakes, and signatures under what
the DHT is told.  So whatever needs the key tells its result by a call, at once or later.

What may be known of a handshake without the key is in :class:`DistantKeys`: enough to find a way to the peer, and to
carry what goes over it; not to read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from spaceswarm_proxy.crypto.hashing import hash32, namespace
from spaceswarm_proxy.crypto.keys import PUBLIC_KEY_LENGTH, KeyPair
from spaceswarm_proxy.crypto.noise import Handshake, SessionKeys
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.errors import HandshakeError, SpaceswarmError

#: Bytes of a target and of a node's id; of a token; and of a record, at most.
HASH_LENGTH = 32
TOKEN_LENGTH = 32
MAX_RECORD = 512

#: Bytes that a proxy server makes up for who has to prove that it has a key, and what the proof is bound to.
CHALLENGE_LENGTH = 32
_PROOF = namespace("spaceswarm-proxy/end-to-end", 0)

#: Told of a message, a payload or a signature, or why there is none, and the time.
Told = Callable[[bytes | SpaceswarmError, float], None]


def proof_signable(challenge: bytes) -> bytes:
    """:returns: what is signed to prove to a proxy server that one has the key: 64 bytes."""
    return _PROOF + challenge


class DistantKeys(NamedTuple):
    """What a handshake has come to, for those who do not have its keys."""

    #: All 64 bytes; no secret to those who have seen the messages and know who is who.
    hash: bytes
    remote_public_key: bytes
    #: By what whoever has the keys knows the handshake.
    number: int


class Claim(NamedTuple):
    """What one node of the DHT is to believe of a peer: that it is found under a target, or is no more."""

    #: The topic, or the hash of the peer's public key: 32 bytes.
    target: bytes
    #: The verified id of the node, 32 bytes, and the token that it gave.
    node_id: bytes
    token: bytes
    #: The peer's record in bytes: its public key, and its relays.
    record: bytes
    #: Is it no more?
    withdrawn: bool = False

    @property
    def is_sound(self) -> bool:
        """
        Has everything the length that it must have?

        What is signed are the parts one after the other: a longer token would be a shorter one and another record.
        """
        return (
            len(self.target) == len(self.node_id) == HASH_LENGTH
            and len(self.token) == TOKEN_LENGTH
            and PUBLIC_KEY_LENGTH <= len(self.record) <= MAX_RECORD
        )

    def signable(self, profile: Profile) -> bytes:
        """:returns: the 64 bytes that the peer signs."""
        namespace = profile.unannounce if self.withdrawn else profile.announce
        return namespace + hash32(self.target + self.node_id + self.token + self.record)


class KeptHandshake(Protocol):
    """
    One handshake (Noise IK) with a secret key that is kept somewhere.

    Its messages come and go in turn, but the second one may be tried several times, also at the same time: one that
    can't be read leaves everything as it was.
    """

    @property
    def remote_public_key(self) -> bytes | None:
        """Who the other side is, as soon as it has said so."""

    @property
    def keys(self) -> SessionKeys | DistantKeys | None:
        """What was agreed on, when both messages were exchanged."""

    def write(self, payload: bytes, done: Told, now: float) -> None:
        """
        Write the message that is ours.

        :param done: told of it; of a ``HandshakeError`` if the other side's key is none.
        """

    def read(self, message: bytes, done: Told, now: float) -> None:
        """
        Read the other side's message.

        :param done: told of its payload; of a ``HandshakeError`` if it is none, or not for us.
        """

    def close(self) -> None:
        """Nothing comes of it.  Not called where :attr:`keys` are used."""


class Keeper(Protocol):
    """Whoever keeps a secret key."""

    @property
    def public_key(self) -> bytes:
        """The key that goes with it, 32 bytes."""

    def handshake(self, profile: Profile, remote_public_key: bytes | None = None) -> KeptHandshake:
        """
        Begin one.

        :param profile: the network's names.
        :param remote_public_key: who the other side is, 32 bytes, if it is we who speak first.
        """

    def sign(self, profile: Profile, claim: Claim, done: Told, now: float) -> None:
        """
        Sign what a node is told.

        :param done: told of 64 bytes.
        """


class OwnHandshake:
    """A :class:`KeptHandshake` with a key of our own: everybody is told at once."""

    def __init__(
        self,
        profile: Profile,
        key_pair: KeyPair,
        remote_public_key: bytes | None = None,
        ephemeral: KeyPair | None = None,
    ) -> None:
        """
        :param remote_public_key: as for :meth:`Keeper.handshake`.
        :param ephemeral: by default a fresh one, as it must be but for tests.
        """
        self._noise = Handshake(
            "IK",
            remote_public_key is not None,
            key_pair,
            remote_public_key=remote_public_key,
            prologue=profile.peer_handshake,
            ephemeral=ephemeral,
        )

    @property
    def remote_public_key(self) -> bytes | None:
        """See :class:`KeptHandshake`."""
        return self._noise.remote_public_key

    @property
    def keys(self) -> SessionKeys | None:
        """See :class:`KeptHandshake`."""
        return self._noise.keys

    def write(self, payload: bytes, done: Told, now: float) -> None:
        """See :class:`KeptHandshake`."""
        done(_message_or_problem(self._noise.is_our_turn, self._noise.write, payload), now)

    def read(self, message: bytes, done: Told, now: float) -> None:
        """See :class:`KeptHandshake`."""
        # When it is over, another answer was the first.
        is_theirs = self._noise.keys is None and not self._noise.is_our_turn
        done(_message_or_problem(is_theirs, self._noise.read, message), now)

    def close(self) -> None:
        """Nothing is left to do."""


def _message_or_problem(is_in_turn: bool, make: Callable[[bytes], bytes], data: bytes) -> bytes | SpaceswarmError:
    if not is_in_turn:
        return HandshakeError("out-of-turn")
    try:
        return make(data)
    except HandshakeError as problem:
        return problem
    except ValueError:
        return HandshakeError("too-long", str(len(data)))


class OwnKeys:
    """The :class:`Keeper` of a key pair of our own."""

    def __init__(self, key_pair: KeyPair) -> None:
        self._key_pair = key_pair

    @property
    def public_key(self) -> bytes:
        """See :class:`Keeper`."""
        return self._key_pair.public_key

    def handshake(self, profile: Profile, remote_public_key: bytes | None = None) -> OwnHandshake:
        """See :class:`Keeper`."""
        return OwnHandshake(profile, self._key_pair, remote_public_key)

    def sign(self, profile: Profile, claim: Claim, done: Told, now: float) -> None:
        """See :class:`Keeper`."""
        done(self._key_pair.sign(claim.signable(profile)), now)
