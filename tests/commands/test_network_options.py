"""The network of the commands that meet others by topic."""

from __future__ import annotations

import io
from argparse import Namespace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.narrator import Narrator
from spaceswarm_proxy.commands.network_options import make_network
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import HYPERSWARM
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.testing import TestNet
from tests.commands.support import reactor

SEED = bytes(range(32))
PROXY = ("--proxy", "tcp:10.0.0.1:1")


def parse(*arguments: str) -> Namespace:
    return make_parser().parse_args(["pipe", "a room", *arguments])


class ProxyTests(SynchronousTestCase):
    """Behind a proxy server."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.narrator = Narrator("pipe")

    def token_file(self) -> str:
        path = Path(self.mktemp())
        path.write_text("secret\n")
        return str(path)

    def network(self, *arguments: str) -> ProxyNetwork:
        network: Any
        network, name = make_network(self.reactor, parse(*arguments), self.narrator)
        self.addCleanup(network.close)
        self.assertIsInstance(network, ProxyNetwork)
        self.assertEqual("the proxy server", name)
        self.reactor.advance(0)
        return network

    def assert_refused(self, text: str, *arguments: str) -> None:
        problem = self.assertRaises(CommandError, make_network, self.reactor, parse(*arguments), self.narrator)
        self.assertIn(text, str(problem))

    def places(self) -> list[tuple[str, int]]:
        """Where a connection has been asked for."""
        return [client[:2] for client in self.reactor.tcpClients]

    def test_proxies(self) -> None:
        """Servers are tried in the order given."""
        self.network(*PROXY, "--proxy", "tcp:10.0.0.2:2")
        self.assertEqual([("10.0.0.1", 1)], self.places())

    def test_who(self) -> None:
        """We are somebody new each time, unless a seed is given."""
        self.assertNotEqual(self.network(*PROXY).key_pair, self.network(*PROXY).key_pair)
        self.assertEqual(KeyPair.from_seed(SEED), self.network(*PROXY, "--seed", SEED.hex()).key_pair)

    def test_token(self) -> None:
        """The token is what the file holds, without the end of its line."""
        self.assertIsNone(self.network(*PROXY).token)
        self.assertEqual(b"secret", self.network(*PROXY, "--token-file", self.token_file()).token)

    def test_token_alone(self) -> None:
        """A token is for a server, if need be for the one at this machine's usual port."""
        self.network("--token-file", self.token_file())
        self.assertEqual([("127.0.0.1", 4978)], self.places())

    def test_not_an_endpoint(self) -> None:
        """What is no client endpoint is named."""
        for text in ("nonsense:1", "tcp:x:y:z:a:b:c", "tcp", "tcp:127.0.0.1:http", "ws:"):
            self.assert_refused(f"--proxy {text}: not a client endpoint", "--proxy", text)

    def test_bad_file(self) -> None:
        """A file that is not there is named."""
        self.assert_refused("cannot read nowhere", "--token-file", "nowhere")

    def test_no_node(self) -> None:
        """What only a node could do is refused, and not forgotten."""
        for name, value in (
            ("--bootstrap", "10.0.0.1:1"),
            ("--profile", "hyperswarm"),
            ("--stream-label", "x"),
            ("--host", "127.0.0.1"),
            ("--port", "5000"),
            ("--relay-through", "00" * 32),
        ):
            self.assert_refused(f"{name} is for a node", *PROXY, name, value)
        self.assert_refused("--no-local is for a node", *PROXY, "--no-local")


class NodeTests(TestCase):
    """As a node."""

    def setUp(self) -> None:
        self.told = io.StringIO()

    def network(self, bootstrap: str, *arguments: str) -> tuple[DHTNetwork, str]:
        options = parse("--host", "127.0.0.1", "--bootstrap", bootstrap, *arguments)
        network: Any
        network, name = make_network(reactor, options, Narrator("pipe", False, self.told))
        self.addCleanup(network.close)
        self.assertIsInstance(network, DHTNetwork)
        return network, name

    async def nowhere(self) -> str:
        """:returns: where there was a node."""
        net = TestNet(reactor, 1)
        place = str(net.bootstrap[0])
        await net.close()
        return place

    async def test_direct(self) -> None:
        """Unless a proxy server is named, we are a node of the network ourselves, until the network is closed."""
        net = TestNet(reactor, 1, profile=HYPERSWARM)
        self.addCleanup(net.close)
        await net.ready()
        network, name = self.network(str(net.bootstrap[0]), "--profile", "hyperswarm", "--seed", SEED.hex())
        self.assertEqual("the hyperswarm network", name)
        self.assertEqual(KeyPair.from_seed(SEED).public_key, network.public_key)
        connected: Deferred[None] = Deferred()
        network.events.on("connected", lambda: connected.callback(None))
        await connected
        self.assertEqual("", self.told.getvalue())

    async def test_ways(self) -> None:
        """It goes the ways to its peers that we want."""
        network, _ = self.network(await self.nowhere(), "--relay-through", "00" * 32, "--no-local")
        self.assertEqual(((bytes(32),), False), (network.relay_through, network.local))
        network, _ = self.network(await self.nowhere())
        self.assertEqual(((), True), (network.relay_through, network.local))

    async def test_nobody(self) -> None:
        """When nobody answers, it is told once."""
        network, _ = self.network(await self.nowhere())
        await network.node.ready()
        self.assertEqual("pipe: nobody answers in the spaceswarm network; trying again\n", self.told.getvalue())

    async def test_closed_early(self) -> None:
        """Who leaves before it is known whether anybody answers is told nothing."""
        network, _ = self.network(await self.nowhere())
        await network.close()
        self.assertEqual("", self.told.getvalue())

    def test_no_such_node(self) -> None:
        """What the system does not allow is told in a line."""
        options = parse("--host", "192.0.2.1")
        self.assertRaises(CommandError, make_network, reactor, options, Narrator("pipe"))
