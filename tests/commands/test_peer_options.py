"""The arguments of the commands that open streams to peers."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.key_text import encode_key
from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.commands.peer_options import allow_firewall, keys, place, service
from spaceswarm_proxy.interfaces import HostPort, Peer, PeerAddress

KEY = bytes(range(32))


class PeerOptionTests(SynchronousTestCase):
    """What is read."""

    def parse(self, *arguments: str) -> Namespace:
        return make_parser().parse_args(["listen", *arguments])

    def test_defaults(self) -> None:
        """Without options there is no relay, all addresses are used, and streams are limited all the same."""
        options = self.parse()
        self.assertEqual(((), False, 500), (options.relay_through, options.no_local, options.max_streams))

    def test_given(self) -> None:
        """Each is what it was said to be."""
        options = self.parse("--relay-through", KEY.hex(), "--no-local", "--max-streams", "7")
        self.assertEqual(((KEY,), True, 7), (options.relay_through, options.no_local, options.max_streams))

    def test_keys(self) -> None:
        """Several keys, of any form, have commas between them."""
        self.assertEqual((KEY, KEY, KEY), keys(f"{KEY.hex()},{encode_key(KEY)},pear://{encode_key(KEY)}"))
        for wrong in ("", "me", KEY.hex() + ","):
            self.assertRaises(ValueError, keys, wrong)

    def test_place(self) -> None:
        """A port alone is one of this machine; 0 is any."""
        self.assertEqual(HostPort("127.0.0.1", 80), place("80"))
        self.assertEqual(HostPort("127.0.0.1", 0), place("0"))
        self.assertEqual(HostPort("0.0.0.0", 80), place("0.0.0.0:80"))
        self.assertEqual(HostPort("::1", 80), place("[::1]:80"))
        for wrong in ("", "host", "host:", "host:70000", "host:-1"):
            self.assertRaises(ValueError, place, wrong)

    def test_service(self) -> None:
        """A service that is there already has a port."""
        self.assertEqual(HostPort("host", 80), service("host:80"))
        for wrong in ("0", "host:0", "host"):
            self.assertRaises(ValueError, service, wrong)

    def test_allow(self) -> None:
        """Only those that are named get in; without names, everybody."""
        friend, stranger = (PeerAddress(Peer.keyed(bytes([number]) * 32)) for number in (1, 2))
        refuses: Any = allow_firewall(self.parse("--allow", (bytes([1]) * 32).hex()))
        self.assertEqual((False, True), (refuses(friend), refuses(stranger)))
        self.assertIsNone(allow_firewall(self.parse()))
