"""``spaceswarm listen``."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Protocol

from spaceswarm_proxy.codec.key_text import encode_key
from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import ConnectError, PeerNotFoundError, StreamResetError
from tests.commands.dht_support import events
from tests.commands.peer_support import IDENTITY, KEY, PeerCommandCase, TCPEcho
from tests.commands.support import TerminalCase
from tests.network.support import Source


class OneStreamTests(PeerCommandCase):
    """One peer, with standard input and output."""

    async def test_both_ways(self) -> None:
        """What the peer sends is written, what is read is sent; it ends well when both have sent everything."""
        status, terminal = await self.listening()
        terminal.type(b"from here")
        peer = await self.connected()
        peer.transport.write(b"from there")
        await terminal.shows(b"from there")
        await peer.receives(b"from here")
        terminal.end_input()
        await peer.when(lambda: peer.read_lost)
        peer.transport.loseWriteConnection()
        self.assertEqual((0, b"from there"), (await status, await terminal.ended))
        await peer.loses()
        self.assertTrue(peer.clean)

    async def test_told(self) -> None:
        """Programs are told beside the data; with whom it was, and how much."""
        status, terminal = await self.listening()
        peer = await self.connected()
        peer.transport.write(b"12345")
        peer.transport.loseWriteConnection()
        terminal.type(b"123")
        terminal.end_input()
        await status
        await self.news.shows(b'"closed"')
        ready, listening, connection, closed = self.told_beside()
        self.assertEqual(["ready", "listening"], [ready["event"], listening["event"]])
        self.assertEqual(KEY.hex(), listening["public_key"])
        key = peer.transport.getHost().public_key.hex()
        self.assertEqual({"event": "connection", "remote_public_key": key}, connection)
        self.assertEqual({"event": "closed", "remote_public_key": key, "sent": 3, "received": 5}, closed)

    async def test_only_one(self) -> None:
        """Whoever comes when the first is there finds nobody."""
        _, terminal = await self.listening()
        first = await self.connected()
        terminal.type(b"x")
        await first.receives(b"x")
        node = await self.visitor()
        finding = node.find_peer(KEY)
        while [reply async for reply in finding]:
            finding = node.find_peer(KEY)
        await self.assertFailure(node.connect(KEY, None), PeerNotFoundError)  # type: ignore[arg-type]

    async def test_keep(self) -> None:
        """With ``--keep`` the next one is taken when one has ended, and refused before."""
        status, terminal = await self.listening("--keep")
        first = await self.connected()
        terminal.type(b"to the first")
        await first.receives(b"to the first")
        await self.assertFailure(self.connected(), ConnectError)
        first.transport.write(b"from the first, ")
        await terminal.shows(b"first, ")
        first.transport.abortConnection()
        await self.news.shows(b'"error"')
        second = await self.connected()
        terminal.type(b"to the second")
        await second.receives(b"to the second")
        second.transport.write(b"from the second")
        second.transport.loseWriteConnection()
        await terminal.shows(b"from the first, from the second")
        self.assertFalse(terminal.ended.called)
        status.cancel()
        await self.assertFailure(status, CancelledError)
        self.assertEqual("reset", next(each["code"] for each in self.told_beside() if each["event"] == "error"))
        self.assertIn("listen: the connection with the peer failed", self.errors.getvalue())

    async def test_peer_fails(self) -> None:
        """A stream that the peer resets is a failure, with our name for it."""
        status, terminal = await self.listening()
        peer = await self.connected()
        terminal.type(b"x")
        await peer.receives(b"x")
        peer.transport.abortConnection()
        problem = await self.assertFailure(status, CommandError)
        self.assertIn("the connection with the peer failed", str(problem))
        await self.news.shows(b'"error"')
        self.assertEqual("reset", self.told_beside()[-1]["code"])

    async def test_timeout(self) -> None:
        """With ``--timeout`` it gives up when nobody comes."""
        status, _ = await self.listening("--timeout", "0.05")
        problem = await self.assertFailure(status, CommandError)
        self.assertEqual("nobody has connected in 0.05 s", str(problem))

    async def test_leaves(self) -> None:
        """When it is told to leave it is found no more."""
        status, _ = await self.listening()
        status.cancel()
        await self.assertFailure(status, CancelledError)
        await self.assertFailure(self.connected(), PeerNotFoundError)

    async def test_leaves_early(self) -> None:
        """So it is before it can be found."""
        status, _ = self.visit("listen", "--json", *IDENTITY)
        await self.news.shows(b'"ready"')
        status.cancel()
        await self.assertFailure(status, CancelledError)
        self.assertEqual(["ready"], [event["event"] for event in self.told_beside()])

    async def test_people(self) -> None:
        """People are told on standard error, with the key in a line of its own."""
        status, _ = self.visit("listen", *IDENTITY)
        await self.news.shows(KEY.hex().encode() + b"\n")
        peer = await self.connected()
        peer.transport.abortConnection()
        await self.assertFailure(status, CommandError)
        key = peer.transport.getHost().public_key.hex()
        self.assertIn(f"listen: connected with {key}\n", self.errors.getvalue())

    async def test_allowed(self) -> None:
        """With ``--allow`` those who are named get in."""
        friend = KeyPair.generate()
        _, terminal = await self.listening("--allow", f"{KEY.hex()},{encode_key(friend.public_key)}")
        peer = await self.connected(key_pair=friend)
        peer.transport.write(b"it is me")
        await terminal.shows(b"it is me")


class TCPTests(PeerCommandCase):
    """Many streams, each with a connection to a TCP service."""

    async def test_many(self) -> None:
        """Each stream is a connection of its own; half-closes and data go both ways."""
        where, service = self.tcp_service()
        _, terminal = await self.listening("--tcp", where)
        peers = [await self.connected() for _ in range(5)]
        for number, peer in enumerate(peers):
            peer.transport.write(b"from %d" % number)
            peer.transport.loseWriteConnection()
        for number, peer in enumerate(peers):
            await peer.loses()
            self.assertEqual((b"from %d" % number, True), (peer.received, peer.clean))
        self.assertEqual(5, len(service.built))
        for number in range(1, 6):
            await terminal.shows(b'"stream": %d, "sent"' % number)
        told = events(terminal.text)
        self.assertEqual([1, 2, 3, 4, 5], [each["stream"] for each in told if each["event"] == "connection"])
        closed = next(each for each in told if each["event"] == "closed" and each["stream"] == 1)
        key = peers[0].transport.getHost().public_key.hex()
        wanted = {"event": "closed", "remote_public_key": key, "stream": 1, "sent": 6, "received": 6}
        self.assertEqual(wanted, closed)

    async def test_bulk(self) -> None:
        """A large answer comes whole."""
        where, _ = self.tcp_service()
        await self.listening("--tcp", where)
        peer = await self.connected()
        data = random.Random(1).randbytes(3_000_000)
        source = Source(peer.transport, data)
        await source.when(lambda: source.finished)
        peer.transport.loseWriteConnection()
        await peer.loses()
        self.assertTrue(data == peer.received)

    async def test_no_service(self) -> None:
        """When there is no such service the peer is told by a reset, we by an error, and it goes on."""
        where, service = self.tcp_service()
        _, terminal = await self.listening("--tcp", "127.0.0.1:1")
        peer = await self.connected()
        await peer.loses()
        assert peer.lost is not None
        self.assertTrue(peer.lost.check(StreamResetError))
        await terminal.shows(b'"error"')
        _, _, connection, closed, error = events(terminal.text)
        self.assertEqual(["connection", "closed"], [connection["event"], closed["event"]])
        self.assertEqual(("unreachable", 1), (error["code"], error["stream"]))
        self.assertIn("127.0.0.1:1: ", error["message"])

    async def test_service_fails(self) -> None:
        """A reset of the service's is one for the peer."""

        class Failing(Protocol):
            def dataReceived(self, data: bytes) -> None:
                self.transport.abortConnection()  # type: ignore[union-attr]

        where, _ = self.tcp_service(Failing)  # type: ignore[arg-type]
        await self.listening("--tcp", where)
        peer = await self.connected()
        peer.transport.write(b"x")
        await peer.loses()
        self.assertFalse(peer.clean)

    async def test_max_streams(self) -> None:
        """One more than ``--max-streams`` is refused, until one has ended."""
        where, service = self.tcp_service()
        _, terminal = await self.listening("--tcp", where, "--max-streams", "1")
        first = await self.connected()
        await service.connected()
        await self.assertFailure(self.connected(), ConnectError)
        await terminal.shows(b'{"event": "refused", "max_streams": 1}')
        first.transport.loseWriteConnection()
        await first.loses()
        await terminal.shows(b'"closed"')
        second = await self.connected()
        second.transport.write(b"x")
        await second.receives(b"x")

    async def test_leaves(self) -> None:
        """When it is told to leave, all streams end, and it tells how many there were."""
        where, service = self.tcp_service()
        status, terminal = await self.listening("--tcp", where)
        peer = await self.connected()
        at_service = await service.connected()
        status.cancel()
        await self.assertFailure(status, CancelledError)
        await peer.loses()
        await at_service.loses()
        *_, closed, finished = events(await terminal.ended)
        self.assertEqual(("closed", {"event": "finished", "streams": 1}), (closed["event"], finished))

    async def test_timeout(self) -> None:
        """With ``--timeout`` it gives up when nobody comes."""
        status, _ = await self.listening("--tcp", "127.0.0.1:1", "--timeout", "0.05")
        await self.assertFailure(status, CommandError)

    async def test_people(self) -> None:
        """The key is all that people get on standard output."""
        _, terminal = self.visit("listen", *IDENTITY, "--tcp", "127.0.0.1:1")
        await terminal.shows(KEY.hex().encode() + b"\n")
        peer = await self.connected()
        await peer.loses()
        self.assertEqual(KEY.hex().encode() + b"\n", terminal.text)
        await self.errors.shows("listen: 1: 127.0.0.1:1: ")
        self.assertRegex(self.errors.getvalue(), r"listen: 1: connected with [0-9a-f]{64}\n")


