"""Single requests of JavaScript clients to our nodes."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.crypto.hashing import hash32
from tests.interop.dht_crossing import VALUE
from tests.interop.dht_support import TOPIC, DHTTestCase, each, host_port

SIZE = 4
NO_TOKEN = bytes(32)


class Requests:
    """Requests that JavaScript clients make."""

    async def setUp(self: Any) -> None:
        self.network = await self.our_network(SIZE)
        self.asked = self.network.net.nodes[1]
        self.others = set(self.network.nodes) - {self.asked.address}

    def ask(self: Any, *words: str, **options: Any) -> Any:
        """Have one of our nodes asked."""
        return self.they_ask(self.asked.address, *words, **options)

    async def test_pings(self: Any) -> None:
        """We answer pings of any size with our id, and those that shall be delayed when their time has come."""
        plain, large, delayed = await each(
            [self.ask("ping"), self.ask("ping", size=1200), self.ask("delayed-ping", delay=300)]
        )
        for answer in plain, large, delayed:
            self.assertEqual((0, None, None), (answer["error"], answer["value"], answer["token"]))
            node = answer["from"]
            self.assertEqual((self.asked.address, self.asked.node_id.hex()), (host_port(node), node["id"]))
        self.assertGreaterEqual(delayed["rtt"], 300)
        self.assertLess(max(plain["rtt"], large["rtt"]), delayed["rtt"])

    async def test_find_node(self: Any) -> None:
        """We name the nodes that we know, and give no token."""
        answer = await self.ask("find-node", target=TOPIC)
        self.assertEqual(self.others, set(map(host_port, answer["closer_nodes"])))
        self.assertEqual((0, None), (answer["error"], answer["token"]))

    async def test_unknown_command(self: Any) -> None:
        """We answer what we do not know with error 1, and with nearer nodes if there is a target."""
        answers = await each(
            [
                self.ask("raw", command=99, target=TOPIC),
                self.ask("raw", command=99, target=TOPIC, internal=True),
                self.ask("raw", command=300),
            ]
        )
        self.assertEqual([1, 1, 1], [answer["error"] for answer in answers])
        named = [set(map(host_port, answer["closer_nodes"] or ())) for answer in answers]
        self.assertEqual([self.others, self.others, set()], named)

    async def test_token(self: Any) -> None:
        """We answer a wrong token with error 2 and a good one, which is good for all commands from that host."""
        refused = await self.ask("raw", command=3, target=TOPIC, token=NO_TOKEN)
        self.assertEqual((2, None), (refused["error"], refused["value"]))
        self.assertEqual(self.others, set(map(host_port, refused["closer_nodes"])))
        token = bytes.fromhex(refused["token"])
        put = await self.ask("raw", command=8, target=hash32(VALUE), value=VALUE, token=token)
        self.assertEqual((0, 1), (put["error"], self.asked.stats.immutable_values))

    async def test_silence(self: Any) -> None:
        """We do not answer what lacks a field, or is not signed."""
        answers = await each(
            [
                self.ask("raw", command=3, no_retry=True),
                self.ask("raw", command=2, internal=True, no_retry=True),
                self.ask("raw", command=4, target=TOPIC, value=VALUE, no_retry=True),
                self.ask("raw", command=7, target=TOPIC, no_retry=True),
            ]
        )
        self.assertEqual(["timeout"] * 4, [answer["event"] for answer in answers])
        self.assertEqual(4, self.asked.stats.silences)


class SpaceswarmTests(Requests, DHTTestCase):
    """In a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmTests(Requests, DHTTestCase):
    """In a Hyperswarm network."""

    profile = "hyperswarm"
