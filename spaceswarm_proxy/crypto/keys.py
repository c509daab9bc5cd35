"""Ed25519 key pairs: who somebody is in a network."""

from __future__ import annotations

from dataclasses import dataclass, field

from nacl.bindings import crypto_sign_keypair, crypto_sign_seed_keypair

SEED_LENGTH = 32
SECRET_KEY_LENGTH = 64


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
