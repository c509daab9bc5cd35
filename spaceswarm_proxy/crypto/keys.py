"""Ed25519 key pairs: who somebody is in a network."""

from __future__ import annotations

from dataclasses import dataclass, field

from nacl.bindings import crypto_sign, crypto_sign_keypair, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

SEED_LENGTH = 32
PUBLIC_KEY_LENGTH = 32
SECRET_KEY_LENGTH = 64
SIGNATURE_LENGTH = 64


@dataclass(frozen=True, slots=True)
class KeyPair:
    """
    An Ed25519 key pair.

    :source: libsodium's layout, which the JavaScript packages use: the secret key is seed, then public key.
    """

    #: 32 bytes.
    public_key: bytes
    #: 64 bytes; kept out of ``repr`` and so out of logs.
    secret_key: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> KeyPair:
        """A fresh one, from the system's randomness."""
        return cls(*crypto_sign_keypair())

    @classmethod
    def from_seed(cls, seed: bytes) -> KeyPair:
        """
        :param seed: 32 bytes, secret; the same seed gives the same key pair everywhere.
        :raises ValueError: of another length.
        """
        if len(seed) != SEED_LENGTH:
            raise ValueError(f"a seed has {SEED_LENGTH} bytes, not {len(seed)}")
        return cls(*crypto_sign_seed_keypair(bytes(seed)))

    @property
    def seed(self) -> bytes:
        """The 32 bytes that the pair was made from."""
        return self.secret_key[:SEED_LENGTH]

    def sign(self, message: bytes) -> bytes:
        """:returns: a detached signature, 64 bytes."""
        return crypto_sign(message, self.secret_key)[:SIGNATURE_LENGTH]


def verify(signature: bytes, message: bytes, public_key: bytes) -> bool:
    """
    :param signature: detached, 64 bytes.
    :param public_key: 32 bytes.
    :returns: whether the key's owner has signed the message.
    """
    if len(signature) != SIGNATURE_LENGTH or len(public_key) != PUBLIC_KEY_LENGTH:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True
