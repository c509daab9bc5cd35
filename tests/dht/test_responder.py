"""Tests of spaceswarm_proxy.dht.responder: what is said to whom, and what is not."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import encode_buffer
from spaceswarm_proxy.crypto.profile import PROFILES
from spaceswarm_proxy.dht.commands import (
    DELAYED_PING,
    DOWN_HINT,
    FIND_NODE,
    LOOKUP,
    PEER_HANDSHAKE,
    PING,
    PING_NAT,
    PLUGIN,
    UNKNOWN_COMMAND,
)
from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.message import Command, encode_request, parse_response
from spaceswarm_proxy.dht.responder import MAX_DELAY, MAX_DELAYED, MAX_DELAYED_OF_HOST
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.dht.table import Entry, RoutingTable
from spaceswarm_proxy.dht.tokens import Tokens
from spaceswarm_proxy.dht.values import PeerRecord
from spaceswarm_proxy.interfaces import HostPort
from tests.dht.strategies import damaged, hashes, tids, uints, values
from tests.dht.vectors import address, addresses, octets, vectors
from tests.dht.world import Alone

SETUP = vectors("exchange_setup")
SECRETS = [bytes.fromhex(SETUP["token_secrets"][name]) for name in ("secret0", "secret1")]
CLIENT = address(SETUP["client"])
ASKER = address_of("10.9.0.1", 7001)
TARGET = b"\x21" * 32


class FixedTid(Random):
    """Makes a node's first transaction id that of the vectors."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return int(SETUP["tid"])


def recorded(persistent: bool, profile: str = "hyperswarm") -> Alone:
    """The node that the vectors were recorded from."""
    alone = Alone(persistent, FixedTid(1), profile=PROFILES[profile])
    reset(alone)
    return alone


def reset(alone: Alone) -> None:
    """Give the node the table and the tokens that it had before each recorded exchange."""
    core = alone.core
    core.table = RoutingTable(core.table.own_id)
    for known in addresses(SETUP["routing_table"]):
        core.table.add(Entry(contact_at(known), 1.0))
    core.tokens = Tokens(SECRETS[0], SECRETS[1], alone.now)
    alone.take_sent()


def request(
    command: int, target: bytes | None = None, value: bytes | None = None, *, internal: bool = True,
    id: bytes | None = None, token: bytes | None = None,
) -> bytes:  # fmt: skip
    """A request as it comes in."""
    return encode_request(Command.make(internal, command, target, value), b"\xcd\xab", Alone.ADDRESS, id, token)


