"""``spaceswarm relay``."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import ConnectError
from spaceswarm_proxy.peering.node import DHTNode
from tests.commands.dht_support import Event, events
from tests.commands.peer_support import IDENTITY, KEY, PeerCommandCase
from tests.commands.support import Terminal
from tests.network.support import Collector, Echo, Recorder

SERVER = KeyPair.from_seed(bytes([7]) * 32)
#: For tests: any port, and no look at whether others can reach it.
ANY = ("--port", "0", "--open")


class RelayTests(PeerCommandCase):
    """A relay, and peers that meet there."""

    NODES = 6

    async def relay(self, *arguments: str) -> tuple[Deferred[int], Terminal]:
        """:returns: the command, when it can be found."""
        status, terminal = self.visit("relay", *IDENTITY, *ANY, *arguments)
        await terminal.shows(b'"listening"' if "--json" in arguments else KEY.hex().encode())
        return status, terminal

    async def leave(self, status: Any, terminal: Terminal) -> list[Event]:
        """:returns: all that it has told, after it was told to leave."""
        status.cancel()
        await self.assertFailure(status, CancelledError)
        return events(await terminal.ended)

    async def hidden(self) -> DHTNode:
        """:returns: a node that nobody can reach unasked, as it thinks."""
        node = await self.visitor()
        node._core.firewalled = True
        return node

    async def meet(self) -> tuple[Any, set[str]]:
        """:returns: the client of a stream through the relay, and who the two are to that."""
        server, client = await self.hidden(), await self.hidden()
        await server.listen(SERVER, Collector(Echo), share_local_address=False, holepunch=False)
        connecting = client.connect(SERVER.public_key, Collector(Recorder), local_connection=False, relay_through=[KEY])
        connecting.addTimeout(5, client.reactor)
        return await connecting, {node.key_pair.public_key.hex() for node in (server, client)}

    def meet_in_vain(self) -> Deferred[Any]:
        """The same, for somebody who does not expect much of it."""
        return Deferred.fromCoroutine(self.meet())

    async def test_key(self) -> None:
        """It prints the key that it is known by."""
        status, terminal = await self.relay()
        self.assertEqual(f"{KEY.hex()}\n".encode(), terminal.text)
        status.cancel()
        await self.assertFailure(status, CancelledError)

    async def test_told(self) -> None:
        """Programs are told who comes and goes, and that two have met; at the end, what it has done."""
        status, terminal = await self.relay("--json")
        protocol, keys = await self.meet()
        protocol.transport.write(b"hello")
        await protocol.receives(b"hello")
        await terminal.shows(b'"coupled"')
        ready, listening, *happened, finished = await self.leave(status, terminal)
        self.assertEqual(("ready", "listening"), (ready["event"], listening["event"]))
        self.assertEqual(KEY.hex(), listening["public_key"])
        come = {event["remote_public_key"] for event in happened if event["event"] == "connection"}
        self.assertEqual(keys, come)
        self.assertIn({"event": "coupled", "couples": 1}, happened)
        self.assertEqual(("finished", 1), (finished["event"], finished["matched"]))
        self.assertLess(4, finished["packets"])

    async def test_allow(self) -> None:
        """With ``--allow`` others are not served."""
        status, terminal = await self.relay("--json", "--allow", SERVER.public_key.hex())
        await self.assertFailure(self.meet_in_vain(), ConnectError)
        self.assertEqual(0, (await self.leave(status, terminal))[-1]["requested"])

    async def test_limits(self) -> None:
        """It can be told how much there is of it."""
        status, terminal = await self.relay("--json", "--max-peers", "1", "--max-streams", "1")
        await self.assertFailure(self.meet_in_vain(), ConnectError)
        finished = (await self.leave(status, terminal))[-1]
        self.assertEqual((1, 0), (finished["requested"], finished["matched"]))

    async def test_people(self) -> None:
        """People are told the same in words."""
        status, terminal = await self.relay()
        await self.meet()
        status.cancel()
        await self.assertFailure(status, CancelledError)
        for text in ("relay: connected: ", "relay: streams now: 1", "relay: streams: 1, packets: "):
            self.assertIn(text, self.errors.getvalue())
