"""``twistd spaceswarm-proxy``, for real: :mod:`spaceswarm_proxy.service.process`."""

from __future__ import annotations

import atexit
import os
import resource
import signal
import socket
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import AccumulatingProtocol, MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.service import Options, StartError, makeService
from spaceswarm_proxy.service.process import raise_file_limit
from tests.service.child import ROOT, Twistd

READY = bytes.fromhex("020801")
LOCAL = "tcp:0:interface=127.0.0.1"
#: For a node that nobody answers.
ALONE = ("--host", "127.0.0.1", "--port", "0", "--bootstrap", "127.0.0.1:1")


class Client(Protocol):
    """Says READY, with a token if there is one; ``answer`` fires with the first answer, or b"" if there is none."""

    def __init__(self, token: bytes = b"") -> None:
        self.answer: Deferred[bytes] = Deferred()
        self.gone: Deferred[None] = Deferred()
        body = READY[1:] + (b"\xb2\x01" + bytes([len(token)]) + token if token else b"")
        self._hello = bytes([len(body)]) + body

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._hello)

    def dataReceived(self, data: bytes) -> None:
        if not self.answer.called:
            self.answer.callback(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answer.called:
            self.answer.callback(b"")
        self.gone.callback(None)


class ChildTestCase(TestCase):
    """Runs children."""

    timeout = 60

    def setUp(self) -> None:
        self.reactor = or_global(None)
        self.directory = self.mktemp()

    def start(self, *arguments: str) -> Twistd:
        child = Twistd(self.reactor, self.directory, *arguments)
        self.addCleanup(lambda: Deferred.fromCoroutine(child.kill()))
        return child

    def serve(self, *arguments: str) -> Twistd:
        return self.start("spaceswarm-proxy", "--listen", LOCAL, *ALONE, *arguments)

    async def connect(self, port: int, token: bytes = b"") -> Client:
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        client: Client = await connectProtocol(endpoint, Client(token))
        return client


class ServeTests(ChildTestCase):
    """A server at work, and how it ends."""

    async def test_leaves_in_order(self) -> None:
        """It answers READY; after SIGTERM it ends as soon as the last client has gone, with exit code 0."""
        child = self.serve()
        client = await self.connect(await child.port())
        self.assertEqual(READY, await client.answer)
        child.signal("TERM")
        await child.line("stopping")
        self.assertFalse(client.gone.called)
        assert client.transport is not None
        client.transport.loseConnection()
        self.assertEqual(0, await child.ended)
        self.assertEqual(("", 1), (child.errors, child.output.count("listening on")))

    async def test_grace(self) -> None:
        """Clients that stay are closed when the grace time is up."""
        child = self.serve("--grace", "0.3")
        client = await self.connect(await child.port())
        await client.answer
        started = self.reactor.seconds()
        child.signal("TERM")
        await client.gone
        self.assertGreaterEqual(self.reactor.seconds() - started, 0.3)
        self.assertEqual(0, await child.ended)

    async def test_second_signal(self) -> None:
        """A second SIGTERM does not wait for them."""
        child = self.serve("--grace", "3600")
        client = await self.connect(await child.port())
        await client.answer
        child.signal("TERM")
        await child.line("stopping")
        child.signal("TERM")
        self.assertEqual(0, await child.ended)
        await client.gone

    async def test_interrupt(self) -> None:
        """Ctrl-C is as good as SIGTERM, also right at the start; messages below the log level stay away."""
        child = self.serve("--log-level", "warn")
        await child.line("ProxyServer starting on")
        child.signal("INT")
        self.assertEqual(0, await child.ended)
        self.assertNotIn("listening on", child.output)

    async def test_nobody_answers(self) -> None:
        """A node that nobody answers keeps nobody waiting, and is stopped like any other."""
        child = self.serve()
        await child.line("no node of the spaceswarm network answers")
        client = await self.connect(await child.port())
        self.assertEqual(READY, await client.answer)
        assert client.transport is not None
        client.transport.loseConnection()
        child.signal("TERM")
        self.assertEqual((0, ""), (await child.ended, child.errors))

    async def test_hangup(self) -> None:
        """SIGHUP has the tokens read again."""
        tokens = Path(self.mktemp())
        tokens.write_text("old")
        child = self.serve("--token-file", str(tokens.resolve()))
        port = await child.port()
        await self.admitted(port, b"old", True)
        tokens.write_text("new")
        child.signal("HUP")
        await child.line("1 tokens are valid now")
        await self.admitted(port, b"old", False)
        await self.admitted(port, b"new", True)

    async def test_hangup_without_tokens(self) -> None:
        """Without a token file it does nothing, and does not end the server."""
        child = self.serve()
        port = await child.port()
        for _ in range(2):
            child.signal("HUP")
            await child.line("there is no token file: nothing to read again")
            child.output = ""
        await self.admitted(port, b"", True)
        child.signal("TERM")
        self.assertEqual((0, ""), (await child.ended, child.errors))

    async def test_metrics(self) -> None:
        """Metrics are shown from the start until the last client has gone, and scrapes leave no trace in the log."""
        child = self.serve("--metrics", LOCAL, "--grace", "3600")
        port = await child.port()
        metrics = int((await child.line(r"metrics on tcp:(\d+):interface=127.0.0.1"))[1])
        client = await self.connect(port)
        await client.answer
        for expected in ("proxy_clients 1.0", "proxy_draining 0.0", "dht_nodes 0.0", "udx_streams 0.0"):
            self.assertIn(f"\nspaceswarm_{expected}\n", await self.scrape(metrics))
        child.signal("TERM")
        await child.line("stopping")
        self.assertIn("\nspaceswarm_proxy_draining 1.0\n", await self.scrape(metrics))
        self.assertNotIn("/metrics", child.output)
        assert client.transport is not None
        client.transport.loseConnection()
        self.assertEqual((0, ""), (await child.ended, child.errors))

    async def scrape(self, port: int) -> str:
        protocol = AccumulatingProtocol()
        closed: Deferred[None] = Deferred()
        protocol.closedDeferred = closed
        await connectProtocol(TCP4ClientEndpoint(self.reactor, "127.0.0.1", port), protocol)
        protocol.transport.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        await closed
        return protocol.data.decode()

    async def admitted(self, port: int, token: bytes, expected: bool) -> None:
        client = await self.connect(port, token)
        self.assertEqual(expected, await client.answer == READY)
        assert client.transport is not None
        client.transport.loseConnection()
        await client.gone

    async def test_example(self) -> None:
        """The example among your own services starts."""
        example = ROOT / "examples" / "proxy.tac"
        text = example.read_text().replace("tcp:4978:", "tcp:0:").replace("ws:4977:", "ws:0:")
        text = text.replace("    grace=", '    bootstrap=("127.0.0.1:1",),\n    port=0,\n    grace=')
        Path(self.directory).mkdir()
        (Path(self.directory) / "proxy.tac").write_text(text)
        child = self.start("--python", "proxy.tac")
        await child.line("listening on ws:")
        self.assertIn("listening on tcp:", child.output)

    if not (ROOT / "examples").exists():
        test_example.skip = "the examples are not installed"  # type: ignore[attr-defined]


class RefusalTests(ChildTestCase):
    """One clear line, an exit code that says failure, and no traceback."""

    async def test_port_in_use(self) -> None:
        """What cannot be listened on is named."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            text = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            child = self.serve("--listen", text)
            self.assertEqual(1, await child.ended)
            shown = self.serve("--metrics", text)
            self.assertEqual(1, await shown.ended)
            self.assertIn(f"cannot listen on {text}", shown.output)
        self.assertEqual(1, child.output.count(f"cannot listen on {text}: Address already in use"))
        self.assertNotIn("Traceback", child.output + child.errors)

    async def test_bad_option(self) -> None:
        """So is an option that can't be, on standard error, and nothing else is printed."""
        child = self.serve("--max-clients", "many")
        self.assertEqual(1, await child.ended)
        self.assertEqual("spaceswarm-proxy: --max-clients: must be a whole number, not 'many'\n", child.errors)
        self.assertEqual("", child.output)


class ProgramTests(SynchronousTestCase):
    """What can be told without another process."""

    def make(self, reactor: Any, *arguments: str) -> Any:
        options = Options(reactor)
        options.parseOptions(list(arguments))
        return makeService(options, reactor)

    def test_service(self) -> None:
        """``makeService`` gives a service around ours, and starts nothing."""
        reactor = MemoryReactorClock()
        program = self.make(reactor, "--grace", "1")
        self.assertTrue(IService.providedBy(program))
        self.assertEqual(1.0, program.getServiceNamed("spaceswarm-proxy").settings.grace)
        self.assertEqual([], reactor.tcpServers)

    def test_late_failure(self) -> None:
        """An endpoint that fails when all has started stops the program, which then exits with code 1."""
        registered: list[Any] = []
        self.patch(atexit, "register", registered.append)
        stopped: list[bool] = []
        reactor = MemoryReactorClock()
        reactor.callWhenRunning = lambda call: call()  # type: ignore[method-assign]
        reactor.stop = lambda: stopped.append(True)  # type: ignore[method-assign]
        program = self.make(reactor)
        program.proxy.failed(StartError("no such luck"))
        self.assertEqual([True], stopped)
        codes: list[int] = []
        self.patch(os, "_exit", codes.append)
        registered[0]()
        self.assertEqual([1], codes)

    def test_state_of_another_user(self) -> None:
        """The directory of the state that is made belongs to the user that ``twistd`` becomes; an old one stays."""
        owners: list[tuple[str, int, int]] = []
        self.patch(os, "chown", lambda *arguments: owners.append(arguments))
        self.patch(signal, "signal", lambda number, handler: None)
        self.patch(resource, "getrlimit", lambda which: (10, 10))
        for path in (new := self.mktemp(), old := self.mktemp()):
            if path == old:
                Path(path).mkdir()
            options = Options(MemoryReactorClock())
            options.parent = {"uid": 65534}
            options.parseOptions(["--state", path, "--network", "local"])
            program = makeService(options, MemoryReactorClock())
            program.privilegedStartService()
            self.addCleanup(program.stopService)
        self.assertEqual([(str(Path(new).resolve()), 65534, -1)], owners)

    def test_file_limit(self) -> None:
        """As many files may be open as the system allows; where it allows none more, all stays as it was."""
        wanted: list[tuple[int, int]] = []
        self.patch(resource, "getrlimit", lambda which: (10, 20))
        self.patch(resource, "setrlimit", lambda which, limits: wanted.append(limits))
        raise_file_limit()
        self.assertEqual([(20, 20)], wanted)

        def refuse(which: int, limits: tuple[int, int]) -> None:
            raise ValueError("not allowed to raise maximum limit")

        self.patch(resource, "setrlimit", refuse)
        raise_file_limit()
