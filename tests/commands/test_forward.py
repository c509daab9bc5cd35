"""``spaceswarm forward``, as a node and behind a proxy server."""

from __future__ import annotations

import hashlib
import os
import random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString

from spaceswarm_proxy.codec.key_text import encode_key
from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.topics import topic
from tests.commands.dht_support import events
from tests.commands.peer_support import IDENTITY, KEY, PAIR, TCPEcho
from tests.commands.proxied_support import ProxiedCommandCase
from tests.commands.support import Terminal, TerminalCase, reactor
from tests.network.support import Collector, HalfCloseRecorder, Source, StoppedRecorder

ROOM = "a room"
BULK = random.Random(1).randbytes(3_000_000)


class ForwardCase(ProxiedCommandCase):
    """Both sides of it, and what they connect."""

    def on_serving_side(self, *arguments: str) -> tuple[Deferred[int], Terminal]:
        """Run it where the service is."""
        return self.visit("forward", *arguments)

    on_other_side = on_serving_side

    async def serving(self, *arguments: str) -> tuple[Deferred[int], Terminal]:
        """:returns: the serving side, when it can be found."""
        status, terminal = self.on_serving_side("--json", *IDENTITY, *arguments)
        await terminal.shows(b'"listening"')
        return status, terminal

    async def listening(self, *arguments: str) -> tuple[Deferred[int], Any]:
        """:returns: the other side, and what it tells; it listens on the :attr:`port`."""
        status, terminal = self.on_other_side("--json", "--listen", "0", *arguments)
        await terminal.shows(b'"listening"')
        self.port: int = events(terminal.text)[-1]["port"]
        return status, terminal

    def caller(self, build: Any = HalfCloseRecorder) -> Deferred[Any]:
        """:returns: a Deferred of the protocol of a connection to that port."""
        return clientFromString(reactor, f"tcp:127.0.0.1:{self.port}").connect(Collector(build))

    async def asked(self, text: bytes) -> bytes:
        """:returns: what comes back for that, up to the end."""
        caller = await self.caller()
        caller.transport.write(text)
        caller.transport.loseWriteConnection()
        await caller.when(lambda: caller.read_lost or caller.lost)
        caller.transport.loseConnection()
        return bytes(caller.received)


