"""A real server among JavaScript peers, with clients of every kind: who should meet meets, and nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from spaceswarm_proxy._reactor import or_global
from tests.interop.crowd_support import Crowds, Member, Pair, crowd_process, pairs
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
#: Of these a node remembers some, within bounds, whoever is there: addresses, and how streams have ended.
REMEMBERED = {"spaceswarm_proxy.interfaces.HostPort", "spaceswarm_proxy.udx.notes.Note"}


def peers(number: int) -> list[Member]:
    """JavaScript peers, in five topics each.  :param number: of the round, which is part of their names."""
    topics = [frozenset((n + 4 * step) % TOPICS for step in range(5)) for n in range(PEERS)]
    return [Member(f"peer-{n}.{number}", "peer", False, each) for n, each in enumerate(topics)]


def clients(number: int) -> list[Member]:
    """Fifty of them, in two topics each; some have both in common.  JavaScript clients only look."""
    kinds = [("tcp", True)] * OURS + [("ws", True)] * OURS + [("tcp", False)] * THEIRS + [("ws", False)] * THEIRS
    return [
        Member(f"client-{n}.{number}", kind, ours, frozenset({n % TOPICS, (7 * n + 3) % TOPICS}), announced=ours)
        for n, (kind, ours) in enumerate(kinds)
    ]


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
        second = await self.nothing_left(before)
        grown = second.objects - first.objects
        self.assertEqual({}, {kind: count for kind, count in grown.items() if kind not in REMEMBERED})
        self.assertLess(second.memory, first.memory * (1 + GROWTH))
        self.service.signal("TERM")
        self.assertEqual((0, ""), (await self.service.ended, self.service.errors))
        self.assertNotIn("Traceback", self.service.output)

    async def begin(self: Any) -> None:
        """A network, a server in it, and a process for the ends of either kind."""
        net = await self.their_network(NODES)
        where = ["--profile", self.profile, "--bootstrap", str(net.bootstrap), "--host", LOOPBACK, "--port", "0"]
        listen = ["--listen", "tcp:0:interface=127.0.0.1", "--listen", "ws:0", "--identity-grace", "0"]
        self.service = ObservedTwistd(or_global(None), self.mktemp(), "spaceswarm-proxy", *where, *listen)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.service.kill()))
        ports = {kind: await self.service.port(kind) for kind in ("tcp", "ws")}
        options = {"profile": self.profile, "bootstrap": [str(net.bootstrap)], **ports}
        self.crowd_of = {ours: crowd_process(ours, f"crowd, ours: {ours}", options) for ours in (True, False)}
        for crowd in self.crowd_of.values():
            self.addCleanup(crowd.process.stop)
        self.crowds = Crowds(self.crowd_of.values())

    # A round.

    async def everybody_meets(self: Any, number: int) -> None:
        """They come, meet, send each other something, and go."""
        everybody = [*peers(number), *clients(number)]
        expected = pairs(everybody)
        self.assertGreater(len(expected), 5 * len(everybody))
        await self.come(peers(number), clients(number))
        self.crowds.round(number, PAYLOAD)
        await self.come_about(lambda: expected - self.crowds.exchanged(number))
        self.assertEqual(expected, self.crowds.exchanged(number))
        await self.come_about(lambda: other_than_one(self.crowds.open(expected)))
        # Of two that can both be found, both may dial, and have a connection for a moment that does not last.
        dialled_once = expected - pairs(member for member in everybody if member.announced)
        self.assertEqual(set(), other_than_one(self.crowds.met(dialled_once)))
        self.assertEqual([], self.crowds.problems())
        await gatherResults([crowd.leave() for crowd in self.crowds.crowds])

    async def come(self: Any, peers: list[Member], clients: list[Member]) -> None:
        """Who only looks does so every ten minutes, and so comes after those who are found."""
        await self.begin_all(peers)
        await self.begin_all(client for client in clients if client.announced)
        await self.begin_all(client for client in clients if not client.announced)

    async def begin_all(self: Any, members: Iterable[Member]) -> None:
        """They begin at the same time."""
        crowds = [self.crowd_of[member.ours].begin(member) for member in members]
        await gatherResults([crowd.process.event("begun") for crowd in crowds])

    async def come_about(self: Any, missing: Callable[[], set[Pair]]) -> None:
        """:param missing: those of whom something is not yet as it shall be."""
        try:
            await eventually(lambda: not missing())
        except AssertionError:
            raise AssertionError(f"not as it shall be: {sorted(missing())}") from None

    async def nothing_left(self: Any, before: Census) -> Census:
        """The server has nothing more than it had before anybody came.  :returns: what it has."""
        seen: list[Census] = []

        async def as_before() -> bool:
            seen.append(await self.service.census())
            return bool(seen[-1] == before)

        try:
            await until(as_before)
        except AssertionError:
            raise AssertionError(f"before: {before}\nnow: {seen[-1]}") from None
        return seen[-1]


def other_than_one(counts: dict[Pair, int]) -> set[Pair]:
    """:returns: those whose count is another."""
    return {pair for pair, count in counts.items() if count != 1}


class SpaceswarmTests(MixedTests, DHTTestCase):
    """On a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmTests(MixedTests, DHTTestCase):
    """On a Hyperswarm network."""

    profile = "hyperswarm"
