"""Tests for ``spaceswarm_proxy.proxy.sealer``: what a client does for its server, and what it does not."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keeper import MAX_RECORD, Claim, proof_signable
from spaceswarm_proxy.crypto.keys import verify
from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM
from spaceswarm_proxy.dht.values import PeerRecord
from spaceswarm_proxy.errors import HandshakeError, PeerUnreachableError
from spaceswarm_proxy.proxy.features import Role
from spaceswarm_proxy.proxy.sealer import MAX_ASKED, MAX_HANDSHAKES, PATIENCE
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.keepers import FakeKeeper
from tests.proxy.client_world import OURS
from tests.proxy.sealed_client_world import (
    ANSWER,
    DROP,
    OWN,
    SEAL,
    SEALED,
    SIGN,
    UNSEAL,
    FarPeer,
    SealedClientWorld,
    now,
)
from tests.proxy.world import TOPIC, Peers

ANNOUNCE, NOT = int(Role.ANNOUNCE), 0
OTHER = bytes(reversed(TOPIC))
NODE, TOKEN = b"n" * 32, b"t" * 32
RECORD = PeerRecord(OWN.public_key, (b"relay1", b"relay2")).encode()
CLAIM = {"topic": TOPIC, "key": NODE, "token": TOKEN, "data": RECORD, "roles": ANNOUNCE}


class SealerTestCase(SynchronousTestCase):
    """A client that takes streams and is announced, and a server that asks."""

    ready: dict[str, Any] = SEALED
    options: dict[str, Any] = {}

    def setUp(self) -> None:
        self.world = SealedClientWorld(self.ready, **self.options)
        self.network = self.world.network
        self.peer = FarPeer()

    def tearDown(self) -> None:
        link = self.network.link
        self.assertEqual([None], self.world.farewell())
        self.assertEqual([], self.world.clock.getDelayedCalls())
        if link.sealed is not None:
            self.assertEqual((0, 0), (len(link.sealed.sealer), link.sealed.sealer._asked))

    def listen(self) -> None:
        listening = self.network.listen(Peers())
        self.world.settle()
        for event in self.world.server.events(EventType.LISTEN):
            self.world.server.reply(event.request or 0)
        self.world.settle()
        if self.network.listener is not None:
            self.successResultOf(listening)

    def connect(self, peer: FarPeer | None = None) -> None:
        self.world.asked_for((peer or self.peer).peer)


class OutgoingTests(SealerTestCase):
    """Handshakes that the server wants to begin."""

    def test_handshake(self) -> None:
        """With a peer to whom we want a connection; the server gets both messages, and the hash."""
        self.connect()
        keys = self.world.shake_hands(self.peer, 7)
        self.assertEqual(OWN.public_key, keys.remote_public_key)
        self.assertEqual(1, self.world.kept())

    def test_unwanted(self) -> None:
        """With anybody else there is none: not before, not after, not with another, and never with ourselves."""
        key = self.peer.key_pair.public_key
        self.assertEqual("unwanted", self.world.refused(SEAL, handshake=1, key=key))
        self.connect()
        for other in (FarPeer(b"x").key_pair.public_key, OWN.public_key, b"", b"short", bytes(100_000)):
            self.assertEqual("unwanted", self.world.refused(SEAL, handshake=1, key=other))
        self.world.server.reply(1, code="unreachable")
        self.world.settle()
        self.assertEqual("unwanted", self.world.refused(SEAL, handshake=1, key=key))
        self.assertEqual(0, self.world.kept())

    def test_number(self) -> None:
        """A number is of one handshake at a time, and has to be there."""
        self.connect()
        key = self.peer.key_pair.public_key
        self.assertEqual("no-number", self.world.refused(SEAL, key=key))
        self.world.ask(SEAL, handshake=1, key=key)
        self.assertEqual("number-reused", self.world.refused(SEAL, handshake=1, key=key))
        self.world.ask(SEAL, handshake=2**64, key=key)
        self.assertEqual("unknown-handshake", self.world.refused(SEAL, handshake=3))
        self.assertEqual("unknown-handshake", self.world.refused(SEAL))

    def test_out_of_turn(self) -> None:
        """Messages come and go in turn; what is asked out of turn changes nothing."""
        self.connect()
        self.world.ask(SEAL, handshake=1, key=self.peer.key_pair.public_key)
        self.assertEqual("out-of-turn", self.world.refused(SEAL, handshake=1))
        self.world.shake_hands(self.peer, 2)
        for kind in (SEAL, UNSEAL):
            self.assertEqual("out-of-turn", self.world.refused(kind, handshake=2))

    def test_second_answer(self) -> None:
        """What can't be read leaves a handshake as it was: the right message may still come."""
        self.connect()
        first = self.world.ask(SEAL, handshake=1, key=self.peer.key_pair.public_key)
        handshake = self.peer.handshake()
        now(handshake.read(first.data or b""))
        second = now(handshake.write(b""))
        for bad in (b"", b"garbage", second[:-1], second[::-1], bytes(100_000)):
            self.world.refused(UNSEAL, handshake=1, data=bad)
        self.assertEqual(64, len(self.world.ask(UNSEAL, handshake=1, data=second).token or b""))

    def test_too_long(self) -> None:
        """A payload that makes no message is refused."""
        self.connect()
        self.assertEqual(
            "too-long", self.world.refused(SEAL, handshake=1, key=self.peer.key_pair.public_key, data=bytes(70_000))
        )

    def test_bad_point(self) -> None:
        """A public key that is no point of the curve is the server's problem, or our user's."""
        bad = FarPeer()
        bad.peer = bad.peer.keyed(bytes(32))
        self.connect(bad)
        self.assertEqual("bad-key", self.world.refused(SEAL, handshake=1, key=bytes(32)))


