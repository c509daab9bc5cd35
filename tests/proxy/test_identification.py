"""Tests for ``spaceswarm_proxy.proxy.identification``: whom a server takes a client for, and whom it doubts."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keys import KeyPair, verify
from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM
from spaceswarm_proxy.errors import LimitError, NotSupportedError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.features import ALL, Feature
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.proxy.answering import SEALED, Answering
from tests.proxy.world import CUSTODIAL, TOPIC, RawClient, World

READY, IDENTIFY, REPLY = EventType.READY, EventType.IDENTIFY, EventType.REPLY
OWN, OTHER = KeyPair.from_seed(b"o" * 32), KeyPair.from_seed(b"x" * 32)
PEER = Peer.keyed(bytes(32)).id


class IdentificationTestCase(SynchronousTestCase):
    options: dict[str, Any] = {}

    def setUp(self) -> None:
        self.world = World(**self.options)

    def tearDown(self) -> None:
        server = self.world.server
        for each in (server.close(), self.world.hub.close()):
            self.world.settle()
            self.successResultOf(each)
        self.assertEqual((0, 0, 0), (len(server.links), server.open_streams, len(server.lookups)))
        self.assertEqual({}, server.identities._by_name)
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def known(self, client: RawClient) -> bytes | None:
        """As whom a client is known."""
        identity = client.link._who.known
        return None if identity is None else identity.network.public_key

    def violates(self, client: RawClient, kind: str) -> None:
        """The link is closed for this, and the client told."""
        self.world.settle()
        self.assertTrue(client.lost)
        self.assertEqual({kind: 1}, dict(self.world.server.stats.violations))
        (reply,) = [event for event in client.events(REPLY) if not event.request]
        self.assertEqual("event-error", reply.code)
        self.world.server.stats.violations.clear()


class SealedTests(IdentificationTestCase):
    """A client that keeps its key."""

    def test_ready(self) -> None:
        """READY has something fresh to sign, the network's name, what its streams are bound to, and no key."""
        first, second = (self.world.client(**SEALED).events(READY)[0] for _ in range(2))
        self.assertEqual((32, None, "spaceswarm"), (len(first.token), first.key, first.profile))
        self.assertEqual(SPACESWARM.stream_labels, tuple(first.data.decode().split("\n")))
        self.assertNotEqual(first.token, second.token)

    def test_proved(self) -> None:
        """Who proves that it has a key is known by it."""
        client = Answering(self.world, OWN).client
        self.assertEqual((OWN.public_key, False, []), (self.known(client), client.lost, client.events(REPLY)))

    def test_answered(self) -> None:
        """Who asks for an answer gets one."""
        sealed = Answering(self.world, OWN, identify=False)
        sealed.identify(request=5)
        self.assertEqual([(5, None)], [(event.request, event.code) for event in sealed.client.events(REPLY)])

    def test_wrong_proofs(self) -> None:
        """With somebody else's key, another's signature, none, or one of odd length: nobody."""
        for fields in (
            {"key": OTHER.public_key},
            {"data": OWN.sign(b"something else")},
            {"data": None},
            {"data": b""},
            {"data": bytes(64)},
            {"data": bytes(100_000)},
            {"key": None},
            {"key": b""},
            {"key": OWN.public_key[:31]},
            {"key": OWN.secret_key},
            {"key": bytes(32)},
            {"key": b"\1" + bytes(31), "data": b"\1" + bytes(63)},
        ):
            sealed = Answering(self.world, OWN, identify=False)
            sealed.identify(**fields)
            self.violates(sealed.client, "bad-proof")
        self.assertEqual({}, self.world.server.identities._by_name)

    def test_replayed(self) -> None:
        """A proof is good for its own link alone."""
        proof = Answering(self.world, OWN).proof()
        sealed = Answering(self.world, OWN, identify=False)
        sealed.identify(data=proof)
        self.violates(sealed.client, "bad-proof")

    def test_twice(self) -> None:
        """Nobody becomes somebody else."""
        sealed = Answering(self.world, OWN)
        sealed.identify(key=OTHER.public_key, data=sealed.proof(key_pair=OTHER))
        self.violates(sealed.client, "identified-twice")

    def test_too_early(self) -> None:
        """Whatever is asked before costs the link, and nothing is left of it."""
        for event in (
            Event(EventType.JOIN, topic=TOPIC, roles=1, request=1),
            Event(EventType.JOIN, topic=TOPIC, roles=2),
            Event(EventType.JOIN, topic=TOPIC),
            Event(EventType.LEAVE, topic=TOPIC),
            Event(EventType.CONNECT, peer=PEER, request=1),
            Event(EventType.CONNECT, peer=PEER),
            Event(EventType.CONNECT, peer=b"192.0.2.1:80", request=2),
            Event(EventType.LISTEN, request=1),
            Event(EventType.UNLISTEN, request=1),
            Event(EventType.FAREWELL, request=1),
        ):
            client = self.world.client(**SEALED)
            client.send(event)
            self.violates(client, "not-identified")
            self.assertEqual(0, self.world.server.open_streams)
        self.assertEqual(1, len([*self.world.hub._networks]))

    def test_before_ready(self) -> None:
        """Before READY it means nothing."""
        client = self.world.client(ready=False)
        client.send(Event(IDENTIFY, key=OWN.public_key, data=bytes(64)))
        self.world.settle()
        self.assertEqual((False, []), (client.lost, client.frames))

    def test_never(self) -> None:
        """Who never says it is idle, and let go in time."""
        client = self.world.client(**SEALED)
        for _ in range(int(self.world.server.limits.idle_timeout) + 2):
            client.send(b"\0")
            self.world.pass_time(1)
        self.assertTrue(client.lost)

    def test_what_it_takes(self) -> None:
        """Without replies or identities it is not in force."""
        for missing in (Feature.REPLIES, Feature.IDENTITY):
            client = self.world.client(features=int(ALL & ~missing), window=1000)
            (ready,) = client.events(READY)
            self.assertEqual((None, None), (ready.token, ready.profile))

    def test_other_network(self) -> None:
        """A server of another network says that."""
        world = World(network=LocalHub(self.world.clock, profile=HYPERSWARM).network())
        (ready,) = world.client(**SEALED).events(READY)
        self.assertEqual(("hyperswarm", b"hyperswarm/secret-stream"), (ready.profile, ready.data))
        world.server.close()
        world.settle()

    def test_not_any_more(self) -> None:
        """A network that can't do it any more costs the client its link, and it is told why."""
        for problem in (NotSupportedError("not now"), LimitError("max_identities", 3)):
            sealed = Answering(self.world, OWN, identify=False)

            def with_identity(key_pair: Any, problem: Exception = problem) -> Any:
                raise problem

            self.world.server.network.with_identity = with_identity
            sealed.identify()
            self.assertTrue(sealed.client.lost)
            self.assertEqual([problem.code], [event.code for event in sealed.client.events(REPLY)])

    def test_same_peer(self) -> None:
        """Two links with one key are one peer."""
        first, second = Answering(self.world, OWN), Answering(self.world, OWN)
        self.assertIs(first.client.link.identity, second.client.link.identity)

    def test_challenge_is_not_guessed(self) -> None:
        """A link's proof says nothing under what another one was given."""
        first, second = (Answering(self.world, OWN, identify=False) for _ in range(2))
        self.assertFalse(verify(first.proof(), second.challenge, OWN.public_key))


