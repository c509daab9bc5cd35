"""What the tests of commands with JavaScript at the other end are written with."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.interfaces import HostPort
from tests.commands.peer_support import TCPEcho
from tests.commands.support import Child, TerminalCase
from tests.interop import node
from tests.interop.dht_support import LOOPBACK, DHTTestCase
from tests.network.support import Collector
from tests.service.child import Twistd

#: Nodes of the network between the two.
SIZE = 5
#: Seconds that a server of theirs may take to end: its sockets linger for three after a stream.
PATIENCE = 20.0
#: More than one window.
BULK = 2_000_000


class CommandsCase(TerminalCase, DHTTestCase):
    """Our command in a process of its own, their script in another, in a network of ours."""

    profile: str

    async def network(self) -> HostPort:
        """:returns: where both begin."""
        self.patch(node, "GRACE", PATIENCE)
        network = await self.our_network(SIZE)
        bootstrap: HostPort = network.bootstrap
        return bootstrap

    def where(self, bootstrap: HostPort) -> tuple[str, ...]:
        """:returns: the arguments of what is to be a node."""
        return ("--profile", self.profile, "--bootstrap", str(bootstrap), "--host", LOOPBACK)

    def command(self, bootstrap: HostPort, *arguments: str) -> Child:
        """:returns: ours, running."""
        return self.spawn(*arguments, *self.where(bootstrap))

    async def proxy(self, bootstrap: HostPort) -> tuple[str, str]:
        """:returns: the arguments of a command behind a server of ours, which is a process of its own."""
        listening = ("--listen", "tcp:0:interface=127.0.0.1", "--port", "0")
        where = self.where(bootstrap)
        service = Twistd(or_global(None), self.mktemp(), "spaceswarm-proxy", *where, *listening)
        self.addCleanup(lambda: Deferred.fromCoroutine(service.kill()))
        return "--proxy", f"tcp:{LOOPBACK}:{await service.port()}"

    async def their_echo(self, bootstrap: HostPort) -> tuple[str, Any]:
        """:returns: the key of a server of theirs that sends back what it gets, and the server."""
        server = self.script("hyperdht_server.js", bootstrap=bootstrap, mode="echo")
        return (await server.event("listening"))["publicKey"], server

    def our_echo(self) -> str:
        """:returns: where a TCP service is that does the same."""
        port = or_global(None).listenTCP(0, Collector(TCPEcho), interface=LOOPBACK)
        self.addCleanup(port.stopListening)
        return f"{LOOPBACK}:{port.getHost().port}"

    async def serves_their_clients(self, child: Child, bootstrap: HostPort, key: str) -> None:
        """Two of their clients, one after the other, reach what echoes behind a command of ours."""
        await child.prints(b'"listening"')
        for _ in range(2):
            client = self.script("hyperdht_client.js", bootstrap=bootstrap, connect=key, bytes=BULK)
            self.assertTrue((await client.event("result"))["ok"])
            self.assertEqual(BULK, (await client.event("close"))["total"])
        await child.prints(b'"stream": 2, "sent": %d, "received": %d}' % (BULK, BULK))
        self.assertNotIn(b'"error"', child.output)

    async def answer(self, child: Child, text: bytes, wanted: bytes) -> Any:
        """
        Connect to the TCP port that a command has told last, and say something.

        :returns: the connection, when the answer has come.
        """
        port = next(event["port"] for event in reversed(told(child)) if event["event"] == "listening")
        caller: Any = await TCP4ClientEndpoint(or_global(None), LOOPBACK, port).connect(Collector())
        caller.transport.write(text)
        await caller.receives(wanted)
        return caller

    async def ends(self, child: Child) -> None:
        """It is told to leave, and does, in good order."""
        transport: Any = child.transport
        transport.signalProcess("TERM")
        self.assertEqual(0, await child.status, child.errors)


def told(child: Child) -> list[dict[str, Any]]:
    """:returns: the events that a command has told so far."""
    return [json.loads(line) for line in child.output.splitlines()]
