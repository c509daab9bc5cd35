"""``spaceswarm chat``."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory, Protocol

from spaceswarm_proxy.commands.chat import MAX_LINE, printable
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.swarm import Swarm
from spaceswarm_proxy.topics import topic
from tests.commands.dht_support import DHTCommandCase
from tests.commands.support import CommandCase, Terminal, reactor

ROOM = "a room"


class ChatTests(CommandCase):
    """Who types, and who reads."""

    async def meet(self, *names: str) -> list[tuple[Deferred[int], Terminal]]:
        """:returns: people who can hear each other."""
        people = [self.start("chat", ROOM, "--name", name) for name in names]
        for one in names:
            for other in names:
                while other != one and not self.errors.getvalue().count(f"{other} ("):
                    await self.a_moment()
            while self.server.open_streams < len(names) * (len(names) - 1) // 2:
                await self.a_moment()
        return people

    async def a_moment(self) -> None:
        turn: Deferred[None] = Deferred()
        reactor.callLater(0.01, turn.callback, None)
        await turn

    async def told(self, text: str) -> None:
        """Wait until somebody is told something on standard error."""
        while text not in self.errors.getvalue():
            await self.a_moment()

    async def stranger(self, protocol: type[Protocol]) -> None:
        """Somebody under the topic who does not use this program."""
        network = ProxyNetwork(clientFromString(reactor, self.proxy), reactor=reactor)
        swarm = Swarm(network, Factory.forProtocol(protocol), reactor=reactor)
        self.addCleanup(swarm.close, force=True)
        await swarm.join(topic(ROOM), client=False).flushed()

    async def test_everybody(self) -> None:
        """A line goes to everybody under the topic, with the name of who typed it."""
        (_, alice), (_, bob), (_, carol) = await self.meet("alice", "bob", "carol")
        alice.type(b"hello\n")
        await bob.shows(b"alice: hello\n")
        await carol.shows(b"alice: hello\n")
        bob.type("schön\n".encode())
        await alice.shows("bob: schön\n".encode())

    async def test_ends(self) -> None:
        """Ctrl-D ends it, after the last line has gone out, and the others are told."""
        (status, alice), (_, bob) = await self.meet("alice", "bob")
        alice.type(b"bye\n")
        alice.end_input()
        self.assertEqual(0, await status)
        await bob.shows(b"alice: bye\n")
        await self.told("has left")
        self.assertRegex(self.errors.getvalue(), r"chat: alice \(peer [0-9a-f]{8}\.\.\.\) has left\n")

    async def test_cancelled(self) -> None:
        """Ctrl-C ends it likewise."""
        (status, _), _ = await self.meet("alice", "bob")
        status.cancel()
        self.assertEqual(0, await status)

    async def test_alone(self) -> None:
        """Who talks to nobody is told so."""
        _, alice = self.start("chat", ROOM)
        await self.told("connected to the proxy server")
        alice.type(b"anybody?\n")
        await self.told("nobody is here")

    async def test_harmless(self) -> None:
        """What a stranger sends cannot control the terminal."""

        class Stranger(Protocol):
            transport: Any

            def connectionMade(self) -> None:
                self.transport.write(b"\x1b[2Jmallory\n\x1b]0;title\x07 \xff\n")

        await self.stranger(Stranger)
        _, alice = self.start("chat", ROOM)
        await alice.shows(b"\n")
        self.assertEqual("[2Jmallory: ]0;title  \N{REPLACEMENT CHARACTER}\n", alice.text.decode())

    async def test_long_line(self) -> None:
        """Who sends a line without end is disconnected."""
        lost: Deferred[None] = Deferred()

        class Stranger(Protocol):
            transport: Any

            def connectionMade(self) -> None:
                self.transport.write(b"x" * (MAX_LINE + 1))

            def connectionLost(self, reason: Any = None) -> None:
                if not lost.called:
                    lost.callback(None)

        await self.stranger(Stranger)
        self.start("chat", ROOM)
        await lost

    async def test_no_server(self) -> None:
        """With ``--timeout`` it gives up when there is no server."""
        await self.port.stopListening()
        status, _ = self.start("chat", ROOM, "--timeout", "0.2")
        problem = await self.assertFailure(status, CommandError)
        self.assertEqual("the proxy server could not be reached in 0.2 s", str(problem))

    async def test_process(self) -> None:
        """As the shell runs it: standard output carries nothing but what the others say."""
        child: Any = self.spawn("chat", ROOM, "--name", "alice", "--proxy", self.proxy)
        _, bob = self.start("chat", ROOM, "--name", "bob")
        await child.says(b"bob (")
        bob.type(b"hello\n")
        child.transport.write(b"hi\n")
        await bob.shows(b"alice: hi\n")
        child.transport.signalProcess("INT")
        self.assertEqual(0, await child.status)
        self.assertEqual(b"bob: hello\n", child.output)

    def test_printable(self) -> None:
        """Control characters become blanks."""
        self.assertEqual("a b c", printable("\ta\x1bb\x9bc\n"))


class DirectTests(DHTCommandCase):
    """The same without a proxy server."""

    async def test_everybody(self) -> None:
        """Two who begin at the same moment, as nodes of the network, hear each other."""
        (_, alice), (_, bob) = (self.visit("chat", ROOM, "--name", name) for name in ("alice", "bob"))
        for talker, listener in ((alice, bob), (bob, alice)):
            await self.told_of_both()
            talker.type(b"hello\n")
            await listener.shows(b": hello\n")
        self.assertIn("chat: connected to the spaceswarm network\n", self.errors.getvalue())

    async def told_of_both(self) -> None:
        """Wait until each knows that the other is here."""
        while self.errors.getvalue().count(" is here\n") < 2:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.01, turn.callback, None)
            await turn

    async def test_nobody(self) -> None:
        """With ``--timeout`` it gives up when nobody answers."""
        await self.net.close()
        status, _ = self.visit("chat", ROOM, "--timeout", "0.2")
        problem = await self.assertFailure(status, CommandError)
        self.assertEqual("the spaceswarm network could not be reached in 0.2 s", str(problem))
