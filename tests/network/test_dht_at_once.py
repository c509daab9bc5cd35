"""Swarms on the real network that begin at the same moment: swarm over network.dht."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.swarm import Swarm
from spaceswarm_proxy.testing import TestNet
from tests.swarm.fake import TOPIC

reactor: Any = or_global(None)


class AtOnceTests(TestCase):
    """Two on the real network."""

    timeout = 30

    async def test_meet(self) -> None:
        """Nodes that have long been there and join a topic at the same moment find each other in seconds."""
        net = TestNet(reactor, 3)
        self.addCleanup(net.close)
        await net.ready()
        networks = [DHTNetwork(net.node()) for _ in range(2)]
        await gatherResults([network.node.ready() for network in networks])
        met: Deferred[None] = Deferred()

        class Peer(Protocol):
            def connectionMade(self) -> None:
                if not met.called:
                    met.callback(None)

        for network in networks:
            swarm: Any = Swarm(network, Factory.forProtocol(Peer), reactor=reactor)
            self.addCleanup(swarm.close, force=True)
            swarm.join(TOPIC)
        await met
