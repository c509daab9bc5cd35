"""Swarms that meet on a network inside this process."""

from __future__ import annotations

from itertools import combinations
from random import Random

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.interfaces import INetwork, PeerAddress
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.swarm import Swarm
from tests.keepers import FakeKeeper, Unsealed
from tests.swarm.fake import TOPIC


class Greeter(Protocol):
    """Says hello, and keeps what it is told."""

    def __init__(self, address: PeerAddress) -> None:
        self.peer_key = address.public_key
        self.heard = b""

    def connectionMade(self) -> None:
        self.transport.write(b"hello")  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.heard += data


class Greeters(Factory):
    noisy = False

    def buildProtocol(self, address: PeerAddress) -> Greeter:  # type: ignore[override]
        return Greeter(address)


class TogetherTests(SynchronousTestCase):
    """Everybody meets everybody."""

    def setUp(self, latency: float = 0) -> None:
        self.clock = Clock()
        self.hub = LocalHub(self.clock, latency=latency)
        self.swarms: list[Swarm] = []

    def swarm(self, seed: int, **options: object) -> Swarm:
        network = self.network()
        swarm = Swarm(network, Greeters(), reactor=self.clock, random=Random(seed), **options)  # type: ignore[arg-type]
        self.swarms.append(swarm)
        return swarm

    def network(self) -> INetwork:
        network: INetwork = self.hub.network()
        return network

    def settle(self, seconds: float = 60) -> None:
        for _ in range(200):
            self.clock.advance(0)
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)

    def close_all(self) -> None:
        closing = [swarm.close() for swarm in self.swarms]
        self.settle(10)
        for closed in closing:
            self.successResultOf(closed)
        self.successResultOf(self.hub.close())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def assert_all_met(self) -> None:
        keys = {swarm.network.public_key: swarm for swarm in self.swarms}
        for key, swarm in keys.items():
            met = [protocol.peer_key for protocol in swarm.connections]  # type: ignore[attr-defined]
            self.assertEqual(sorted(met), sorted(other for other in keys if other != key))
            self.assertEqual(swarm.connecting, 0)
            self.assertEqual({protocol.heard for protocol in swarm.connections}, {b"hello"})  # type: ignore[attr-defined]

    def test_two(self) -> None:
        """Two swarms that look for each other at the same moment settle on the larger key's connection, at once."""
        for seed in range(6):
            self.setUp()
            flushes = []
            for number in range(2):
                swarm = self.swarm(seed + number)
                swarm.join(TOPIC)
                flushes.append(swarm.flush())
            self.settle(0)
            self.assert_all_met()
            self.assertEqual([swarm.stats.attempts for swarm in self.swarms], [1, 1])
            smaller, larger = sorted(self.swarms, key=lambda swarm: swarm.network.public_key)
            self.assertEqual((smaller.stats.opened_by_client, larger.stats.opened_by_client), (0, 1))
            for flush in flushes:
                self.assertIs(self.successResultOf(flush), True)
            self.close_all()

    def test_ten(self) -> None:
        """Ten swarms on one topic have one connection for each pair, near or far from each other."""
        for latency in (0, 0.1, 2):
            self.setUp(latency)
            for number in range(10):
                self.swarm(number).join(TOPIC)
            self.settle(120)
            self.assert_all_met()
            self.close_all()

    def test_one_after_the_other(self) -> None:
        """So have swarms that come later; when one goes, the others keep theirs."""
        for number in range(5):
            self.swarm(number).join(TOPIC)
            self.settle(5)
        self.assert_all_met()
        gone = self.swarms.pop(2)
        closing = gone.close()
        self.settle(120)
        self.successResultOf(closing)
        self.assert_all_met()
        self.close_all()

    def test_no_churn(self) -> None:
        """Connections that have settled stay: in an hour of refreshes none is made anew."""
        for number in range(4):
            self.swarm(number).join(TOPIC)
        self.settle()
        before = [set(swarm.connections) for swarm in self.swarms]
        for _ in range(60):
            self.clock.advance(30)
            self.settle(1)
        self.assertEqual([set(swarm.connections) for swarm in self.swarms], before)
        self.close_all()

    def test_by_key(self) -> None:
        """Two swarms that each join the other as an explicit peer have one connection, without any topic."""
        one, two = self.swarm(1), self.swarm(2)
        for swarm, other in ((one, two), (two, one)):
            swarm.listen()
            swarm.join_peer(other.network.public_key)
        self.settle()
        self.assert_all_met()
        self.close_all()

    def test_suspend_and_resume(self) -> None:
        """A swarm that rested is connected with the others again."""
        for number in range(3):
            self.swarm(number).join(TOPIC)
        self.settle()
        self.swarms[0].suspend()
        self.settle()
        self.assertEqual([len(swarm.connections) for swarm in self.swarms], [0, 1, 1])
        self.swarms[0].resume()
        self.settle(120)
        self.assert_all_met()
        self.close_all()

    def test_counts(self) -> None:
        """What one side opened, the other took."""
        for number in range(4):
            self.swarm(number).join(TOPIC)
        self.settle()
        opened = sum(swarm.stats.opened_by_client - swarm.stats.closed_by_client for swarm in self.swarms)
        taken = sum(swarm.stats.opened_by_server - swarm.stats.closed_by_server for swarm in self.swarms)
        pairs = len(list(combinations(self.swarms, 2)))
        self.assertEqual((opened, taken), (pairs, pairs))
        self.close_all()

    def test_end_to_end(self) -> None:
        """Both sides know that nobody is between them."""
        for number in range(4):
            self.swarm(number).join(TOPIC)
        self.settle()
        self.assertEqual([[True] * 3] * 4, [[info.end_to_end for info in s.peers.values()] for s in self.swarms])
        self.close_all()


class SealedTogetherTests(TogetherTests):
    """So they do where the keys of two in three are kept elsewhere, and their streams encrypted."""

    def network(self) -> INetwork:
        if len(self.swarms) % 3 == 2:
            return super().network()
        keeper = FakeKeeper()
        return Unsealed(self.hub.network(keeper), keeper, self.clock)
