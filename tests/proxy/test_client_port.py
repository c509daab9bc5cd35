"""Tests for ``spaceswarm_proxy.proxy.client_port``: LISTEN and UNLISTEN, at the server."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import NotSupportedError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.proxy.features import Role
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.proxy.world import CUSTODIAL, TOPIC, Peers, World

LISTEN, UNLISTEN, OPEN, REPLY = EventType.LISTEN, EventType.UNLISTEN, EventType.ON_STREAM_OPEN, EventType.REPLY


class ListenTests(SynchronousTestCase):
    """A client that wants the streams that peers open to it."""

    def setUp(self) -> None:
        self.world = World()
        self.client = self.world.client(features=int(CUSTODIAL), window=1000)
        self.visitor = self.world.hub.network()

    def ask(self, kind: int, request: int) -> list[str | None]:
        """:returns: the codes of the replies to it."""
        self.client.send(Event(kind, request=request))
        self.world.settle()
        return [reply.code for reply in self.client.events(REPLY) if reply.request == request]

    def visit(self) -> Any:
        """A peer connects.  :returns: what it has built."""
        peers = Peers()
        self.visitor.connect(Peer.keyed(self.client.frames[0].key), peers).addErrback(lambda _: None)
        self.world.settle()
        return peers.built

    def test_not_before(self) -> None:
        """Without LISTEN, and without being announced, a client is not connected to."""
        self.assertEqual((self.visit(), self.client.events(OPEN)), ([], []))

    def test_listen(self) -> None:
        """After LISTEN it is, under no topic; each LISTEN is answered."""
        self.assertEqual([self.ask(LISTEN, 1), self.ask(LISTEN, 2)], [[None], [None]])
        built = self.visit()
        opened = self.client.events(OPEN)[0]
        self.assertEqual((opened.topic, opened.peer, opened.request), (bytes(32), self.visitor.peer.id, None))
        self.client.data(0, b"welcome")
        self.world.settle()
        self.assertEqual(built[0].received, b"welcome")

    def test_unlisten(self) -> None:
        """After UNLISTEN it is not, streams that are open stay, and it may listen again."""
        self.ask(LISTEN, 1)
        built = self.visit()
        self.assertEqual(self.ask(UNLISTEN, 2), [None])
        self.assertEqual(self.visit(), [])
        self.assertIsNone(built[0].reason)
        self.ask(LISTEN, 3)
        self.assertEqual(len(self.visit()), 1)

    def test_announced(self) -> None:
        """Who is announced is connected to all the same, under the topic."""
        self.ask(LISTEN, 1)
        self.ask(UNLISTEN, 2)
        self.client.join(roles=int(Role.ANNOUNCE))
        self.world.settle()
        self.assertEqual(len(self.visit()), 1)
        self.assertEqual(self.client.events(OPEN)[0].topic, TOPIC)

    def test_link_lost(self) -> None:
        """When the client is gone, nobody reaches it."""
        self.ask(LISTEN, 1)
        self.client.transport.abortConnection()
        self.world.settle()
        self.assertEqual(self.visit(), [])

    def test_is_no_idler(self) -> None:
        """A client that listens is not closed for want of topics and streams; when it stops, it is."""
        self.ask(LISTEN, 1)
        idle = self.world.server.limits.idle_timeout
        for _ in range(int(idle / 20) + 2):
            self.world.clock.advance(20)
            self.client.send(b"\0")
            self.world.settle()
        self.assertFalse(self.client.lost)
        self.ask(UNLISTEN, 2)
        for _ in range(int(idle / 20) + 2):
            self.world.clock.advance(20)
            self.client.send(Event(EventType.PONG))
            self.world.settle()
        self.assertTrue(self.client.lost)

    def test_before_ready(self) -> None:
        """Before READY it is ignored."""
        client = self.world.client(ready=False)
        client.send(Event(LISTEN, request=1), Event(UNLISTEN, request=2))
        self.world.settle()
        self.assertEqual(client.frames, [])
        self.assertFalse(client.lost)

    def test_no_identities(self) -> None:
        """Where clients have no identities of their own, the answer is ``not-supported``."""

        def with_identity(key_pair: object) -> None:
            raise NotSupportedError

        self.world.server.network.with_identity = with_identity
        self.client = self.world.client(features=int(CUSTODIAL), window=1000)
        self.assertEqual(self.ask(LISTEN, 1), ["not-supported"])
