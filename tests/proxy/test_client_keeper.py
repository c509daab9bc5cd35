"""Tests for ``spaceswarm_proxy.proxy.client_keeper``: a key that is at a client, who may say what it likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.crypto.keeper import Claim, DistantKeys, proof_signable
from spaceswarm_proxy.crypto.keys import KeyPair, verify
from spaceswarm_proxy.crypto.noise import MAX_MESSAGE
from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.errors import (
    ConnectError,
    ConnectTimeoutError,
    HandshakeError,
    LinkLostError,
    PeerUnreachableError,
)
from spaceswarm_proxy.interfaces import IKeeper, IKeptHandshake, Peer
from spaceswarm_proxy.keepers import OwnKeptHandshake
from spaceswarm_proxy.proxy.asks import PATIENCE
from spaceswarm_proxy.proxy.client_keeper import MAX_HANDSHAKES, ClientKeeper
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.network.support import Collector, Recorder
from tests.proxy.answering import ANSWER, Answering
from tests.proxy.sealed_client_world import now
from tests.proxy.world import TOPIC, World

SEAL, UNSEAL, SIGN, DROP = EventType.SEAL, EventType.UNSEAL, EventType.SIGN, EventType.DROP
LISTEN, CONNECT, OPEN = EventType.LISTEN, EventType.CONNECT, EventType.ON_STREAM_OPEN
OWN, PEER = KeyPair.from_seed(b"o" * 32), KeyPair.from_seed(b"p" * 32)
CLAIM = Claim(TOPIC, b"n" * 32, b"t" * 32, OWN.public_key)


class KeeperTestCase(SynchronousTestCase):
    """A server, a client of it that takes streams, and a peer in the network."""

    def setUp(self) -> None:
        self.world = World()
        self.visitor = self.world.hub.network()

    def tearDown(self) -> None:
        server = self.world.server
        self.world.settle()
        self.assertEqual(0, sum(identity.keeper.under_way for identity in server.identities._by_name.values()))
        for each in (server.close(), self.world.hub.close()):
            self.world.settle()
            self.successResultOf(each)
        self.assertEqual((0, 0, {}), (len(server.links), server.open_streams, server.identities._by_name))
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def client(self, answer: Callable[[Event, Event], Event | None] = lambda question, truth: truth) -> Answering:
        client = Answering(self.world, OWN, answer)
        client.send(Event(LISTEN, request=1))
        return client

    def keeper(self, client: Answering) -> ClientKeeper:
        keeper = client.client.link.identity.keeper
        assert keeper is not None
        return keeper

    def visit(self) -> Deferred[Any]:
        """The peer connects to the client."""
        attempt = self.visitor.connect(Peer.keyed(OWN.public_key), Collector(Recorder))
        self.world.settle()
        return attempt

    def answer(self, done: Deferred[bytes]) -> bytes:
        self.world.settle()
        answer: bytes = self.successResultOf(done)
        return answer

    def fails(self, done: Deferred[Any], kind: type[Exception] = ConnectError) -> Exception:
        self.world.settle()
        problem: Exception = self.failureResultOf(done, kind).value
        return problem


class HandshakeTests(KeeperTestCase):
    """Handshakes, asked for directly."""

    def test_interfaces(self) -> None:
        """It is an ``IKeeper``, and its handshakes are kept ones."""
        keeper = self.keeper(self.client())
        verifyObject(IKeeper, keeper)
        handshake = keeper.handshake(SPACESWARM)
        verifyObject(IKeptHandshake, handshake)
        handshake.close()

    def test_visited(self) -> None:
        """The peer speaks first: who it is is known from then on, and what was agreed on after our message."""
        handshake = self.keeper(self.client()).handshake(SPACESWARM)
        peer = OwnKeptHandshake(SPACESWARM, PEER, OWN.public_key)
        self.assertIsNone(handshake.remote_public_key)
        self.assertEqual(b"knock", self.answer(handshake.read(now(peer.write(b"knock")))))
        self.assertEqual((PEER.public_key, None), (handshake.remote_public_key, handshake.keys))
        self.assertEqual(b"come in", now(peer.read(self.answer(handshake.write(b"come in")))))
        assert peer.keys is not None
        self.assertEqual(DistantKeys(peer.keys.hash, PEER.public_key, 1), handshake.keys)
        handshake.close()

    def test_away(self) -> None:
        """Nobody is there who could: that is a peer out of reach, and no violation of anybody's."""
        client = self.client()
        keeper = self.keeper(client)
        begun = keeper.handshake(SPACESWARM)
        client.client.transport.abortConnection()
        self.world.settle()
        for asked in (
            begun.read(b""),
            keeper.handshake(SPACESWARM).read(b""),
            keeper.sign(SPACESWARM, CLAIM),
            keeper.prove(bytes(32)),
        ):
            self.fails(asked, PeerUnreachableError)
        self.assertEqual(2, keeper.under_way)

    def test_nobody_dials(self) -> None:
        """A handshake with a peer to whom no link has a CONNECT under way is nobody's."""
        client = self.client()
        keeper = self.keeper(client)
        handshake = keeper.handshake(SPACESWARM, PEER.public_key)
        self.fails(handshake.write(b""), PeerUnreachableError)
        handshake.close()
        self.assertEqual([], client.client.events(DROP))

    def test_close(self) -> None:
        """The client is told that nothing comes of one, if it has heard of it, once; then nothing more is asked."""
        client = self.client()
        keeper = self.keeper(client)
        begun, not_begun = keeper.handshake(SPACESWARM), keeper.handshake(SPACESWARM)
        self.fails(begun.read(b"garbage"), HandshakeError)
        for handshake in (begun, not_begun, begun):
            handshake.close()
        self.fails(begun.read(b"garbage"), HandshakeError)
        self.assertEqual([begun.number], [event.handshake for event in client.client.events(DROP)])
        self.assertEqual(1, len(client.questions()))

    def test_bound(self) -> None:
        """So many at once; then the oldest is forgotten, and the client told."""
        client = self.client()
        keeper = self.keeper(client)
        handshakes = [keeper.handshake(SPACESWARM) for _ in range(MAX_HANDSHAKES)]
        self.fails(handshakes[0].read(b"garbage"), HandshakeError)
        keeper.handshake(SPACESWARM)
        self.world.settle()
        self.assertEqual(MAX_HANDSHAKES, keeper.under_way)
        self.assertEqual([1], [event.handshake for event in client.client.events(DROP)])
        for handshake in tuple(keeper._handshakes.values()):
            handshake.close()


