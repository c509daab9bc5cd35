"""Tests for ``spaceswarm_proxy.proxy.identity``: what outlasts a client's link, and for how long."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import NotSupportedError, PeerUnreachableError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.proxy.features import Role
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.network.support import Finder
from tests.proxy.world import CUSTODIAL, TOPIC, Peers, RawClient, World

OTHER = bytes(32)
GRACE = 30.0


class IdentityTestCase(SynchronousTestCase):
    """A server that keeps the identities of those who may come back."""

    limits = Limits()

    def setUp(self) -> None:
        self.world = World(identity_grace=GRACE, limits=self.limits)
        self.key_pair = KeyPair.generate()
        self.visitor = self.world.hub.network()

    def tearDown(self) -> None:
        closed = self.world.server.close()
        self.world.hub.close()
        self.world.settle()
        self.successResultOf(closed)
        self.assertEqual(0, self.world.server.identities.kept)
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def client(self, key_pair: KeyPair | None = None) -> RawClient:
        """A client that has given its key."""
        return self.world.client(features=int(CUSTODIAL), window=1000, key=(key_pair or self.key_pair).secret_key)

    def announce(self, client: RawClient, *topics: bytes) -> None:
        for topic in topics or (TOPIC,):
            client.join(topic, roles=int(Role.ANNOUNCE))
        self.world.settle()

    def lose(self, client: RawClient) -> None:
        client.transport.abortConnection()
        self.world.settle()

    def finds(self, topic: bytes = TOPIC, key_pair: KeyPair | None = None) -> bool:
        """Does a peer find the identity?"""
        finder = Finder()
        lookup = self.visitor.lookup(topic, finder)
        self.world.settle()
        lookup.close()
        wanted = (key_pair or self.key_pair).public_key
        return any(peer.public_key == wanted for peer in finder.found)

    def visit(self) -> Any:
        """A peer connects.  :returns: a Deferred of its protocol."""
        attempt = self.visitor.connect(Peer.keyed(self.key_pair.public_key), Peers())
        self.world.settle()
        return attempt

    def opened(self, client: RawClient) -> int:
        """How many streams peers have opened to it."""
        return len(client.events(EventType.ON_STREAM_OPEN))


class GraceTests(IdentityTestCase):
    """A link that is lost without a farewell."""

    def test_kept(self) -> None:
        """Until the grace time is over a client is found without its link; after it, nothing of it is left."""
        self.announce(client := self.client())
        self.lose(client)
        self.world.pass_time(GRACE - 2)
        self.assertTrue(self.finds())
        self.world.pass_time(3)
        self.assertFalse(self.finds())
        self.assertFalse(self.world.hub.has(self.key_pair.public_key))
        self.assertEqual(([], 0), (self.world.clock.getDelayedCalls(), self.world.server.identities.kept))

    def test_visitors_meanwhile(self) -> None:
        """Who connects to it meanwhile is told that it is not there."""
        self.announce(client := self.client())
        self.lose(client)
        self.failureResultOf(self.visit(), PeerUnreachableError)

    def test_comes_back(self) -> None:
        """A client that comes back in time is announced as before, by the same announcement, and takes streams."""
        made: list[bytes] = []
        identity = self.world.server.network.with_identity
        self.patch(
            self.world.server.network, "with_identity", lambda pair: made.append(pair.public_key) or identity(pair)
        )
        self.announce(first := self.client())
        self.lose(first)
        self.world.pass_time(GRACE - 5)
        self.announce(second := self.client())
        self.world.pass_time(GRACE)
        self.assertTrue(self.finds())
        self.assertEqual([self.key_pair.public_key], made)
        self.successResultOf(self.visit())
        self.assertEqual(1, self.opened(second))

    def test_wants_less(self) -> None:
        """What it does not want any more when it has come back, ends in its time; the rest stays."""
        self.announce(first := self.client(), TOPIC, OTHER)
        self.lose(first)
        self.announce(self.client(), TOPIC)
        self.assertTrue(self.finds(OTHER))
        self.world.pass_time(GRACE + 1)
        self.assertEqual((True, False), (self.finds(), self.finds(OTHER)))
        self.assertEqual(0, self.world.server.identities.kept)

    def test_flaps(self) -> None:
        """Each loss begins the grace time anew, for what was wanted then."""
        for _ in range(5):
            self.announce(client := self.client())
            self.lose(client)
            self.world.pass_time(GRACE / 2)
            self.assertTrue(self.finds())
        self.world.pass_time(GRACE / 2 + 1)
        self.assertFalse(self.finds())

    def test_listens(self) -> None:
        """A client that only listens is listened for until then, too."""
        client = self.client()
        client.send(Event(EventType.LISTEN, request=1))
        self.world.settle()
        self.lose(client)
        self.world.pass_time(GRACE - 2)
        self.assertTrue(self.world.hub.has(self.key_pair.public_key))
        self.world.pass_time(3)
        self.assertFalse(self.world.hub.has(self.key_pair.public_key))

    def test_farewell(self) -> None:
        """What a client has left before it goes is not kept, nor is its key."""
        self.announce(client := self.client())
        client.send(Event(EventType.LISTEN), Event(EventType.UNLISTEN), Event(EventType.LEAVE, topic=TOPIC))
        self.world.settle()
        self.lose(client)
        self.assertFalse(self.finds() or self.world.hub.has(self.key_pair.public_key))

    def test_nobody_comes_back(self) -> None:
        """A client that has given no key can't come back as the same, so nothing is kept."""
        networks = len(self.world.hub)
        client = self.world.client(features=int(CUSTODIAL), window=1000)
        self.announce(client)
        self.lose(client)
        self.assertEqual(networks, len(self.world.hub))

    def test_draining(self) -> None:
        """A server that is about to stop keeps nothing: what is kept ends, and what is lost from then on."""
        other = KeyPair.generate()
        self.announce(kept := self.client())
        self.announce(self.client(other))
        self.lose(kept)
        self.world.server.drain(GRACE)
        self.world.settle()
        self.assertEqual((False, False), (self.finds(), self.finds(key_pair=other)))

    def test_no_identities(self) -> None:
        """Where the network has no identities, an announcement in its own name ends with the link."""

        def with_identity(key_pair: object) -> None:
            raise NotSupportedError

        network = self.world.server.network
        self.patch(network, "with_identity", with_identity)
        self.announce(client := self.client())
        self.lose(client)
        self.assertEqual([], list(network._entries))
        self.assertTrue(network.status().online)


