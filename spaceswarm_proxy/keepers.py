"""The keeper of a key pair that is in this process: :class:`~spaceswarm_proxy.interfaces.IKeeper` for who has one."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from spaceswarm_proxy.crypto.keeper import Claim, OwnHandshake, Told, proof_signable
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.noise import SessionKeys
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.errors import SpaceswarmError
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
        self._own = OwnHandshake(profile, key_pair, remote_public_key)

    @property
    def remote_public_key(self) -> bytes | None:
        """See :class:`~spaceswarm_proxy.interfaces.IKeptHandshake`."""
        return self._own.remote_public_key

    @property
    def keys(self) -> SessionKeys | None:
        """See :class:`~spaceswarm_proxy.interfaces.IKeptHandshake`."""
        return self._own.keys

    def write(self, payload: bytes) -> Deferred[bytes]:
        """See :class:`~spaceswarm_proxy.interfaces.IKeptHandshake`."""
        return _told(self._own.write, payload)

    def read(self, message: bytes) -> Deferred[bytes]:
        """See :class:`~spaceswarm_proxy.interfaces.IKeptHandshake`."""
        return _told(self._own.read, message)

    def close(self) -> None:
        """Nothing is left to do."""


def _told(ask: Callable[[bytes, Told, float], None], data: bytes) -> Deferred[bytes]:
    told: Deferred[bytes] = Deferred()

    def done(result: bytes | SpaceswarmError, now: float) -> None:
        if isinstance(result, SpaceswarmError):
            told.errback(result)
        else:
            told.callback(result)

    ask(data, done, 0.0)
    return told
