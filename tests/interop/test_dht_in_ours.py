"""JavaScript nodes in a network of our DHT nodes."""

from __future__ import annotations

from typing import Any

from tests.interop.dht_crossing import KEY, KEY_PAIR, Crossing
from tests.interop.dht_support import (
    OTHER_RELAYS,
    RELAYS,
    SIZE,
    TOPIC,
    DHTTestCase,
    OurNetwork,
    TheirNetwork,
    collected,
    host_port,
    their_facts,
    their_table,
)


class StoredByOurs(Crossing):
    """What is stored by our nodes."""

    async def network(self: Any) -> OurNetwork:
        return await self.our_network(SIZE)

    async def test_other_relays(self: Any) -> None:
        """We keep the relays that they announce first, unless they clear them."""
        network = await self.network()
        attempts = (RELAYS, {}, RELAYS), (OTHER_RELAYS, {}, RELAYS), (OTHER_RELAYS, {"clear": True}, OTHER_RELAYS)
        for relays, options, told in attempts:
            await self.they_announce(network.bootstrap, seed=KEY_PAIR.seed, relays=relays, **options)
            replies, _ = await self.their_lookup(network.bootstrap, topic=TOPIC)
            records = [their_facts(peer) for reply in replies for peer in reply["peers"]]
            self.assertEqual([(KEY.hex(), told)] * SIZE, records)


class SpaceswarmStoredByOursTests(StoredByOurs, DHTTestCase):
    """In a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmStoredByOursTests(StoredByOurs, DHTTestCase):
    """In a Hyperswarm network."""

    profile = "hyperswarm"


class MembersOfOurs:
    """What JavaScript nodes are among ours."""

    async def test_one_of_ours_alone(self: Any) -> None:
        """JavaScript nodes that know one of ours and nobody else find it, and through it each other."""
        ours = await self.our_network(1)
        theirs = await self.their_network(5, bootstrap=ours.bootstrap)
        everybody = {ours.bootstrap, *theirs.nodes}
        self.assertTrue(await ours.know(*theirs.nodes))
        for node in await theirs.info():
            self.assertFalse(node["ephemeral"])
            self.assertLessEqual(everybody - {host_port(node)}, their_table(node))
        _, done = await self.their_lookup(ours.bootstrap, find_node=TOPIC)
        self.assertEqual(everybody, set(map(host_port, done["closest"])))

    async def test_ephemeral_one_alone(self: Any) -> None:
        """One of ours that is ephemeral is as good to begin at, though it stores nothing and is nobody's neighbour."""
        ours = await self.our_network(4)
        beginning = await self.our_node(ours.bootstrap)
        done = await self.they_announce(beginning.address, seed=KEY_PAIR.seed)
        self.assertEqual(set(ours.nodes), set(map(host_port, done["closest"])))
        replies, done = await self.their_lookup(beginning.address, topic=TOPIC)
        self.assertEqual(set(ours.nodes), {host_port(reply["from"]) for reply in replies})
        self.assertEqual((4, 1), (done["successes"], done["errors"]))
        refused = await self.they_ask(beginning.address, "raw", command=3, target=TOPIC)
        self.assertEqual((1, None, None), (refused["error"], refused["token"], refused["from"]["id"]))
        self.assertEqual(set(ours.nodes), set(map(host_port, refused["closer_nodes"])))

    async def test_persistent(self: Any) -> None:
        """A persistent JavaScript node is in all our tables, and stores what our clients announce."""
        ours = await self.our_network(6)
        await self.is_member(ours, await self.their_network(1, bootstrap=ours.bootstrap))

    async def test_probed(self: Any) -> None:
        """We try for a JavaScript node whether it can be reached; when it can, it becomes persistent."""
        ours = await self.our_network(6)
        await self.is_member(ours, await self.their_network(1, bootstrap=ours.bootstrap, firewalled=True))

    async def is_member(self: Any, ours: OurNetwork, theirs: TheirNetwork) -> None:
        """We know their node, and our clients choose it."""
        (address,), (id,) = theirs.nodes, theirs.ids
        self.assertEqual([False], [node["firewalled"] for node in await theirs.info()])
        self.assertTrue(await ours.know(address))
        node = await self.our_node(ours.bootstrap)
        announcing = node.announce(id, KEY_PAIR)
        await announcing.finished()
        self.assertEqual((7, address), (announcing.stored, announcing.closest[0]))
        self.assertEqual([1], await theirs.counts("topic_records"))
        self.assertIn((address, id), [(reply.node, reply.node_id) for reply in await collected(node.lookup(id))])


class SpaceswarmMembersOfOursTests(MembersOfOurs, DHTTestCase):
    """In a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmMembersOfOursTests(MembersOfOurs, DHTTestCase):
    """In a Hyperswarm network."""

    profile = "hyperswarm"