class IncomingTests(SealerTestCase):
    """Handshakes of those who knock."""

    def test_handshake(self) -> None:
        """The server learns who it is, and what it says, as far as it has to."""
        self.listen()
        keys = self.world.visited_by(self.peer, 3)
        self.assertEqual(OWN.public_key, keys.remote_public_key)

    def test_nobody_listens(self) -> None:
        """While no streams are taken, nobody's message is read: not even who it is from."""
        message = now(self.peer.handshake(OWN.public_key).write(b"knock"))
        self.assertEqual("unwanted", self.world.refused(UNSEAL, handshake=1, data=message))
        self.listen()
        self.world.ask(UNSEAL, handshake=1, data=message)

    def test_garbage(self) -> None:
        """What is no first message to us is refused, and may be followed by one that is."""
        self.listen()
        other = now(self.peer.handshake(FarPeer(b"x").key_pair.public_key).write(b""))
        for data in (None, b"", b"garbage", bytes(96), other, bytes(100_000)):
            self.world.refused(UNSEAL, handshake=1, data=data)
        self.world.visited_by(self.peer, 1)
        self.assertEqual("no-number", self.world.refused(UNSEAL, data=other))

    def test_not_begun(self) -> None:
        """Our message comes second: there is none in a handshake in which nobody has spoken yet."""
        self.listen()
        self.world.refused(UNSEAL, handshake=1, data=b"garbage")
        self.assertEqual("out-of-turn", self.world.refused(SEAL, handshake=1))

    @settings(deadline=None, max_examples=40)
    @given(data=st.binary(max_size=200), number=st.integers(0, 3))
    def test_any_bytes(self, data: bytes, number: int) -> None:
        """Whatever is to be read, the answer is a refusal, typed, and one handshake at most is kept for a number."""
        if self.network.listener is None:
            self.listen()
        self.assertEqual("handshake-error", self.world.ask(UNSEAL, handshake=number, data=data).code)
        self.assertLessEqual(self.world.kept(), 4)


class BoundTests(SealerTestCase):
    """What the server can make a client keep."""

    def test_many_handshakes(self) -> None:
        """So many at once and no more; when one is dropped there is room for another."""
        self.listen()
        for number in range(MAX_HANDSHAKES):
            self.world.server.send(Event(UNSEAL, request=number + 1, handshake=number, data=b"?"))
        self.world.settle()
        self.world.questions = MAX_HANDSHAKES
        self.assertEqual("limit", self.world.ask(UNSEAL, handshake=MAX_HANDSHAKES, data=b"?").code)
        self.world.server.send(Event(DROP, handshake=5))
        self.assertEqual("cut", self.world.refused(UNSEAL, handshake=MAX_HANDSHAKES, data=b"?"))
        self.assertEqual(MAX_HANDSHAKES, self.world.kept())

    def test_time(self) -> None:
        """What does not come to a stream in time is forgotten."""
        self.listen()
        self.world.ask(UNSEAL, handshake=1, data=b"?")
        self.wait(int(PATIENCE) - 1)
        self.assertEqual(1, self.world.kept())
        self.world.visited_by(self.peer, 2)
        self.wait(2)
        self.assertEqual(1, self.world.kept())
        self.wait(int(PATIENCE))
        self.assertEqual(0, self.world.kept())

    def wait(self, seconds: int) -> None:
        """Let time pass, with a sign of life of the server in each second."""
        for _ in range(seconds):
            self.world.server.send(b"\0")
            self.world.pass_time(1)

    def test_drop(self) -> None:
        """Nothing comes of it: the number is free again.  One that is not there is no matter."""
        self.connect()
        self.world.shake_hands(self.peer, 1)
        for number in (1, 1, 2, None, 2**64):
            self.world.server.send(Event(DROP, handshake=number))
        self.world.settle()
        self.assertEqual(0, self.world.kept())
        self.world.shake_hands(self.peer, 1)

    def test_link_lost(self) -> None:
        """With the link all of them are gone."""
        self.connect()
        self.world.shake_hands(self.peer, 1)
        sealer = self.network.link.sealed.sealer
        self.world.reconnect(SEALED)
        self.assertEqual((0, 0), (len(sealer), self.world.kept()))

    def test_unanswered_requests(self) -> None:
        """A question without a number is answered all the same; nobody can do anything with that."""
        self.world.server.send(Event(SIGN), Event(SEAL), Event(UNSEAL))
        self.world.settle()
        self.assertEqual([None] * 3, [event.request for event in self.world.server.events(ANSWER)])


