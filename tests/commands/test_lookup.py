"""``spaceswarm lookup``."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.codec.key_text import encode_key
from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht.replies import Replies
from spaceswarm_proxy.errors import NetworkUnreachableError
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.topics import topic
from tests.commands.dht_support import DHTCommandCase, events

ROOM = "a room"
RELAY = HostPort("10.0.0.1", 1)


class LookupTests(DHTCommandCase):
    """Who is there."""

    async def announce(self, key_pair: KeyPair, target: bytes, *relays: HostPort) -> None:
        node = self.net.node()
        await node.ready()
        await node.announce(target, key_pair, relays).finished()

    async def test_peers(self) -> None:
        """Each peer is told once, however many nodes know it: its key and its relays."""
        alice, bob = KeyPair.generate(), KeyPair.generate()
        await self.announce(alice, topic(ROOM), RELAY)
        await self.announce(bob, topic(ROOM))
        lines = (await self.output("lookup", ROOM)).decode().splitlines()
        self.assertEqual({f"{alice.public_key.hex()} {RELAY}", bob.public_key.hex()}, set(lines))
        self.assertEqual(2, len(lines))
        self.assertIn("lookup: 2 found; 3 nodes have answered, 0 have not\n", self.errors.getvalue())

    async def test_json(self) -> None:
        """Programs get an object for each, and at the end how many there were."""
        alice = KeyPair.generate()
        await self.announce(alice, topic(ROOM), RELAY)
        peer, finished = await self.told("lookup", ROOM)
        self.assertIn(HostPort.parse(peer.pop("from")), [node.address for node in self.net.nodes])
        wanted = {"event": "peer", "public_key": alice.public_key.hex(), "relay_addresses": [str(RELAY)]}
        self.assertEqual(wanted, peer)
        self.assertEqual({"event": "finished", "peers": 1, "answered": 3, "failed": 0}, finished)

    async def test_nobody(self) -> None:
        """That nobody is there is an answer."""
        self.assertEqual(b"", await self.output("lookup", ROOM))
        self.assertIn("lookup: nobody found; 3 nodes have answered", self.errors.getvalue())

    async def test_peer(self) -> None:
        """A peer is found by its key alone, however that is written."""
        alice = KeyPair.generate()
        await self.announce(alice, hash32(alice.public_key), RELAY)
        key = alice.public_key.hex()
        for text in (key, encode_key(alice.public_key), f"pear://{key}"):
            self.assertEqual(f"{key} {RELAY}\n".encode(), await self.output("lookup", "--peer", text))

    async def test_no_such_peer(self) -> None:
        """Whom nobody knows is not found."""
        (finished,) = await self.told("lookup", "--peer", "0" * 64)
        self.assertEqual(0, finished["peers"])

    async def test_lost(self) -> None:
        """When the network is gone by the time that it is asked, that is an error, and not that nobody is there."""
        silence: Replies[Any] = Replies()
        silence.end(None)
        self.patch(DHTNode, "lookup", lambda node, topic: silence)
        _, error = await self.refused(NetworkUnreachableError, "lookup", ROOM)
        self.assertEqual("network-unreachable", error["code"])

    async def test_cancelled(self) -> None:
        """Ctrl-C ends it at once."""
        status, terminal = self.visit("lookup", ROOM)
        status.cancel()
        failure: Any = await status.addErrback(lambda failure: failure.type.__name__)
        self.assertEqual(("CancelledError", b""), (failure, await terminal.ended))

    async def test_process(self) -> None:
        """As the shell runs it: standard output is all JSON, and its end is the last line."""
        child = self.spawn("lookup", ROOM, "--host", "127.0.0.1", "--bootstrap", self.bootstrap, "--json")
        self.assertEqual(0, await child.status)
        names = [event["event"] for event in events(child.output)]
        self.assertEqual((["listening", "ready", "finished"], b""), (names, child.errors))