class VectorTests(SynchronousTestCase):
    """What a JavaScript node was asked, and what it answered."""

    def replay(self, profile: str, persistent: bool) -> None:
        alone = recorded(persistent, profile)
        for exchange in vectors("exchanges"):
            if exchange["profile"] == profile and (exchange["node"] == "persistent") == persistent:
                reset(alone)
                with self.subTest(exchange["name"]):
                    self.exchange(alone, exchange)

    def exchange(self, alone: Alone, exchange: dict[str, Any]) -> None:
        source = address(exchange["from"])
        straight = alone.receive(bytes.fromhex(exchange["request"]), source)
        alone.core.responder.advance(alone.now + 0.02)
        sent = [(address, data) for _, address, data in alone.take_sent()]
        if straight is not None:
            sent.append((source, straight))
        expected = [
            (address_of(*HostPort.parse(other["to"])), other["hex_without_tid"])
            for other in exchange.get("also_sent", [])
        ]
        if exchange["outcome"] == "reply":
            expected.append((address(exchange["reply_to"]), exchange["reply"]))
        self.assertEqual([to for to, _ in sent], [to for to, _ in expected])
        for (_, data), (_, text) in zip(sent, expected, strict=True):
            # The transaction id of a request of its own is the node's affair.
            own = text[4:8] == "xxxx"
            self.assertEqual(data.hex()[:4] + "xxxx" * own + data.hex()[4 + 4 * own :], text)

    def test_hyperswarm(self) -> None:
        """A persistent node answers each recorded request of a Hyperswarm network byte for byte, or is as silent."""
        self.replay("hyperswarm", True)

    def test_spaceswarm(self) -> None:
        """So it does in a Spaceswarm network, whose signatures are others."""
        self.replay("spaceswarm", True)

    def test_ephemeral(self) -> None:
        """An ephemeral node tells no id, stores nothing, and answers what is left."""
        for profile in PROFILES:
            self.replay(profile, False)

    def test_malformed_requests(self) -> None:
        """Input that is damaged gets the answer that the reference gives, which mostly is none."""
        for case in vectors("malformed"):
            if case["kind"] == "request":
                with self.subTest(case["name"]):
                    alone = recorded(True)
                    self.assertEqual(alone.receive(bytes.fromhex(case["hex"]), CLIENT), octets(case["reply"]))
                    self.assertEqual(alone.take_sent(), [])

    def test_malformed_responses(self) -> None:
        """Of damaged responses to a request, none is taken for an answer; what is after the last field is ignored."""
        asked = address_of("10.1.2.3", 4660)
        for case in vectors("malformed"):
            if case["kind"] != "request" and address(case["source"]) == asked:
                with self.subTest(case["name"]):
                    self.assertEqual(self.answers(case, asked), expected_answers(case))

    def test_responses_from_elsewhere(self) -> None:
        """
        Where the reference takes a response from any address that knows the transaction id, we take it from the one
        that was asked, as ids of 16 bits can be guessed; it is decoded as the reference decodes it.
        """
        elsewhere = [case for case in vectors("malformed") if "source" in case and case["source"]["port"] != 4660]
        self.assertEqual(len(elsewhere), 2)
        for case in elsewhere:
            with self.subTest(case["name"]):
                self.assertEqual(self.answers(case, address_of("10.1.2.3", 4660)), [])
                self.assertEqual(self.answers(case, address(case["source"])), expected_answers(case))

    def answers(self, case: dict[str, Any], asked: bytes) -> list[Any]:
        """What comes of a response while one request is under way."""
        alone = recorded(False)
        answers: list[Any] = []
        ping = Command.make(True, PING)
        alone.core.ask(asked, ping, lambda answer, now: answers.append(answer), alone.now)
        self.assertIsNone(alone.receive(bytes.fromhex(case["hex"]), address(case["source"])))
        return answers


def expected_answers(case: dict[str, Any]) -> list[Any]:
    """The decoded response of a vector, if there is one."""
    fields = case["decoded"]
    if fields is None:
        return []
    closer = addresses(fields["closerNodes"])
    tid = fields["tid"].to_bytes(2, "little")
    id, token, value = (octets(text) for text in (fields["from"]["id"], fields["token"], fields["value"]))
    return [(tid, address(fields["to"]), id, token, closer, fields["error"], value)]


#: Some who ask: one that may say who it is, others of the same host and of another.
ASKERS = [address_of("10.9.0.1", 7001), address_of("10.9.0.1", 7002), address_of("10.9.0.2", 7001)]
TOPICS = [bytes([number]) * 32 for number in (1, 2, 3)]

requests = st.builds(
    encode_request,
    st.builds(
        Command.make,
        st.booleans(),
        st.sampled_from([PING, FIND_NODE, LOOKUP]) | st.integers(0, 12) | uints,
        st.none() | st.sampled_from(TOPICS) | hashes,
        st.none() | st.none() | values,
    ),
    tids,
    st.sampled_from(ASKERS),
    st.none() | st.sampled_from([contact_at(asker).id for asker in ASKERS]) | hashes,
    st.none() | st.none() | hashes,
)
#: All begin as a request does: the node itself tells them from responses.
datagrams = (damaged(requests) | st.binary(max_size=80)).map(lambda data: b"\x03" + (data[1:] or b"\x00"))


