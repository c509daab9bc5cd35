"""What ``README.md``, ``docs/dht.md`` and ``docs/connections.md`` show works as it is written there."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import AccumulatingProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

import spaceswarm_proxy
from spaceswarm_proxy import LocalHub, Swarm, topic
from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.service import Options
from spaceswarm_proxy.testing import TestNet
from tests.certificates import Authority, write
from tests.service.child import ROOT

README = ROOT / "README.md"
DHT_PAGE = ROOT / "docs" / "dht.md"
CONNECTIONS_PAGE = ROOT / "docs" / "connections.md"
#: A file that stands in a command as an example.
FILE = re.compile(r"\b\w+\.pem\b|^tokens$")
ABSENT = None if README.exists() else "the README is not installed"


def snippets(page: Path = README) -> list[str]:
    """:returns: the Python in it."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path = README) -> Iterator[list[str]]:
    """:returns: the words of each line for a shell, without the remarks and redirections at its end."""
    for line in re.findall(r"^    (\S.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        words = shlex.split(line, comments=True)
        end = next((number for number, word in enumerate(words) if word in "<>"), len(words))
        yield words[:end]


async def execute(snippet: str, names: dict[str, Any]) -> None:
    """Run Python that may await at its top level."""
    code = compile(snippet, str(README), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, names)
    if inspect.iscoroutine(running):
        await running


class SnippetTests(TestCase):
    """The Python in it."""

    skip = ABSENT
    timeout = 30

    async def test_server_and_client(self) -> None:
        """The server's lines make a server, and the client's lines have a swarm meet another one there."""
        serving, connecting, *_ = snippets()
        reactor: Any = or_global(None)
        there: dict[str, Any] = {"reactor": reactor}
        await execute(self.moved(serving, "ws:4977", "ws:0"), there)
        server, port = there["server"], there["port"]
        self.addCleanup(server.close)
        self.addCleanup(port.stopListening)
        met: Deferred[AccumulatingProtocol] = Deferred()
        other = Factory.forProtocol(AccumulatingProtocol)
        other.protocolConnectionMade = met  # type: ignore[attr-defined]
        swarm = Swarm(server.network.with_identity(None), other)
        self.addCleanup(swarm.close)
        swarm.join(topic("my room"), client=False)
        here = {"reactor": reactor, "factory": self.factory()}
        await execute(self.moved(connecting, "tcp:127.0.0.1:4978", f"ws:127.0.0.1:{port.getHost().port}"), here)
        await met

    async def test_dht(self) -> None:
        """The lines about the DHT find in it what they have put there; in the README, and on its own page."""
        reactor: Any = or_global(None)
        net = TestNet(reactor, 2)
        self.addCleanup(net.close)
        await net.ready()
        local = f'bootstrap=["{net.bootstrap[0]}"], host="127.0.0.1", port=0'
        program, in_tests = snippets(DHT_PAGE)
        said: list[str] = []
        names = {"reactor": reactor, "print": lambda *words: said.append(" ".join(map(str, words)))}
        await execute(self.moved(snippets()[2], 'profile="spaceswarm"', local), names)
        self.assertIn("127.0.0.1:", said.pop())
        await execute(self.moved(program, 'bootstrap=["127.0.0.1:5000"]', local), names)
        self.assertIn("127.0.0.1:", said[0])
        self.assertEqual("b'hello'", said[-1])
        await execute(in_tests, {"reactor": reactor})

    async def test_connections(self) -> None:
        """The lines about connections make one, and find each other by topic; in the README, and on their own page."""
        reactor: Any = or_global(None)
        net = TestNet(reactor, 5)
        self.addCleanup(net.close)
        await net.ready()
        local = f'reactor, bootstrap=["{net.bootstrap[0]}"], host="127.0.0.1", port=0'
        for snippet in (
            self.moved(snippets()[3], 'reactor, profile="spaceswarm"', local),
            self.moved(snippets(CONNECTIONS_PAGE)[0], "DHTNode(reactor)", f"DHTNode({local})"),
        ):
            names: dict[str, Any] = {
                "reactor": reactor,
                "Served": Protocol,
                "Asking": Protocol,
                "factory": self.factory(),
                "key_pair": KeyPair.generate(),
            }
            await execute(snippet, names)
            self.assertIsInstance(names["protocol"], Protocol)
            if "swarm" in names:
                await names["swarm"].close()
            await names["node"].close()

    def moved(self, snippet: str, old: str, new: str) -> str:
        """:returns: the snippet with another endpoint in it: tests use no fixed ports."""
        self.assertEqual(1, snippet.count(old))
        return snippet.replace(old, new)

    def factory(self) -> Factory:
        factory = Factory.forProtocol(AccumulatingProtocol)
        factory.protocolConnectionMade = None  # type: ignore[attr-defined]
        return factory

    def test_without_a_proxy(self) -> None:
        """What is said to stand in for the client's network is one."""
        self.assertIn("# or LocalHub().network(), without a proxy", snippets()[1])
        self.assertTrue(spaceswarm_proxy.INetwork.providedBy(LocalHub().network()))

    def test_names(self) -> None:
        """What is imported from us is public."""
        for snippet in snippets() + snippets(DHT_PAGE) + snippets(CONNECTIONS_PAGE):
            for node in ast.walk(ast.parse(snippet)):
                if isinstance(node, ast.ImportFrom) and node.module == "spaceswarm_proxy":
                    self.assertEqual(set(), {alias.name for alias in node.names} - set(spaceswarm_proxy.__all__))


class CommandTests(SynchronousTestCase):
    """The lines for a shell."""

    skip = ABSENT

    def test_twistd(self) -> None:
        """``twistd spaceswarm-proxy`` takes its options, where the files that they name are there."""
        lines = [words for words in commands() if words[0] == "twistd" and "spaceswarm-proxy" in words]
        self.assertTrue(lines)
        directory = self.files()
        for words in lines:
            options = words[words.index("spaceswarm-proxy") + 1 :]
            Options().parseOptions([FILE.sub(rf"{directory}/\g<0>", option) for option in options])

    def files(self) -> str:
        """:returns: the directory with those files."""
        directory = self.mktemp()
        authority = Authority("readme")
        key, cert = authority.issue("server")
        write(directory, key=key, cert=cert, ca=authority.pem)
        (Path(directory) / "tokens").write_text("secret\n")
        return directory

    def test_spaceswarm(self) -> None:
        """``spaceswarm`` takes its arguments."""
        pages = {README: ".venv/bin/spaceswarm", DHT_PAGE: "spaceswarm", CONNECTIONS_PAGE: "spaceswarm"}
        for page, program in pages.items():
            lines = [words for words in commands(page) if words[0] == program]
            self.assertTrue(lines)
            for words in lines:
                self.assertEqual(words[1], make_parser().parse_args(words[1:]).command.name)


class LinkTests(SynchronousTestCase):
    """Where the pages point to."""

    skip = ABSENT

    def test_links(self) -> None:
        """Every link to a file of ours, in the README and in docs, leads to one."""
        for page in (README, *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"):
            for target in re.findall(r"\]\(([^):#]+)\)", page.read_text(encoding="utf-8")):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")
