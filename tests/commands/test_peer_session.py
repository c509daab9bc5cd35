"""What the commands that meet peers have in common; ``listen`` and ``connect`` show it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.peer_session import Guarded, listening
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import AuthenticationError, ConnectError, FirewallError, LimitError, LinkLostError
from spaceswarm_proxy.interfaces import Peer, PeerAddress
from tests.commands.dht_support import events
from tests.commands.peer_support import IDENTITY, KEY
from tests.commands.proxied_support import ProxiedCommandCase
from tests.commands.support import Terminal
from tests.network.support import Collector, HalfCloseRecorder

SEED = bytes(range(1, 33))
NOWHERE = ("--proxy", "tcp:127.0.0.1:1")


class BehindTests(ProxiedCommandCase):
    """Behind a proxy server."""

    def setUp(self) -> Any:
        return super().setUp().addCallback(lambda _: Deferred.fromCoroutine(self.proxy_server()))

    async def found(self, *arguments: str) -> tuple[Deferred[int], Terminal]:
        """:returns: ``listen`` behind the server, when it can be found."""
        status, terminal = self.behind("listen", "--json", *IDENTITY, *arguments)
        await self.news.shows(b'"listening"')
        return status, terminal

    async def test_listen(self) -> None:
        """A node of the network reaches who listens behind a server, by the key that the seed gives; both sides end."""
        status, terminal = await self.found()
        listening = self.told_beside()[-1]
        self.assertEqual({"event": "listening", "public_key": KEY.hex()}, listening)
        peer = await self.connected()
        peer.transport.write(b"from there")
        await terminal.shows(b"from there")
        terminal.type(b"from here")
        terminal.end_input()
        await peer.when(lambda: peer.read_lost)
        peer.transport.loseWriteConnection()
        self.assertEqual((0, b"from there", b"from here"), (await status, await terminal.ended, peer.received))

    async def test_new(self) -> None:
        """Without a seed we are somebody new, whom others reach by the key that was told."""
        self.behind("listen", "--json")
        await self.news.shows(b'"listening"')
        key = bytes.fromhex(self.told_beside()[-1]["public_key"])
        node = await self.visitor()
        peer = await node.connect(key, Collector(HalfCloseRecorder))
        self.assertEqual(key, peer.transport.getPeer().public_key)  # type: ignore[attr-defined]

    async def test_kept(self) -> None:
        """The key stays when the link is lost, without a seed too."""
        _, terminal = self.behind("listen", "--json", "--tcp", self.tcp_service()[0])
        await terminal.shows(b'"listening"')
        key = bytes.fromhex(_told(terminal, "listening")["public_key"])
        self.cut_links()
        await terminal.shows(b'"reachable"')
        node = await self.visitor()
        peer = await node.connect(key, Collector(HalfCloseRecorder))
        peer.transport.write(b"x")  # type: ignore[attr-defined]
        await peer.receives(b"x")  # type: ignore[attr-defined]

    async def test_connect(self) -> None:
        """Who connects from behind a server is who the seed says."""
        server = await self.server()
        status, terminal = self.behind("connect", KEY.hex(), "--seed", SEED.hex())
        terminal.type(b"question")
        terminal.end_input()
        peer = await server.connected()
        await peer.when(lambda: peer.read_lost)
        peer.transport.write(b"answer")
        peer.transport.loseConnection()
        self.assertEqual((0, b"answer", b"question"), (await status, await terminal.ended, peer.received))
        self.assertEqual(KeyPair.from_seed(SEED).public_key, server.addresses[0].public_key)

    async def test_both(self) -> None:
        """Two behind the same server."""
        listening, here = await self.found()
        connecting, there = self.behind("connect", KEY.hex())
        here.type(b"from here")
        there.type(b"from there")
        here.end_input()
        there.end_input()
        self.assertEqual([0, 0], [await listening, await connecting])
        self.assertEqual([b"from there", b"from here"], [await here.ended, await there.ended])

    async def test_not_allowed(self) -> None:
        """Others than those who are named are refused."""
        await self.found("--allow", "00" * 32)
        status, _ = self.behind("connect", KEY.hex())
        await self.assertFailure(status, CommandError, ConnectError)

    async def test_link_lost(self) -> None:
        """A stream is lost with its link: what was under way may be lost too."""
        status, terminal = await self.found()
        peer = await self.connected()
        terminal.type(b"x")
        await peer.receives(b"x")
        failing = self.assertFailure(status, CommandError)
        self.cut_links()
        self.assertIn("the connection with the peer failed", str(await failing))

    async def test_people(self) -> None:
        """People are told how it goes with the server."""
        await self.server()
        self.behind("connect", KEY.hex(), "--tcp", "0")
        await self.errors.shows("connect: listening on 127.0.0.1:")
        self.cut_links()
        await self.errors.shows("connect: the network answers again\n")
        first, _, lost, _ = self.errors.getvalue().splitlines()
        self.assertEqual("connect: connected to the proxy server", first)
        self.assertRegex(lost, "^connect: .*; trying again$")

    async def test_no_server(self) -> None:
        """When none of the servers can be reached, that is an error."""
        for proxies in (NOWHERE, (*NOWHERE, *NOWHERE)):
            status, _ = self.start("connect", KEY.hex(), *proxies)
            problem = await self.assertFailure(status, LinkLostError)
            self.assertIn("cannot reach the proxy server", str(problem))

    async def test_second_server(self) -> None:
        """When the first cannot be reached, the next is tried."""
        self.start("listen", "--json", *IDENTITY, *NOWHERE, "--proxy", self.proxy)
        await self.news.shows(b'"listening"')

    async def test_not_wanted(self) -> None:
        """A server that does not want us is an error at once, whatever other servers there are."""
        self.front.tokens = (b"secret",)
        status, _ = self.start("listen", "--proxy", self.proxy, *NOWHERE)
        await self.assertFailure(status, AuthenticationError)

    async def test_not_wanted_any_more(self) -> None:
        """So is one that has wanted us before; what was open is put away."""
        where, service = self.tcp_service()
        status, terminal = self.behind("listen", "--json", "--tcp", where, *IDENTITY)
        await terminal.shows(b'"listening"')
        await self.connected()
        at_service = await service.connected()
        self.front.tokens = (b"secret",)
        failing = self.assertFailure(status, AuthenticationError)
        self.cut_links()
        await failing
        await at_service.loses()
        *_, error = events(await terminal.ended)
        self.assertEqual(("error", "unauthorized"), (error["event"], error["code"]))

    async def test_node_only(self) -> None:
        """What only a node could do is refused."""
        status, _ = self.behind("connect", KEY.hex(), "--relay-through", KEY.hex())
        problem = await self.assertFailure(status, CommandError)
        self.assertEqual("--relay-through is for a node, and with a proxy server we are none", str(problem))


def _told(terminal: Terminal, name: str) -> Any:
    """:returns: the event of that name."""
    return next(event for event in events(terminal.text) if event["event"] == name)


class PortTests(SynchronousTestCase):
    """What is not to be had, and who is not let in."""

    def refused(self, problem: Exception) -> Any:
        """:returns: what becomes of a port that cannot be had."""
        endpoint: Any = SimpleNamespace(listen=lambda factory: fail(problem))
        return self.failureResultOf(listening(endpoint, Collector())).value

    def test_refused(self) -> None:
        """A reason of ours is told as it is, one of the system in a line."""
        reason = LimitError("listeners")
        self.assertIs(reason, self.refused(CannotListenError("DHT", "me", reason)))  # type: ignore[arg-type]
        told = self.refused(CannotListenError("127.0.0.1", 1, OSError("taken")))  # type: ignore[arg-type]
        self.assertIsInstance(told, CommandError)
        self.assertEqual("Couldn't listen on 127.0.0.1:1: taken", str(told))
        self.assertIs(reason, self.refused(reason))

    def test_guarded(self) -> None:
        """A factory that is guarded builds for those who are let in."""
        factory = Collector()
        friend, stranger = (PeerAddress(Peer.keyed(bytes([number]) * 32)) for number in (1, 2))
        guarded = Guarded(factory, lambda address: address is stranger)
        self.assertIs(guarded.buildProtocol(friend), factory.built[0])
        self.assertRaises(FirewallError, guarded.buildProtocol, stranger)
