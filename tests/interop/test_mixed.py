"""A real server among JavaScript peers, with clients of every kind at once: who should meet meets, and nothing is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from spaceswarm_proxy._reactor import or_global
from tests.interop.crowd_support import Crowd, Member, Pair, crowd_process, pairs
from tests.interop.dht_support import LOOPBACK, DHTTestCase, until
from tests.interop.proxy_support import eventually
from tests.service.observed import Census, ObservedTwistd

TOPICS = 20
PEERS = 8
#: Clients of each kind and carrier: ours, and JavaScript ones.
OURS, THEIRS = 10, 15
#: Nodes of the network in between.
NODES = 4
#: Bytes that each sends to each.
PAYLOAD = 20_000
#: By how much memory may have grown from one round to the next.
GROWTH = 0.1


def members() -> list[Member]:
    """Fifty clients in two topics each, some with two in common, and peers in five each; JavaScript clients only look."""
    kinds = [("tcp", True)] * OURS + [("ws", True)] * OURS + [("tcp", False)] * THEIRS + [("ws", False)] * THEIRS
    clients = [
        Member(f"client {n}", kind, ours, frozenset({n % TOPICS, (7 * n + 3) % TOPICS}), announced=ours)
        for n, (kind, ours) in enumerate(kinds)
    ]
    peers = [
        Member(f"peer {n}", "peer", False, frozenset((n + 4 * step) % TOPICS for step in range(5)))
        for n in range(PEERS)
    ]
    return [*peers, *clients]


class MixedTests:
    """All at once."""

    async def test_all_at_once(self: Any) -> None:
        """
        Everyone who should meet meets, each exactly once, and what they send each other arrives as it was.  When all
        have gone, the server is as it was when they had gone the first time.
        """
        await self.begin()
        before = await self.service.census()
        await self.everybody_meets(1)
        first = await self.nothing_left(before)
        await self.everybody_meets(2)
        second = await self.nothing_left(first)
        self.assertEqual(Counter(), second.objects - first.objects)
        self.assertLess(second.memory, first.memory * (1 + GROWTH))
        self.service.signal("TERM")
        self.assertEqual((0, ""), (await self.service.ended, self.service.errors))
        self.assertNotIn("Traceback", self.service.output)

    async def begin(self: Any) -> None:
        net = await self.their_network(NODES)
        where = ["--profile", self.profile, "--bootstrap", str(net.bootstrap), "--host", LOOPBACK, "--port", "0"]
        listen = ["--listen", "tcp:0:interface=127.0.0.1", "--listen", "ws:0", "--identity-grace", "0"]
        self.service = ObservedTwistd(or_global(None), self.mktemp(), "spaceswarm-proxy", *where, *listen)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.service.kill()))
        ports = {kind: await self.service.port(kind) for kind in ("tcp", "ws")}
        options = {"profile": self.profile, "bootstrap": [str(net.bootstrap)], **ports}
        self.crowds = {ours: crowd_process(ours, f"crowd {ours}", options) for ours in (True, False)}
        for crowd in self.crowds.values():
            self.addCleanup(crowd.process.stop)
            await crowd.process.event("ready")

    async def everybody_meets(self: Any, number: int) -> None:
        """They come, meet, send each other something, and go."""
        everybody = members()
        crowds: list[Crowd] = list(self.crowds.values())
        for crowd in crowds:
            crowd.met.clear()
            crowd.open.clear()
        for member in everybody:
            self.crowds[member.ours].begin(member)
        await gatherResults([self.crowds[member.ours].process.event("begun") for member in everybody])
        for crowd in crowds:
            crowd.round(number, PAYLOAD)
        expected = pairs(everybody)
        self.assertGreater(len(expected), 5 * len(everybody))
        await self.come_about(lambda: self.all_exchanged(number) >= expected, lambda: expected - self.all_exchanged(number))
        self.assertEqual(expected, self.all_exchanged(number))
        self.assertEqual(dict.fromkeys(expected, 1), dict(self.all_met()))
        self.assertEqual([], [problem for crowd in crowds for problem in crowd.problems])
        await gatherResults([crowd.leave() for crowd in crowds])

    async def come_about(self: Any, condition: Callable[[], bool], missing: Callable[[], set[Pair]]) -> None:
        """:param missing: what is wrong while the condition does not hold."""
        try:
            await eventually(condition)
        except AssertionError:
            raise AssertionError(f"not met: {sorted(missing())}") from None

    def all_exchanged(self: Any, number: int) -> set[Pair]:
        """Whose bytes of a round have arrived at whom."""
        for crowd in self.crowds.values():
            crowd.look()
        return {pair for crowd in self.crowds.values() for pair in crowd.exchanged.get(number, ())}

    def all_met(self: Any) -> Counter[Pair]:
        """How often who has been connected with whom."""
        return sum((crowd.met for crowd in self.crowds.values()), Counter())

    async def nothing_left(self: Any, before: Census) -> Census:
        """The server has nothing more than it had before.  :returns: what it has."""
        censuses: list[Census] = []

        async def as_before() -> bool:
            censuses.append(await self.service.census())
            return bool(censuses[-1] == before)

        await until(as_before)
        return censuses[-1]


class SpaceswarmTests(MixedTests, DHTTestCase):
    """On a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmTests(MixedTests, DHTTestCase):
    """On a Hyperswarm network."""

    profile = "hyperswarm"
