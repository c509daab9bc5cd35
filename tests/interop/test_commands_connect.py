"""``spaceswarm connect`` and ``spaceswarm listen`` with JavaScript at the other end."""

from __future__ import annotations

from typing import Any

from tests.commands.peer_support import IDENTITY, KEY
from tests.interop.commands_support import BULK, CommandsCase


class Commands:
    """Streams by key."""

    async def test_connect(self: Any) -> None:
        """What is read goes to their server, and what that sends is written; both ends are heard."""
        bootstrap = await self.network()
        key, server = await self.their_echo(bootstrap)
        child = self.command(bootstrap, "connect", key)
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
        child = self.command(bootstrap, "connect", key, "--tcp", "0", "--json")
        await child.prints(b'"listening"')
        for number in range(3):
            caller = await self.answer(child, b"from %d" % number, b"from %d" % number)
            caller.transport.loseConnection()
            await server.event("close")
        await self.ends(child)

    async def test_listen_tcp(self: Any) -> None:
        """Their clients reach a TCP service of ours, and end in good order."""
        bootstrap = await self.network()
        child = self.command(bootstrap, "listen", "--tcp", self.our_echo(), "--json", *IDENTITY)
        await self.serves_their_clients(child, bootstrap, KEY)

    async def test_listen(self: Any) -> None:
        """One of their clients talks with standard input and output, and ends first."""
        bootstrap = await self.network()
        child = self.command(bootstrap, "listen", *IDENTITY)
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


class SpaceswarmCommandsTests(Commands, CommandsCase):
    """In a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmCommandsTests(Commands, CommandsCase):
    """In a Hyperswarm network."""

    profile = "hyperswarm"