class SlowKeeperTests(SealerTestCase):
    """A keeper that is not in this process."""

    def setUp(self) -> None:
        self.keeper = FakeKeeper(OWN)
        self.options = {"key_pair": self.keeper}
        super().setUp()
        self.keeper.prove = self._prove
        self.waiting: list[Deferred[bytes]] = []

    def _prove(self, challenge: bytes) -> Deferred[bytes]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def test_bound(self) -> None:
        """So many questions wait for it and no more."""
        for number in range(MAX_ASKED + 3):
            self.world.server.send(Event(SIGN, request=number + 1, token=bytes(32)))
        self.world.settle()
        self.assertEqual(MAX_ASKED, len(self.waiting))
        self.assertEqual(["limit"] * 3, [event.code for event in self.world.server.events(ANSWER)])
        for each in self.waiting:
            each.callback(bytes(64))
        self.world.settle()
        self.assertEqual(MAX_ASKED + 3, len(self.world.server.events(ANSWER)))

    def test_link_lost(self) -> None:
        """An answer that comes when the link is lost is nothing; nor is one on the next link."""
        self.world.server.send(Event(SIGN, request=1, token=bytes(32)))
        self.world.settle()
        self.keeper.prove = FakeKeeper(OWN).prove
        self.world.reconnect(SEALED)
        self.waiting[0].callback(bytes(64))
        self.world.settle()
        self.assertEqual([], self.world.server.events(ANSWER))

    def test_fails(self) -> None:
        """What of ours goes wrong is told by its code; what else does, not at all."""
        for problem, code, text in (
            (PeerUnreachableError("away"), "unreachable", b"away"),
            (HandshakeError("bad-tag"), "handshake-error", b"bad-tag"),
            (ZeroDivisionError("private"), "error", b"Whatever goes wrong here is one of these."),
        ):
            self.keeper.failing["sign"] = problem
            self.network.announce(TOPIC)
            answer = self.world.ask(SIGN, **CLAIM)
            self.assertEqual((code, text), (answer.code, answer.data))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_raises(self) -> None:
        """One that raises what it should fail with does no more harm."""

        def handshake(*args: Any) -> Any:
            raise ZeroDivisionError

        self.keeper.handshake = handshake
        self.listen()
        self.assertEqual("error", self.world.ask(UNSEAL, handshake=1, data=b"?").code)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertTrue(self.network.status().online)


def _record(relays: int) -> bytes:
    """One with so many relays; as many as 79 are not too long."""
    record = PeerRecord(OWN.public_key, (b"relays",) * relays).encode()
    assert (len(record) <= MAX_RECORD) == (relays <= 79)
    return record


