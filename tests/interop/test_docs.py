"""The JavaScript of ``docs/from-javascript.md``."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults

from spaceswarm_proxy._reactor import or_global
from tests.docs.pages import ABSENT, DOCS, blocks, files
from tests.interop.dht_support import LOOPBACK, DHTTestCase
from tests.interop.javascript import PACKAGES
from tests.interop.node import node_command
from tests.service.child import ROOT, Child, Program, Twistd

PAGE = DOCS / "from-javascript.md"
ROOM = "a room"


class PageTests(DHTTestCase):
    """What a reader would try."""

    profile = "hyperswarm"
    skip = ABSENT or DHTTestCase.skip

    async def test_chat(self) -> None:
        """The page's program, and an example of ours and ``spaceswarm chat`` behind a server, hear each other."""
        net = await self.their_network(4)
        reactor: Any = or_global(None)
        directory = self.mktemp()
        node = ["--bootstrap", str(net.bootstrap), "--host", LOOPBACK, "--port", "0", "--profile", self.profile]
        server = Twistd(reactor, directory, "spaceswarm-proxy", *node, "--listen", f"tcp:0:interface={LOOPBACK}")
        self.addCleanup(server.kill)
        proxy = ["--proxy", f"tcp:{LOOPBACK}:{await server.port()}"]
        program = self.program(f"bootstrap: ['{net.bootstrap}']")
        nora = Program(reactor, directory, node_command(program, ROOM, "nora"), NODE_PATH=str(PACKAGES))
        paul = Child(reactor, directory, str(ROOT / "examples" / "chat.py"), ROOM, "--name", "paul", *proxy)
        rosa = Child(reactor, directory, "-m", "spaceswarm_proxy.commands", "chat", ROOM, "--name", "rosa", *proxy)
        for child in (nora, paul, rosa):
            self.addCleanup(child.kill)
        await gatherResults([nora.line("paul is here"), paul.line("nora is here")])
        await gatherResults([nora.line("rosa is here"), paul.line("rosa is here")])
        nora.transport.writeToChild(0, b"Hello!\n")
        await gatherResults([child.line("nora: Hello!") for child in (paul, rosa)])
        rosa.transport.writeToChild(0, b"Good day!\n")
        await gatherResults([child.line("rosa: Good day!") for child in (nora, paul)])

    def program(self, options: str) -> str:
        """:returns: the page's program, for another network."""
        text = files(PAGE, "js")["chat.js"]
        self.assertEqual(1, text.count("new Hyperswarm()"))
        path = Path(self.mktemp() + ".js").resolve()
        path.write_text(text.replace("new Hyperswarm()", f"new Hyperswarm({{ {options} }})"))
        return str(path)

    def test_syntax(self) -> None:
        """All JavaScript on the page is some."""
        for number, block in enumerate(blocks(PAGE, "js")):
            path = Path(self.mktemp() + f"{number}.mjs").resolve()
            path.write_text(block)
            command, *_ = node_command("")
            done = subprocess.run([command, "--check", path], capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual(0, done.returncode, done.stderr)
