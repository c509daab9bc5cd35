"""The arguments that the commands of the DHT share."""

from __future__ import annotations

import io
import socket
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.dht_options import make_node, sequence_number
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM
from tests.commands.support import reactor

SEED = bytes(range(32))


def parse(*arguments: str) -> Namespace:
    return make_parser().parse_args(arguments)


def settings(*arguments: str, **more: Any) -> dict[str, Any]:
    """:returns: what a node would be made with."""
    found: dict[str, Any] = {}

    def make(reactor: Any, **settings: Any) -> Any:
        found.update(settings)

    make_node(None, parse(*arguments), make, **more)
    return found


class NodeTests(SynchronousTestCase):
    """The node that the options describe."""

    def test_defaults(self) -> None:
        """Without options it is on the Spaceswarm network, on any port, and somebody new."""
        wanted = {
            "profile": SPACESWARM, "bootstrap": None, "host": "0.0.0.0", "port": 0, "any_port": False, "key_pair": None
        }  # fmt: skip
        self.assertEqual(wanted, settings("lookup", "a room"))

    def test_usual_port(self) -> None:
        """A node that stays is on the usual port or near it; a port that was asked for is not exchanged."""
        found = settings("node")
        self.assertEqual((None, True), (found["port"], found["any_port"]))
        found = settings("node", "--port", "5000")
        self.assertEqual((5000, False), (found["port"], found["any_port"]))

    def test_network(self) -> None:
        """Profile, stream label and the nodes to begin with are the user's."""
        beginnings = ("--bootstrap", "10.0.0.1:1", "--bootstrap", "10.0.0.2@a.example:2", "--bootstrap", "b.example:3")
        found = settings("lookup", "a room", "--profile", "hyperswarm", "--stream-label", "x", *beginnings)
        self.assertEqual(HYPERSWARM.with_stream_label("x"), found["profile"])
        self.assertEqual(["10.0.0.1:1", "10.0.0.2@a.example:2", "b.example:3"], found["bootstrap"])

    def test_seed(self) -> None:
        """A seed is who we are, from the command line or a file."""
        path = Path(self.mktemp())
        path.write_text(SEED.hex() + "\n")
        for arguments in (("--seed", SEED.hex()), ("--seed-file", str(path))):
            self.assertEqual(KeyPair.from_seed(SEED), settings("announce", "a room", *arguments)["key_pair"])

    def test_more(self) -> None:
        """What a command decides itself goes before."""
        self.assertEqual([], settings("ping", "10.0.0.1:1", bootstrap=[])["bootstrap"])

    def test_port_is_taken(self) -> None:
        """A port that somebody else has is told in a line."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            options = parse("lookup", "a room", "--host", "127.0.0.1", "--port", str(port))
            problem = self.assertRaises(CommandError, make_node, reactor, options)
        self.assertIn(f"127.0.0.1:{port}", str(problem))
        self.assertIn("in use", str(problem))

    def test_impossible(self) -> None:
        """Whatever makes a node impossible is for the user."""
        for wrong in (CannotListenError("x", 1, OSError("no")), ValueError("no"), OSError("no")):

            def make(*_: Any, wrong: Exception = wrong, **__: Any) -> Any:
                raise wrong

            problem = self.assertRaises(CommandError, make_node, None, parse("lookup", "a room"), make)
            self.assertRegex(str(problem), "no$")


class ArgumentTests(SynchronousTestCase):
    """What is found wrong at once."""

    def assert_usage(self, text: str, *arguments: str) -> None:
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        ended = self.assertRaises(SystemExit, parse, *arguments)
        self.assertEqual(2, ended.code)
        self.assertIn(text, errors.getvalue())

    def test_addresses(self) -> None:
        """What is no address is named."""
        self.assert_usage("'nowhere' is not HOST:PORT", "lookup", "a room", "--bootstrap", "nowhere")
        self.assert_usage("'a@b' is not IP@NAME", "lookup", "a room", "--bootstrap", "a@b:1")
        self.assert_usage("'localhost' is not an IPv4 address", "node", "--host", "localhost")
        self.assert_usage("'x' is not an IPv4 address", "node", "--public-host", "x")
        self.assert_usage("'::1' is not an IPv4 address", "announce", "a room", "--relay", "[::1]:1")
        self.assert_usage("is not HOST:PORT", "ping", "10.0.0.1:99999")

    def test_numbers(self) -> None:
        """A port, a count and a sequence number have their ranges."""
        self.assert_usage("'65536' is not a port", "node", "--port", "65536")
        for text in ("-1", "x", "", "1.5", "\u0661", "9" * 5000):
            self.assert_usage("is not a number from 0", "put", "x", f"--seq={text}")
        self.assert_usage("is not a number from 0", "put", "x", f"--seq={1 << 53}")
        self.assert_usage("once, at least", "ping", "10.0.0.1:1", "--count", "0")

    def test_keys(self) -> None:
        """A key or hash is hex or z-base-32."""
        self.assert_usage("'abc' is not a key", "get", "abc")
        self.assert_usage("is not a key", "lookup", "--peer", "g" * 64)

    def test_whom(self) -> None:
        """A lookup is for a topic or for a peer."""
        self.assert_usage("required", "lookup")
        self.assert_usage("not allowed with", "lookup", "a room", "--peer", "0" * 64)

    def test_sequence_number(self) -> None:
        """Only a mutable value has a sequence number; it is 0 unless told otherwise."""
        self.assertEqual(0, sequence_number(parse("put", "x")))
        self.assertEqual(0, sequence_number(parse("put", "x", "--mutable")))
        self.assertEqual((1 << 53) - 1, sequence_number(parse("put", "x", "--mutable", "--seq", str((1 << 53) - 1))))
        problem = self.assertRaises(CommandError, sequence_number, parse("get", "0" * 64, "--seq", "0"))
        self.assertIn("--seq goes with --mutable", str(problem))