class GivingTests(IdentificationTestCase):
    """A client that would keep its key, at a server that can't do without."""

    options = {"end_to_end": False}

    def told(self, **fields: Any) -> RawClient:
        client = self.world.client(**SEALED)
        (ready,) = client.events(READY)
        self.assertEqual((None, None, int(CUSTODIAL)), (ready.key, ready.token, ready.features))
        client.send(Event(IDENTIFY, **{"request": 1, **fields}))
        self.world.settle()
        return client

    def test_given(self) -> None:
        """A secret key or its seed, given late, is as good as in READY; nothing gets somebody new."""
        for key in (OWN.secret_key, OWN.seed):
            client = self.told(key=key)
            self.assertEqual([None], [event.code for event in client.events(REPLY)])
            self.assertEqual(OWN.public_key, self.known(client))
        self.assertNotIn(self.known(self.told(key=None)), (None, OWN.public_key))

    def test_bad_key(self) -> None:
        """Another length is a lie."""
        self.violates(self.told(key=b"short"), "bad-key")

    def test_twice(self) -> None:
        """Given twice, or after it has done something, it is too late."""
        client = self.told(key=OWN.seed)
        client.send(Event(IDENTIFY, key=OTHER.seed))
        self.violates(client, "identified-twice")
        client = self.world.client(**SEALED)
        client.send(Event(EventType.LISTEN, request=1), Event(IDENTIFY, key=OTHER.seed))
        self.violates(client, "identified-twice")

    def test_no_need(self) -> None:
        """Who says nothing is somebody new, as ever."""
        client = self.world.client(**SEALED)
        client.send(Event(EventType.LISTEN, request=1))
        self.world.settle()
        self.assertIsNotNone(self.known(client))

    def test_no_identities(self) -> None:
        """A network that has none says so."""

        def with_identity(key_pair: Any) -> Any:
            raise NotSupportedError

        self.world.server.network.with_identity = with_identity
        client = self.told(key=OWN.seed)
        self.assertEqual(["not-supported"], [event.code for event in client.events(REPLY)])


class CustodialTests(IdentificationTestCase):
    """A client that gives its key in READY."""

    def test_key(self) -> None:
        """It is known by that, and told; IDENTIFY after it is too late."""
        client = self.world.client(features=int(CUSTODIAL), window=1000, key=OWN.seed)
        (ready,) = client.events(READY)
        self.assertEqual((OWN.public_key, None), (ready.key, ready.token))
        client.send(Event(IDENTIFY, key=OTHER.seed))
        self.violates(client, "identified-twice")

    def test_javascript(self) -> None:
        """A JavaScript client's IDENTIFY would mean nothing."""
        client = self.world.client()
        client.send(Event(IDENTIFY, key=OTHER.seed))
        self.world.settle()
        self.assertEqual((False, None), (client.lost, self.known(client)))
