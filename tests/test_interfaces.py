"""Tests of spaceswarm_proxy.interfaces: the values that cross the seams."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.interfaces import HostPort, Peer, PeerAddress

KEY = bytes(range(32))
TOPIC = b"t" * 32


class HostPortTests(SynchronousTestCase):
    """Addresses as text."""

    def test_parse(self) -> None:
        """A name, an IPv4 address, and an IPv6 address with brackets or without."""
        for text, host in (
            ("example.com:80", "example.com"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("2001:db8::1:80", "2001:db8::1"),
        ):
            self.assertEqual(HostPort.parse(text), HostPort(host, 80))

    def test_refused(self) -> None:
        """No host, no port, or a port that can't be."""
        for text in ("", "80", ":80", "[]:80", "host", "host:", "host:0", "host:65536", "host:-1", "host:8o"):
            self.assertRaises(ValueError, HostPort.parse, text)
        for text in ("host:\u0661", "host: 80", "host:1_0", "host:000080", "host:" + "9" * 10_000):
            self.assertRaises(ValueError, HostPort.parse, text)

    @settings(deadline=None)
    @given(st.from_regex("[a-z0-9.:-]*[a-z0-9.-]", fullmatch=True), st.integers(1, 65535))
    def test_round_trip(self, host: str, port: int) -> None:
        """What is written is read again."""
        self.assertEqual(HostPort.parse(str(HostPort(host, port))), HostPort(host, port))


class PeerTests(SynchronousTestCase):
    """Who can be reached."""

    def test_keyed(self) -> None:
        """A peer with a key is known by it, in hex."""
        relays = (HostPort("192.0.2.1", 1),)
        peer = Peer.keyed(KEY, relays, frozenset({TOPIC}))
        self.assertEqual((peer.id, peer.public_key, peer.address), (KEY.hex().encode(), KEY, None))
        self.assertEqual((peer.relay_addresses, peer.topics), (relays, {TOPIC}))
        self.assertRaises(ValueError, Peer.keyed, KEY[1:])

    def test_at(self) -> None:
        """A TCP service is known by host and port."""
        peer = Peer.at("192.0.2.1", 80)
        self.assertEqual((peer.id, peer.address, peer.public_key), (b"192.0.2.1:80", ("192.0.2.1", 80), None))

    def test_same(self) -> None:
        """Two are the same when their ids are, whatever else is known of them."""
        self.assertEqual(Peer.keyed(KEY), Peer.keyed(KEY, (HostPort("192.0.2.1", 1),), frozenset({TOPIC})))
        self.assertEqual(len({Peer.at("192.0.2.1", 1), Peer.from_id(b"192.0.2.1:1"), Peer(b"192.0.2.1:1")}), 1)
        self.assertNotEqual(Peer.at("192.0.2.1", 1), Peer.at("192.0.2.1", 2))

    def test_from_id(self) -> None:
        """An id says what it can: a key, an address, or nothing."""
        self.assertEqual(Peer.from_id(KEY.hex().encode()).public_key, KEY)
        self.assertEqual(Peer.from_id(b"192.0.2.1:80").address, ("192.0.2.1", 80))
        for opaque in (b"", b"\xff\xfe", KEY.hex().upper().encode(), KEY.hex().encode()[1:], b"x" * 1000):
            peer = Peer.from_id(opaque)
            self.assertEqual((peer.id, peer.public_key, peer.address), (opaque, None, None))

    def test_javascript_ids(self) -> None:
        """The ids of a JavaScript server end in a topic, which is no port, even if all its digits are decimal."""
        for topic in (TOPIC, bytes.fromhex("00" * 31 + "80")):
            peer = Peer.from_id(b"192.0.2.1:80:" + topic.hex().encode(), frozenset({topic}))
            self.assertEqual((peer.address, peer.public_key, peer.topics), (None, None, {topic}))

    @settings(deadline=None)
    @given(st.binary(max_size=80))
    def test_any_id(self, id: bytes) -> None:
        """Any bytes can be an id, are kept as they are, and can be printed."""
        peer = Peer.from_id(id)
        self.assertEqual(peer.id, id)
        str(peer).encode()

    def test_printed(self) -> None:
        """A key is printed short, an address whole."""
        self.assertEqual(str(Peer.keyed(KEY)), "00010203...")
        self.assertEqual(str(Peer.at("192.0.2.1", 80)), "192.0.2.1:80")


class PeerAddressTests(SynchronousTestCase):
    """What ``getPeer`` answers."""

    def test_address(self) -> None:
        """It is an address to Twisted, with the names that Twisted's HTTP code looks for."""
        address = PeerAddress(Peer.at("192.0.2.1", 80))
        self.assertTrue(verifyObject(IAddress, address))
        self.assertEqual((address.host, address.port, address.public_key), ("192.0.2.1", 80, None))
        self.assertEqual(str(address), "peer 192.0.2.1:80")

    def test_with_a_key(self) -> None:
        """A peer with a key has no host and no port."""
        address = PeerAddress(Peer.keyed(KEY), initiator=False)
        self.assertEqual((address.host, address.port, address.public_key), (None, None, KEY))

    def test_same(self) -> None:
        """Who opened the stream makes no difference to whose address it is."""
        self.assertEqual(PeerAddress(Peer.keyed(KEY), True), PeerAddress(Peer.keyed(KEY), False))
