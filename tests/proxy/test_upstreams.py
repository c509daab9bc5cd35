"""Tests of spaceswarm_proxy.proxy.upstreams: peers that were lost; the rest of it is in ``test_server``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.upstreams import LOOK_AGAIN
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.proxy.world import CUSTODIAL, TOPIC, PeerProtocol, RawClient, World

EXTENDED = {"features": int(CUSTODIAL), "window": 256 * 1024}
#: Seconds until all is over.
LONG = int(LOOK_AGAIN[-1]) + 10


class LostPeerTests(SynchronousTestCase):
    """A peer's stream breaks off."""

    def begin(self, **fields: object) -> tuple[World, RawClient, PeerProtocol]:
        """A client with a stream to a peer, long after it has joined."""
        world = World(limits=Limits(min_refresh=0))
        client, peer = world.connected(**fields)
        world.pass_time(LONG)
        client.frames.clear()
        return world, client, peer

    def told(self, client: RawClient) -> int:
        """How often the client was told of the peer since then."""
        return len(client.events(EventType.ON_PEER))

    def test_told_again(self) -> None:
        """A JavaScript client, which connects only when it is told of a peer, is told of it again, a few times."""
        world, client, peer = self.begin()
        peer.transport.abortConnection()
        told = []
        for _ in range(LONG):
            world.pass_time(1)
            told.append(self.told(client))
        self.assertEqual([0, 1], [told[int(LOOK_AGAIN[0]) - 1], told[int(LOOK_AGAIN[0])]])
        self.assertEqual(len(LOOK_AGAIN), told[-1])

    def test_good_order(self) -> None:
        """Not of one that has ended by itself."""
        world, client, peer = self.begin()
        peer.transport.loseConnection()
        world.pass_time(LONG)
        self.assertEqual(0, self.told(client))

    def test_replies(self) -> None:
        """Not if it knows how to ask by itself."""
        world, client, peer = self.begin(**EXTENDED)
        peer.transport.abortConnection()
        world.pass_time(LONG)
        self.assertEqual(0, self.told(client))

    def test_left(self) -> None:
        """Not of a topic that it has left."""
        world, client, peer = self.begin()
        client.send(Event(EventType.LEAVE, topic=TOPIC))
        peer.transport.abortConnection()
        world.pass_time(LONG)
        self.assertEqual(0, self.told(client))
