"""The first minute of ``README.md``: what its lines start, works together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import deferLater
from twisted.internet.testing import AccumulatingProtocol
from twisted.trial.unittest import TestCase

from spaceswarm_proxy._reactor import or_global
from tests.docs.pages import ABSENT, commands
from tests.service.child import Child, Twistd

LOCALHOST = "127.0.0.1"
#: The endpoint of the server on the page.
PROXY = "tcp:127.0.0.1:4978"


class FirstMinuteTests(TestCase):
    """The programs, each in a process of its own."""

    skip = ABSENT
    timeout = 120

    def setUp(self) -> None:
        self.reactor: Any = or_global(None)
        self.directory = self.mktemp()

    def start(self, kind: type[Child], *arguments: str) -> Child:
        child = kind(self.reactor, self.directory, *arguments)
        self.addCleanup(child.kill)
        return child

    def line(self, *words: str) -> list[str]:
        """:returns: the words of the page's line that begins with these, after them."""
        (found,) = [line for line in commands() if line[: len(words)] == list(words)]
        return found[len(words) :]

    async def test_web(self) -> None:
        """A web site that Twisted serves on a topic is reached at a TCP port of a client of the proxy server."""
        server = self.start(
            Twistd, "spaceswarm-proxy", "--network", "local", "--listen", f"tcp:0:interface={LOCALHOST}"
        )
        port = int((await server.line(r"listening on tcp:(\d+):"))[1])
        Path(self.directory, "page.txt").write_text("Hello!")
        web = self.line(".venv/bin/twistd", "--nodaemon", "--pidfile=")
        self.start(Twistd, *web[:-1], rf"{web[-1]}:proxy=tcp\:{LOCALHOST}\:{port}")
        forward = self.line(".venv/bin/spaceswarm", "forward")
        forward[forward.index("--listen") + 1] = "0"
        forward[forward.index(PROXY)] = f"tcp:{LOCALHOST}:{port}"
        client = self.start(Child, "-m", "spaceswarm_proxy.commands", "forward", "--json", *forward)
        listening = json.loads((await client.line(r'\{.*"listening".*'))[0])
        # Until the site is found, whoever asks for it is cut off.
        while not (answer := await self.fetch(listening["port"])):
            await deferLater(self.reactor, 0.05)
        self.assertIn("\r\n\r\nHello!", answer)

    async def fetch(self, port: int) -> str:
        """:returns: the response to a request of one line; nothing, if there was none."""
        protocol = AccumulatingProtocol()
        closed: Deferred[None] = Deferred()
        protocol.closedDeferred = closed
        await connectProtocol(TCP4ClientEndpoint(self.reactor, LOCALHOST, port), protocol)
        protocol.transport.write(b"GET /page.txt HTTP/1.0\r\n\r\n")
        await closed
        return protocol.data.decode()