class TwoLinksTests(IdentityTestCase):
    """A client that is back before its old link was found to be dead."""

    def setUp(self) -> None:
        super().setUp()
        self.old, self.new = self.client(), self.client()
        for client in (self.old, self.new):
            self.announce(client)

    def test_newest(self) -> None:
        """The newest link gets the streams; when it is lost, the other one does."""
        self.visit()
        self.assertEqual((0, 1), (self.opened(self.old), self.opened(self.new)))
        self.lose(self.new)
        self.visit()
        self.assertEqual(1, self.opened(self.old))

    def test_old_one_lost(self) -> None:
        """When the old link is found to be dead, nothing changes."""
        self.lose(self.old)
        self.world.pass_time(GRACE + 1)
        self.assertTrue(self.finds())
        self.visit()
        self.assertEqual(1, self.opened(self.new))

    def test_one_leaves(self) -> None:
        """It is found as long as one of them is in the topic."""
        self.new.send(Event(EventType.LEAVE, topic=TOPIC))
        self.world.settle()
        self.assertTrue(self.finds())
        self.old.send(Event(EventType.LEAVE, topic=TOPIC))
        self.world.settle()
        self.assertFalse(self.finds())


class NeighbourTests(IdentityTestCase):
    """What other clients of the server are told."""

    def told(self, client: RawClient) -> int:
        """How often a client was told of it."""
        ids = [event.peer for event in client.events(EventType.ON_PEER)]
        return ids.count(self.key_pair.public_key.hex().encode())

    def leave(self, client: RawClient) -> None:
        client.send(Event(EventType.LEAVE, topic=TOPIC))
        self.world.settle()

    def test_comes_back(self) -> None:
        """Who leaves a topic and comes back is told of again, without another round of the lookup."""
        looking = self.world.client()
        looking.join()
        for count in (1, 2):
            client = self.client()
            self.announce(client)
            self.assertEqual(count, self.told(looking))
            self.leave(client)

    def test_late(self) -> None:
        """Who has left is not told to those who come later."""
        self.world.client().join()
        client = self.client()
        self.announce(client)
        early, late = self.world.client(), self.world.client()
        early.join()
        self.world.settle()
        self.leave(client)
        late.join()
        self.world.settle()
        self.assertEqual((1, 0), (self.told(early), self.told(late)))


class BoundTests(IdentityTestCase):
    """Those who come and go can't have more kept than a server has clients."""

    limits = Limits(max_clients=2)

    def test_oldest_ends(self) -> None:
        """When there are more, the oldest ends at once."""
        pairs = [KeyPair.generate() for _ in range(3)]
        for pair in pairs:
            self.announce(client := self.client(pair))
            self.lose(client)
        self.assertEqual([False, True, True], [self.finds(key_pair=pair) for pair in pairs])
        self.assertEqual(2, self.world.server.identities.kept)
