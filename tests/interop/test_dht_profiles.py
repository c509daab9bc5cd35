"""Our nodes and JavaScript nodes of the other profile: what is not signed works, the rest is refused in silence."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.dht import writes
from spaceswarm_proxy.errors import NotStoredError
from tests.interop.dht_crossing import KEY, KEY_PAIR, VALUE
from tests.interop.dht_support import OTHER_PROFILE, TOPIC, DHTTestCase, OurNetwork, collected, each, facts
from tests.interop.proxy_support import eventually

SIZE = 4


class Strangers:
    """We have :attr:`profile`, they the other one."""

    @property
    def their_profile(self: Any) -> str:
        return OTHER_PROFILE[self.profile]

    async def test_among_theirs(self: Any) -> None:
        """Among them we are a node like any other, and immutable values are stored and found both ways."""
        network = await self.their_network(SIZE)
        node = await self.our_persistent_node(network.bootstrap)
        self.assertTrue(await network.know(node.address))
        pong = await node.ping(*network.nodes[1])
        self.assertEqual((network.ids[1], node.address), (pong.node_id, pong.to))
        self.assertEqual(SIZE, (await node.immutable_put(VALUE)).copies)
        got = await self.they_get(network.bootstrap, "immutable", target=hash32(VALUE))
        self.assertEqual(VALUE.hex(), got["value"])
        await self.they_put(network.bootstrap, "immutable", value=KEY)
        self.assertEqual(1, node.stats.immutable_values)
        self.assertEqual(KEY, (await node.immutable_get(hash32(KEY))).value)

    async def test_found_among_theirs(self: Any) -> None:
        """Among them we find peers, as nobody signs what a lookup answers, but no mutable value: we trust none."""
        network = await self.their_network(SIZE)
        node = await self.our_node(network.bootstrap)
        await self.they_announce(network.bootstrap, seed=KEY_PAIR.seed)
        await self.they_put(network.bootstrap, "mutable", seed=KEY_PAIR.seed, value=VALUE)
        self.assertEqual([1] * SIZE, await network.counts("mutable_values"))
        replies = await collected(node.lookup(TOPIC))
        self.assertEqual([[(KEY.hex(), ())]] * SIZE, [list(map(facts, reply.value.peers)) for reply in replies])
        self.assertIsNone(await node.mutable_get(KEY))

    async def test_refused_by_theirs(self: Any) -> None:
        """They leave our announces and mutable values unanswered, and store none of them."""
        self.impatient()
        self.patch(writes, "RETRIES", 0)
        network = await self.their_network(SIZE)
        node = await self.our_node(network.bootstrap)
        for refused in node.announce(TOPIC, KEY_PAIR).finished(), node.mutable_put(KEY_PAIR, VALUE):
            problem = await self.assertFailure(refused, NotStoredError)
            self.assertEqual(f"none of {SIZE} nodes has confirmed it", str(problem))
        for name in "topic_records", "mutable_values":
            self.assertEqual([0] * SIZE, await network.counts(name))

    async def test_among_ours(self: Any) -> None:
        """Among us they are nodes like any other, and immutable values are stored and found both ways."""
        network = await self.our_network(SIZE)
        theirs = await self.their_network(1, bootstrap=network.bootstrap)
        self.assertTrue(await network.know(*theirs.nodes))
        await self.they_put(network.bootstrap, "immutable", value=KEY)
        await (await self.our_node(network.bootstrap)).immutable_put(VALUE)
        for counts in await network.counts("immutable_values"), await theirs.counts("immutable_values"):
            self.assertEqual({2}, set(counts))
        got = await self.they_get(network.bootstrap, "immutable", target=hash32(VALUE))
        self.assertEqual(VALUE.hex(), got["value"])

    async def test_found_among_ours(self: Any) -> None:
        """Among us they find peers, but no mutable value."""
        network = await self.our_network(SIZE)
        node = await self.our_node(network.bootstrap)
        await each([node.announce(TOPIC, KEY_PAIR).finished(), node.mutable_put(KEY_PAIR, VALUE)])
        replies, _ = await self.their_lookup(network.bootstrap, topic=TOPIC)
        got = await self.they_get(network.bootstrap, "mutable", public_key=KEY)
        self.assertEqual([KEY.hex()] * SIZE, [peer["public_key"] for reply in replies for peer in reply["peers"]])
        self.assertFalse(got["found"])

    async def test_announce_refused_by_ours(self: Any) -> None:
        """We leave their announces unanswered, and store none of them."""
        network = await self.our_network(SIZE)
        self.client("dht_announce.js", bootstrap=network.bootstrap, topic=TOPIC)
        await self.refused(network, "topic_records")

    async def test_value_refused_by_ours(self: Any) -> None:
        """We leave their mutable values unanswered, and store none of them."""
        network = await self.our_network(SIZE)
        self.client("dht_put_get.js", "mutable-put", bootstrap=network.bootstrap, seed=KEY_PAIR.seed, value=VALUE)
        await self.refused(network, "mutable_values")

    async def refused(self: Any, network: OurNetwork, name: str) -> None:
        """Each node has been asked, and has not answered."""
        await eventually(lambda: all(node.stats.silences for node in network.net.nodes))
        self.assertEqual([0] * SIZE, await network.counts(name))


class SpaceswarmTests(Strangers, DHTTestCase):
    """Spaceswarm nodes of ours, Hyperswarm nodes of theirs."""

    profile = "spaceswarm"


class HyperswarmTests(Strangers, DHTTestCase):
    """Hyperswarm nodes of ours, Spaceswarm nodes of theirs."""

    profile = "hyperswarm"