def busy_node(persistent: bool) -> Alone:
    """A node that knows others, and stores a little: one peer under a topic, and many under another."""
    alone = Alone(persistent)
    for number in range(60):
        alone.core.table.add(Entry(contact_at(address_of("10.1.0.1", 1000 + number)), 1.0))
    if alone.core.store is not None:
        for number in range(26):
            peer = PeerRecord(bytes([number]) * 32, (ASKER,) * 3)
            alone.core.store.topics.add(TOPICS[0 if number == 0 else 1], peer, alone.now)
    return alone


class FastPathTests(SynchronousTestCase):
    """The answer from the bytes as they came is the answer to what is parsed."""

    @settings(deadline=None, max_examples=150)
    @given(st.booleans(), st.lists(st.tuples(datagrams, st.sampled_from(ASKERS), st.integers(0, 2)), max_size=6))
    def test_equal(self, persistent: bool, arrivals: list[tuple[bytes, bytes, int]]) -> None:
        """Both ways give the same answers to whatever comes, send the same to others, and leave the same behind."""
        one, other = busy_node(persistent), busy_node(persistent)
        for data, source, socket in arrivals:
            quick = one.core.responder.answer(data, source, socket, one.now)
            parsed = other.core.responder.answer_parsed(data, source, socket, other.now)
            self.assertEqual(quick, parsed or None)  # empty: it goes another way
        self.assertEqual(left_behind(one), left_behind(other))

    @settings(deadline=None, max_examples=150)
    @given(st.booleans(), datagrams, st.sampled_from(ASKERS))
    def test_size(self, persistent: bool, data: bytes, source: bytes) -> None:
        """
        No answer has more than the reference puts into it at most: head, id, token, 20 addresses, an error, and 20
        records with three relays and a bump.
        """
        reply = busy_node(persistent).receive(data, source)
        if reply is not None:
            response = parse_response(reply)
            self.assertLessEqual(len(response.value or b""), 1 + 20 * (32 + 1 + 3 * 6) + 9)
            rest = len(reply) - (0 if response.value is None else len(encode_buffer(response.value)))
            self.assertLessEqual(rest, 10 + 32 + 32 + 1 + 20 * 6 + 1)


def left_behind(alone: Alone) -> Any:
    """What requests have changed in a node."""
    table = {at: (entry.pinged, entry.heard, entry.sampled) for at, entry in alone.core.table.entries.items()}
    return table, alone.core.public_address, alone.sent, alone.reports, alone.core.responder.next_deadline()


