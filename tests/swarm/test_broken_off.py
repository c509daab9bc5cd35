"""Tests of what a swarm does when a connection that a peer has made breaks off: the doorman tells, the dialer acts."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tests.swarm.fake import FakeTransport, Scene, keyed

PEER = keyed(1)
#: Seconds until we have tried as well.
LONG = 10.0


class BrokenOffTests(SynchronousTestCase):
    """A peer that we look for has connected to us, and then its connection is lost."""

    def begin(self, found: bool = True) -> tuple[Scene, FakeTransport]:
        """:param found: have we heard of it ourselves?"""
        scene = Scene()
        scene.join()
        stream: Any = scene.network.arrive(PEER)
        if found:
            scene.lookup.find(PEER)
        self.assertEqual([], scene.network.attempts)
        return scene, stream

    def dialled(self, scene: Scene) -> int:
        """How many connections are being made a while later."""
        scene.advance(LONG)
        return len(scene.network.attempts)

    def test_tries(self) -> None:
        """It broke off: the peer may not be able to connect again, and so we do."""
        scene, stream = self.begin()
        stream.end(ConnectionLost())
        self.assertEqual([], scene.network.attempts)
        self.assertEqual(1, self.dialled(scene))

    def test_peer_is_back(self) -> None:
        """Not if the peer did so before."""
        scene, stream = self.begin()
        stream.end(ConnectionLost())
        scene.network.arrive(PEER)
        self.assertEqual(0, self.dialled(scene))

    def test_good_order(self) -> None:
        """Not if the peer has ended it."""
        scene, stream = self.begin()
        stream.end()
        self.assertEqual(0, self.dialled(scene))

    def test_stranger(self) -> None:
        """Not if we do not look for that peer."""
        scene, stream = self.begin(found=False)
        stream.end(ConnectionLost())
        self.assertEqual(0, self.dialled(scene))

    def test_banned(self) -> None:
        """Not if it was banned meanwhile, or is not to be tried again."""
        for forbid in ("ban", "reconnect"):
            scene, stream = self.begin()
            getattr(scene.swarm.peers[PEER.id], forbid)(forbid == "ban")
            stream.end(ConnectionLost())
            self.assertEqual(0, self.dialled(scene), forbid)

    def test_suspended(self) -> None:
        """Not if the swarm rests."""
        scene, stream = self.begin()
        scene.swarm.suspend()
        stream.end(ConnectionLost())
        self.assertEqual(0, self.dialled(scene))
