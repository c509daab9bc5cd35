"""
What the two sides tell each other while they punch holes, and how it is kept from the nodes that pass it on.

Every message is encrypted with a key that follows from the handshake::

    nonce, 24 bytes | XSalsa20-Poly1305 of the payload: 16 bytes, then as many as the payload has

Whoever can be reached at a host proves it with a *token*: a keyed hash of the host, sent there and to be sent back.

:source: npm ``hyperdht`` 6; spec/connect.md, section 6.5.
"""

from __future__ import annotations

from typing import NamedTuple

from construct import If, Struct, this
from nacl.bindings import crypto_secretbox, crypto_secretbox_open
from nacl.exceptions import CryptoError

from spaceswarm_proxy.codec.compact import ADDRESS, ADDRESSES, FIXED32, UINT, encode_uint
from spaceswarm_proxy.crypto.hashing import keyed_hash32
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.dht.chance import Chance
from spaceswarm_proxy.dht.contact import HOST_LENGTH, host_port
from spaceswarm_proxy.dht.values import parse_value
from spaceswarm_proxy.errors import MessageError
from spaceswarm_proxy.peering.noise_payload import Firewall, HandshakeCode

#: Addresses that are read; each is one that datagrams will be sent to.
MAX_ADDRESSES = 8
#: The reference has a single byte for each of its numbers.
MAX_NUMBER = 0xFC
NONCE_LENGTH = 24
TAG_LENGTH = 16

CONNECTED = 1
PUNCHING = 2
HAS_ADDRESSES = 4
HAS_REMOTE_ADDRESS = 8
HAS_TOKEN = 16
HAS_REMOTE_TOKEN = 32

HOLEPUNCH_PAYLOAD = Struct(
    "flags" / UINT,
    "error" / UINT,
    "firewall" / UINT,
    "round" / UINT,
    "addresses" / If(this.flags & HAS_ADDRESSES, ADDRESSES),
    "remote_address" / If(this.flags & HAS_REMOTE_ADDRESS, ADDRESS),
    "token" / If(this.flags & HAS_TOKEN, FIXED32),
    "remote_token" / If(this.flags & HAS_REMOTE_TOKEN, FIXED32),
)


class HolepunchPayload(NamedTuple):
    """How far a side is."""

    #: A :class:`~spaceswarm_proxy.peering.noise_payload.HandshakeCode`, or a number that is none.
    error: int = HandshakeCode.NONE
    firewall: Firewall = Firewall.UNKNOWN
    #: Counts the client's messages; in an answer, the highest that has come.
    round: int = 0
    connected: bool = False
    #: Does it send to all our addresses, or will it?
    punching: bool = False
    #: Its own, as far as they are known.
    addresses: tuple[bytes, ...] | None = None
    #: Ours, when it has opened its own address translation for it.
    remote_address: bytes | None = None
    #: To be sent back: 32 bytes.
    token: bytes | None = None
    #: Ours, sent back.
    remote_token: bytes | None = None

    @classmethod
    def parse(cls, data: bytes) -> HolepunchPayload:
        """:raises MessageError: it is none."""
        fields = parse_value(HOLEPUNCH_PAYLOAD, data)
        return cls(
            fields.error,
            Firewall.of(fields.firewall),
            fields.round,
            bool(fields.flags & CONNECTED),
            bool(fields.flags & PUNCHING),
            None if fields.addresses is None else tuple(fields.addresses[:MAX_ADDRESSES]),
            fields.remote_address,
            fields.token,
            fields.remote_token,
        )

    def encode(self) -> bytes:
        """
        :returns: it in bytes.
        :raises ValueError: a number is above :data:`MAX_NUMBER`.
        """
        numbers = (self._flags(), self.error, self.firewall, self.round)
        if max(numbers) > MAX_NUMBER:
            raise ValueError(f"{max(numbers)} does not fit into a byte")
        data = bytes(numbers)
        if self.addresses is not None:
            data += encode_uint(len(self.addresses)) + b"".join(self.addresses)
        return data + (self.remote_address or b"") + (self.token or b"") + (self.remote_token or b"")

    def _flags(self) -> int:
        flags = (CONNECTED if self.connected else 0) | (PUNCHING if self.punching else 0)
        flags |= 0 if self.addresses is None else HAS_ADDRESSES
        flags |= HAS_REMOTE_ADDRESS if self.remote_address else 0
        return flags | (HAS_TOKEN if self.token else 0) | (HAS_REMOTE_TOKEN if self.remote_token else 0)


class SecurePayload:
    """One side's half of the encrypted talk about one connection."""

    def __init__(self, handshake_hash: bytes, profile: Profile, chance: Chance) -> None:
        """
        :param handshake_hash: 64 bytes.
        :param chance: for nonces, and the secret behind the tokens; a real one, since secrecy depends on it.
        """
        self._key = keyed_hash32(handshake_hash, profile.peer_holepunch)
        self._chance = chance
        self._token_key = chance.randbytes(32)

    def encrypt(self, payload: HolepunchPayload) -> bytes:
        """:returns: what only the other side can read."""
        nonce = self._chance.randbytes(NONCE_LENGTH)
        return nonce + crypto_secretbox(payload.encode(), nonce, self._key)

    def decrypt(self, data: bytes) -> HolepunchPayload:
        """:raises MessageError: the other side has not sent this, or it is no payload."""
        if len(data) <= NONCE_LENGTH + TAG_LENGTH:
            raise MessageError("cut")
        try:
            plaintext = crypto_secretbox_open(data[NONCE_LENGTH:], data[:NONCE_LENGTH], self._key)
        except CryptoError:
            raise MessageError("not-encrypted-by-peer") from None
        return HolepunchPayload.parse(plaintext)

    def token(self, address: bytes) -> bytes:
        """:returns: 32 bytes: what somebody who gets what is sent to this host can send back, whatever the port."""
        host = host_port(address[:HOST_LENGTH] + b"\x00\x00").host
        return keyed_hash32(self._token_key, host.encode())
