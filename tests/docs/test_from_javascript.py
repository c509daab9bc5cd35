"""``docs/from-javascript.md``: its Python, and its names."""

from __future__ import annotations

import re
from inspect import signature
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase, TestCase

from spaceswarm_proxy import KeyPair, LocalHub, ProxyServer
from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.service import Options
from spaceswarm_proxy.swarm import Swarm
from spaceswarm_proxy.testing import TestNet
from tests.docs.pages import ABSENT, DOCS, blocks, commands, execute, snippets, without_blocks

PAGE = DOCS / "from-javascript.md"


class SnippetTests(TestCase):
    """The Python programs."""

    skip = ABSENT
    timeout = 30

    async def test_in_order(self) -> None:
        """They run, one after the other, on a network and with a proxy server of their own."""
        reactor: Any = or_global(None)
        net = TestNet(reactor, 3, profile="hyperswarm")
        self.addCleanup(net.close)
        await net.ready()
        server = ProxyServer(LocalHub().network())
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(server)
        self.addCleanup(server.close)
        self.addCleanup(port.stopListening)
        seed = Path(self.mktemp()).resolve()
        seed.write_text("01" * 32 + "\n")
        names: dict[str, Any] = {"reactor": reactor, "key_pair": KeyPair.generate(), "print": lambda *words: None}
        places = {
            'profile="hyperswarm"': f'profile="hyperswarm", bootstrap=["{net.bootstrap[0]}"], host="127.0.0.1", port=0',
            "tcp:127.0.0.1:4978": f"tcp:127.0.0.1:{port.getHost().port}",
            "my.seed": str(seed),
        }
        for snippet in snippets(PAGE):
            for name, place in places.items():
                snippet = snippet.replace(name, place)
            await execute(snippet, names)
        self.assertEqual(KeyPair.from_seed(b"\x01" * 32), names["key_pair"])


class NameTests(SynchronousTestCase):
    """What is named."""

    skip = ABSENT

    def test_commands(self) -> None:
        """The lines for a shell are ours, or start the page's own program."""
        for words in commands(PAGE):
            if words[0] == "twistd":
                Options().parseOptions(words[words.index("spaceswarm-proxy") + 1 :])
            elif words[0] == "spaceswarm":
                make_parser().parse_args(words[1:])
            else:
                self.assertEqual(["node", "chat.js"], words[:2])
        self.assertTrue(any("// chat.js" in block for block in blocks(PAGE, "js")))

    def test_swarm(self) -> None:
        """The table about swarms has, on its right side, everything that one of ours has."""
        table = without_blocks(PAGE).partition("## The swarm\n")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| .* \| (.*) \|$", table, re.MULTILINE)
        named = {name for row in rows for code in row.split("`")[1::2] for name in re.findall(r"\w+", code)}
        public = {name for name in dir(Swarm) if not name.startswith("_")}
        options = {name for name in signature(Swarm).parameters} - {"random"}
        self.assertEqual(set(), (public | options) - named)
