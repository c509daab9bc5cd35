"""Which addresses are worth trying: :mod:`spaceswarm_proxy.peering.local_addresses`."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.peering.local_addresses import is_bogon, is_private, is_reserved, nearest

PRIVATE = """
    10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 169.254.0.1 169.254.255.255
    172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255
"""
RESERVED = """
    0.0.0.0 0.255.255.255 192.0.0.1 192.0.2.255 198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.9 224.0.0.1
    239.255.255.255 240.0.0.0 255.255.255.255
"""
PUBLIC = """
    1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0
    172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
    198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
"""


def addresses(*hosts: str) -> list[bytes]:
    return [address_of(host, 1000 + number) for number, host in enumerate(hosts)]


class KindTests(SynchronousTestCase):
    """What an address means."""

    def test_kinds(self) -> None:
        """The first and last of every network, and their neighbours, are what they are."""
        for hosts, private, reserved in ((PRIVATE, True, False), (RESERVED, False, True), (PUBLIC, False, False)):
            for host in hosts.split():
                address = address_of(host, 1)
                self.assertEqual((private, reserved), (is_private(address), is_reserved(address)), host)
                self.assertEqual(private or reserved, is_bogon(address), host)


class NearestTests(SynchronousTestCase):
    """Who is in the same local network."""

    def test_more_in_common(self) -> None:
        """Three bytes in common beat two, two beat one, and of equals the first wins."""
        own = addresses("192.168.122.238", "10.1.2.3")
        one, two, three, other = addresses("192.1.1.1", "192.168.0.23", "192.168.122.1", "10.9.9.9")
        self.assertEqual(three, nearest(own, [one, two, three]))
        self.assertEqual(two, nearest(own, [other, one, two]))
        self.assertEqual(one, nearest(own, [one, other]))
        self.assertEqual(three, nearest(own, [three, address_of("192.168.122.2", 5)]))

    def test_none(self) -> None:
        """Nothing in common, or nobody there: nobody is near."""
        own, others = addresses("192.168.122.238"), addresses("10.0.0.1", "193.168.122.238")
        self.assertIsNone(nearest(own, others))
        self.assertIsNone(nearest(own, []))
        self.assertIsNone(nearest([], others))

    @settings(deadline=None)
    @given(
        st.lists(st.binary(min_size=6, max_size=6), max_size=4), st.lists(st.binary(min_size=6, max_size=6), max_size=6)
    )
    def test_one_of_them(self, own: list[bytes], others: list[bytes]) -> None:
        """It is one of theirs, with which one of ours has the most in common."""

        def common(other: bytes) -> int:
            return max((length for mine in own for length in (1, 2, 3) if mine[:length] == other[:length]), default=0)

        found = nearest(own, others)
        if found is None:
            self.assertFalse(any(map(common, others)))
        else:
            self.assertEqual(max(map(common, others)), common(found))
