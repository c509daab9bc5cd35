"""Being known on the real network by a key that is kept elsewhere: :mod:`spaceswarm_proxy.network.dht`."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.errors import LinkLostError
from spaceswarm_proxy.interfaces import ISealedNetwork, Peer
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.network.dht_topics import FAREWELL
from tests.keepers import FakeKeeper, Unsealed
from tests.network import test_dht
from tests.network.dht_world import ROOM, TIMES, DHTNetworkTestCase
from tests.network.support import Collector


class SealedConformanceTests(test_dht.DHTConformanceTests):
    """With whoever has the keys on top, a sealed identity keeps every promise of a network."""

    async def _make_networks(self, count: int) -> list[Any]:
        parents = await super()._make_networks(count)
        for parent in parents:
            self.addCleanup(parent.close)
        return [self.identity_of(parent, number) for number, parent in enumerate(parents)]

    def identity_of(self, parent: Any, number: int) -> Any:
        return sealed(parent)


class MixedConformanceTests(SealedConformanceTests):
    """So does one among others that have their keys themselves."""

    def identity_of(self, parent: Any, number: int) -> Any:
        return sealed(parent) if number % 2 else parent.with_identity()


def sealed(parent: Any) -> Unsealed:
    """:returns: another identity of a network, as whoever keeps its key sees it."""
    keeper = FakeKeeper()
    return Unsealed(parent.with_identity(keeper), keeper, reactor)


class FarewellTests(DHTNetworkTestCase):
    """Going, when whoever keeps the key has gone before."""

    def announced(self, keeper: FakeKeeper) -> DHTNetwork:
        """A network that listens and is announced."""
        world = self.world()
        self.networks.append(self.network(world))
        network = self.network(world).with_identity(keeper)
        self.wait(network.listen(Collector()))
        self.wait(network.announce(ROOM).flushed())
        self.assertTrue(self.records(network))
        return network

    def test_told(self) -> None:
        """While the keeper signs, the network is told that nobody is there any more."""
        network = self.announced(FakeKeeper())
        self.wait(network.close())
        self.assertEqual([], self.records(network))

    def test_away(self) -> None:
        """When he is away, that can't be told, and nobody waits, or makes a noise about it."""
        with capturedLogs() as logs:
            for end in ("close", "suspend"):
                keeper = FakeKeeper()
                network = self.announced(keeper)
                keeper.failing["sign"] = LinkLostError()
                before = self.reactor.rightNow
                self.wait(getattr(network, end)())
                self.assertLess(self.reactor.rightNow - before, 0.1, end)
                self.assertTrue(self.records(network), end)
        self.assertEqual([], [event for event in logs if event["log_level"] > LogLevel.info])

    def test_silent(self) -> None:
        """One who says nothing is not waited for longer than anybody."""
        keeper = FakeKeeper()
        network = self.announced(keeper)
        keeper.silent.add("sign")
        before = self.reactor.rightNow
        self.wait(network.close())
        self.assertLessEqual(self.reactor.rightNow - before, FAREWELL + 0.1)

    def test_back_again(self) -> None:
        """Who could not sign is announced when he can, without being asked for it."""
        keeper = FakeKeeper()
        keeper.failing["sign"] = LinkLostError()
        world = self.world()
        self.networks.append(self.network(world))
        network = self.network(world).with_identity(keeper)
        announcement = network.announce(ROOM)
        self.fails(announcement.flushed(), LinkLostError)
        keeper.failing.clear()
        self.reactor.elapse(TIMES.retry + 1)
        self.assertTrue(self.records(network))


class IdentityTests(DHTNetworkTestCase):
    """What a sealed identity is."""

    def test_interfaces(self) -> None:
        """A network says that it can have them, and what its names are; they have the keeper's key."""
        parent = self.network(self.world())
        keeper = FakeKeeper()
        network = parent.with_identity(keeper)
        for each in (parent, network):
            verifyObject(ISealedNetwork, each)
            self.assertEqual((SPACESWARM, True), (each.profile, each.seals))
        self.assertEqual((keeper.public_key, Peer.keyed(keeper.public_key)), (network.public_key, network.peer))
