"""What a JavaScript client and one of ours store, and find of each other, whosever network it is kept in."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.errors import SequenceReusedError, SequenceTooLowError
from tests.interop.dht_support import (
    RELAYS,
    SIZE,
    TOPIC,
    collected,
    each,
    facts,
    host_port,
    keyed,
    milliseconds,
    their_facts,
)

KEY_PAIR = keyed(1)
KEY = KEY_PAIR.public_key
SELF = hash32(KEY)
VALUE, OTHER_VALUE = b"a value", bytes(range(256)) * 3


class Crossing:
    """Tests in a network of :data:`SIZE` persistent nodes."""

    async def network(self: Any) -> Any:
        """The nodes: ours, or theirs."""
        raise NotImplementedError

    async def kept(self: Any, network: Any, name: str, count: int) -> None:
        """Each node keeps so many."""
        self.assertEqual([count] * SIZE, await network.counts(name))

    async def test_our_announce(self: Any) -> None:
        """They find whom we announce, with its relays and its bump, at every node; once we take it back, no more."""
        network = await self.network()
        node = await self.our_node(network.bootstrap)
        bump = milliseconds()
        announcing = node.announce(TOPIC, KEY_PAIR, RELAYS, bump=bump)
        await announcing.finished()
        self.assertEqual((SIZE, set(network.nodes)), (announcing.stored, set(announcing.closest)))
        await self.kept(network, "topic_records", 1)
        replies, done = await self.their_lookup(network.bootstrap, topic=TOPIC)
        self.assertEqual([[(KEY.hex(), RELAYS)]] * SIZE, [list(map(their_facts, reply["peers"])) for reply in replies])
        self.assertEqual({bump}, {reply["bump"] for reply in replies})
        self.assertEqual(list(announcing.closest), list(map(host_port, done["closest"])))
        await node.unannounce(TOPIC, KEY_PAIR)
        await self.kept(network, "topic_records", 0)
        self.assertEqual([], (await self.their_lookup(network.bootstrap, topic=TOPIC))[0])

    async def test_their_announce(self: Any) -> None:
        """We find whom they announce, with its relays and its bump, at every node; once they take it back, no more."""
        network = await self.network()
        node = await self.our_node(network.bootstrap)
        bump = milliseconds()
        done = await self.they_announce(network.bootstrap, seed=KEY_PAIR.seed, relays=RELAYS, bump=bump)
        await self.kept(network, "topic_records", 1)
        looking = node.lookup(TOPIC)
        replies = await collected(looking)
        self.assertEqual([[(KEY.hex(), RELAYS)]] * SIZE, [list(map(facts, reply.value.peers)) for reply in replies])
        self.assertEqual({bump}, {reply.value.bump for reply in replies})
        self.assertEqual(list(map(host_port, done["closest"])), list(looking.closest))
        await self.they_announce(network.bootstrap, seed=KEY_PAIR.seed, unannounce=True)
        await self.kept(network, "topic_records", 0)
        self.assertEqual([], await collected(node.lookup(TOPIC)))

    async def test_announced_together(self: Any) -> None:
        """Under one topic each of us finds both, and the highest bump that is not from the future."""
        network = await self.network()
        node = await self.our_node(network.bootstrap)
        bump = milliseconds()
        they = await self.they_announce(network.bootstrap, bump=bump)
        for other_bump in bump - 1, bump + 600_000:
            await node.announce(TOPIC, KEY_PAIR, bump=other_bump).finished()
        both = {KEY.hex(), they["public_key"]}
        (their_replies, _), our_replies = await each(
            [self.their_lookup(network.bootstrap, topic=TOPIC), collected(node.lookup(TOPIC))]
        )
        for reply in their_replies:
            self.assertEqual((both, bump), ({peer["public_key"] for peer in reply["peers"]}, reply["bump"]))
        for reply in our_replies:
            self.assertEqual((both, bump), ({facts(peer)[0] for peer in reply.value.peers}, reply.value.bump))
        self.assertEqual((SIZE, SIZE), (len(their_replies), len(our_replies)))
        await node.unannounce(TOPIC, KEY_PAIR)
        _, done = await self.their_lookup(network.bootstrap, topic=TOPIC)
        self.assertEqual([they["public_key"]], done["public_keys"])

    async def test_more_than_are_told(self: Any) -> None:
        """Of many under a topic each reply tells of twenty; who is not among them can be taken back all the same."""
        network = await self.network()
        node = await self.our_node(network.bootstrap)
        await each(node.announce(TOPIC, keyed(seed)).finished() for seed in range(2, 26))
        await self.they_announce(network.bootstrap, seed=KEY_PAIR.seed)
        await self.kept(network, "topic_records", 25)
        replies, _ = await self.their_lookup(network.bootstrap, topic=TOPIC)
        self.assertEqual([20] * SIZE, [len(reply["peers"]) for reply in replies])
        replies = await collected(node.lookup(TOPIC))
        self.assertEqual([20] * SIZE, [len(reply.value.peers) for reply in replies])
        await self.they_announce(network.bootstrap, seed=KEY_PAIR.seed, unannounce=True)
        await self.kept(network, "topic_records", 24)
        await node.unannounce(TOPIC, keyed(2))
        await self.kept(network, "topic_records", 23)

    async def test_self_announces(self: Any) -> None:
        """Whoever announces itself by its key is found by its key, there and here."""
        network = await self.network()
        node = await self.our_node(network.bootstrap)
        await node.announce(SELF, KEY_PAIR, RELAYS).finished()
        they = await self.they_announce(network.bootstrap, self=True)
        await self.kept(network, "forwards", 2)
        await self.kept(network, "topic_records", 0)
        theirs, (our_replies, _), by_topic = await each(
            [
                collected(node.find_peer(bytes.fromhex(they["public_key"]))),
                self.their_lookup(network.bootstrap, find_peer=KEY),
                collected(node.lookup(SELF)),
            ]
        )
        self.assertEqual([(they["public_key"], ())] * SIZE, [facts(reply.value) for reply in theirs])
        self.assertEqual([(KEY.hex(), RELAYS)] * SIZE, [their_facts(reply["peer"]) for reply in our_replies])
        self.assertEqual([[(KEY.hex(), RELAYS)]] * SIZE, [list(map(facts, reply.value.peers)) for reply in by_topic])
        await node.unannounce(SELF, KEY_PAIR)
        await self.kept(network, "forwards", 1)

    async def test_their_server(self: Any) -> None:
        """A listening server of theirs is found at the three nodes that are its relays, until it ends."""
        network = await self.network()
        node = await self.our_node(network.bootstrap)
        server = self.script("dht_announce.js", bootstrap=network.bootstrap, seed=KEY_PAIR.seed, server=True)
        # One that has found out that it can be reached is its own relay, too.
        own = host_port(await server.event("ready"))
        listening = await server.event("listening")
        self.assertEqual(SELF.hex(), listening["target"])
        replies = await collected(node.find_peer(KEY))
        self.assertEqual([(KEY.hex(), ())] * 3, [facts(reply.value) for reply in replies])
        relays = set(map(host_port, listening["relay_addresses"])) - {own}
        self.assertLessEqual(relays, {reply.node for reply in replies})
        self.assertEqual(3, sum(await network.counts("forwards")))
        await server.stop()
        self.assertEqual([], await collected(node.find_peer(KEY)))

    async def test_immutable_values(self: Any) -> None:
        """What either of us stores under its hash, the other finds; what nobody has stored, nobody finds."""
        network = await self.network()
        node = await self.our_node(network.bootstrap)
        stored, their_put = await each(
            [node.immutable_put(VALUE), self.they_put(network.bootstrap, "immutable", value=OTHER_VALUE)]
        )
        self.assertEqual((SIZE, hash32(OTHER_VALUE).hex()), (stored.copies, their_put["target"]))
        await self.kept(network, "immutable_values", 2)
        theirs, ours, nothing, nor_theirs = await each(
            [
                node.immutable_get(hash32(OTHER_VALUE)),
                self.they_get(network.bootstrap, "immutable", target=stored.target),
                node.immutable_get(TOPIC),
                self.they_get(network.bootstrap, "immutable", target=TOPIC),
            ]
        )
        self.assertEqual((OTHER_VALUE, VALUE.hex()), (theirs.value, ours["value"]))
        self.assertEqual((None, False), (nothing, nor_theirs["found"]))

    async def test_mutable_values(self: Any) -> None:
        """Either of us can replace what is stored under a key; nobody can go back, or change what has a number."""
        network = await self.network()
        node = await self.our_node(network.bootstrap)
        self.assertEqual(SIZE, (await node.mutable_put(KEY_PAIR, VALUE, 1)).copies)
        got = await self.they_get(network.bootstrap, "mutable", public_key=KEY)
        self.assertEqual((1, VALUE.hex()), (got["seq"], got["value"]))
        await self.they_put(network.bootstrap, "mutable", seed=KEY_PAIR.seed, value=OTHER_VALUE, seq=2)
        reply = await node.mutable_get(KEY)
        self.assertEqual((2, OTHER_VALUE), (reply.value.seq, reply.value.value))
        self.assertIsNone(await node.mutable_get(KEY, 3))
        await self.assertFailure(node.mutable_put(KEY_PAIR, VALUE, 1), SequenceTooLowError)
        await self.assertFailure(node.mutable_put(KEY_PAIR, VALUE, 2), SequenceReusedError)
        for seq in 1, 2:
            await self.they_put(network.bootstrap, "mutable", seed=KEY_PAIR.seed, value=VALUE, seq=seq)
        self.assertEqual(OTHER_VALUE, (await node.mutable_get(KEY)).value.value)
        await self.kept(network, "mutable_values", 1)
