"""Connections between our nodes and JavaScript ones that do not come about, and those whose other end is gone."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.errors import PeerConnectionFailedError, PeerNotFoundError, StreamTimeoutError
from spaceswarm_proxy.interfaces import PeerAddress
from tests.interop.connections_support import OURS, THEIRS, ConnectionCase
from tests.interop.dht_support import keyed
from tests.interop.node import EventProcess
from tests.interop.peer_process import ROOT, PeerProcess, our_peer_command
from tests.network.support import Collector

NOBODY = keyed(3)


class RefusalTests:
    """What both profiles have."""

    async def test_we_refuse(self: Any) -> None:
        """Whoever our firewall turns away hears nothing, as if we did not answer."""
        asked: list[PeerAddress] = []

        def refuse(address: PeerAddress) -> bool:
            asked.append(address)
            return True

        collector = Collector()
        node = await self.our_end()
        await node.listen(OURS, collector, firewall=refuse)
        client = await self.their_end()
        refused = client.connect(OURS.public_key.hex(), seed=THEIRS.seed.hex())
        unknown = client.connect(NOBODY.public_key.hex())
        self.assertEqual("PEER_NOT_FOUND", (await unknown.event("close", "open"))["code"])
        self.assertEqual("PEER_CONNECTION_FAILED", (await refused.event("close", "open"))["code"])
        self.assertEqual({THEIRS.public_key}, {address.public_key for address in asked})
        self.assertEqual([], collector.built)

    async def test_they_refuse(self: Any) -> None:
        """They do the same to us."""
        server = await self.their_end()
        key = await server.listen(reject=True)
        node = await self.our_end()
        self.impatient()
        collector = Collector()
        await self.assertFailure(node.connect(NOBODY.public_key, collector), PeerNotFoundError)
        refused = node.connect(key, collector, key_pair=OURS)
        await self.assertFailure(refused, PeerConnectionFailedError)
        self.assertEqual(OURS.public_key.hex(), (await server.process.event("firewall"))["remoteKey"])
        self.assertEqual([], collector.built)

    async def test_they_vanish(self: Any) -> None:
        """A peer that is killed in the middle of a connection is missed in time, as we ask for it."""
        opened = await self.we_connect(ask={"keep_alive": 0.5})
        opened.protocol.say("hello")
        await opened.end.event("data")
        opened.theirs.process.kill()
        await opened.protocol.loses()
        self.assertTrue(opened.protocol.lost.check(StreamTimeoutError), opened.protocol.lost)

    async def test_we_vanish(self) -> None:
        """They miss one of ours that is killed."""
        words = ("--profile", self.profile, "--bootstrap", str(await self.bootstrap()))
        process = EventProcess("our peer", our_peer_command(*words), ROOT)
        self.addCleanup(process.stop)
        ours = PeerProcess(process)
        await process.event("ready")
        client = await self.their_end(keep_alive=500)
        end = client.connect(await ours.listen())
        await end.event("open")
        await ours.accepted()
        process.kill()
        self.assertEqual("ETIMEDOUT", (await end.event("close"))["code"])


class SpaceswarmTests(RefusalTests, ConnectionCase):
    """Spaceswarm peers."""

    profile = "spaceswarm"


class HyperswarmTests(RefusalTests, ConnectionCase):
    """Hyperswarm peers."""

    profile = "hyperswarm"
