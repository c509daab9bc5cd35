"""``spaceswarm forward`` with JavaScript at the other end."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.topics import topic
from tests.commands.peer_support import IDENTITY, KEY
from tests.interop.commands_support import BULK, CommandsCase, told

ROOM = topic("a room")


class Forwarding:
    """A TCP service, or a TCP port, and a peer of theirs."""

    async def test_serve_key(self: Any) -> None:
        """Their clients reach a TCP service of ours by its key, and end in good order."""
        bootstrap = await self.network()
        child = self.command(bootstrap, "forward", "--serve", self.our_echo(), "--json", *IDENTITY)
        await self.serves_their_clients(child, bootstrap, KEY)
        await self.ends(child)

    async def test_serve_topic(self: Any) -> None:
        """A swarm of theirs finds it under its topic."""
        bootstrap = await self.network()
        child = self.command(bootstrap, "forward", ROOM.hex(), "--serve", self.our_echo(), "--json", *IDENTITY)
        await child.prints(b'"listening"')
        swarm = self.script("swarm_peer.js", bootstrap=bootstrap, topic=ROOM, server="false", echo="false", say="hello")
        self.assertEqual(KEY.hex(), (await swarm.event("connection"))["remotePublicKey"])
        self.assertEqual("hello", (await swarm.event("data"))["text"])
        await self.ends(child)

    async def test_behind(self: Any) -> None:
        """Behind a proxy server of ours it is the same, on either side."""
        bootstrap = await self.network()
        proxy = await self.proxy(bootstrap)
        serving = self.spawn("forward", "--serve", self.our_echo(), "--json", *IDENTITY, *proxy)
        await serving.prints(b'"listening"')
        client = self.script("hyperdht_client.js", bootstrap=bootstrap, connect=KEY, bytes=BULK)
        self.assertTrue((await client.event("result"))["ok"])
        await client.event("close")
        key, _ = await self.their_echo(bootstrap)
        listening = self.spawn("forward", "--peer", key, "--listen", "0", "--json", *proxy)
        await listening.prints(b'"listening"')
        caller = await self.answer(listening, b"hello", b"hello")
        caller.transport.loseConnection()
        for child in (serving, listening):
            await self.ends(child)

    async def test_listen_key(self: Any) -> None:
        """Connections to a TCP port become streams to their server."""
        bootstrap = await self.network()
        key, server = await self.their_echo(bootstrap)
        child = self.command(bootstrap, "forward", "--peer", key, "--listen", "0", "--json")
        await child.prints(b'"listening"')
        for number in range(3):
            caller = await self.answer(child, b"from %d" % number, b"from %d" % number)
            caller.transport.loseConnection()
            await server.event("close")
        await self.ends(child)
        self.assertEqual({"event": "finished", "streams": 3}, told(child)[-1])

    async def test_listen_topic(self: Any) -> None:
        """They become streams to a swarm of theirs that is found under a topic."""
        bootstrap = await self.network()
        swarm = self.script("swarm_peer.js", bootstrap=bootstrap, topic=ROOM, client="false")
        await swarm.event("announced")
        child = self.command(bootstrap, "forward", ROOM.hex(), "--listen", "0", "--json")
        await child.prints(b'"listening"')
        caller: Any = await self.answer(child, b"hello", b"echo:hello")
        self.assertFalse((await swarm.event("connection"))["isInitiator"])
        caller.transport.abortConnection()
        await swarm.event("close")
        await self.ends(child)


class SpaceswarmForwardingTests(Forwarding, CommandsCase):
    """In a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmForwardingTests(Forwarding, CommandsCase):
    """In a Hyperswarm network."""

    profile = "hyperswarm"