class ForwardTests(ForwardCase):
    """Nodes of the network on both sides."""

    async def test_topic(self) -> None:
        """Connections to the port are connections to the service, many at once, each with its half-closes."""
        where, service = self.tcp_service()
        _, server = await self.serving(ROOM, "--serve", where)
        _, client = await self.listening(ROOM)
        texts = [b"from %d" % number for number in range(20)]
        self.assertEqual(texts, await gatherResults([Deferred.fromCoroutine(self.asked(text)) for text in texts]))
        self.assertEqual(20, len(service.built))
        told = next(event for event in events(server.text) if event["event"] == "listening")
        self.assertEqual((KEY.hex(), topic(ROOM).hex()), (told["public_key"], told["topic"]))
        for number in range(1, 21):
            await client.shows(b'"closed", "remote_public_key": "%s", "stream": %d' % (KEY.hex().encode(), number))

    async def test_key(self) -> None:
        """With a key there need not be a topic."""
        where, _ = self.tcp_service()
        await self.serving("--serve", where)
        for key in (KEY.hex(), encode_key(KEY)):
            await self.listening("--peer", key)
            self.assertEqual(b"hello", await self.asked(b"hello"))

    async def test_others(self) -> None:
        """Each side understands ``listen`` and ``connect``, which do the same."""
        where, _ = self.tcp_service()
        await self.serving("--serve", where)
        status, terminal = self.visit("connect", KEY.hex())
        terminal.type(b"hello")
        terminal.end_input()
        self.assertEqual((0, b"hello"), (await status, await terminal.ended))

    async def test_bulk(self) -> None:
        """Much goes both ways, whole."""
        where, _ = self.tcp_service()
        await self.serving(ROOM, "--serve", where)
        await self.listening(ROOM)
        caller = await self.caller()
        source = Source(caller.transport, BULK)
        await source.when(lambda: source.finished)
        caller.transport.loseWriteConnection()
        await caller.when(lambda: caller.read_lost)
        self.assertTrue(hashlib.sha256(BULK).digest() == caller.digest)

    async def test_slow_service(self) -> None:
        """A service that does not read slows the caller down, and gets everything in the end."""
        where, service = self.tcp_service(StoppedRecorder)  # type: ignore[arg-type]
        await self.serving(ROOM, "--serve", where)
        await self.listening(ROOM)
        source = Source((await self.caller()).transport, bytes(50_000_000))
        await source.when(lambda: source.paused)
        at_service = await service.connected()
        self.assertEqual((0, False), (len(at_service.received), source.finished))
        at_service.transport.resumeProducing()
        await at_service.when(lambda: len(at_service.received) == 50_000_000)

    async def test_aborts(self) -> None:
        """A connection that is reset on one side is reset on the other."""
        where, service = self.tcp_service(HalfCloseRecorder)  # type: ignore[arg-type]
        await self.serving(ROOM, "--serve", where)
        await self.listening(ROOM)
        for number in (0, 1):
            caller = await self.caller()
            caller.transport.write(b"x")
            at_service = await service.connected(number)
            await at_service.receives(b"x")
            ends = [caller, at_service]
            ends.pop(number).transport.abortConnection()
            await ends[0].loses()
            self.assertFalse(ends[0].clean)

    async def test_service_down(self) -> None:
        """When there is no service, the caller's connection is reset, and both sides are told why; they go on."""
        _, server = await self.serving(ROOM, "--serve", "127.0.0.1:1")
        _, client = await self.listening(ROOM)
        for number in (1, 2):
            caller = await self.caller()
            await caller.loses()
            self.assertFalse(caller.clean)
            await client.shows(b'"stream": %d}' % number)
            await server.shows(b'"message": "127.0.0.1:1: ')
        self.assertEqual("unreachable", next(each for each in events(server.text) if each["event"] == "error")["code"])
        self.assertEqual("reset", next(each for each in events(client.text) if each["event"] == "error")["code"])

    async def test_next_peer(self) -> None:
        """A peer that cannot be reached is passed over; one that is there and does not serve, the next time."""
        deaf = DHTNetwork(await self.visitor(), owns_node=True)
        await deaf.announce(topic(ROOM)).flushed()
        await self.visit("forward", ROOM, "--json", "--serve", "127.0.0.1:1")[1].shows(b'"listening"')
        await self.listening(ROOM)
        self.assertEqual(b"", await self.asked(b"hello"))
        where, _ = self.tcp_service()
        await self.serving(ROOM, "--serve", where)
        while await self.asked(b"hello") != b"hello":
            pass
        self.assertEqual(b"hello", await self.asked(b"hello"))

    async def test_nobody(self) -> None:
        """When nobody is under the topic, the connection is reset, and why is told in a line."""
        _, client = await self.listening(ROOM)
        caller = await self.caller()
        await caller.loses()
        self.assertFalse(caller.clean)
        await client.shows(b'"error"')
        wanted = {"code": "unknown-peer", "message": "nobody is found under the topic", "stream": 1}
        self.assertEqual({"event": "error", **wanted}, events(client.text)[-1])
        self.assertEqual("forward: 1: nobody is found under the topic\n", self.errors.getvalue())

    async def test_timeout(self) -> None:
        """With ``--timeout`` the serving side gives up when nobody comes, the other side each connection."""
        status, _ = await self.serving("--serve", "1", "--timeout", "0.05")
        problem = await self.assertFailure(status, CommandError)
        self.assertEqual("nobody has connected in 0.05 s", str(problem))
        node = await self.visitor()
        await node.listen(PAIR, Collector(), firewall=lambda address: Deferred())
        _, client = await self.listening("--peer", KEY.hex(), "--timeout", "0.1")
        await (await self.caller()).loses()
        await client.shows(b'"no stream was open in 0.1 s"')

    async def test_max_streams(self) -> None:
        """One more than ``--max-streams`` is closed at once, on either side."""
        where, _ = self.tcp_service()
        await self.serving(ROOM, "--serve", where)
        _, client = await self.listening(ROOM, "--max-streams", "1")
        first = await self.caller()
        first.transport.write(b"x")
        await first.receives(b"x")
        await (await self.caller()).when(lambda: client.text.count(b'"refused"'))

    async def test_endpoints(self) -> None:
        """Either side takes Twisted endpoints; where the end of one direction cannot be told, all is closed."""
        collector = Collector(TCPEcho)
        place = self.mktemp()
        port = await serverFromString(reactor, f"ws:endpoint=unix\\:{place}").listen(collector)
        self.addCleanup(port.stopListening)
        await self.serving(ROOM, "--serve", f"ws:endpoint=unix\\:{place}")
        here = self.mktemp()
        _, client = self.on_other_side("--json", "--listen", f"unix:{here}", ROOM)
        await client.shows(b'"listening"')
        self.assertEqual(here, events(client.text)[-1]["path"])
        caller = await clientFromString(reactor, f"unix:{here}").connect(Collector(HalfCloseRecorder))
        caller.transport.write(b"hello")
        await caller.receives(b"hello")
        caller.transport.loseWriteConnection()
        at_service = await collector.connected()
        await at_service.loses()
        await caller.when(lambda: caller.read_lost)
        self.assertTrue(at_service.clean)

    async def test_leaves(self) -> None:
        """Told to leave, both sides end all that there is, and tell how much that was."""
        where, service = self.tcp_service()
        serving, server = await self.serving(ROOM, "--serve", where)
        listening, client = await self.listening(ROOM)
        caller = await self.caller()
        caller.transport.write(b"x")
        await caller.receives(b"x")
        listening.cancel()
        await self.assertFailure(listening, CancelledError)
        await gatherResults([caller.loses(), service.built[0].loses()])
        serving.cancel()
        await self.assertFailure(serving, CancelledError)
        for terminal in (server, client):
            self.assertEqual({"event": "finished", "streams": 1}, events(await terminal.ended)[-1])

    async def test_wrong(self) -> None:
        """What does not go together is told before anything is done."""
        for wrong in (
            ("--serve", "1", "--peer", KEY.hex()),
            ("--listen", "0", ROOM, "--allow", KEY.hex()),
            ("--listen", "0"),
            ("--listen", "nowhere", ROOM),
            ("--serve", "nowhere"),
        ):
            status, terminal = self.visit("forward", *wrong)
            await self.assertFailure(status, CommandError)
            self.assertEqual(b"", await terminal.ended)

    async def test_port_taken(self) -> None:
        """A port that is not to be had is told in a line."""
        taken, _ = self.tcp_service()
        status, _ = self.visit("forward", ROOM, "--listen", taken)
        self.assertIn("in use", str(await self.assertFailure(status, CommandError)))