class LyingTests(KeeperTestCase):
    """What a client may answer."""

    def lying(self, kind: int, **lies: Any) -> Answering:
        """A client whose answers to one kind of question are not true."""

        def answer(question: Event, truth: Event) -> Event:
            if question.type == kind:
                for name, value in lies.items():
                    setattr(truth, name, value)
            return truth

        return self.client(answer)

    def test_signatures(self) -> None:
        """A signature has 64 bytes; whether it is one is for those to see for whom it is made."""
        for data in (None, b"", bytes(63), bytes(65), bytes(1_000_000)):
            keeper = self.keeper(self.lying(SIGN, data=data))
            self.fails(keeper.sign(SPACESWARM, CLAIM), HandshakeError)
            self.fails(keeper.prove(bytes(32)), HandshakeError)

    def test_lengths(self) -> None:
        """A public key and a hash have their lengths, or there are no keys."""
        for kind, lies in ((UNSEAL, {"key": b"short"}), (SEAL, {"token": bytes(65)})):
            handshake = self.keeper(self.lying(kind, **lies)).handshake(SPACESWARM)
            peer = OwnKeptHandshake(SPACESWARM, PEER, OWN.public_key)
            asked = handshake.read(now(peer.write(b"")))
            if kind == SEAL:
                self.answer(asked)
                asked = handshake.write(b"")
            self.fails(asked, HandshakeError)
            self.assertIsNone(handshake.keys)
            handshake.close()

    def test_visited(self) -> None:
        """A lie about a visitor's handshake, or none, is a visitor that can't connect, and no stream to anybody."""
        for kind, lies in (
            (UNSEAL, {"key": None}),
            (UNSEAL, {"key": b"short"}),
            (UNSEAL, {"key": PEER.public_key}),
            (UNSEAL, {"code": "closed"}),
            (UNSEAL, {"code": "cancelled"}),
            (UNSEAL, {"code": "no such code", "data": bytes(100_000)}),
            (UNSEAL, {"data": bytes(MAX_MESSAGE + 1)}),
            (SEAL, {"token": None}),
            (SEAL, {"token": bytes(63)}),
            (SEAL, {"token": bytes(64)}),
            (SEAL, {"token": bytes(100_000)}),
            (SEAL, {"data": None}),
            (SEAL, {"data": b"garbage"}),
            (SEAL, {"data": bytes(MAX_MESSAGE + 1)}),
            (SEAL, {"code": "limit", "data": b"max_handshakes=1"}),
        ):
            client = self.lying(kind, **lies)
            self.fails(self.visit())
            self.assertEqual([], client.client.events(OPEN))
            self.assertEqual((False, 0), (client.client.lost, self.keeper(client).under_way))
            client.client.transport.abortConnection()

    def test_connecting(self) -> None:
        """The same about a handshake of its own: its connection does not come about."""
        collector = Collector(Recorder)
        self.visitor.listen(collector)
        for kind, lies in (
            (SEAL, {"data": b"garbage"}),
            (SEAL, {"data": None}),
            (SEAL, {"data": bytes(MAX_MESSAGE + 1)}),
            (SEAL, {"code": "error"}),
            (UNSEAL, {"token": None}),
            (UNSEAL, {"token": bytes(64)}),
            (UNSEAL, {"code": "handshake-error"}),
        ):
            client = self.lying(kind, **lies)
            client.send(Event(CONNECT, peer=Peer.keyed(self.visitor.public_key).id, request=9))
            (reply,) = [event for event in client.client.events(EventType.REPLY) if event.request == 9]
            self.assertIn(reply.code, ("unreachable", "handshake-invalid"))
            self.assertEqual(0, self.keeper(client).under_way)
            client.client.transport.abortConnection()
            self.world.settle()
        self.assertEqual([], collector.built)

    def test_unasked(self) -> None:
        """Answers to nothing are nothing, however many."""
        client = self.client()
        client.send(*[Event(ANSWER, request=number, data=bytes(64)) for number in range(2000)])
        self.assertFalse(client.client.lost)
        attempt = self.visit()
        self.assertEqual(1, len(client.client.events(OPEN)))
        self.world.pass_time(21)
        self.fails(attempt)

    def test_silent(self) -> None:
        """Who never answers is waited for so long and no longer; an answer that comes then is nothing."""
        client = self.client(lambda question, truth: None)
        attempt = self.visit()
        asked = self.keeper(client).prove(bytes(32))
        self.assertNoResult(attempt)
        self.world.pass_time(int(PATIENCE) + 1)
        self.fails(asked, ConnectTimeoutError)
        self.fails(attempt)
        client.send(*[Event(ANSWER, request=number, data=bytes(64)) for number in range(5)])
        self.assertEqual((False, 0), (client.client.lost, len(client.client.link.asks)))
        self.assertEqual(1, len(client.client.events(DROP)))

    def test_many_visitors(self) -> None:
        """However many visit one who never answers, another client does not notice."""
        self.client(lambda question, truth: None)
        other = Answering(self.world, PEER)
        other.send(Event(LISTEN, request=1))
        attempts = [self.visitor.connect(Peer.keyed(OWN.public_key), Collector(Recorder)) for _ in range(200)]
        self.world.settle()
        protocol = self.visitor.connect(Peer.keyed(PEER.public_key), Collector(Recorder))
        self.world.settle()
        self.assertEqual(1, len(other.client.events(OPEN)))
        protocol.addErrback(lambda _: None)
        self.world.pass_time(25)
        for attempt in attempts:
            self.fails(attempt)


