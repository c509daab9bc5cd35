"""Tests of spaceswarm_proxy.udp.addresses."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of, host_port
from spaceswarm_proxy.udp import addresses
from spaceswarm_proxy.udp.addresses import AddressCache, packed, unpacked


def as_in_the_kernel(address: bytes) -> bytes:
    """The six bytes of a ``struct sockaddr_in`` that matter: the port, high byte first, and the host."""
    host, port = host_port(address)
    return port.to_bytes(2, "big") + bytes(map(int, host.split(".")))


class AddressTests(SynchronousTestCase):
    """The same address in three forms."""

    @given(st.binary(min_size=6, max_size=6))
    def test_forms(self, address: bytes) -> None:
        """Each form leads to the others."""
        self.assertEqual(unpacked(address), host_port(address))
        self.assertEqual(packed(unpacked(address)), address)
        self.assertEqual(AddressCache().address(as_in_the_kernel(address)), address)

    def test_example(self) -> None:
        """The host comes first, then the port with its low byte first."""
        self.assertEqual(packed(("192.0.2.7", 0x1234)), bytes([192, 0, 2, 7, 0x34, 0x12]))
        self.assertEqual(AddressCache().address(bytes([0x12, 0x34, 192, 0, 2, 7])), address_of("192.0.2.7", 0x1234))

    def test_same_object(self) -> None:
        """Who comes again has the same object."""
        cache, raw = AddressCache(), bytes([0x12, 0x34, 192, 0, 2, 7])
        self.assertIs(cache.address(raw), cache.address(bytes(bytearray(raw))))

    def test_bounded(self) -> None:
        """No more are remembered than there is room for; all are right all the same."""
        self.patch(addresses, "_CACHED", 4)
        cache = AddressCache()
        for _ in range(2):
            for number in range(10):
                address = bytes([10, 0, 0, number, 1, 0])
                self.assertEqual(cache.address(as_in_the_kernel(address)), address)
                self.assertLessEqual(len(cache), 4)
