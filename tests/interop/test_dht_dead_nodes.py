"""Nodes that vanish from networks of ours and theirs."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.dht.contact import address_of
from tests.interop.dht_crossing import KEY, KEY_PAIR
from tests.interop.dht_support import SIZE, TOPIC, DHTTestCase, collected, each, facts, their_table, until
from tests.interop.proxy_support import eventually

#: Nodes that vanish: the first one, where others begin, and another.
GONE = (0, 11)
#: Of a network that has enough without them.
LARGER = SIZE + 2 * len(GONE)


class DeadNodes:
    """Those that are left go on."""

    async def test_theirs(self: Any) -> None:
        """That JavaScript nodes die, even the one at which we began, costs our queries a moment, and nothing else."""
        network = await self.their_network(LARGER)
        node = await self.our_node(network.bootstrap)
        await network.kill(*GONE)
        self.impatient()
        announcing = node.announce(TOPIC, KEY_PAIR)
        await announcing.finished()
        gone = {network.nodes[index] for index in GONE}
        self.assertEqual((SIZE, set()), (announcing.stored, set(announcing.closest) & gone))
        other = self.our_new_node(network.nodes[5])
        replies = await collected(other.lookup(TOPIC))
        self.assertEqual({KEY.hex()}, {facts(peer)[0] for reply in replies for peer in reply.value.peers})
        self.assertLessEqual({reply.node for reply in replies}, set(announcing.closest))

    async def test_ours(self: Any) -> None:
        """That nodes of ours are closed, even the one at which all began, keeps JavaScript nodes from nothing."""
        network = await self.our_network(LARGER)
        theirs = await self.their_network(1, bootstrap=network.bootstrap)
        await self.they_announce(network.bootstrap, seed=KEY_PAIR.seed)
        await each(network.net.nodes[index].close() for index in GONE)
        theirs.tell("find", topic=TOPIC.hex(), public_keys=[], targets=[])
        self.assertEqual([KEY.hex()], (await theirs.process.event("found"))["peers"])

    async def test_forgotten(self: Any) -> None:
        """A node that has not answered a query is not in our table any more."""
        network = await self.their_network(6)
        node = await self.our_node(network.bootstrap)
        await network.kill(5)
        self.impatient()
        await node.find_node(TOPIC).finished()
        # Others may have come: a port that a test has given back is asked for a while by whoever knew its node.
        self.assertLessEqual(set(network.nodes[:5]), set(node.closest(count=1000)))
        self.assertNotIn(network.nodes[5], node.closest(count=1000))

    async def test_told_by_theirs(self: Any) -> None:
        """When a JavaScript client tells our node that another is down, it looks, and forgets that one only."""
        network = await self.our_network(4)
        self.impatient()
        asked, gone, *_ = network.net.nodes
        here, there, *others = network.nodes
        await gone.close()
        for node in there, others[0]:
            answer = await self.they_ask(here, "raw", internal=True, command=3, value=address_of(*node))
            self.assertEqual((0, None), (answer["error"], answer["value"]))
        await eventually(lambda: there not in asked.closest())
        self.assertLessEqual(set(others), set(asked.closest()))


class SpaceswarmDeadNodesTests(DeadNodes, DHTTestCase):
    """In a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmDeadNodesTests(DeadNodes, DHTTestCase):
    """In a Hyperswarm network."""

    profile = "hyperswarm"


class HintTests(DHTTestCase):
    """What we tell JavaScript nodes; once, as a profile makes no difference and they take their time."""

    profile = "hyperswarm"

    async def test_told_by_ours(self) -> None:
        """JavaScript nodes that have named a dead node to us look themselves, as we tell them, and forget it."""
        self.impatient()
        network = await self.their_network(6)
        node = await self.our_node(network.bootstrap)
        await network.kill(5)
        await node.find_node(TOPIC).finished()

        async def forgotten() -> bool:
            return not any(network.nodes[5] in their_table(other) for other in await network.info())

        await until(forgotten)