class LinksTests(KeeperTestCase):
    """Several links of one client."""

    def test_newest(self) -> None:
        """The newest that takes streams is asked; a handshake stays with it."""
        first, second, third = self.client(), self.client(), Answering(self.world, OWN)
        attempt = self.visit()
        self.assertEqual([0, 2, 0], [len(each.questions()) for each in (first, second, third)])
        self.assertEqual([0, 1, 0], [len(each.client.events(OPEN)) for each in (first, second, third)])
        self.assertIsNotNone(attempt)
        attempt.addErrback(lambda _: None)

    def test_dies_in_mid_handshake(self) -> None:
        """The link that was asked dies: what it was asked fails, and the next visitor gets to the other one."""
        first, second = self.client(), self.client(lambda question, truth: None)
        attempt = self.visit()
        second.client.transport.abortConnection()
        self.fails(attempt)
        self.visit().addErrback(lambda _: None)
        self.assertEqual(1, len(first.client.events(OPEN)))

    def test_lost_link_is_told(self) -> None:
        """What is asked on a link that is lost fails with that."""
        client = self.client(lambda question, truth: None)
        asked = self.keeper(client).prove(bytes(32))
        client.client.transport.abortConnection()
        self.fails(asked, LinkLostError)

    def test_both_dial(self) -> None:
        """Both dial the same peer at once: no stream comes to a link that has not its keys."""
        self.visitor.listen(Collector(Recorder))
        first, second = self.client(), self.client()
        for each in (first, second):
            each.client.send(Event(CONNECT, peer=Peer.keyed(self.visitor.public_key).id, request=9))
        self.world.settle()
        for each in (first, second):
            answers = [event for event in each.client.frames if isinstance(event, Event) and event.request == 9]
            kinds = [(event.type, event.code) for event in answers if event.type in (OPEN, EventType.REPLY)]
            self.assertEqual(1, len(kinds))
            for opened in each.client.events(OPEN):
                self.assertIn(opened.handshake, each.handshakes)
        self.assertEqual(1, len(second.client.events(OPEN)))
        self.world.pass_time(25)


