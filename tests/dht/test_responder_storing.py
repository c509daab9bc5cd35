"""Tests of what spaceswarm_proxy.dht.responder does with what others want to be stored, beside the recorded cases."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM, Profile
from spaceswarm_proxy.dht.commands import (
    ANNOUNCE,
    FIND_PEER,
    IMMUTABLE_GET,
    IMMUTABLE_PUT,
    INVALID_TOKEN,
    LOOKUP,
    MUTABLE_GET,
    MUTABLE_PUT,
    UNANNOUNCE,
    UNKNOWN_COMMAND,
)
from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.message import Command, Response, encode_request, parse_response
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.dht.store import Store
from spaceswarm_proxy.dht.values import Announce, LookupReply, MutableRecord, PeerRecord, encode_mutable_put
from tests.dht.signing import signed
from tests.dht.strategies import damaged
from tests.dht.world import Alone

KEYS = [KeyPair.from_seed(bytes([number]) * 32) for number in range(30)]
TOPIC = b"\x07" * 32
OWN_ID = contact_at(Alone.ADDRESS).id
RELAYS = tuple(address_of("10.3.0.1", port) for port in (1, 2, 3, 4))
ASKER, NEIGHBOUR, OTHER = address_of("10.9.0.1", 7001), address_of("10.9.0.1", 7002), address_of("10.9.0.2", 7001)


class StoringTestCase(SynchronousTestCase):
    """Somebody who asks a node that stores."""

    def setUp(self) -> None:
        self.alone = Alone(persistent=True)

    def ask(
        self, command: int, target: bytes, value: bytes | None = None, *, token: bytes | None = None,
        source: bytes = ASKER, socket: int = SERVER_SOCKET,
    ) -> Response | None:  # fmt: skip
        """What the node answers."""
        made = Command.make(False, command, target, value)
        reply = self.alone.receive(encode_request(made, b"\x01\x02", Alone.ADDRESS, None, token), source, socket)
        return None if reply is None else parse_response(reply)

    def answer(self, command: int, target: bytes, value: bytes | None = None, **more: Any) -> Response:
        """The same, where there must be an answer."""
        response = self.ask(command, target, value, **more)
        assert response is not None, "there is no answer"
        return response

    def token(self, source: bytes = ASKER) -> bytes:
        """One that the node gives to whoever asks."""
        token = self.answer(LOOKUP, TOPIC, source=source).token
        assert token is not None
        return token

    def announce(
        self, key_pair: KeyPair, target: bytes = TOPIC, relays: tuple[bytes, ...] = (), *,
        command: int = ANNOUNCE, profile: Profile = SPACESWARM, source: bytes = ASKER, socket: int = SERVER_SOCKET,
    ) -> Response | None:  # fmt: skip
        """Be found, or no more, in the usual two steps."""
        token = self.token(source)
        value = signed(profile, key_pair, target, OWN_ID, token, relays, withdrawn=command != ANNOUNCE).encode()
        return self.ask(command, target, value, token=token, source=source, socket=socket)

    def put(self, value: bytes, source: bytes = ASKER) -> Response | None:
        """Store a value under its hash."""
        return self.ask(IMMUTABLE_PUT, hash32(value), value, token=self.token(source), source=source)

    def found(self, target: bytes = TOPIC) -> dict[bytes, tuple[bytes, ...]]:
        """Who is under a topic: relays by key."""
        response = self.answer(LOOKUP, target)
        return {} if response.value is None else dict(LookupReply.parse(response.value).peers)


class TokenTests(StoringTestCase):
    """Who may write."""

    def test_age(self) -> None:
        """A token is good for 7.5 seconds at least, and for less than 15."""
        # Its secret is exchanged 7.5 seconds after the node's start: soon after it was issued, or long after.
        for issued, used, error in (
            (0.0, 14.9, 0), (0.0, 15.0, INVALID_TOKEN), (7.4, 14.9, 0), (7.4, 15.0, INVALID_TOKEN)
        ):  # fmt: skip
            self.setUp()
            began = self.alone.now
            self.alone.now = began + issued
            token = self.token()
            self.alone.now = began + used
            self.assertEqual(self.answer(IMMUTABLE_PUT, hash32(b"x"), b"x", token=token).error, error)

    def test_fresh(self) -> None:
        """Whoever comes with an old token is given a fresh one, which is good at once."""
        token = self.token()
        self.alone.now += 60
        refused = self.answer(IMMUTABLE_PUT, hash32(b"x"), b"x", token=token)
        self.assertEqual((refused.error, refused.token), (INVALID_TOKEN, self.token()))
        self.assertIsNone(self.answer(IMMUTABLE_GET, hash32(b"x")).value)
        self.assertIsNotNone(self.put(b"x"))
        self.assertEqual(self.answer(IMMUTABLE_GET, hash32(b"x")).value, b"x")

    def test_host(self) -> None:
        """A token is its host's, whatever the port, and nobody else's."""
        for source, error in ((NEIGHBOUR, 0), (OTHER, INVALID_TOKEN)):
            response = self.answer(IMMUTABLE_PUT, hash32(b"x"), b"x", token=self.token(), source=source)
            self.assertEqual(response.error, error)


class PeerTests(StoringTestCase):
    """Peers and their topics."""

    def test_all_of_few(self) -> None:
        """Up to twenty peers are all told, with three relays each; what comes twice is told once."""
        for key_pair in KEYS[:20] + KEYS[:5]:
            self.assertIsNotNone(self.announce(key_pair, relays=RELAYS))
        self.assertEqual(self.found(), {key_pair.public_key: RELAYS[:3] for key_pair in KEYS[:20]})

    def test_some_of_many(self) -> None:
        """Of more, twenty are told, and others a little later."""
        for key_pair in KEYS:
            self.announce(key_pair)
        keys = {key_pair.public_key for key_pair in KEYS}
        told: set[bytes] = set()
        for _ in range(20):
            some = set(self.found())
            self.assertEqual((len(some), some - keys), (20, set()))
            told |= some
            self.alone.now += 1
        self.assertEqual(told, keys)

    def test_other_network(self) -> None:
        """What is signed for the other network is passed over in silence."""
        self.assertIsNone(self.announce(KEYS[0], profile=HYPERSWARM))
        self.announce(KEYS[1])
        self.assertIsNone(self.announce(KEYS[1], command=UNANNOUNCE, profile=HYPERSWARM))
        self.assertEqual(list(self.found()), [KEYS[1].public_key])

    def test_client_socket(self) -> None:
        """Over a socket that our id does not belong to, nobody can be announced: a signature names the id."""
        self.assertIsNone(self.announce(KEYS[0], socket=CLIENT_SOCKET))
        self.assertIsNone(self.announce(KEYS[0], command=UNANNOUNCE, socket=CLIENT_SOCKET))
        self.assertEqual(self.found(), {})

    def test_self(self) -> None:
        """Who announces its own key is found by it, and told beside those who are under it as a topic."""
        target = hash32(KEYS[0].public_key)
        self.announce(KEYS[1], target)
        self.announce(KEYS[0], target, RELAYS)
        self.assertEqual(self.answer(FIND_PEER, target).value, PeerRecord(KEYS[0].public_key, RELAYS[:3]).encode())
        self.assertEqual(set(self.found(target)), {KEYS[0].public_key, KEYS[1].public_key})
        self.announce(KEYS[0], target, command=UNANNOUNCE)
        self.assertIsNone(self.answer(FIND_PEER, target).value)
        self.assertEqual(set(self.found(target)), {KEYS[1].public_key})

    def test_own_server(self) -> None:
        """A server of the node itself is found here, and no announce takes its place."""
        target = hash32(KEYS[0].public_key)
        record = PeerRecord(KEYS[0].public_key)
        assert self.alone.core.store is not None
        self.alone.core.store.serve(target, record)
        self.announce(KEYS[0], target, RELAYS)
        self.announce(KEYS[0], target, command=UNANNOUNCE)
        self.assertEqual(self.answer(FIND_PEER, target).value, record.encode())

    def test_refresh(self) -> None:
        """A chain of hashes keeps a record alive without its owner: link by link, each good once, and in order."""
        links = [b"\x01" * 32]
        while len(links) < 4:
            links.append(hash32(links[-1]))
        last = links.pop()
        token = self.token()
        value = signed(SPACESWARM, KEYS[0], TOPIC, OWN_ID, token, refresh=last).encode()
        self.assertIsNotNone(self.ask(ANNOUNCE, TOPIC, value, token=token))
        for link in reversed(links):
            for source, known in ((OTHER, True), (OTHER, False)):
                value = Announce(refresh=link).encode()
                response = self.ask(ANNOUNCE, TOPIC, value, token=self.token(source), source=source)
                self.assertEqual(response is not None, known)
            self.alone.now += 600
            self.assertEqual(list(self.found()), [KEYS[0].public_key])
        self.alone.now += 1600
        self.assertEqual(self.found(), {})

    @settings(deadline=None, max_examples=60)
    @given(st.data())
    def test_damaged(self, data: st.DataObject) -> None:
        """Whatever comes in place of a good announce is taken as it was signed, or has no answer and no effect."""
        self.setUp()
        token = self.token()
        good = signed(SPACESWARM, KEYS[0], TOPIC, OWN_ID, token, RELAYS[:1])
        value = data.draw(damaged(st.just(good.encode())))
        response = self.ask(ANNOUNCE, TOPIC, value, token=token)
        expected = {} if response is None else {KEYS[0].public_key: RELAYS[:1]}
        self.assertEqual(self.found(), expected)


class ValueTests(StoringTestCase):
    """Values under keys and hashes."""

    def mutable(self, seq: int, value: bytes, profile: Profile = SPACESWARM) -> Response | None:
        """Store a value under the first key."""
        record = MutableRecord.signed(profile.mutable_put, KEYS[0], seq, value)
        put = encode_mutable_put(KEYS[0].public_key, record)
        return self.ask(MUTABLE_PUT, hash32(KEYS[0].public_key), put, token=self.token())

    def test_any_network(self) -> None:
        """A mutable value is signed for one network; one under its hash is good in any."""
        self.assertIsNone(self.mutable(1, b"x", HYPERSWARM))
        self.assertIsNotNone(self.mutable(1, b"x"))
        self.assertIsNotNone(self.put(b"x"))

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([b"a", b"b"])), max_size=6))
    def test_newest(self, puts: list[tuple[int, bytes]]) -> None:
        """Of all that is put under a key the highest number stays, and of those with that number the first."""
        self.setUp()
        known: tuple[int, bytes] | None = None
        for seq, value in puts:
            response = self.mutable(seq, value)
            assert response is not None
            error = 0 if known is None or known[0] < seq or known == (seq, value) else 17 if known[0] > seq else 16
            self.assertEqual(response.error, error)
            known = known if error else (seq, value)
        answer = self.answer(MUTABLE_GET, hash32(KEYS[0].public_key), b"\x00")
        stored = None if answer.value is None else MutableRecord.parse(answer.value)
        self.assertEqual(None if stored is None else (stored.seq, stored.value), known)

    @settings(deadline=None, max_examples=100)
    @given(st.integers(0, 12), st.none() | st.binary(max_size=120), st.booleans())
    def test_anything(self, command: int, value: bytes | None, with_token: bool) -> None:
        """No value whatever, to any command, does more than get an answer or none."""
        self.setUp()
        response = self.ask(command, TOPIC, value, token=self.token() if with_token else None)
        if command > IMMUTABLE_GET + 1:
            assert response is not None
            self.assertEqual(response.error, UNKNOWN_COMMAND)


class QuotaTests(StoringTestCase):
    """How much one host may have stored."""

    def setUp(self) -> None:
        super().setUp()
        self.alone.core.store = Store(Random(1), self.alone.now, max_records_of_host=3)

    def test_new_records(self) -> None:
        """A host that has stored its share is not answered, from whichever port; another is."""
        self.assertIsNotNone(self.announce(KEYS[0]))
        self.assertIsNotNone(self.put(b"x"))
        self.assertIsNotNone(self.announce(KEYS[1], source=NEIGHBOUR))
        for source in (ASKER, NEIGHBOUR):
            self.assertIsNone(self.announce(KEYS[2], source=source))
            self.assertIsNone(self.put(b"y", source))
        self.assertIsNotNone(self.announce(KEYS[2], source=OTHER))

    def test_known_records(self) -> None:
        """What is there already may be repeated and taken back by a host that has stored its share."""
        for key_pair in KEYS[:4]:
            self.announce(key_pair)
        self.assertIsNotNone(self.announce(KEYS[0]))
        self.assertIsNotNone(self.announce(KEYS[0], command=UNANNOUNCE))
        self.assertEqual(set(self.found()), {key_pair.public_key for key_pair in KEYS[1:3]})


class LifeTests(StoringTestCase):
    """A store belongs to a node that is known by its address."""

    def test_uncertain(self) -> None:
        """A node that does not know its address any more serves nothing of it; what is stored is there when it does."""
        self.announce(KEYS[0])
        self.alone.core.retire()
        for command in (LOOKUP, FIND_PEER, IMMUTABLE_GET):
            response = self.answer(command, TOPIC)
            self.assertEqual((response.error, response.token, response.id), (UNKNOWN_COMMAND, None, None))
        self.alone.core.become(OWN_ID, True, self.alone.now)
        self.assertEqual(list(self.found()), [KEYS[0].public_key])

    def test_own_announces(self) -> None:
        """What the node itself takes back is not told by it either, whether it is certain of its address or not."""
        for retired in (False, True):
            self.announce(KEYS[0])
            if retired:
                self.alone.core.retire()
            self.alone.core.unannounce(TOPIC, KEYS[0].public_key)
            self.alone.core.become(OWN_ID, True, self.alone.now)
            self.assertEqual(self.found(), {})
        Alone().core.unannounce(TOPIC, KEYS[0].public_key)
