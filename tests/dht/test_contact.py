"""Tests of spaceswarm_proxy.dht.contact."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import (
    ID_BITS,
    ID_LENGTH,
    Contact,
    address_of,
    contact_at,
    distance_from,
    host_port,
    is_shunned,
)
from spaceswarm_proxy.interfaces import HostPort
from tests.dht.strategies import addresses, hashes
from tests.dht.vectors import vectors

hosts = st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts)))


class AddressTests(SynchronousTestCase):
    """Six bytes, and what people write for them."""

    def test_vectors(self) -> None:
        """An address is six bytes as on the wire, and the id that JavaScript gives it follows from them."""
        for row in vectors("node_ids"):
            address = address_of(row["host"], row["port"])
            self.assertEqual(address.hex(), row["address_hex"])
            self.assertEqual(host_port(address), HostPort(row["host"], row["port"]))
            self.assertEqual(Contact(address).id.hex(), row["id"])

    @settings(deadline=None, max_examples=80)
    @given(hosts, st.integers(0, 0xFFFF))
    def test_round_trip(self, host: str, port: int) -> None:
        """Every host and port is six bytes, and is itself again."""
        address = address_of(host, port)
        self.assertEqual(len(address), 6)
        self.assertEqual(host_port(address), HostPort(host, port))

    @settings(deadline=None, max_examples=80)
    @given(addresses)
    def test_round_trip_of_bytes(self, address: bytes) -> None:
        """Any six bytes are a host and a port, and themselves again."""
        self.assertEqual(address_of(*host_port(address)), address)

    def test_refused(self) -> None:
        """What is not an IPv4 address, or no port, is refused with what it is; asking twice changes nothing."""
        for host in ("", "localhost", "::1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", " 1.2.3.4", "1.2.3.4\n"):
            for _ in range(2):
                problem = self.assertRaises(ValueError, address_of, host, 1)
                self.assertEqual(str(problem), f"{host!r} is not an IPv4 address")
        for port in (-1, 65536):
            self.assertEqual(str(self.assertRaises(ValueError, address_of, "1.2.3.4", port)), f"{port} is not a port")


class ContactTests(SynchronousTestCase):
    """A node's address with its id."""

    @settings(deadline=None, max_examples=60)
    @given(addresses, hashes)
    def test_distance(self, address: bytes, target: bytes) -> None:
        """Distances are the XOR of ids, read as numbers with the first byte first."""
        contact = Contact(address)
        self.assertEqual((len(contact.id), len(contact.id) * 8), (ID_LENGTH, ID_BITS))
        by_bytes = bytes(ours ^ theirs for ours, theirs in zip(contact.id, target, strict=True))
        self.assertEqual(contact.number ^ distance_from(target), int(by_bytes.hex(), 16))

    def test_shared(self) -> None:
        """Everybody who asks for an address is given the same contact."""
        address = address_of("10.0.0.1", 1001)
        self.assertIs(contact_at(address), contact_at(bytes(bytearray(address))))
        self.assertEqual(contact_at(address).address, address)

    def test_said(self) -> None:
        """A contact says where it is."""
        self.assertIn("10.0.0.1", repr(Contact(address_of("10.0.0.1", 1001))))


class ShunnedTests(SynchronousTestCase):
    """Nodes that nobody talks to."""

    def test_one_port(self) -> None:
        """Of three hosts one port is shunned, and no other."""
        for host, port in (("134.209.28.98", 49738), ("167.99.142.185", 49738), ("35.233.47.252", 9400)):
            self.assertTrue(is_shunned(address_of(host, port)))
            self.assertFalse(is_shunned(address_of(host, port + 1)))

    def test_whole_host(self) -> None:
        """Of one, all."""
        for port in (1, 49737, 65535):
            self.assertTrue(is_shunned(address_of("150.136.142.116", port)))
            self.assertFalse(is_shunned(address_of("150.136.142.117", port)))

    def test_no_port(self) -> None:
        """A node with port 0 cannot be asked."""
        self.assertTrue(is_shunned(address_of("10.0.0.1", 0)))
        self.assertFalse(is_shunned(address_of("10.0.0.1", 256)))
