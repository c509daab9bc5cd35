"""What ``README.md``, ``docs/dht.md`` and ``docs/connections.md`` show works as it is written there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import AccumulatingProtocol, MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

import spaceswarm_proxy
from spaceswarm_proxy import Swarm, topic
from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.service import Options
from spaceswarm_proxy.testing import TestNet
from tests.certificates import Authority, write
from tests.docs.pages import ABSENT, DOCS, README, commands, execute, snippets
from tests.service.child import ROOT

DHT_PAGE = DOCS / "dht.md"
CONNECTIONS_PAGE = DOCS / "connections.md"
#: A file that stands in a command as an example.
FILE = re.compile(r"\b\w+\.pem\b|^tokens$")


class SnippetTests(TestCase):
    """The Python in it."""

    skip = ABSENT
    timeout = 30

    async def test_server_and_client(self) -> None:
        """The server's lines make a server, and the client's lines have a swarm meet another one there."""
        connecting, serving = snippets()
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
        """The lines about the DHT find in it what they have put there."""
        reactor: Any = or_global(None)
        net = TestNet(reactor, 2)
        self.addCleanup(net.close)
        await net.ready()
        local = f'bootstrap=["{net.bootstrap[0]}"], host="127.0.0.1", port=0'
        program, in_tests = snippets(DHT_PAGE)
        said: list[str] = []
        names = {"reactor": reactor, "print": lambda *words: said.append(" ".join(map(str, words)))}
        await execute(self.moved(program, 'bootstrap=["127.0.0.1:5000"]', local), names)
        self.assertIn("127.0.0.1:", said[0])
        self.assertEqual("b'hello'", said[-1])
        await execute(in_tests, {"reactor": reactor})

    async def test_connections(self) -> None:
        """The lines about connections make one."""
        reactor: Any = or_global(None)
        net = TestNet(reactor, 5)
        self.addCleanup(net.close)
        await net.ready()
        local = f'reactor, bootstrap=["{net.bootstrap[0]}"], host="127.0.0.1", port=0'
        names: dict[str, Any] = {"reactor": reactor, "Served": Protocol, "Asking": Protocol}
        await execute(self.moved(snippets(CONNECTIONS_PAGE)[0], "DHTNode(reactor)", f"DHTNode({local})"), names)
        self.assertIsInstance(names["protocol"], Protocol)

    def moved(self, snippet: str, old: str, new: str) -> str:
        """:returns: the snippet with another endpoint in it: tests use no fixed ports."""
        self.assertEqual(1, snippet.count(old))
        return snippet.replace(old, new)

    def factory(self) -> Factory:
        factory = Factory.forProtocol(AccumulatingProtocol)
        factory.protocolConnectionMade = None  # type: ignore[attr-defined]
        return factory

    async def test_other_networks(self) -> None:
        """What is said to stand in for the client's network is one."""
        net = TestNet(or_global(None), 1)
        self.addCleanup(net.close)
        await net.ready()
        for line in re.findall(r"^# (network = .*?) +#", snippets()[0], re.MULTILINE):
            local = f'DHTNetwork.start(reactor, bootstrap=["{net.bootstrap[0]}"], host="127.0.0.1", port=0)'
            names = {name: getattr(spaceswarm_proxy, name) for name in ("DHTNetwork", "LocalHub")}
            names["reactor"] = or_global(None)
            await execute(line.replace("DHTNetwork.start(reactor)", local), names)
            self.assertTrue(spaceswarm_proxy.INetwork.providedBy(names["network"]))
            await names["network"].close()

    def test_names(self) -> None:
        """What is imported from us is public."""
        for snippet in snippets() + snippets(DHT_PAGE) + snippets(CONNECTIONS_PAGE):
            for node in ast.walk(ast.parse(snippet)):
                if isinstance(node, ast.ImportFrom) and node.module == "spaceswarm_proxy":
                    self.assertEqual(set(), {alias.name for alias in node.names} - set(spaceswarm_proxy.__all__))


class CommandTests(SynchronousTestCase):
    """The lines for a shell."""

    skip = ABSENT

    def test_server(self) -> None:
        """The server takes its options, where the files that they name are there."""
        directory = self.files()
        lines = [words[1:] for words in commands() if words[0] == "./serve"]
        lines += [words[words.index("spaceswarm-proxy") + 1 :] for words in commands() if "spaceswarm-proxy" in words]
        self.assertTrue(lines)
        for options in lines:
            Options().parseOptions([FILE.sub(rf"{directory}/\g<0>", option) for option in options])

    def test_endpoints(self) -> None:
        """The endpoints of other programs are some."""
        for words in commands():
            if words[0] == ".venv/bin/twistd":
                self.assertTrue(serverFromString(MemoryReactorClock(), words[words.index("--listen") + 1]))

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
        """Every link to a file of ours, and to a heading in one, leads to one."""
        others = (README, ROOT / "benchmarks" / "README.md", ROOT / "examples" / "README.md")
        for page in (*others, *DOCS.glob("*.md")):
            for target in re.findall(r"\]\(([^):]+)\)", page.read_text(encoding="utf-8")):
                path, _, heading = target.partition("#")
                file = page.parent / path if path else page
                self.assertTrue(file.exists(), f"{page.name}: {target}")
                if heading:
                    self.assertIn(heading, self.headings(file), f"{page.name}: {target}")

    def headings(self, page: Path) -> set[str]:
        """:returns: how the headings of a page are linked to."""
        titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
