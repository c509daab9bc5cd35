"""The keeper of a key pair that is in this process: :class:`~spaceswarm_proxy.interfaces.IKeeper` for who has one."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from spaceswarm_proxy.crypto.keeper import Claim, proof_signable
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.noise import Handshake, SessionKeys
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.errors import HandshakeError
from spaceswarm_proxy.interfaces import IKeeper, IKeptHandshake


def keeper_of(key_pair: KeyPair | IKeeper) -> IKeeper:
    """:returns: whoever keeps this key."""
    return OwnKeeper(key_pair) if isinstance(key_pair, KeyPair) else key_pair


@implementer(IKeeper)
class OwnKeeper:
    """Keeps a key pair, and answers at once."""

    def __init__(self, key_pair: KeyPair) -> None:
        self.key_pair = key_pair
        self.public_key = key_pair.public_key

    def handshake(self, profile: Profile, remote_public_key: bytes | None = None) -> OwnKeptHandshake:
        """See :class:`~spaceswarm_proxy.interfaces.IKeeper`."""
        return OwnKeptHandshake(profile, self.key_pair, remote_public_key)

    def sign(self, profile: Profile, claim: Claim) -> Deferred[bytes]:
        """See :class:`~spaceswarm_proxy.interfaces.IKeeper`."""
        return succeed(self.key_pair.sign(claim.signable(profile)))

    def prove(self, challenge: bytes) -> Deferred[bytes]:
        """See :class:`~spaceswarm_proxy.interfaces.IKeeper`."""
        return succeed(self.key_pair.sign(proof_signable(challenge)))


@implementer(IKeptHandshake)
class OwnKeptHandshake:
    """A handshake with a key pair of our own."""

    def __init__(self, profile: Profile, key_pair: KeyPair, remote_public_key: bytes | None) -> None:
        self._noise = Handshake(
            "IK",
            remote_public_key is not None,
            key_pair,
            remote_public_key=remote_public_key,
            prologue=profile.peer_handshake,
        )

    @property
    def remote_public_key(self) -> bytes | None:
        """See :class:`~spaceswarm_proxy.interfaces.IKeptHandshake`."""
        return self._noise.remote_public_key

    @property
    def keys(self) -> SessionKeys | None:
        """See :class:`~spaceswarm_proxy.interfaces.IKeptHandshake`."""
        return self._noise.keys

    def write(self, payload: bytes) -> Deferred[bytes]:
        """See :class:`~spaceswarm_proxy.interfaces.IKeptHandshake`."""
        if not self._noise.is_our_turn:
            return fail(HandshakeError("out-of-turn"))
        try:
            return succeed(self._noise.write(payload))
        except (HandshakeError, ValueError) as problem:
            return fail(problem if isinstance(problem, HandshakeError) else HandshakeError("too-long"))

    def read(self, message: bytes) -> Deferred[bytes]:
        """See :class:`~spaceswarm_proxy.interfaces.IKeptHandshake`."""
        if self._noise.is_our_turn or self._noise.keys is not None:
            return fail(HandshakeError("out-of-turn"))
        try:
            return succeed(self._noise.read(message))
        except HandshakeError as problem:
            return fail(problem)

    def close(self) -> None:
        """Nothing is left to do."""
