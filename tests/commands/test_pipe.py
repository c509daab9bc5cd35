"""``spaceswarm pipe``."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.errors import AuthenticationError
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.swarm import Swarm
from spaceswarm_proxy.topics import topic
from tests.commands.dht_support import DHTCommandCase
from tests.commands.support import CommandCase, reactor

ROOM = "a room"


class PipeTests(CommandCase):
    """Two users of one topic."""

    async def test_both_ways(self) -> None:
        """What each side is given, the other writes; both end well when both have sent everything."""
        first, alice = self.start("pipe", ROOM)
        second, bob = self.start("pipe", ROOM)
        alice.type(b"from alice")
        bob.type(b"from bob")
        alice.end_input()
        bob.end_input()
        self.assertEqual([0, 0], [await first, await second])
        self.assertEqual([b"from bob", b"from alice"], [await alice.ended, await bob.ended])

    async def test_half_close(self) -> None:
        """The end of one side's input ends the other's output, which may still answer."""
        first, alice = self.start("pipe", ROOM)
        second, bob = self.start("pipe", ROOM)
        alice.type(b"question")
        alice.end_input()
        self.assertEqual(b"question", await bob.ended)
        bob.type(b"answer")
        bob.end_input()
        self.assertEqual(b"answer", await alice.ended)
        self.assertEqual([0, 0], [await first, await second])

    async def test_one_connection(self) -> None:
        """However often two sides find each other at the same moment, nothing that either sends is lost."""
        for attempt in range(5):
            name = f"room {attempt}"
            pipes = [self.start("pipe", name), self.start("pipe", name)]
            for number, (_, terminal) in enumerate(pipes):
                terminal.type(b"from %d" % number)
                terminal.end_input()
            self.assertEqual([b"from 1", b"from 0"], [await terminal.ended for _, terminal in pipes])
            self.assertEqual([0, 0], [await status for status, _ in pipes])

    async def test_third(self) -> None:
        """Who comes when two are connected finds nobody, and loses nothing: the next one gets it."""
        _, alice = self.start("pipe", ROOM)
        _, bob = self.start("pipe", ROOM)
        alice.type(b"ping")
        await bob.shows(b"ping")
        _, carol = self.start("pipe", ROOM)
        carol.type(b"from carol")
        _, dave = self.start("pipe", ROOM)
        await dave.shows(b"from carol")
        bob.type(b"pong")
        await alice.shows(b"pong")
        self.assertEqual([b"pong", b"ping"], [alice.text, bob.text])

    async def test_turned_away(self) -> None:
        """A peer that drops us at once was none: the pipe waits for the next."""
        refused: Deferred[None] = Deferred()

        class Refusing(Factory):
            def buildProtocol(self, address: Any) -> None:
                if not refused.called:
                    refused.callback(None)

        network = ProxyNetwork(clientFromString(reactor, self.proxy), reactor=reactor)
        stranger = Swarm(network, Refusing(), reactor=reactor)
        self.addCleanup(stranger.close)
        await stranger.join(topic(ROOM), client=False).flushed()
        _, alice = self.start("pipe", ROOM)
        alice.type(b"for bob")
        await refused
        _, bob = self.start("pipe", ROOM)
        await bob.shows(b"for bob")

    async def test_slow_reader(self) -> None:
        """Who does not read slows the other's input down, and gets everything in the end."""
        first, alice = self.start("pipe", ROOM)
        second, bob = self.start("pipe", ROOM)
        bob.type(b"ready")
        await alice.shows(b"ready")
        bob.transport.pauseProducing()
        data = random.Random(1).randbytes(4_000_000)
        alice.type(data)
        alice.end_input()
        waited: Deferred[None] = Deferred()
        reactor.callLater(0.3, waited.callback, None)
        await waited
        self.assertFalse(alice.ended.called)
        bob.transport.resumeProducing()
        bob.end_input()
        self.assertTrue(data == await bob.ended)
        self.assertEqual([0, 0], [await first, await second])

    async def test_timeout(self) -> None:
        """With ``--timeout`` it gives up when there is nobody."""
        status, _ = self.start("pipe", ROOM, "--timeout", "0.2")
        problem = await self.assertFailure(status, CommandError)
        self.assertEqual("no peer was found and connected in 0.2 s", str(problem))

    async def test_no_server(self) -> None:
        """Without a server it says so once and keeps trying, until one is there."""
        number = self.port.getHost().port
        await self.port.stopListening()
        status, _ = self.start("pipe", ROOM, "--timeout", "0.7")
        await self.assertFailure(status, CommandError)
        self.assertEqual(1, self.errors.getvalue().count("trying again"))
        self.assertIn("cannot reach the proxy server", self.errors.getvalue())
        self.port = reactor.listenTCP(number, self.server, interface="127.0.0.1")

    async def test_link_lost(self) -> None:
        """When the link to the server is lost, it fails: what was under way may be lost too."""
        status, alice = self.start("pipe", ROOM)
        _, bob = self.start("pipe", ROOM)
        alice.type(b"x")
        await bob.shows(b"x")
        failing = self.assertFailure(status, CommandError)
        for link in tuple(self.server.links):
            link.transport.abortConnection()
        self.assertIn("connection with the peer failed", str(await failing))

    async def test_refused_token(self) -> None:
        """A server that does not want us is not asked again and again."""
        self.server.tokens = (b"secret",)
        status, _ = self.start("pipe", ROOM)
        await self.assertFailure(status, AuthenticationError)

    async def test_peer_fails(self) -> None:
        """A connection that the peer aborts is a failure, after what came before has been written."""
        connected: Deferred[Protocol] = Deferred()

        class Aborting(Protocol):
            def dataReceived(self, data: bytes) -> None:
                connected.callback(self)

        network = ProxyNetwork(clientFromString(reactor, self.proxy), reactor=reactor)
        peer = Swarm(network, Factory.forProtocol(Aborting), reactor=reactor)
        self.addCleanup(peer.close)
        peer.join(topic(ROOM))
        status, alice = self.start("pipe", ROOM)
        failing = self.assertFailure(status, CommandError, ConnectionLost)
        alice.type(b"x")
        protocol: Any = await connected
        protocol.transport.write(b"last words")
        await alice.shows(b"last words")
        protocol.transport.abortConnection()
        self.assertIn("the connection with the peer failed", str(await failing))
        self.assertEqual(b"last words", await alice.ended)


