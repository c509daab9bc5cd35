"""Our swarms and JavaScript swarms, over a DHT of either kind."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.swarm import Swarm
from tests.interop.dht_support import LOOPBACK, TOPIC, DHTTestCase
from tests.interop.node import NodeProcess
from tests.network.support import Collector

#: Nodes of the network in between.
SIZE = 4


class WithTheirSwarm:
    """One swarm of each kind, in one topic."""

    async def our_swarm(self: Any, bootstrap: Any) -> tuple[Swarm, Collector]:
        """A swarm on a node of its own, and who keeps its connections."""
        network = await DHTNetwork.start(
            or_global(None), profile=self.profile, bootstrap=[bootstrap], host=LOOPBACK, port=0
        )
        collector = Collector()
        swarm = Swarm(network, collector)
        self.addCleanup(swarm.close)
        return swarm, collector

    def their_swarm(self: Any, bootstrap: Any, **roles: str) -> NodeProcess:
        """A JavaScript swarm that greets us, and sends back what it hears."""
        return self.script("swarm_peer.js", bootstrap=bootstrap, topic=TOPIC, say="from JavaScript", **roles)

    async def talk(self: Any, swarm: Swarm, collector: Collector, theirs: NodeProcess, initiator: bool) -> None:
        """
        There is one connection, and text goes both ways over it.

        :param initiator: was it we who connected?
        """
        protocol = await collector.connected()
        address = protocol.transport.getPeer()
        ready, connection = await theirs.event("ready"), await theirs.event("connection")
        self.assertEqual((ready["publicKey"], initiator), (address.public_key.hex(), address.initiator))
        self.assertEqual(swarm.network.public_key.hex(), connection["remotePublicKey"])
        await protocol.receives(b"from JavaScript")
        protocol.transport.write(b"from Python")
        self.assertEqual("from Python", (await theirs.event("data"))["text"])
        await protocol.receives(b"from JavaScriptecho:from Python")
        self.assertEqual(1, len(collector.built))

    async def test_we_find_them(self: Any) -> None:
        """They announce, we look: we connect to them.  When they go, our connection ends."""
        network = await self.our_network(SIZE)
        theirs = self.their_swarm(network.bootstrap, client="false")
        await theirs.event("announced")
        swarm, collector = await self.our_swarm(network.bootstrap)
        swarm.join(TOPIC, server=False)
        await self.talk(swarm, collector, theirs, initiator=True)
        theirs.write("close")
        await collector.built[0].loses()

    async def test_they_find_us(self: Any) -> None:
        """We announce, they look: they connect to us.  When we close, theirs ends, and nobody finds us any more."""
        network = await self.our_network(SIZE)
        swarm, collector = await self.our_swarm(network.bootstrap)
        self.assertTrue(await swarm.join(TOPIC, client=False).flushed())
        theirs = self.their_swarm(network.bootstrap, server="false")
        await self.talk(swarm, collector, theirs, initiator=False)
        await swarm.close()
        await theirs.event("close")
        replies, _ = await self.their_lookup(network.bootstrap, topic=TOPIC)
        self.assertEqual([], [peer for reply in replies for peer in reply["peers"]])

    async def test_on_their_network(self: Any) -> None:
        """The same where all nodes are theirs, both look and announce; one connection is left."""
        network = await self.their_network(SIZE)
        swarm, collector = await self.our_swarm(network.bootstrap)
        self.assertTrue(await swarm.join(TOPIC).flushed())
        theirs = self.their_swarm(network.bootstrap)
        protocol = await collector.connected()
        await protocol.receives(b"from JavaScript")
        await theirs.event("announced")
        await swarm.flush()
        self.assertEqual(1, len(swarm.connections))

    async def test_by_key(self: Any) -> None:
        """Without a topic, who is known by its key is connected to, whoever of the two connects."""
        network = await self.our_network(SIZE)
        swarm, collector = await self.our_swarm(network.bootstrap)
        await swarm.listen()
        ours = swarm.network.public_key
        theirs = self.script("swarm_peer.js", bootstrap=network.bootstrap, join_peer=ours, say="from JavaScript")
        await self.talk(swarm, collector, theirs, initiator=False)


class SpaceswarmTests(WithTheirSwarm, DHTTestCase):
    """Spaceswarm peers."""

    profile = "spaceswarm"


class HyperswarmTests(WithTheirSwarm, DHTTestCase):
    """Hyperswarm peers."""

    profile = "hyperswarm"
