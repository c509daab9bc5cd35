"""``docs/tutorial.md``: all of its code, in its order."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import quoteStringArgument
from twisted.trial.unittest import TestCase

import spaceswarm_proxy
from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.service import Options
from spaceswarm_proxy.testing import TestNet
from tests.docs.pages import ABSENT, DOCS, commands, execute, files, snippets
from tests.own_proxy import own_proxy
from tests.service.child import Child, Twistd

PAGE = DOCS / "tutorial.md"
LOCALHOST = "127.0.0.1"
#: The line of two programs that another one stands in for.
PROXIED = "    network = ProxyNetwork(clientFromString(reactor, proxy))\n"


class ProgramTests(TestCase):
    """The files, in a directory, as the reader has them in the end."""

    skip = ABSENT
    timeout = 120

    def setUp(self) -> None:
        self.reactor: Any = or_global(None)
        self.directory = self.mktemp()
        # As the page has it exported, and with nothing that Python would add for us.
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": ".", "PYTHONSAFEPATH": "1"})
        for name, text in files(PAGE).items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = Path(self.directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def replace(self, name: str, old: str, new: str) -> None:
        """Put something else into one of the files, in the one place where it stands."""
        text = Path(self.directory, name).read_text("utf-8")
        self.assertEqual(1, text.count(old), name)
        self.write(name, text.replace(old, new))

    def start(self, *arguments: str, kind: type[Child] = Child) -> Child:
        child = kind(self.reactor, self.directory, *arguments)
        self.addCleanup(child.kill)
        return child

    async def run_python(self, *arguments: str) -> str:
        """:returns: what a program has printed that has ended well."""
        child = self.start(*arguments)
        self.assertEqual((0, ""), (await child.ended, child.errors), child.output)
        return child.output

    async def net(self) -> TestNet:
        """:returns: a network to be a node of."""
        net = TestNet(self.reactor, 3)
        self.addCleanup(net.close)
        await net.ready()
        return net

    async def test_one_process(self) -> None:
        """``here.py`` prints what the page says."""
        self.assertEqual("[]\n['Alice was here']\n", await self.run_python("here.py"))

    async def test_proxy(self) -> None:
        """``serve.py`` and ``visit.py`` meet through a proxy server."""
        proxy = await own_proxy(self)
        await self.start("serve.py", proxy).line("the book is open")
        self.assertEqual("[]\n", await self.run_python("visit.py", "Alice was here", proxy))
        self.assertEqual("['Alice was here']\n", await self.run_python("visit.py", "Bob too", proxy))

    async def test_node(self) -> None:
        """With the one line changed, they are nodes of the network, and meet again."""
        line = next(snippet for snippet in snippets(PAGE) if "DHTNetwork.start" in snippet)
        where = f'reactor, bootstrap=["{(await self.net()).bootstrap[0]}"], host="{LOCALHOST}", port=0'
        for name in ("serve.py", "visit.py"):
            self.replace(name, PROXIED, line.replace("reactor", where))
            self.replace(name, "import ProxyNetwork", "import DHTNetwork")
        await self.start("serve.py").line("the book is open")
        self.assertEqual("[]\n", await self.run_python("visit.py", "Alice was here"))

    async def test_tests(self) -> None:
        """The tests that the page shows pass."""
        said = await self.run_python("-m", "twisted.trial", "--reporter=text", "test_guestbook")
        self.assertIn("PASSED (successes=2)", said)

    async def test_asyncio(self) -> None:
        """A program of asyncio visits by the text of an endpoint, through a server and as a node."""
        proxy = await own_proxy(self)
        await self.start("serve.py", proxy).line("the book is open")
        through = f"spaceswarm:topic=my guest book:proxy={quoteStringArgument(proxy)}"
        self.assertEqual("[]\n", await self.run_python("with_asyncio.py", "Dave was here", through))
        net = await self.net()
        node = f"network=dht:bootstrap={quoteStringArgument(str(net.bootstrap[0]))}:host={LOCALHOST}"
        await self.plugin(f"spaceswarm:topic=a book:{node}")
        self.assertEqual("[]\n", await self.run_python("with_asyncio.py", "Dave", f"spaceswarm:topic=a book:{node}"))

    async def plugin(self, listen: str) -> None:
        """Start the plug-in; it is not waited for until it can be found."""
        child = self.start("guestbook", "--listen", listen, kind=Twistd)
        await child.line("Guestbook starting|Starting factory")

    async def test_application(self) -> None:
        """``guestbook.tac`` and the plug-in serve."""
        proxy = await own_proxy(self)
        endpoint = "spaceswarm:topic=my guest book"
        where = f"{endpoint}:proxy={quoteStringArgument(proxy)}"
        self.replace("guestbook.tac", f'"{endpoint}"', f'r"{where}"')
        application = self.start("--python", "guestbook.tac", kind=Twistd)
        self.assertEqual("[]\n", await self.run_python("visit.py", "Alice was here", proxy))
        application.signal("TERM")
        await application.ended
        self.assertEqual("", application.errors)
        await self.plugin(where)
        self.assertEqual("[]\n", await self.run_python("visit.py", "Alice was here", proxy))


class SnippetTests(TestCase):
    """What stands in a coroutine."""

    skip = ABSENT
    timeout = 30

    async def test_in_order(self) -> None:
        """One after the other, in one place; what they print is what is written beside it."""
        self.patch(sys, "path", [str(Path(self.book()).resolve()), *sys.path])
        self.addCleanup(sys.modules.pop, "guestbook", None)
        said: list[str] = []
        names = {"reactor": or_global(None), "print": lambda *words: said.append(" ".join(map(str, words)))}
        _, *rest = snippets(PAGE)
        for snippet in rest:
            await execute(snippet.replace(":tokenFile=token", ""), names)
        told = ["1 1", "[]", "unknown-peer", "no connection in 0.5 s", "True", "b'1000000 bytes'"]
        # Whether what is said at the last moment is heard is left open.
        self.assertEqual(told, [line for line in said if not line.endswith("... says hello")])
        for line in told:
            self.assertTrue(any(f"# {line}" in snippet for snippet in rest), line)

    def book(self) -> str:
        directory = self.mktemp()
        Path(directory).mkdir()
        Path(directory, "guestbook.py").write_text(files(PAGE)["guestbook.py"], "utf-8")
        return directory

    def test_names(self) -> None:
        """What is imported from us is public."""
        for text in (*files(PAGE).values(), *snippets(PAGE)[1:]):
            for line in text.splitlines():
                if line.startswith("from spaceswarm_proxy import "):
                    names = set(line.removeprefix("from spaceswarm_proxy import ").split(", "))
                    self.assertEqual(set(), names - set(spaceswarm_proxy.__all__))

    def test_commands(self) -> None:
        """The programs that are started are there, and take these arguments."""
        programs = files(PAGE)
        for first, *words in commands(PAGE):
            if first in ("python", "trial"):
                self.assertIn(words[0].removesuffix(".py") + ".py", programs)
            elif "spaceswarm-proxy" in words:
                Options().parseOptions(words[words.index("spaceswarm-proxy") + 1 :])
            elif first.endswith("spaceswarm"):
                make_parser().parse_args(words)
            else:
                self.assertIn(first.rpartition("/")[2], ("python3", "pip", "twistd", "export"))