class DirectTests(DHTCommandCase):
    """The same without a proxy server."""

    async def test_both_ways(self) -> None:
        """Two who begin at the same moment, as nodes of the network, exchange everything, and end well."""
        (first, alice), (second, bob) = self.visit("pipe", ROOM), self.visit("pipe", ROOM)
        data = random.Random(1).randbytes(300_000)
        alice.type(data)
        bob.type(b"from bob")
        alice.end_input()
        bob.end_input()
        self.assertEqual([0, 0], [await first, await second])
        self.assertTrue(data == await bob.ended)
        self.assertEqual(b"from bob", await alice.ended)

    async def test_timeout(self) -> None:
        """With ``--timeout`` it gives up when there is nobody."""
        status, _ = self.visit("pipe", ROOM, "--timeout", "0.2")
        problem = await self.assertFailure(status, CommandError)
        self.assertEqual("no peer was found and connected in 0.2 s", str(problem))


class ProcessTests(CommandCase):
    """As the shell runs it."""

    def file(self, content: bytes = b"") -> Any:
        """A temporary file, at its beginning."""
        file = tempfile.TemporaryFile()
        self.addCleanup(file.close)
        file.write(content)
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return file

    async def test_files(self) -> None:
        """Regular files as input and output come through whole in both directions."""
        contents = [random.Random(number).randbytes(3_000_000 + number) for number in (1, 2)]
        inputs = [self.file(content) for content in contents]
        outputs = [self.file(), self.file()]
        children = [
            self.spawn("pipe", ROOM, "--proxy", self.proxy, files={0: given.fileno(), 1: taken.fileno()})
            for given, taken in zip(inputs, outputs, strict=True)
        ]
        self.assertEqual([0, 0], [await child.status for child in children])
        written = [hashlib.sha256(os.pread(file.fileno(), 10_000_000, 0)).hexdigest() for file in outputs]
        self.assertEqual([hashlib.sha256(content).hexdigest() for content in reversed(contents)], written)

    async def test_closed_output(self) -> None:
        """When nobody reads its output any more, it fails with one line."""
        reading, writing = os.pipe()
        child = self.spawn("pipe", ROOM, "--quiet", "--proxy", self.proxy, files={1: writing})
        os.close(writing)
        _, bob = self.start("pipe", ROOM)
        bob.type(b"x")
        await self.server_has_stream()
        os.close(reading)
        bob.type(b"y" * 200_000)
        self.assertEqual(1, await child.status)
        self.assertEqual(b"spaceswarm pipe: standard output was closed before everything was written\n", child.errors)

    async def server_has_stream(self) -> None:
        """Wait until a stream is open at the proxy server."""
        while not self.server.open_streams:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.01, turn.callback, None)
            await turn

    async def test_interrupt(self) -> None:
        """Ctrl-C ends it, with the status that shells know."""
        child: Any = self.spawn("pipe", ROOM, "--proxy", self.proxy)
        await child.says(b"connected to the proxy server")
        child.transport.signalProcess("INT")
        self.assertEqual(130, await child.status)
        self.assertNotIn(b"Traceback", child.errors)