class SignatureTests(SealerTestCase):
    """What is signed."""

    def signed(self, **changes: Any) -> bool:
        """Is such a claim signed, and truly?"""
        fields = {**CLAIM, **changes}
        answer = self.world.ask(SIGN, **fields)
        if answer.code:
            self.assertEqual(("event-error", None), (answer.code, answer.key))
            return False
        claim = Claim(fields["topic"], fields["key"], fields["token"], fields["data"], not fields["roles"])
        self.assertTrue(verify(answer.data or b"", claim.signable(SPACESWARM), OWN.public_key))
        return True

    def test_topics(self) -> None:
        """That we are found under a topic that we announce, for as long as we do; and under our own key."""
        self.assertFalse(self.signed())
        self.network.lookup(OTHER, None)
        self.assertFalse(self.signed(topic=OTHER))
        announcement = self.network.announce(TOPIC)
        self.assertTrue(self.signed())
        self.assertFalse(self.signed(topic=OTHER))
        self.assertTrue(self.signed(topic=hash32(OWN.public_key)))
        announcement.close()
        self.world.settle()
        self.assertFalse(self.signed())

    def test_withdrawn(self) -> None:
        """That we are found no more is signed for whatever topic: the server could stop by itself."""
        for roles in (NOT, None, int(Role.LOOKUP)):
            answer = self.world.ask(SIGN, **{**CLAIM, "roles": roles})
            claim = Claim(TOPIC, NODE, TOKEN, RECORD, True)
            self.assertTrue(verify(answer.data or b"", claim.signable(SPACESWARM), OWN.public_key))

    def test_others(self) -> None:
        """For nobody else: a record begins with our key."""
        self.network.announce(TOPIC)
        other = FarPeer().key_pair.public_key
        for record in (other + b"\0", other + OWN.public_key, b"", OWN.public_key[:31], OWN.public_key, None):
            for roles in (ANNOUNCE, NOT):
                self.assertFalse(self.signed(data=record, roles=roles))

    def test_more(self) -> None:
        """No more than a record, in the one way that there is to write it: not what it could be renewed by, for one."""
        self.network.announce(TOPIC)
        for record in (RECORD + bytes(32), RECORD + b"x", RECORD[:-1], OWN.public_key + b"\xfd\0\0", bytes(100_000)):
            for roles in (ANNOUNCE, NOT):
                self.assertFalse(self.signed(data=record, roles=roles))

    def test_lengths(self) -> None:
        """What has not the length that it must have could mean something else."""
        self.network.announce(TOPIC)
        for field, sound, unsound in (
            ("topic", (TOPIC,), (b"", TOPIC[:31], TOPIC + b"x", bytes(100_000))),
            ("key", (NODE,), (None, b"", NODE[:31], NODE * 2)),
            ("token", (TOKEN,), (None, b"", b"t", TOKEN[:31], TOKEN + OWN.public_key)),
            ("data", (_record(0), _record(79)), (_record(80),)),
        ):
            for value in sound:
                self.assertTrue(self.signed(**{field: value}), field)
            for value in unsound:
                for roles in (ANNOUNCE, NOT):
                    self.assertFalse(self.signed(**{field: value, "roles": roles}), field)

    def test_proof(self) -> None:
        """For a server of the server, what it makes up is signed if it can't be anything else."""
        answer = self.world.ask(SIGN, token=b"x" * 32)
        self.assertTrue(verify(answer.data or b"", proof_signable(b"x" * 32), OWN.public_key))
        for token in (None, b"", bytes(31), bytes(33), bytes(64)):
            self.assertEqual("bad-challenge", self.world.refused(SIGN, token=token))

    @settings(deadline=None, max_examples=60)
    @given(
        fields=st.fixed_dictionaries(
            {
                "topic": st.sampled_from([None, TOPIC, OTHER, hash32(OWN.public_key)]) | st.binary(max_size=40),
                "key": st.sampled_from([None, NODE]) | st.binary(max_size=40),
                "token": st.sampled_from([None, TOKEN]) | st.binary(max_size=70),
                "data": st.sampled_from([None, RECORD]) | st.binary(max_size=40),
                "roles": st.sampled_from([None, 0, 1, 2, 3, 2**64]),
            }
        )
    )
    def test_anything(self, fields: dict[str, Any]) -> None:
        """Whatever is asked, what is signed is true, or a proof."""
        if not self.network.is_announced(TOPIC):
            self.network.announce(TOPIC)
        answer = self.world.ask(SIGN, **fields)
        if answer.code:
            return
        if fields["topic"] is None:
            signable = proof_signable(fields["token"])
            self.assertEqual(64, len(signable))
        else:
            withdrawn = not (fields["roles"] or 0) & ANNOUNCE
            self.assertTrue(withdrawn or fields["topic"] in (TOPIC, hash32(OWN.public_key)))
            self.assertTrue(fields["data"].startswith(OWN.public_key))
            claim = Claim(fields["topic"], fields["key"], fields["token"], fields["data"], withdrawn)
            signable = claim.signable(SPACESWARM)
        self.assertTrue(verify(answer.data or b"", signable, OWN.public_key))


class OtherNetworkTests(SealerTestCase):
    """A network that is called otherwise."""

    ready = {**SEALED, "profile": "hyperswarm"}

    def test_names(self) -> None:
        """Signatures are bound to its names."""
        self.network.announce(TOPIC)
        answer = self.world.ask(SIGN, **CLAIM)
        claim = Claim(TOPIC, NODE, TOKEN, RECORD)
        self.assertTrue(verify(answer.data or b"", claim.signable(HYPERSWARM), OWN.public_key))
        self.assertFalse(verify(answer.data or b"", claim.signable(SPACESWARM), OWN.public_key))


class CustodialTests(SealerTestCase):
    """Where the server has the key."""

    ready = OURS
    options = {"end_to_end": False}

    def test_not_asked(self) -> None:
        """It gets no answer: there is nothing that it would need one for."""
        self.listen()
        self.network.announce(TOPIC)
        self.world.server.send(
            Event(SIGN, request=1, token=bytes(32)), Event(UNSEAL, request=2, handshake=1, data=b"?"), Event(DROP)
        )
        self.world.settle()
        self.assertEqual([], self.world.server.events(ANSWER))
