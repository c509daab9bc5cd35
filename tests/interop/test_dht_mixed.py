"""Networks of JavaScript nodes and ours, half and half."""

from __future__ import annotations

from itertools import chain
from typing import Any

from spaceswarm_proxy.peering.node import DHTNode
from tests.interop.dht_support import (
    PLENTY,
    TOPIC,
    DHTTestCase,
    TheirNetwork,
    collected,
    each,
    facts,
    host_port,
    their_table,
)

HALF = 10


class Mixed:
    """Ten of ours and ten of theirs."""

    async def nodes(self: Any) -> tuple[list[DHTNode], TheirNetwork]:
        """Both kinds."""
        raise NotImplementedError

    async def test_everybody_knows_everybody(self: Any) -> None:
        """Each node has all others in its table, whichever kind they are."""
        ours, theirs = await self.nodes()
        everybody = {*theirs.nodes, *(node.address for node in ours)}
        self.assertEqual(2 * HALF, len(everybody))
        for node in ours:
            self.assertEqual(everybody - {node.address}, set(node.closest(count=100)))
        for their_node in await theirs.info():
            self.assertLessEqual(everybody - {host_port(their_node)}, their_table(their_node))

    async def test_everything_is_found_everywhere(self: Any) -> None:
        """Whatever is stored by any node, records of each kind, is found by every node."""
        ours, theirs = await self.nodes()
        theirs.tell("store", topic=TOPIC.hex())
        stored, *pairs = await each([theirs.process.event("stored"), *map(store, ours)])
        keys = {*stored["public_keys"], *(key for key, _ in pairs)}
        targets = {*stored["targets"], *(target for _, target in pairs)}
        self.assertEqual((2 * HALF, 2 * HALF), (len(keys), len(targets)))
        theirs.tell("find", topic=TOPIC.hex(), public_keys=sorted(keys), targets=sorted(targets))
        found = await each(
            chain((find(node, keys, targets) for node in ours), (their_find(theirs) for _ in theirs.nodes))
        )
        self.assertEqual([(keys, keys, targets)] * 2 * HALF, found)


async def store(node: DHTNode) -> tuple[str, str]:
    """Announce the node's own key, and store a value of each kind: the key, and the immutable value's hash."""
    own = b"of " + node.key_pair.public_key
    await node.announce(TOPIC).finished()
    await node.mutable_put(node.key_pair, own)
    return node.key_pair.public_key.hex(), (await node.immutable_put(own)).target.hex()


async def find(node: DHTNode, keys: set[str], targets: set[str]) -> tuple[set[str], set[str], set[str]]:
    """What one of ours finds: peers, mutable and immutable values."""
    peers = {facts(peer)[0] for reply in await collected(node.lookup(TOPIC)) for peer in reply.value.peers}
    mutable = {key for key in keys if await node.mutable_get(bytes.fromhex(key), latest=False)}
    return peers, mutable, {target for target in targets if await node.immutable_get(bytes.fromhex(target))}


async def their_find(theirs: TheirNetwork) -> tuple[set[str], set[str], set[str]]:
    """What one of theirs does."""
    found = await theirs.process.event("found")
    return set(found["peers"]), set(found["public_keys"]), set(found["targets"])


class SpaceswarmTests(Mixed, DHTTestCase):
    """A Spaceswarm network of ours that they have joined."""

    profile = "spaceswarm"

    async def nodes(self) -> tuple[list[DHTNode], TheirNetwork]:
        ours = await self.our_network(HALF, **PLENTY)
        return ours.net.nodes, await self.their_network(HALF, bootstrap=ours.bootstrap)


class HyperswarmTests(Mixed, DHTTestCase):
    """A Hyperswarm network of theirs that we have joined."""

    profile = "hyperswarm"

    async def nodes(self) -> tuple[list[DHTNode], TheirNetwork]:
        theirs = await self.their_network(HALF)
        return [await self.our_persistent_node(theirs.bootstrap, **PLENTY) for _ in range(HALF)], theirs
