"""Tests of spaceswarm_proxy.dht.values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from construct import ConstructError
from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import UINT, encode_buffer, encode_uint
from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import HYPERSWARM, PROFILES
from spaceswarm_proxy.dht.commands import ANNOUNCE, MUTABLE_PUT, UNANNOUNCE
from spaceswarm_proxy.dht.message import Command, encode_request, parse_request
from spaceswarm_proxy.dht.values import (
    LOOKUP_REPLY,
    MAX_RELAYS,
    Announce,
    KeyWithNodes,
    LookupReply,
    MutableRecord,
    PeerRecord,
    PluginRequest,
    encode_lookup_reply,
    encode_mutable_put,
    mutable_signable,
    parse_mutable_put,
    parse_uint,
)
from spaceswarm_proxy.errors import MessageError
from tests.dht.signing import signed
from tests.dht.strategies import addresses, damaged, hashes, signatures, uints, values
from tests.dht.vectors import address, addresses as meant_addresses, octets, vectors

PAIR = KeyPair.from_seed(b"\x01" * 32)
OTHER = KeyPair.from_seed(b"\x02" * 32)

quick = settings(deadline=None, max_examples=100)

peer_records = st.builds(PeerRecord, hashes, st.lists(addresses, max_size=5).map(tuple))
announces = st.builds(Announce, st.none() | peer_records, st.none() | hashes, st.none() | signatures, uints)
lookup_replies = st.builds(LookupReply, st.lists(peer_records, max_size=3).map(tuple), uints)
mutable_records = st.builds(MutableRecord, uints, values, signatures)
plugin_requests = st.builds(
    PluginRequest, st.text(st.characters(exclude_categories=["Cs"]), max_size=9), uints, uints, st.none() | values
)
keys_with_nodes = st.builds(KeyWithNodes, hashes, st.lists(addresses, max_size=4).map(tuple))

#: Whatever is encoded as a value, and what reads it.
KINDS: tuple[tuple[st.SearchStrategy[Any], Callable[[bytes], Any]], ...] = (
    (peer_records, PeerRecord.parse),
    (announces, Announce.parse),
    (lookup_replies, LookupReply.parse),
    (mutable_records, MutableRecord.parse),
    (plugin_requests, PluginRequest.parse),
    (keys_with_nodes, KeyWithNodes.parse),
)


def as_bytes(row: dict[str, Any], *names: str) -> list[bytes]:
    """Some fields of a vector, all of which are there."""
    return [bytes.fromhex(row[name]) for name in names]


class RecordVectorTests(SynchronousTestCase):
    """Records of peers, and replies with them, as JavaScript writes them."""

    def test_peer_records(self) -> None:
        """A record is the same to the byte, and comes back; four addresses are cut to three."""
        for row in vectors("peer_records"):
            record = PeerRecord(bytes.fromhex(row["public_key"]), tuple(meant_addresses(row["relay_addresses"])))
            self.assertEqual(record.encode().hex(), row["hex"])
            self.assertEqual(PeerRecord.parse(bytes.fromhex(row["hex"])), record)
            self.assertEqual(record.cut(), PeerRecord(record.public_key, record.relays[:MAX_RELAYS]))
        self.assertEqual(max(len(row["relay_addresses"]) for row in vectors("peer_records")), MAX_RELAYS + 1)

    def test_lookup_replies(self) -> None:
        """A reply is the same to the byte, and comes back; so does that of a node from before there were bumps."""
        for row in vectors("lookup_replies"):
            encoded = [bytes.fromhex(peer) for peer in row["peers"]]
            reply = LookupReply(tuple(PeerRecord.parse(peer) for peer in encoded), row["bump"])
            self.assertEqual(reply.encode().hex(), row["hex"])
            self.assertEqual(encode_lookup_reply(encoded, row["bump"]).hex(), row["hex"])
            self.assertEqual(LookupReply.parse(bytes.fromhex(row["hex"])), reply)
            self.assertEqual(LookupReply.parse(bytes.fromhex(row["old_format_hex"])), reply._replace(bump=0))

    def test_keys_with_nodes(self) -> None:
        """An address with nodes comes back; ours has no flags when there are none."""
        for row in vectors("hyperdht_address"):
            data = bytes.fromhex(row["hex"])
            meant = KeyWithNodes(bytes.fromhex(row["key"]), tuple(meant_addresses(row["nodes"])))
            self.assertEqual(KeyWithNodes.parse(data), meant)
            self.assertEqual(meant.encode(), data if row["nodes"] else meant.public_key)

    def test_plugin_requests(self) -> None:
        """A request to a plugin is the same to the byte, and comes back."""
        for row in vectors("plugin_requests"):
            request = PluginRequest(row["plugin"], row["version"], row["command"], octets(row["value"]))
            self.assertEqual(request.encode().hex(), row["hex"])
            self.assertEqual(PluginRequest.parse(bytes.fromhex(row["hex"])), request)


class AnnounceVectorTests(SynchronousTestCase):
    """Announces as JavaScript signs and sends them, in both networks."""

    def signed(self, row: dict[str, Any]) -> Announce:
        """The announce of a vector, signed by us."""
        pair = KeyPair.from_seed(bytes.fromhex(row["seed"]))
        target, remote_id, token = as_bytes(row, "target", "remote_id", "token")
        relays = tuple(meant_addresses(row["relay_addresses"]))
        refresh = octets(row["refresh"])
        profile, withdrawn = PROFILES[row["profile"]], row["command"] == UNANNOUNCE
        return signed(profile, pair, target, remote_id, token, relays, refresh, row["bump"], withdrawn)

    def test_signing(self) -> None:
        """What is hashed, what is signed and the signature are the same to the byte."""
        for row in vectors("announces"):
            announce = self.signed(row)
            assert announce.signature is not None
            profile, (target, remote_id, token) = (
                PROFILES[row["profile"]],
                as_bytes(row, "target", "remote_id", "token"),
            )
            signable = announce.claim(target, remote_id, token, row["command"] == UNANNOUNCE).signable(profile)
            namespace = {ANNOUNCE: profile.announce, UNANNOUNCE: profile.unannounce}[row["command"]]
            self.assertEqual(signable.hex(), row["signable"], row["name"])
            self.assertEqual(signable, namespace + hash32(bytes.fromhex(row["hash_input"])), row["name"])
            self.assertEqual(announce.signature.hex(), row["signature"], row["name"])

    def test_both_ways(self) -> None:
        """The value and the whole request are the same to the byte, come back, and are believed."""
        self.assertEqual({row["profile"] for row in vectors("announces")}, set(PROFILES))
        for row in vectors("announces"):
            announce = self.signed(row)
            target, remote_id, token = as_bytes(row, "target", "remote_id", "token")
            self.assertEqual(announce.encode().hex(), row["value"], row["name"])
            command = Command.make(False, row["command"], target, announce.encode())
            request = parse_request(bytes.fromhex(row["request"]))
            self.assertEqual(encode_request(command, request.tid, request.to, None, token).hex(), row["request"])
            received = Announce.parse(request.value)
            self.assertEqual(received, announce, row["name"])
            profile, withdrawn = PROFILES[row["profile"]], row["command"] == UNANNOUNCE
            self.assertTrue(received.verified(profile, target, remote_id, token, withdrawn), row["name"])

    def test_for_one_use_only(self) -> None:
        """An announce is believed in its network, for its command, target, node and token, and nowhere else."""
        for row in vectors("announces"):
            announce = Announce.parse(bytes.fromhex(row["value"]))
            target, remote_id, token = as_bytes(row, "target", "remote_id", "token")
            own, was_withdrawn = PROFILES[row["profile"]], row["command"] == UNANNOUNCE
            for profile in PROFILES.values():
                for withdrawn in (False, True):
                    believed = announce.verified(profile, target, remote_id, token, withdrawn)
                    self.assertEqual(believed, (profile, withdrawn) == (own, was_withdrawn), row["name"])
            for others in (
                (bytes(32), remote_id, token),
                (target, bytes(32), token),
                (target, remote_id, bytes(32)),
            ):
                self.assertFalse(announce.verified(own, *others, was_withdrawn))

    def test_refresh_alone(self) -> None:
        """An announce of only the next link of a chain is the same to the byte; each link is the next one's hash."""
        section = vectors("refresh")
        chain = [bytes.fromhex(link) for link in section["chain"]]
        self.assertEqual([hash32(link) for link in chain[1:]], chain[:-1])
        announce = Announce(refresh=chain[1])
        self.assertEqual(announce.encode().hex(), section["refresh_only_value"])
        self.assertEqual(Announce.parse(bytes.fromhex(section["refresh_only_value"])), announce)


