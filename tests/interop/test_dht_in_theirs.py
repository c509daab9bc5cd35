"""Our DHT node in a network of JavaScript nodes."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.dht import joining, upkeep
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.values import MutableRecord, PeerRecord
from spaceswarm_proxy.peering.node import DHTNode
from tests.interop.dht_crossing import KEY, KEY_PAIR, SELF, VALUE, Crossing
from tests.interop.dht_support import (
    LOOPBACK,
    OTHER_RELAYS,
    RELAYS,
    SIZE,
    TOPIC,
    DHTTestCase,
    TheirNetwork,
    collected,
    facts,
    host_port,
    their_table,
    until,
)
from tests.interop.proxy_support import eventually


class StoredByTheirs(Crossing):
    """What is stored by JavaScript nodes."""

    async def network(self: Any) -> TheirNetwork:
        return await self.their_network(SIZE)

    async def test_other_relays(self: Any) -> None:
        """They keep the relays that were announced first, unless we clear them."""
        network = await self.network()
        node = await self.our_node(network.bootstrap)
        attempts = (RELAYS, False, RELAYS), (OTHER_RELAYS, False, RELAYS), (OTHER_RELAYS, True, OTHER_RELAYS)
        for relays, clear, told in attempts:
            await node.announce(TOPIC, KEY_PAIR, relays, clear=clear).finished()
            replies = await collected(node.lookup(TOPIC))
            records = [facts(peer) for reply in replies for peer in reply.value.peers]
            self.assertEqual([(KEY.hex(), told)] * SIZE, records)


class SpaceswarmStoredByTheirsTests(StoredByTheirs, DHTTestCase):
    """In a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmStoredByTheirsTests(StoredByTheirs, DHTTestCase):
    """In a Hyperswarm network."""

    profile = "hyperswarm"


class MemberOfTheirs:
    """What our node is among them."""

    async def test_ephemeral(self: Any) -> None:
        """An ephemeral node gets to know everybody and its own address, and is in nobody's table."""
        network = await self.their_network(SIZE)
        node = await self.our_node(network.bootstrap)
        self.assertEqual((True, True, None), (node.online, node.ephemeral, node.node_id))
        self.assertLessEqual(set(network.nodes), set(node.closest(count=2 * SIZE)))
        self.assertEqual(LOOPBACK, node.public_address.host)
        target = network.ids[3]
        finding = node.find_node(target)
        await finding.finished()
        _, done = await self.their_lookup(network.bootstrap, find_node=target)
        self.assertEqual(network.nodes[3], finding.closest[0])
        self.assertEqual(list(map(host_port, done["closest"])), list(finding.closest))
        self.assertNotIn(node.address, set.union(*map(their_table, await network.info())))

    async def test_persistent(self: Any) -> None:
        """A persistent node is in everybody's table, and is chosen to store what JavaScript clients announce."""
        network = await self.their_network(SIZE)
        node = await self.our_persistent_node(network.bootstrap)
        self.assertEqual(hash32(address_of(*node.address)), node.node_id)
        await self.is_member(node, network)

    async def is_member(self: Any, node: DHTNode, network: TheirNetwork) -> None:
        """The JavaScript nodes know it, and their clients choose it."""
        await until(lambda: network.know(node.address))
        done = await self.they_announce(network.bootstrap, topic=node.node_id, seed=KEY_PAIR.seed)
        self.assertEqual((node.address, node.node_id.hex()), (host_port(done["closest"][0]), done["closest"][0]["id"]))
        self.assertEqual(1, node.stats.topic_records)
        replies, _ = await self.their_lookup(network.bootstrap, topic=node.node_id)
        self.assertIn(node.address, [host_port(reply["from"]) for reply in replies])
        await self.they_announce(network.bootstrap, topic=node.node_id, seed=KEY_PAIR.seed, unannounce=True)
        self.assertEqual(0, node.stats.topic_records)

    async def test_probed(self: Any) -> None:
        """A node that may be behind a firewall asks JavaScript nodes to try, and is persistent if they get through."""
        network = await self.their_network(6)
        node = await self.our_persistent_node(network.bootstrap, firewalled=True)
        self.assertEqual((False, node.address), (node.firewalled, node.public_address))
        await self.is_member(node, network)

    async def test_in_time(self: Any) -> None:
        """A node that was not told what to be becomes persistent when it has been there for long enough."""
        self.patch(joining, "STABLE", 0.0)
        self.patch(upkeep, "TICK", 0.05)
        network = await self.their_network(6)
        node = self.our_new_node(network.bootstrap, ephemeral=None)
        told: list[str] = []
        node.events.on("persistent", lambda: told.append("persistent"))
        await eventually(lambda: told)
        self.assertFalse(node.ephemeral)
        await self.is_member(node, network)

    async def test_values(self: Any) -> None:
        """A persistent node stores what JavaScript clients put, each kind, and is asked for it."""
        network = await self.their_network(6)
        node = await self.our_persistent_node(network.bootstrap)
        put = await self.they_put(network.bootstrap, "immutable", value=VALUE)
        await self.they_put(network.bootstrap, "mutable", seed=KEY_PAIR.seed, value=VALUE, seq=7)
        await self.they_announce(network.bootstrap, self=True, seed=KEY_PAIR.seed)
        stats = node.stats
        self.assertEqual((1, 1, 1), (stats.immutable_values, stats.mutable_values, stats.forwards))
        immutable, mutable, peer = [
            await self.they_ask(node.address, "raw", target=target, **request)
            for target, request in (
                (bytes.fromhex(put["target"]), {"command": 9}),
                (SELF, {"command": 7, "value": b"\x07"}),
                (SELF, {"command": 2}),
            )
        ]
        self.assertEqual(VALUE.hex(), immutable["value"])
        self.assertEqual((7, VALUE), MutableRecord.parse(bytes.fromhex(mutable["value"]))[:2])
        self.assertEqual(PeerRecord(KEY), PeerRecord.parse(bytes.fromhex(peer["value"])))

    async def test_own_record(self: Any) -> None:
        """What a persistent node takes back it does not tell of itself either, whoever has announced it there."""
        network = await self.their_network(6)
        node = await self.our_persistent_node(network.bootstrap)
        for take_back in node.unannounce, lambda *what: node.announce(*what, clear=True).finished():
            await self.they_announce(network.bootstrap, seed=KEY_PAIR.seed)
            self.assertEqual(1, node.stats.topic_records)
            await take_back(TOPIC, KEY_PAIR)
            self.assertEqual(0, node.stats.topic_records)

    async def test_plain_layout(self: Any) -> None:
        """A network whose first node is ephemeral, as the packages' own test networks are, is like any other."""
        network = await self.their_network(5, plain=True)
        first, *others = network.nodes
        node = await self.our_node(network.bootstrap)
        self.assertEqual(set(others), set(node.closest(count=2 * SIZE)))
        announcing = node.announce(TOPIC, KEY_PAIR)
        await announcing.finished()
        self.assertEqual((5, set(others)), (announcing.stored, set(announcing.closest)))
        self.assertEqual([0] + [1] * 5, await network.counts("topic_records"))
        _, done = await self.their_lookup(network.bootstrap, topic=TOPIC)
        self.assertEqual([KEY.hex()], done["public_keys"])
        await self.is_member(await self.our_persistent_node(network.bootstrap), network)


class SpaceswarmMemberOfTheirsTests(MemberOfTheirs, DHTTestCase):
    """In a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmMemberOfTheirsTests(MemberOfTheirs, DHTTestCase):
    """In a Hyperswarm network."""

    profile = "hyperswarm"