class ProcessTests(PeerCommandCase):
    """As the shell runs it."""

    async def test_file(self) -> None:
        """A file from one process to another comes whole, and both end well."""
        content = random.Random(1).randbytes(3_000_000)
        given, taken = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.addCleanup(given.close)
        self.addCleanup(taken.close)
        given.write(content)
        given.seek(0)
        network = ("--host", "127.0.0.1", "--bootstrap", self.bootstrap)
        nothing = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, nothing)
        listening = self.spawn("listen", *IDENTITY, *network, files={0: nothing, 1: taken.fileno()})
        await listening.says(KEY.hex().encode())
        connecting = self.spawn("connect", KEY.hex(), *network, files={0: given.fileno()})
        self.assertEqual([0, 0], [await connecting.status, await listening.status], connecting.errors)
        written = os.pread(taken.fileno(), len(content) + 1, 0)
        self.assertEqual(hashlib.sha256(content).digest(), hashlib.sha256(written).digest())

    async def test_leaves(self) -> None:
        """SIGTERM is how it ends, and no failure; it is found no more."""
        where, _ = self.tcp_service()
        network = ("--host", "127.0.0.1", "--bootstrap", self.bootstrap)
        child: Any = self.spawn("listen", "--tcp", where, "--json", *IDENTITY, *network)
        await child.prints(b'"listening"')
        peer = await self.connected(TCPEcho)
        child.transport.signalProcess("TERM")
        self.assertEqual((0, b""), (await child.status, child.errors))
        await peer.loses()
        self.assertEqual({"event": "finished", "streams": 1}, events(child.output)[-1])
        await self.assertFailure(self.connected(), PeerNotFoundError)

    async def test_interrupted(self) -> None:
        """Ctrl-C ends it with the status that shells know."""
        child: Any = self.spawn("listen", *IDENTITY, "--host", "127.0.0.1", "--bootstrap", self.bootstrap)
        await child.says(KEY.hex().encode())
        child.transport.signalProcess("INT")
        self.assertEqual(130, await child.status)
        self.assertNotIn(b"Traceback", child.errors)


class UsageTests(TerminalCase):
    """Arguments that make no sense."""

    def test_refused(self) -> None:
        """They are told before anything is done."""
        for wrong in (("--tcp", "nowhere"), ("--tcp", "127.0.0.1:0"), ("--keep", "--tcp", "1"), ("--allow", "me")):
            ended = self.assertRaises(SystemExit, make_parser().parse_args, ["listen", *wrong])
            self.assertEqual(2, ended.code)