class ValueVectorTests(SynchronousTestCase):
    """Values that nodes keep, as JavaScript writes them."""

    def test_signing(self) -> None:
        """What is hashed, what is signed and the signature are the same to the byte."""
        for row in vectors("mutable"):
            profile, pair = PROFILES[row["profile"]], KeyPair.from_seed(bytes.fromhex(row["seed"]))
            seq, value = row["seq"], bytes.fromhex(row["value"])
            self.assertEqual(pair.public_key.hex(), row["public_key"])
            self.assertEqual(hash32(pair.public_key).hex(), row["target"])
            self.assertEqual((encode_uint(seq) + encode_buffer(value)).hex(), row["hash_input"])
            self.assertEqual(mutable_signable(profile.mutable_put, seq, value).hex(), row["signable"])
            record = MutableRecord.signed(profile.mutable_put, pair, seq, value)
            self.assertEqual(record, MutableRecord(seq, value, bytes.fromhex(row["signature"])))

    def test_both_ways(self) -> None:
        """What is put and what is answered are the same to the byte, come back, and are believed in their network."""
        self.assertEqual({row["profile"] for row in vectors("mutable")}, set(PROFILES))
        for row in vectors("mutable"):
            key, value, signature, put, reply = as_bytes(
                row, "public_key", "value", "signature", "put_value", "get_reply_value"
            )
            record = MutableRecord(row["seq"], value, signature)
            self.assertEqual(encode_mutable_put(key, record), put)
            self.assertEqual(parse_mutable_put(put), (key, record))
            self.assertEqual(record.encode(), reply)
            self.assertEqual(MutableRecord.parse(reply), record)
            for profile in PROFILES.values():
                self.assertEqual(record.verified(profile.mutable_put, key), profile.name == row["profile"])

    def test_wanted(self) -> None:
        """What MUTABLE_GET asks for is a number alone."""
        for row in vectors("requests"):
            if row["name"].startswith("MUTABLE_GET seq "):
                data, seq = bytes.fromhex(row["value"]), int(row["name"].removeprefix("MUTABLE_GET seq "))
                self.assertEqual((parse_uint(data), encode_uint(seq)), (seq, data))

    def test_malformed(self) -> None:
        """Of the values in requests that a JavaScript node did not answer, only an announce of nothing is one."""
        parsers: dict[int, Callable[[bytes | None], Any]] = {ANNOUNCE: Announce.parse, MUTABLE_PUT: parse_mutable_put}
        silent = [row for row in vectors("malformed") if row["result"] == "decoded, handler stays silent"]
        self.assertGreater(len(silent), 5)
        for row in silent:
            request = parse_request(bytes.fromhex(row["hex"]))
            parse = parsers.get(request.command, parse_uint)
            if row["name"] == "ANNOUNCE value flags 0":
                self.assertEqual(parse(request.value), Announce())
            else:
                self.assertRaises(MessageError, parse, request.value)


