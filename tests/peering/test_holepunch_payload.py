"""What is said while holes are punched: :mod:`spaceswarm_proxy.peering.holepunch_payload`."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings, strategies as st
from nacl.bindings import crypto_secretbox
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.errors import MessageError
from spaceswarm_proxy.peering.holepunch_payload import (
    HOLEPUNCH_PAYLOAD,
    MAX_ADDRESSES,
    NONCE_LENGTH,
    HolepunchPayload,
    SecurePayload,
)
from spaceswarm_proxy.peering.noise_payload import Firewall
from tests.crypto.connect_vectors import VECTORS

HASH = bytes(range(64))

addresses = st.binary(min_size=6, max_size=6)
tokens = st.none() | st.binary(min_size=32, max_size=32)
payloads = st.builds(
    HolepunchPayload,
    st.integers(0, 252),
    st.sampled_from(Firewall),
    st.integers(0, 252),
    st.booleans(),
    st.booleans(),
    st.none() | st.lists(addresses, max_size=MAX_ADDRESSES).map(tuple),
    st.none() | addresses,
    tokens,
    tokens,
)


class Given:
    """Chance that gives what it was given."""

    def __init__(self, *values: bytes) -> None:
        self.values = list(values)

    def randbytes(self, n: int) -> bytes:
        value = self.values.pop(0)
        assert len(value) == n
        return value


def address(fields: dict[str, Any] | None) -> bytes | None:
    return fields and address_of(fields["host"], fields["port"])


def payload_of(fields: dict[str, Any]) -> HolepunchPayload:
    """What a vector says."""
    addresses = fields["addresses"]
    return HolepunchPayload(
        fields["error"],
        Firewall(fields["firewall"]),
        fields["round"],
        fields["connected"],
        fields["punching"],
        None if addresses is None else tuple(map(address, addresses)),
        address(fields["remoteAddress"]),
        *(fields[name] and bytes.fromhex(fields[name]) for name in ("token", "remoteToken")),
    )


def secure(seed: int = 1) -> SecurePayload:
    return SecurePayload(HASH, SPACESWARM, Random(seed))


class PayloadTests(SynchronousTestCase):
    """The plain text."""

    def test_vectors(self) -> None:
        """It is written and read as the reference does, and what that can't write, we don't."""
        for vector in VECTORS["holepunchPayload"]:
            payload = payload_of(vector["value"])
            if vector["encoded"] is None:
                self.assertRaises(ValueError, payload.encode)
            else:
                encoded = bytes.fromhex(vector["encoded"])
                self.assertEqual(encoded, payload.encode(), vector["name"])
                self.assertEqual(payload, HolepunchPayload.parse(encoded), vector["name"])

    @settings(deadline=None)
    @given(payloads)
    def test_round_trip(self, payload: HolepunchPayload) -> None:
        """What is written is read again, whatever follows it; and the grammar writes the same."""
        encoded = payload.encode()
        self.assertEqual(payload, HolepunchPayload.parse(encoded + b"more"))
        self.assertEqual(encoded, HOLEPUNCH_PAYLOAD.build(HOLEPUNCH_PAYLOAD.parse(encoded)))

    def test_bounds(self) -> None:
        """Of a long list only the first addresses are kept: each is one to send to."""
        many = tuple(number.to_bytes(6, "big") for number in range(200))
        read = HolepunchPayload.parse(HolepunchPayload(addresses=many).encode())
        self.assertEqual(many[:MAX_ADDRESSES], read.addresses)

    @settings(deadline=None)
    @given(st.binary(max_size=80))
    def test_anything(self, data: bytes) -> None:
        """Bytes of any kind are a payload, or refused with an error of ours."""
        try:
            HolepunchPayload.parse(data)
        except MessageError:
            return


class SecureTests(SynchronousTestCase):
    """What the nodes in between see."""

    def test_vectors(self) -> None:
        """Everything is encrypted as the reference does it, and tokens are its tokens."""
        vector = VECTORS["securePayload"]
        secret, local, nonce = (bytes.fromhex(vector[name]) for name in ("secret", "localSecret", "nonce"))
        for message in vector["messages"]:
            ours = SecurePayload(HASH, HYPERSWARM, Given(local, nonce))  # type: ignore[arg-type]
            ours._key = secret
            payload, box = payload_of(message["decoded"]), bytes.fromhex(message["box"])
            self.assertEqual(bytes.fromhex(message["plaintext"]), payload.encode())
            self.assertEqual(box, ours.encrypt(payload), message["name"])
            self.assertEqual(payload, ours.decrypt(box), message["name"])
            for token in vector["tokens"]:
                for port in (1, 49737):
                    expected = bytes.fromhex(token["token"])
                    self.assertEqual(expected, ours.token(address_of(token["host"], port)))

    def test_invalid(self) -> None:
        """What the reference refuses is refused, with an error of ours."""
        vector = VECTORS["securePayload"]
        ours = secure()
        ours._key = bytes.fromhex(vector["secret"])
        for invalid in vector["invalid"]:
            self.assertRaises(MessageError, ours.decrypt, bytes.fromhex(invalid["box"]))

    def test_key(self) -> None:
        """The key follows from handshake and profile."""
        for profile, name in ((HYPERSWARM, "hyperswarm"), (SPACESWARM, "spaceswarm-a")):
            vector = VECTORS["dhtHandshake"][name]
            ours = SecurePayload(bytes.fromhex(vector["hash"]), profile, Random(1))
            self.assertEqual(bytes.fromhex(vector["holepunchSecret"]), ours._key)

    @settings(deadline=None)
    @given(payloads)
    def test_other_side(self, payload: HolepunchPayload) -> None:
        """One side reads what the other writes; nobody of another handshake does."""
        sealed = secure(1).encrypt(payload)
        self.assertEqual(payload, secure(2).decrypt(sealed))
        stranger = SecurePayload(bytes(64), SPACESWARM, Random(1))
        self.assertRaises(MessageError, stranger.decrypt, sealed)

    @settings(deadline=None)
    @given(st.binary(max_size=100), st.data())
    def test_damaged(self, junk: bytes, data: st.DataObject) -> None:
        """What was changed on the way, or is no payload inside, is refused with an error of ours."""
        ours = secure()
        self.assertRaises(MessageError, ours.decrypt, junk)
        sealed = bytearray(ours.encrypt(HolepunchPayload(round=7)))
        place = data.draw(st.integers(0, len(sealed) - 1))
        sealed[place] ^= 1 << data.draw(st.integers(0, 7))
        self.assertRaises(MessageError, ours.decrypt, bytes(sealed))

    def test_empty(self) -> None:
        """A box with nothing, or half of something, in it is no payload."""
        ours, nonce = secure(), bytes(NONCE_LENGTH)
        for plaintext in (b"", b"\x10\x00\x00"):
            self.assertRaises(MessageError, ours.decrypt, nonce + crypto_secretbox(plaintext, nonce, ours._key))

    def test_tokens(self) -> None:
        """A token is the host's, whatever the port, and nobody else can make it."""
        ours = secure(1)
        here, there = address_of("1.2.3.4", 5), address_of("1.2.3.5", 5)
        self.assertEqual(ours.token(here), ours.token(address_of("1.2.3.4", 6)))
        self.assertEqual(4, len({ours.token(here), ours.token(there), secure(2).token(here), secure(2).token(there)}))