class PingTests(SynchronousTestCase):
    """PING and its relatives."""

    def setUp(self) -> None:
        self.alone = Alone(persistent=True)

    def test_ping_nat(self) -> None:
        """The answer to PING_NAT goes to the port that was named, over the socket that the request came in by."""
        for socket in (CLIENT_SOCKET, SERVER_SOCKET, 7):
            self.assertIsNone(self.alone.receive(request(PING_NAT, None, b"\x34\x12"), ASKER, socket))
            [(over, to, data)] = self.alone.take_sent()
            self.assertEqual((over, to, parse_response(data).to), (socket, ASKER[:4] + b"\x34\x12", to))

    def delayed(self, milliseconds: int, source: bytes = ASKER) -> None:
        data = request(DELAYED_PING, None, milliseconds.to_bytes(4, "little"))
        self.assertIsNone(self.alone.receive(data, source))

    def test_delayed_ping(self) -> None:
        """A delayed answer goes out when its time has come, and not before; those that are due earlier go first."""
        self.delayed(2000, ASKERS[0])
        self.delayed(1000, ASKERS[2])
        self.assertEqual(self.alone.core.next_deadline(), self.alone.now + 1)
        self.alone.core.advance(self.alone.now + 0.999)
        self.assertEqual(self.alone.take_sent(), [])
        self.alone.core.advance(self.alone.now + 2)
        self.assertEqual([to for _, to, _ in self.alone.take_sent()], [ASKERS[2], ASKERS[0]])

    def test_longest_delay(self) -> None:
        """Nothing is delayed for longer than ten seconds."""
        self.delayed(MAX_DELAY + 1)
        self.delayed(0xFFFFFFFF)
        self.assertIsNone(self.alone.core.responder.next_deadline())
        self.delayed(MAX_DELAY)
        self.assertEqual(self.alone.core.responder.next_deadline(), self.alone.now + 10)

    def test_delayed_of_a_host(self) -> None:
        """One host is owed no more than its share of delayed answers, whatever its ports; then it may ask again."""
        for number in range(2 * MAX_DELAYED_OF_HOST):
            self.delayed(1000, address_of("10.9.0.1", 1000 + number))
        self.delayed(1000, ASKERS[2])
        self.alone.core.advance(self.alone.now + 1)
        self.assertEqual(len(self.alone.take_sent()), MAX_DELAYED_OF_HOST + 1)
        self.delayed(0)
        self.alone.core.advance(self.alone.now + 1)
        self.assertEqual(len(self.alone.take_sent()), 1)

    def test_delayed_of_all(self) -> None:
        """All hosts together are owed no more than a node keeps in mind."""
        for number in range(2 * MAX_DELAYED):
            self.delayed(1000, address_of(f"10.9.{number >> 8}.{number & 255}", 1000))
        self.alone.core.responder.advance(self.alone.now + 1)
        self.assertEqual(len(self.alone.take_sent()), MAX_DELAYED)
        self.assertIsNone(self.alone.core.responder.next_deadline())

    def test_down_hints(self) -> None:
        """Whatever is said to be down, no more than ten nodes are asked at a time, and strangers never."""
        alone = busy_node(True)
        for known in [*alone.core.table.entries, *ASKERS]:
            self.assertIsNotNone(alone.receive(request(DOWN_HINT, None, known), ASKER))
        self.assertEqual(len(alone.take_sent()), 10)


class RateTests(SynchronousTestCase):
    """Requests that come too fast."""

    def test_limit(self) -> None:
        """What a host asks above its rate is not answered until the next second; others are."""
        alone = Alone(max_requests_of_host=5)
        ping = request(PING)
        answers = [alone.receive(ping, address_of("10.9.0.1", 1000 + number)) for number in range(8)]
        self.assertEqual([answer is not None for answer in answers], [True] * 5 + [False] * 3)
        self.assertIsNotNone(alone.receive(ping, ASKERS[2]))
        alone.now += 1
        self.assertIsNotNone(alone.receive(ping, ASKERS[0]))
        responder = alone.core.responder
        self.assertEqual((responder.answers, responder.silences, responder.refused), (7, 0, 3))

    def test_no_side_effects(self) -> None:
        """A request that is refused changes nothing: its sender is not met, and nobody is pinged."""
        alone = Alone(max_requests_of_host=0)
        alone.core.table.add(Entry(contact_at(ASKERS[2]), 1.0))
        alone.receive(request(PING, id=contact_at(ASKER).id), ASKER)
        alone.receive(request(DOWN_HINT, None, ASKERS[2]), ASKER)
        self.assertEqual((list(alone.core.table.entries), alone.sent), ([ASKERS[2]], []))


class ElsewhereTests(SynchronousTestCase):
    """Commands that a room above serves, or nobody."""

    def test_others(self) -> None:
        """A command that was given to somebody else is answered there, store or no store, and with bare bytes."""
        alone = Alone()
        alone.core.responder.others[PEER_HANDSHAKE] = lambda request, source, socket, now: request.value
        data = request(PEER_HANDSHAKE, TARGET, b"hello", internal=False)
        self.assertEqual(alone.receive(data, ASKER), b"hello")

    def test_plugin(self) -> None:
        """No plugin is known: a node with a store is silent, as the reference is, and one without gives an error."""
        data = request(PLUGIN, None, b"\x01x\x01\x00\x00", internal=False)
        self.assertIsNone(Alone(persistent=True).receive(data, ASKER))
        reply = Alone().receive(data, ASKER)
        assert reply is not None
        self.assertEqual(parse_response(reply).error, UNKNOWN_COMMAND)
