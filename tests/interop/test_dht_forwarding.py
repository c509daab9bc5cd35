"""JavaScript peers that meet through our nodes: ours pass on their handshakes, and the messages of hole punching."""

from __future__ import annotations

from typing import Any

from tests.interop.dht_support import DHTTestCase, keyed

SERVER = keyed(7)
#: Nodes of ours; three of them are the server's relays, whichever they are.
NODES = 5


class MeetingThroughOurs:
    """In a network of ours alone."""

    async def connect(self: Any, *client: str) -> tuple[Any, Any]:
        """Have a client connect to a server, say something, and hear it come back.  :returns: both processes."""
        network = await self.our_network(NODES)
        common = ("--bootstrap", str(network.bootstrap), "--profile", self.profile)
        server = self.node("hyperdht_server.js", *common, "--seed", SERVER.seed.hex())
        await server.event("listening")
        key = SERVER.public_key.hex()
        peer = self.node("hyperdht_client.js", *common, "--connect", key, "--text", "hello through ours", *client)
        await peer.ended()
        self.assertEqual([], [event for event in peer.events if event["event"] in ("error", "fatal")])
        self.assertGreater(sum(await network.counts("handshakes_forwarded")), 0)
        return server, peer

    async def test_handshake(self: Any) -> None:
        """A client that knows a server's key alone is connected to it, and what it says comes back."""
        server, _ = await self.connect()
        data = await server.event("data")
        self.assertEqual(len("hello through ours"), data["total"])

    async def test_hole_punching(self: Any) -> None:
        """So is one that takes both for unreachable, so that they have to punch holes."""
        server, peer = await self.connect("--firewalled", "true", "--local-connection", "false")
        await server.event("data")
        self.assertTrue(peer.events)


class SpaceswarmMeetingTests(MeetingThroughOurs, DHTTestCase):
    """In a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmMeetingTests(MeetingThroughOurs, DHTTestCase):
    """In a Hyperswarm network."""

    profile = "hyperswarm"