class RoundTripTests(SynchronousTestCase):
    """Whatever may be said comes through."""

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(kind[0], st.just(kind[1]))))
    def test_round_trip(self, case: tuple[Any, Callable[[bytes], Any]]) -> None:
        """Every kind of value is itself again."""
        value, parse = case
        self.assertEqual(parse(value.encode()), value)

    @quick
    @given(hashes, mutable_records)
    def test_puts(self, key: bytes, record: MutableRecord) -> None:
        """So is a mutable value with its key."""
        self.assertEqual(parse_mutable_put(encode_mutable_put(key, record)), (key, record))

    @quick
    @given(announces.filter(lambda announce: not announce.bump) | mutable_records, st.binary(max_size=10))
    def test_from_the_future(self, value: Any, more: bytes) -> None:
        """What comes after the last field is left alone."""
        self.assertEqual(type(value).parse(value.encode() + more), value)


class SignedTests(SynchronousTestCase):
    """Signatures in general."""

    @settings(deadline=None, max_examples=30)
    @given(hashes, hashes, hashes, st.lists(addresses, max_size=5).map(tuple), st.none() | hashes, uints)
    def test_announce(
        self, target: bytes, node: bytes, token: bytes, relays: tuple[bytes, ...], refresh: bytes | None, bump: int
    ) -> None:
        """What a peer signs is believed after its way; all its addresses are signed, its bump is not."""
        announce = Announce.parse(signed(HYPERSWARM, PAIR, target, node, token, relays, refresh, bump).encode())
        assert announce.peer is not None
        self.assertTrue(announce.verified(HYPERSWARM, target, node, token))
        self.assertTrue(announce._replace(bump=bump + 1).verified(HYPERSWARM, target, node, token))
        more = PeerRecord(PAIR.public_key, (*relays, bytes(6)))
        for changed in (
            announce._replace(peer=more),
            announce._replace(peer=announce.peer._replace(public_key=OTHER.public_key)),
            announce._replace(refresh=hash32(refresh or b"")),
        ):
            self.assertFalse(changed.verified(HYPERSWARM, target, node, token))

    def test_unsigned(self) -> None:
        """What lacks its peer or its signature is not believed."""
        announce = signed(HYPERSWARM, PAIR, bytes(32), bytes(32), bytes(32))
        for part in (announce._replace(peer=None), announce._replace(signature=None), Announce(refresh=bytes(32))):
            self.assertFalse(part.verified(HYPERSWARM, bytes(32), bytes(32), bytes(32)))

    @settings(deadline=None, max_examples=30)
    @given(uints, values)
    def test_mutable(self, seq: int, value: bytes) -> None:
        """A mutable value is believed with its number, its bytes and its key, and not with others."""
        namespace = HYPERSWARM.mutable_put
        record = MutableRecord.parse(MutableRecord.signed(namespace, PAIR, seq, value).encode())
        self.assertTrue(record.verified(namespace, PAIR.public_key))
        self.assertFalse(record.verified(namespace, OTHER.public_key))
        self.assertFalse(record._replace(value=value + b"\x00").verified(namespace, PAIR.public_key))
        self.assertFalse(record._replace(seq=seq ^ 1).verified(namespace, PAIR.public_key))


