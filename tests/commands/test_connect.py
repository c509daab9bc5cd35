"""``spaceswarm connect``."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint

from spaceswarm_proxy.codec.key_text import encode_key
from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import ConnectTimeoutError, PeerNotFoundError
from tests.commands.dht_support import events
from tests.commands.peer_support import KEY, PeerCommandCase, TCPEcho
from tests.commands.support import Terminal, TerminalCase, reactor
from tests.network.support import Collector, Echo, HalfCloseRecorder, Recorder, Source, StoppedRecorder


class OneStreamTests(PeerCommandCase):
    """One stream, with standard input and output."""

    async def test_both_ways(self) -> None:
        """What is read is sent, what the server sends is written; it ends well when both have sent everything."""
        server = await self.server()
        for key in (KEY.hex(), encode_key(KEY), f"pear://{encode_key(KEY)}"):
            status, terminal = self.visit("connect", key)
            terminal.type(b"question")
            terminal.end_input()
            peer = await server.connected()
            await peer.when(lambda peer=peer: peer.read_lost)
            self.assertEqual(b"question", peer.received)
            peer.transport.write(b"answer")
            peer.transport.loseWriteConnection()
            self.assertEqual((0, b"answer"), (await status, await terminal.ended))
            server.built.clear()

    async def test_told(self) -> None:
        """Programs are told beside the data; with whom it was, and how much."""
        await self.server(TCPEcho)
        status, terminal = self.visit("connect", KEY.hex(), "--json")
        terminal.type(b"12345")
        terminal.end_input()
        await status
        await self.news.shows(b'"closed"')
        ready, connection, closed = self.told_beside()
        self.assertEqual("ready", ready["event"])
        self.assertEqual({"event": "connection", "remote_public_key": KEY.hex()}, connection)
        wanted = {"event": "closed", "remote_public_key": KEY.hex(), "sent": 5, "received": 5}
        self.assertEqual(wanted, closed)

    async def test_identity(self) -> None:
        """The server sees who we are."""
        seed = bytes(range(1, 33))
        server = await self.server(Echo)
        _, terminal = self.visit("connect", KEY.hex(), "--seed", seed.hex())
        terminal.type(b"x")
        await terminal.shows(b"x")
        self.assertEqual(KeyPair.from_seed(seed).public_key, server.addresses[0].public_key)

    async def test_unknown(self) -> None:
        """A key that nobody listens under is an error, with its name here and in JavaScript."""
        status, _ = self.visit("connect", KEY.hex(), "--json")
        await self.assertFailure(status, PeerNotFoundError)
        await self.news.shows(b'"error"')
        error = self.told_beside()[-1]
        self.assertEqual(("peer-not-found", "PEER_NOT_FOUND"), (error["code"], error["reference_code"]))

    async def test_timeout(self) -> None:
        """With ``--timeout`` it gives up when there is no stream by then; nothing of its input was read."""
        await self.server(firewall=lambda address: Deferred())
        status, _ = self.visit("connect", KEY.hex(), "--timeout", "0.2")
        problem = await self.assertFailure(status, ConnectTimeoutError)
        self.assertEqual("no stream was open in 0.2 s", str(problem))

    async def test_interrupted_early(self) -> None:
        """Ctrl-C ends it while it connects."""
        asked: Deferred[None] = Deferred()

        def firewall(address: Any) -> Deferred[bool]:
            if not asked.called:
                asked.callback(None)
            return Deferred()

        await self.server(firewall=firewall)
        status, _ = self.visit("connect", KEY.hex())
        await asked
        status.cancel()
        await self.assertFailure(status, CancelledError)

    async def test_interrupted(self) -> None:
        """Ctrl-C ends the stream."""
        server = await self.server(Echo)
        status, terminal = self.visit("connect", KEY.hex())
        terminal.type(b"x")
        await terminal.shows(b"x")
        status.cancel()
        await self.assertFailure(status, CancelledError)
        await server.built[0].loses()

    async def test_people(self) -> None:
        """People are told on standard error."""
        await self.server(TCPEcho)
        status, terminal = self.visit("connect", KEY.hex())
        terminal.end_input()
        self.assertEqual(0, await status)
        wanted = f"connect: connected with {KEY.hex()}\nconnect: closed; bytes sent: 0, received: 0\n"
        self.assertIn(wanted, self.errors.getvalue())


class TCPTests(PeerCommandCase):
    """A stream for each connection to a TCP port."""

    async def forwarding(self, *arguments: str) -> tuple[Deferred[int], Terminal, int]:
        """:returns: ``connect``, and where it listens."""
        status, terminal = self.visit("connect", KEY.hex(), "--tcp", "0", "--json", *arguments)
        await terminal.shows(b'"listening"')
        return status, terminal, events(terminal.text)[-1]["port"]

    def caller(self, port: int, build: Any = HalfCloseRecorder) -> Deferred[Any]:
        """:returns: a Deferred of the protocol of a connection to that port."""
        return TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(Collector(build))

    async def test_many(self) -> None:
        """Each connection is a stream of its own; half-closes and data go both ways."""
        server = await self.server(TCPEcho)
        _, terminal, port = await self.forwarding()
        callers = await gatherResults([self.caller(port) for _ in range(20)])
        for number, caller in enumerate(callers):
            caller.transport.write(b"from %d" % number)
            caller.transport.loseWriteConnection()
        for caller in callers:
            await caller.when(lambda caller=caller: caller.read_lost)
            caller.transport.loseConnection()
        self.assertEqual([b"from %d" % number for number in range(20)], [bytes(caller.received) for caller in callers])
        self.assertEqual(20, len(server.built))

        def closed() -> list[int]:
            return [each["stream"] for each in events(terminal.text) if each["event"] == "closed"]

        for number in range(1, 21):
            await terminal.shows(b'"closed", "remote_public_key": "%s", "stream": %d' % (KEY.hex().encode(), number))
        self.assertEqual(list(range(1, 21)), sorted(closed()))

    async def test_listening(self) -> None:
        """Programs are told where it listens, and who we are."""
        _, terminal, port = await self.forwarding("--seed", "00" * 32)
        listening = events(terminal.text)[-1]
        key = KeyPair.from_seed(bytes(32)).public_key.hex()
        self.assertEqual({"event": "listening", "host": "127.0.0.1", "port": port, "public_key": key}, listening)

    async def test_slow_reader(self) -> None:
        """A server that does not read slows the caller down, and gets everything in the end."""
        server = await self.server(StoppedRecorder)
        _, _, port = await self.forwarding()
        caller = await self.caller(port)
        source = Source(caller.transport, bytes(50_000_000))
        peer = await server.connected()
        await source.when(lambda: source.paused)
        self.assertEqual(0, len(peer.received))
        self.assertFalse(source.finished)
        peer.transport.resumeProducing()
        await peer.when(lambda: len(peer.received) == 50_000_000)

    async def test_unknown(self) -> None:
        """A connection for which there is no stream is reset; why is told, and others are taken."""
        _, terminal, port = await self.forwarding()
        for number in (1, 2):
            caller = await self.caller(port)
            await caller.loses()
            self.assertFalse(caller.clean)
            await terminal.shows(b'"stream": %d' % number)
        _, _, error, _ = events(terminal.text)
        self.assertEqual(("peer-not-found", "PEER_NOT_FOUND"), (error["code"], error["reference_code"]))
        self.assertRegex(self.errors.getvalue(), "^connect: 1: PEER_NOT_FOUND: .*\n")

    async def test_server_fails(self) -> None:
        """A stream that the server resets is a connection that is reset."""
        server = await self.server()
        _, _, port = await self.forwarding()
        caller = await self.caller(port)
        caller.transport.write(b"x")
        peer = await server.connected()
        await peer.receives(b"x")
        peer.transport.abortConnection()
        await caller.loses()
        self.assertFalse(caller.clean)

    async def test_caller_fails(self) -> None:
        """A connection that is reset is a stream that is reset."""
        server = await self.server()
        _, _, port = await self.forwarding()
        caller = await self.caller(port)
        caller.transport.write(b"x")
        peer = await server.connected()
        await peer.receives(b"x")
        caller.transport.abortConnection()
        await peer.loses()
        self.assertFalse(peer.clean)

    async def test_max_streams(self) -> None:
        """One more than ``--max-streams`` is closed at once."""
        await self.server(Echo)
        _, terminal, port = await self.forwarding("--max-streams", "1")
        first = await self.caller(port)
        first.transport.write(b"x")
        await first.receives(b"x")
        second = await self.caller(port, Recorder)
        await second.loses()
        await terminal.shows(b'"refused"')

    async def test_leaves(self) -> None:
        """When it is told to leave, all ends: streams, connections that wait for one, and the port."""
        server = await self.server(Echo)
        status, terminal, port = await self.forwarding()
        caller = await self.caller(port)
        caller.transport.write(b"x")
        await caller.receives(b"x")
        waiting = await self.caller(port)
        status.cancel()
        await self.assertFailure(status, CancelledError)
        await gatherResults([each.loses() for each in (caller, waiting, server.built[0])])
        self.assertEqual({"event": "finished", "streams": 2}, events(await terminal.ended)[-1])

    async def test_port_taken(self) -> None:
        """A port that is not to be had is told in a line."""
        taken, _ = self.tcp_service()
        status, _ = self.visit("connect", KEY.hex(), "--tcp", taken)
        self.assertIn("in use", str(await self.assertFailure(status, CommandError)))

    async def test_nobody_reads(self) -> None:
        """When nobody reads its output any more it leaves, and that is no failure."""
        await self.server(Echo)
        child: Any = self.spawn(
            "connect", KEY.hex(), "--tcp", "0", "--json", "--host", "127.0.0.1", "--bootstrap", self.bootstrap
        )
        await child.prints(b'"listening"')
        port = events(child.output)[-1]["port"]
        child.transport.closeStdout()
        caller = await self.caller(port)
        await caller.loses()
        self.assertEqual((0, b""), (await child.status, child.errors))

    async def test_process(self) -> None:
        """As the shell runs it: SIGTERM is how it ends, and no failure."""
        await self.server(TCPEcho)
        child: Any = self.spawn(
            "connect", KEY.hex(), "--tcp", "0", "--json", "--host", "127.0.0.1", "--bootstrap", self.bootstrap
        )
        await child.prints(b'"listening"')
        caller = await self.caller(events(child.output)[-1]["port"])
        caller.transport.write(b"hello")
        await caller.receives(b"hello")
        child.transport.signalProcess("TERM")
        self.assertEqual((0, b""), (await child.status, child.errors))
        self.assertEqual("finished", events(child.output)[-1]["event"])


class UsageTests(TerminalCase):
    """Arguments that make no sense."""

    def test_refused(self) -> None:
        """They are told before anything is done."""
        for wrong in ((), ("me",), (KEY.hex(), "--tcp", "x"), (KEY.hex(), "--tcp", "70000")):
            ended = self.assertRaises(SystemExit, make_parser().parse_args, ["connect", *wrong])
            self.assertEqual(2, ended.code)
