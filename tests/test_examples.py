"""Every program in ``examples/`` does what it says; ``proxy.tac`` is run by :mod:`tests.service.test_process`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    connectProtocol,
    quoteStringArgument,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from spaceswarm_proxy import ProxyNetwork, TopicClientEndpoint, topic
from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.testing import TestNet
from tests.own_proxy import own_proxy
from tests.service.child import ROOT, Child

EXAMPLES = ROOT / "examples"
LOCALHOST = "127.0.0.1"


class Reader(Protocol):
    """Reads to the end."""

    def __init__(self) -> None:
        self._text = b""
        self.text: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._text += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.text.callback(self._text)


class ExampleTests(TestCase):
    """Each is run as its users run it, in a process of its own."""

    timeout = 60

    if not EXAMPLES.exists():
        skip = "the examples are not installed"

    def setUp(self) -> None:
        self.reactor: Any = or_global(None)
        self.directory = self.mktemp()

    def start(self, *arguments: str) -> Child:
        child = Child(self.reactor, self.directory, *arguments)
        self.addCleanup(child.kill)
        return child

    def example(self, name: str, *arguments: str) -> Child:
        return self.start(str(EXAMPLES / name), *arguments)

    async def finish(self, child: Child) -> str:
        """:returns: what a child has printed when it has ended, as it should."""
        self.assertEqual((0, ""), (await child.ended, child.errors), child.output)
        return child.output

    async def test_echo(self) -> None:
        """``echo.py``: the one who asks gets what it said from the one who serves."""
        proxy = await own_proxy(self)
        server = self.example("echo.py", "serve", "--proxy", proxy)
        asking = self.example("echo.py", "ask", "Is anybody there?", "--proxy", proxy)
        self.assertRegex(await self.finish(asking), r"^peer \w{8}\.\.\. answers: Is anybody there\?\n$")
        self.assertEqual("ready: others can find us\n", server.output)

    async def test_echo_interrupted(self) -> None:
        """Ctrl-C ends it without a traceback."""
        server = self.example("echo.py", "serve", "--proxy", await own_proxy(self))
        await server.line("ready")
        server.signal("INT")
        await server.ended
        self.assertEqual("", server.errors)

    async def test_web(self) -> None:
        """``web.py``: a page is fetched from a site that is known by its topic only."""
        proxy = await own_proxy(self)
        self.example("web.py", "serve", "--proxy", proxy)
        got = await self.finish(self.example("web.py", "get", "--proxy", proxy))
        self.assertRegex(got, r"^Hello peer \w{8}\.\.\., this is /a/page\.\n$")

    async def test_chat(self) -> None:
        """``chat.py``: what one types, the other reads; both hear who comes and goes."""
        proxy = await own_proxy(self)
        alice, bob = (self.example("chat.py", "a room", "--name", name, "--proxy", proxy) for name in ("alice", "bob"))
        await gatherResults([alice.line("bob is here"), bob.line("alice is here")])
        alice.transport.writeToChild(0, b"Hello!\n")
        await bob.line("alice: Hello!")
        alice.transport.closeStdin()
        await self.finish(alice)
        await bob.line("alice has left")
        bob.transport.closeStdin()
        await self.finish(bob)

    async def test_filedrop(self) -> None:
        """``filedrop.py``: who fetches has the file, under its name, and nothing else."""
        data = bytes(range(256)) * 5000
        (there := Path(self.mktemp())).mkdir()
        (there / "a file").write_bytes(data)
        where = f"spaceswarm:topic=a file:proxy={quoteStringArgument(await own_proxy(self))}"
        self.example("filedrop.py", "drop", str(there.resolve() / "a file"), where)
        self.assertEqual("received: a file\n", await self.finish(self.example("filedrop.py", "fetch", where)))
        self.assertEqual([data], [path.read_bytes() for path in Path(self.directory).iterdir()])

    async def test_amp(self) -> None:
        """``amp.py``: answers and errors of remote calls come back, from one node to another."""
        net = TestNet(self.reactor, 3)
        self.addCleanup(net.close)
        await net.ready()
        node = ["--bootstrap", str(net.bootstrap[0]), "--host", LOCALHOST]
        serving = self.example("amp.py", *node, "serve")
        await serving.line("ready")
        for numbers, answer in (("7", "2"), "3.5\n"), (("1", "0"), "not by zero\n"):
            self.assertEqual(answer, await self.finish(self.example("amp.py", *node, "divide", *numbers)))

    async def test_embedded(self) -> None:
        """``embedded.py``: clients of its proxy server reach its TCP service by the topic."""
        program = self.example("embedded.py", f"tcp:0:interface={LOCALHOST}")
        port = int((await program.line(r"listening on port (\d+)"))[1])
        network = ProxyNetwork(TCP4ClientEndpoint(self.reactor, LOCALHOST, port))
        self.addCleanup(network.close)
        endpoint = TopicClientEndpoint(network, topic("examples/greeting"))
        reader = await connectProtocol(endpoint, Reader())
        self.assertEqual(b"Good day! You did not need my address.\n", await reader.text)

    async def test_local(self) -> None:
        """``local.py``: each of two swarms hears the other."""
        heard = await self.finish(self.example("local.py"))
        self.assertRegex(heard, r"^Alice hears: Hello, peer \w{8}\.\.\., I am Bob\.\nBob hears: .* I am Alice\.\n$")

    async def test_of_yours(self) -> None:
        """``test_of_yours.py``: trial finds its tests, and they pass."""
        trial = self.start("-m", "twisted.trial", "--reporter=text", str(EXAMPLES / "test_of_yours.py"))
        self.assertIn("PASSED (successes=3)", await self.finish(trial))

    def test_all(self) -> None:
        """No example is without its test, or without its line in the overview."""
        names = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
        tested = {name for name in names if f"``{name}``" in Path(__file__).read_text(encoding="utf-8")}
        listed = re.findall(r"^\| \[`([\w.]+)`\]\(\1\)", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE)
        self.assertEqual((names, sorted(names)), (tested, sorted(listed)))