class BehindTests(ForwardCase):
    """Behind a proxy server, on one side or on both."""

    def setUp(self) -> Any:
        return super().setUp().addCallback(lambda _: Deferred.fromCoroutine(self.proxy_server()))

    async def through(self) -> None:
        """Something goes through, by topic and by key."""
        where, _ = self.tcp_service()
        await self.serving(ROOM, "--serve", where)
        for whom in ((ROOM,), ("--peer", KEY.hex())):
            await self.listening(*whom)
            self.assertEqual(b"hello", await self.asked(b"hello"))
            self.assertTrue(BULK == await self.asked(BULK))

    async def test_serving_side(self) -> None:
        """The side with the service."""
        self.on_serving_side = lambda *arguments: self.behind("forward", *arguments)  # type: ignore[method-assign]
        await self.through()

    async def test_other_side(self) -> None:
        """The other side."""
        self.on_other_side = lambda *arguments: self.behind("forward", *arguments)  # type: ignore[method-assign]
        await self.through()

    async def test_both(self) -> None:
        """Both."""
        self.on_serving_side = self.on_other_side = (  # type: ignore[method-assign]
            lambda *arguments: self.behind("forward", *arguments)
        )
        await self.through()

    async def test_nobody(self) -> None:
        """When nobody is under the topic, the reason is the same."""
        self.on_other_side = lambda *arguments: self.behind("forward", *arguments)  # type: ignore[method-assign]
        _, client = await self.listening(ROOM)
        await (await self.caller()).loses()
        await client.shows(b'"unknown-peer"')

    async def test_link_lost(self) -> None:
        """A link that comes and goes is told; who serves is found again under the same key, without a word from us."""
        where, _ = self.tcp_service()
        self.on_serving_side = lambda *arguments: self.behind("forward", *arguments)  # type: ignore[method-assign]
        _, server = await self.serving("--serve", where)
        await self.listening("--peer", KEY.hex())
        self.assertEqual(b"hello", await self.asked(b"hello"))
        self.cut_links()
        await server.shows(b'"reachable"')
        self.assertEqual(b"hello", await self.asked(b"hello"))
        told = [each["event"] for each in events(server.text) if each["event"] not in ("connection", "closed")]
        self.assertEqual(["ready", "listening", "unreachable", "reachable"], told)

    async def test_allowed(self) -> None:
        """With ``--allow`` others are refused, behind a server too."""
        where, service = self.tcp_service()
        self.on_serving_side = lambda *arguments: self.behind("forward", *arguments)  # type: ignore[method-assign]
        await self.serving("--serve", where, "--allow", "00" * 32)
        await self.listening("--peer", KEY.hex())
        await (await self.caller()).loses()
        self.assertEqual([], service.built)


class ProcessTests(ForwardCase):
    """As the shell runs it."""

    async def test_processes(self) -> None:
        """Two processes, with many connections; SIGTERM is how they end, and no failure."""
        where, service = self.tcp_service()
        network = ("--host", "127.0.0.1", "--bootstrap", self.bootstrap, "--json")
        server: Any = self.spawn("forward", ROOM, "--serve", where, *network)
        await server.prints(b'"listening"')
        client: Any = self.spawn("forward", ROOM, "--listen", "0", *network)
        await client.prints(b'"listening"')
        self.port = events(client.output)[-1]["port"]
        texts = [os.urandom(10_000) for _ in range(50)]
        answers = await gatherResults([Deferred.fromCoroutine(self.asked(text)) for text in texts])
        self.assertTrue(texts == answers)
        for child in (client, server):
            child.transport.signalProcess("TERM")
            self.assertEqual((0, b""), (await child.status, child.errors))
            self.assertEqual({"event": "finished", "streams": 50}, events(child.output)[-1])


class UsageTests(TerminalCase):
    """Arguments that make no sense."""

    def test_refused(self) -> None:
        """They are told before anything is done."""
        for wrong in (
            (),
            (ROOM,),
            (ROOM, "--serve", "1", "--listen", "2"),
            (ROOM, "--peer", KEY.hex(), "--serve", "1"),
        ):
            ended = self.assertRaises(SystemExit, make_parser().parse_args, ["forward", *wrong])
            self.assertEqual(2, ended.code)
