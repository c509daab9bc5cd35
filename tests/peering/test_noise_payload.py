"""What handshakes carry: :mod:`spaceswarm_proxy.peering.noise_payload`."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import encode_uint
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.errors import MessageError
from spaceswarm_proxy.peering.noise_payload import (
    MAX_ADDRESSES,
    MAX_RELAYS,
    NOISE_PAYLOAD,
    Firewall,
    HandshakeCode,
    HolepunchInfo,
    NoisePayload,
    RelayPair,
    RelayThrough,
    UDXInfo,
)
from tests.crypto.connect_vectors import VECTORS

addresses = st.lists(st.binary(min_size=6, max_size=6), max_size=4).map(tuple)
numbers = st.integers(0, 2**32 - 1)
keys = st.binary(min_size=32, max_size=32)
pairs = st.builds(RelayPair, st.binary(min_size=6, max_size=6), st.binary(min_size=6, max_size=6))
payloads = st.builds(
    NoisePayload,
    version=st.just(1),
    error=st.integers(0, 300),
    firewall=st.sampled_from(Firewall),
    holepunch=st.none() | st.builds(HolepunchInfo, numbers, st.lists(pairs, max_size=4).map(tuple)),
    addresses4=addresses,
    addresses6=st.lists(st.binary(min_size=18, max_size=18), max_size=3).map(tuple),
    udx=st.none() | st.builds(UDXInfo, numbers, st.booleans(), numbers, st.integers(0, 9)),
    secret_stream=st.none() | numbers,
    relay_through=st.none() | st.builds(RelayThrough, keys, keys, numbers, numbers),
    relay_addresses=st.none() | addresses,
)


def address4(fields: dict[str, Any]) -> bytes:
    return address_of(fields["host"], fields["port"])


def address6(fields: dict[str, Any]) -> bytes:
    return IPv6Address(fields["host"]).packed + fields["port"].to_bytes(2, "little")


def pair(fields: dict[str, Any]) -> RelayPair:
    return RelayPair(address4(fields["relayAddress"]), address4(fields["peerAddress"]))


def payload_of(fields: dict[str, Any]) -> NoisePayload:
    """What a vector says that was decoded."""
    holepunch, udx, relay = fields["holepunch"], fields["udx"], fields["relayThrough"]
    stream, relay_addresses = fields["secretStream"], fields["relayAddresses"]
    return NoisePayload(
        fields["version"],
        fields["error"],
        Firewall.of(fields["firewall"]),
        holepunch and HolepunchInfo(holepunch["id"], tuple(map(pair, holepunch["relays"]))),
        tuple(map(address4, fields["addresses4"])),
        tuple(map(address6, fields["addresses6"])),
        udx and UDXInfo(udx["id"], udx["reusableSocket"], udx["seq"], udx["version"]),
        stream and stream["version"],
        relay and RelayThrough(bytes.fromhex(relay["publicKey"]), bytes.fromhex(relay["token"]), relay["version"]),
        None if relay_addresses is None else tuple(map(address4, relay_addresses)),
    )


class VectorTests(SynchronousTestCase):
    """The reference's own."""

    def test_both_ways(self) -> None:
        """It is written and read as the reference writes and reads it."""
        for vector in VECTORS["noisePayload"]:
            payload, encoded = payload_of(vector["decoded"]), bytes.fromhex(vector["encoded"])
            self.assertEqual(encoded, payload.encode(), vector["name"])
            self.assertEqual(payload, NoisePayload.parse(encoded), vector["name"])

    def test_decode_only(self) -> None:
        """What the reference refuses is refused, and what it takes is taken for the same."""
        for vector in VECTORS["noisePayloadDecodeOnly"]:
            encoded = bytes.fromhex(vector["encoded"])
            if vector["ok"]:
                self.assertEqual(payload_of(vector["decoded"]), NoisePayload.parse(encoded), vector["name"])
            else:
                self.assertRaises(MessageError, NoisePayload.parse, encoded)


class PayloadTests(SynchronousTestCase):
    """Ours, and anybody's."""

    @settings(deadline=None)
    @given(payloads)
    def test_round_trip(self, payload: NoisePayload) -> None:
        """What is written is read again, whatever follows it."""
        self.assertEqual(payload, NoisePayload.parse(payload.encode() + b"more"))

    @settings(deadline=None)
    @given(payloads)
    def test_grammar(self, payload: NoisePayload) -> None:
        """The grammar writes the same bytes as the encoder."""
        encoded = payload.encode()
        self.assertEqual(encoded, NOISE_PAYLOAD.build(NOISE_PAYLOAD.parse(encoded)))

    @settings(deadline=None)
    @given(st.binary(max_size=80) | st.binary(max_size=80).map(b"\x01".__add__))
    def test_anything(self, data: bytes) -> None:
        """Bytes of any kind are a payload, or refused with an error of ours."""
        try:
            NoisePayload.parse(data)
        except MessageError:
            return

    def test_other_version(self) -> None:
        """Of another version only the version is read and written, so that it can be answered."""
        payload = NoisePayload.parse(b"\x02\xff")
        self.assertEqual(NoisePayload(2), payload)
        self.assertEqual(b"\x02", payload.encode())

    def test_bounds(self) -> None:
        """Of long lists only so much is kept."""
        many = tuple(number.to_bytes(6, "big") for number in range(500))
        relays = tuple(RelayPair(address, address) for address in many)
        sixes = tuple(address * 3 for address in many)
        payload = NoisePayload(
            holepunch=HolepunchInfo(1, relays), addresses4=many, addresses6=sixes, relay_addresses=many
        )
        read = NoisePayload.parse(payload.encode())
        self.assertEqual(HolepunchInfo(1, relays[:MAX_RELAYS]), read.holepunch)
        self.assertEqual((many[:MAX_ADDRESSES], sixes[:MAX_ADDRESSES]), (read.addresses4, read.addresses6))
        self.assertEqual(many[:MAX_RELAYS], read.relay_addresses)

    def test_stream_numbers(self) -> None:
        """An id or a sequence number that no packet can carry is refused."""
        for numbers in ((2**32, 0), (0, 2**32)):
            udx = b"\x01\x08\x00\x00" + b"\x01\x00" + b"".join(map(encode_uint, numbers))
            self.assertRaises(MessageError, NoisePayload.parse, udx)

    def test_numbers(self) -> None:
        """From 3 on a firewall is random; a code that is none is kept as the number that it is."""
        self.assertEqual([0, 1, 2, 3, 3, 3], [Firewall.of(value) for value in (0, 1, 2, 3, 4, 2**50)])
        self.assertEqual(77, NoisePayload.parse(bytes((1, 0, 77, 0))).error)
        self.assertEqual(HandshakeCode.TRY_LATER, NoisePayload.parse(bytes((1, 0, 3, 0))).error)