class DamageTests(SynchronousTestCase):
    """Values as somebody may send them who means no good."""

    @settings(deadline=None, max_examples=150)
    @given(st.one_of([damaged(kind.map(lambda value: value.encode())) for kind, _ in KINDS]) | st.binary(max_size=120))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever reads a value makes something of it or raises a message error, and nothing else."""
        for parse in (*(parse for _, parse in KINDS), parse_mutable_put, parse_uint):
            try:
                parse(data)
            except MessageError as problem:
                self.assertEqual(problem.kind, "bad-value")

    @quick
    @given(damaged(lookup_replies.map(LookupReply.encode)) | st.binary(max_size=120))
    def test_lookup_reply_by_grammar(self, data: bytes) -> None:
        """The answer to a lookup is read by hand, and so as the grammar reads it; what one refuses, the other does."""
        try:
            fields = LOOKUP_REPLY.parse(data)
            bump = UINT.parse(fields.rest) if fields.rest else 0
        except ConstructError:
            self.assertRaises(MessageError, LookupReply.parse, data)
            return
        peers = tuple(PeerRecord(peer.public_key, tuple(peer.relays)) for peer in fields.peers)
        self.assertEqual(LookupReply.parse(data), LookupReply(peers, bump))

    @quick
    @given(peer_records | mutable_records | keys_with_nodes.filter(lambda key: bool(key.nodes)))
    def test_cut(self, value: Any) -> None:
        """What lacks its last byte is refused."""
        self.assertRaises(MessageError, type(value).parse, value.encode()[:-1])

    def test_no_value(self) -> None:
        """A message without a value has none of these."""
        for parse in (*(parse for _, parse in KINDS[:-1]), parse_mutable_put, parse_uint):
            self.assertEqual(self.assertRaises(MessageError, parse, None).kind, "no-value")

    def test_lying_counts(self) -> None:
        """A count of more than there is gives no value, however large it says it is."""
        for count in (1, 2, 0xFFFF, 2**32, 2**53 - 1):
            self.assertRaises(MessageError, PeerRecord.parse, bytes(32) + encode_uint(count) + bytes(5))
            self.assertRaises(MessageError, LookupReply.parse, encode_uint(count) + bytes(32))
            self.assertRaises(MessageError, KeyWithNodes.parse, bytes(32) + b"\x01" + encode_uint(count) + bytes(5))

    def test_bump_cut(self) -> None:
        """A reply whose last number is cut is refused, unlike one from before there was that number."""
        data = LookupReply((PeerRecord(bytes(32)),), 300).encode()
        self.assertEqual(LookupReply.parse(data[:-3]), LookupReply((PeerRecord(bytes(32)),)))
        self.assertRaises(MessageError, LookupReply.parse, data[:-1])

    def test_cut_of_relays(self) -> None:
        """A record of no more relays than are kept is the same object when it is cut."""
        relay = address({"host": "10.0.0.1", "port": 1})
        for count in range(MAX_RELAYS + 3):
            record = PeerRecord(bytes(32), (relay,) * count)
            self.assertEqual(len(record.cut().relays), min(count, MAX_RELAYS))
            self.assertEqual(record.cut() is record, count <= MAX_RELAYS)
