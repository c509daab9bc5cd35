"""``spaceswarm connect`` and ``spaceswarm listen`` with JavaScript at the other end."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.interfaces import HostPort
from tests.commands.peer_support import IDENTITY, KEY, TCPEcho
from tests.commands.support import Child, TerminalCase
from tests.interop import node
from tests.interop.dht_support import LOOPBACK, DHTTestCase
from tests.network.support import Collector

#: Nodes of the network between the two.
SIZE = 5
#: Seconds that a server of theirs may take to end: its sockets linger for three after a stream.
PATIENCE = 20.0
#: More than one window.
BULK = 2_000_000


class Commands:
    """Our command in a process of its own, their script in another, in a network of ours."""

    profile: str

    async def network(self: Any) -> HostPort:
        """:returns: where both begin."""
        self.patch(node, "GRACE", PATIENCE)
        network = await self.our_network(SIZE)
        bootstrap: HostPort = network.bootstrap
        return bootstrap

    def command(self: Any, bootstrap: HostPort, *arguments: str) -> Any:
        """:returns: ours, running."""
        network = ("--profile", self.profile, "--bootstrap", str(bootstrap), "--host", LOOPBACK)
        return self.spawn(*arguments, *network)

    async def their_echo(self: Any, bootstrap: HostPort) -> tuple[str, Any]:
        """:returns: the key of a server of theirs that sends back what it gets, and the server."""
        server = self.script("hyperdht_server.js", bootstrap=bootstrap, mode="echo")
        return (await server.event("listening"))["publicKey"], server

    def our_echo(self: Any) -> str:
        """:returns: where a TCP service is that does the same."""
        port = or_global(None).listenTCP(0, Collector(TCPEcho), interface=LOOPBACK)
        self.addCleanup(port.stopListening)
        return f"{LOOPBACK}:{port.getHost().port}"

    async def test_connect(self: Any) -> None:
        """What is read goes to their server, and what that sends is written; both ends are heard."""
        bootstrap = await self.network()
        key, server = await self.their_echo(bootstrap)
        child: Child = self.command(bootstrap, "connect", key)
        data = bytes(range(256)) * (BULK // 256)
        transport: Any = child.transport
        transport.write(data)
        transport.closeStdin()
        self.assertEqual(0, await child.status, child.errors)
        self.assertTrue(data == child.output)
        self.assertEqual(len(data), (await server.event("end"))["total"])

    async def test_connect_tcp(self: Any) -> None:
        """Connections to a TCP port become streams to their server."""
        bootstrap = await self.network()
        key, server = await self.their_echo(bootstrap)
        child: Child = self.command(bootstrap, "connect", key, "--tcp", "0", "--json")
        await child.prints(b'"listening"')
        port = json.loads(child.output.splitlines()[-1])["port"]
        callers = Collector()
        for number in range(3):
            caller = await TCP4ClientEndpoint(or_global(None), LOOPBACK, port).connect(callers)
            caller.transport.write(b"from %d" % number)
            await caller.receives(b"from %d" % number)
            caller.transport.loseConnection()
            await server.event("close")
        transport: Any = child.transport
        transport.signalProcess("TERM")
        self.assertEqual(0, await child.status, child.errors)

    async def test_listen_tcp(self: Any) -> None:
        """Their clients reach a TCP service of ours, and end in good order."""
        bootstrap = await self.network()
        child: Child = self.command(bootstrap, "listen", "--tcp", self.our_echo(), "--json", *IDENTITY)
        await child.prints(b'"listening"')
        for _ in range(2):
            client = self.script("hyperdht_client.js", bootstrap=bootstrap, connect=KEY, bytes=BULK)
            self.assertTrue((await client.event("result"))["ok"])
            self.assertEqual(BULK, (await client.event("close"))["total"])
        await child.prints(b'"stream": 2, "sent": %d, "received": %d}' % (BULK, BULK))
        self.assertNotIn(b'"error"', child.output)

    async def test_listen(self: Any) -> None:
        """One of their clients talks with standard input and output, and ends first."""
        bootstrap = await self.network()
        child: Child = self.command(bootstrap, "listen", *IDENTITY)
        await child.says(KEY.hex().encode())
        client = self.script("hyperdht_client.js", bootstrap=bootstrap, connect=KEY, text="hello", expect=5)
        await child.prints(b"hello")
        transport: Any = child.transport
        transport.write(b"world")
        await client.event("result")
        # It ends 0.1 s after that.  If it ended after us, and had nothing to send, it would reset the stream instead.
        await child.ended
        transport.closeStdin()
        self.assertEqual(5, (await client.event("close"))["total"])
        self.assertEqual((0, b"hello"), (await child.status, child.output), child.errors)


class SpaceswarmCommandsTests(Commands, TerminalCase, DHTTestCase):
    """In a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmCommandsTests(Commands, TerminalCase, DHTTestCase):
    """In a Hyperswarm network."""

    profile = "hyperswarm"