class SigningTests(KeeperTestCase):
    """Signatures."""

    def test_claims(self) -> None:
        """What the client is asked to sign is the claim, and what it answers the signature."""
        for withdrawn in (False, True):
            client = self.client()
            claim = CLAIM._replace(withdrawn=withdrawn)
            signature = self.answer(self.keeper(client).sign(SPACESWARM, claim))
            self.assertTrue(verify(signature, claim.signable(SPACESWARM), OWN.public_key))

    def test_proof(self) -> None:
        """The proof for a server of the server."""
        proof = self.answer(self.keeper(self.client()).prove(b"x" * 32))
        self.assertTrue(verify(proof, proof_signable(b"x" * 32), OWN.public_key))


class StreamTests(KeeperTestCase):
    """From the handshake to the stream."""

    def test_numbered(self) -> None:
        """OPEN has the handshake's number, and the keys are the client's business from then on."""
        client = self.client()
        self.visit().addErrback(lambda _: None)
        (opened,) = client.client.events(OPEN)
        self.assertEqual((Peer.keyed(self.visitor.public_key).id, None), (opened.peer, opened.request))
        handshake = client.handshakes[opened.handshake or 0]
        assert handshake.keys is not None
        self.assertEqual(self.visitor.public_key, handshake.keys.remote_public_key)
        self.assertEqual(0, self.keeper(client).under_way)
        self.assertEqual([], client.client.events(DROP))
        self.world.pass_time(25)

    def test_full(self) -> None:
        """A client that has as many streams as it may is refused one more, and keeps no keys for it."""
        client = self.client()
        self.world.server.limits = client.client.link.limits.__class__(max_streams=1)
        client.client.link.upstreams.count = 1
        self.fails(self.visit())
        self.assertEqual(1, len(client.client.events(DROP)))
        client.client.link.upstreams.count = 0

    def test_no_number_left(self) -> None:
        """The same where the link has no number for a stream any more."""
        client = self.client()
        client.client.link.mux._next_id = 2**31
        attempt = self.visit()
        self.world.pass_time(21)
        self.fails(attempt)
        self.assertEqual((1, []), (len(client.client.events(DROP)), client.client.events(OPEN)))
