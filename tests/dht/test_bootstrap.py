"""Tests of spaceswarm_proxy.dht.bootstrap."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM
from spaceswarm_proxy.dht.bootstrap import BootstrapNode
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.interfaces import HostPort


class ParseTests(SynchronousTestCase):
    """What is taken for a bootstrap node."""

    def test_forms(self) -> None:
        """An address, a name, both, or a port of this machine."""
        for text, expected, again in (
            ("10.0.0.1:5000", ("10.0.0.1", None, 5000), "10.0.0.1:5000"),
            ("node.example.org:5000", (None, "node.example.org", 5000), "node.example.org:5000"),
            ("10.0.0.1@node.example.org:80", ("10.0.0.1", "node.example.org", 80), "10.0.0.1@node.example.org:80"),
            ("5000", ("127.0.0.1", None, 5000), "127.0.0.1:5000"),
            (5000, ("127.0.0.1", None, 5000), "127.0.0.1:5000"),
            (HostPort("10.0.0.1", 5000), ("10.0.0.1", None, 5000), "10.0.0.1:5000"),
            (HostPort("localhost", 65535), (None, "localhost", 65535), "localhost:65535"),
        ):
            node = BootstrapNode.parse(text)
            self.assertEqual((expected, again), (tuple(node), str(node)))
            self.assertEqual(node, BootstrapNode.parse(again))

    def test_profiles(self) -> None:
        """Those of the profiles are among these, with an address each."""
        for profile in (SPACESWARM, HYPERSWARM):
            for text in profile.bootstrap:
                self.assertIsNotNone(BootstrapNode.parse(text).address)

    def test_address(self) -> None:
        """The address is six bytes where it is in the text, and unknown where only a name is."""
        self.assertEqual(address_of("10.0.0.1", 80), BootstrapNode.parse("10.0.0.1@node.example.org:80").address)
        self.assertEqual(address_of("10.0.0.1", 80), BootstrapNode.parse("10.0.0.1:80").address)
        self.assertIsNone(BootstrapNode.parse("node.example.org:80").address)

    def test_refused(self) -> None:
        """What is none of these is refused when it is given, not when it is needed."""
        for text in (
            "",
            "10.0.0.1",
            "node.example.org",
            "node.example.org:",
            "node.example.org:0",
            "10.0.0.1:65536",
            "0",
            "65536",
            0,
            -1,
            70000,
            "²",
            ":5000",
            "name@node.example.org:80",
            "10.0.0.1@:80",
            "10.0.0@10.0.0.1:80",
            HostPort("10.0.0.1", 0),
            HostPort("10.0.0.1", 65536),
            HostPort("10.0.0.1", -5),
            HostPort("", 5000),
        ):
            self.assertRaises(ValueError, BootstrapNode.parse, text)

    def test_names_that_cannot_be_asked_for(self) -> None:
        """So are names for which the system's resolver raises, instead of finding nothing."""
        for name in ("a" * 64 + ".example.org", "a..b", ".example.org", "a\x00b", "a\nb", "10.0.0.1@a..b"):
            self.assertRaises(ValueError, BootstrapNode.parse, f"{name}:80")

    @settings(deadline=None, max_examples=100)
    @given(st.text(max_size=30) | st.from_regex(r"[0-9a-z.@\[\]:-]{0,20}(:[0-9]{0,6})?", fullmatch=True))
    def test_anything(self, text: str) -> None:
        """Any text is a bootstrap node, which its own text leads to again, or is refused as what it is."""
        try:
            node = BootstrapNode.parse(text)
        except ValueError:
            return
        self.assertEqual(node, BootstrapNode.parse(str(node)))
        self.assertTrue(node.name or node.address)
        self.assertTrue(0 < node.port < 65536)
