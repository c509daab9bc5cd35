"""
What requests and responses carry as their value: records of peers, announces, and records that are kept for others.

These are cold, and read with their grammar, but for the answers to a lookup, of which there are many; a message's
value is bounded by its datagram.

:source: npm ``hyperdht`` 6; spec/dht.md, sections 13 and 14.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple

from construct import Construct, ConstructError, GreedyBytes, If, Struct, this

from spaceswarm_proxy.codec.compact import (
    ADDRESSES,
    BUFFER,
    FIXED32,
    FIXED64,
    MAX_ITEMS,
    TEXT,
    UINT,
    Counted,
    encode_buffer,
    encode_uint,
    read_addresses,
    read_fixed,
    read_uint,
)
from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keeper import Claim
from spaceswarm_proxy.crypto.keys import PUBLIC_KEY_LENGTH, KeyPair, verify
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.errors import MessageError

#: Addresses of relays that are kept with a peer; who sends more has them cut off.
MAX_RELAYS = 3

HAS_PEER = 1
HAS_REFRESH = 2
HAS_SIGNATURE = 4
HAS_BUMP = 8

PEER_RECORD = Struct("public_key" / FIXED32, "relays" / ADDRESSES)
#: Bytes that one has at least.
SMALLEST_RECORD = PUBLIC_KEY_LENGTH + 1

ANNOUNCE = Struct(
    "flags" / UINT,
    "peer" / If(this.flags & HAS_PEER, PEER_RECORD),
    "refresh" / If(this.flags & HAS_REFRESH, FIXED32),
    "signature" / If(this.flags & HAS_SIGNATURE, FIXED64),
    "bump" / If(this.flags & HAS_BUMP, UINT),
)

#: Nodes from before there were bumps end after the array.
LOOKUP_REPLY = Struct("peers" / Counted(PEER_RECORD, SMALLEST_RECORD), "rest" / GreedyBytes)

MUTABLE_PUT = Struct("public_key" / FIXED32, "seq" / UINT, "value" / BUFFER, "signature" / FIXED64)
MUTABLE_REPLY = Struct("seq" / UINT, "value" / BUFFER, "signature" / FIXED64)

PLUGIN = Struct(
    "plugin" / TEXT, "version" / UINT, "command" / UINT, "flags" / UINT, "value" / If(this.flags & 1, BUFFER)
)

#: A public key, with nodes that may know the way.
KEY_WITH_NODES = Struct("public_key" / FIXED32, "rest" / GreedyBytes)
_NODES = Struct("flags" / UINT, "nodes" / If(this.flags & 1, ADDRESSES))


def parse_value(grammar: Construct, data: bytes | None) -> Any:
    """
    Read what a message carries, with its grammar.

    :raises MessageError: it carries nothing, or something else.
    """
    if data is None:
        raise MessageError("no-value")
    try:
        return grammar.parse_stream(BytesIO(data))
    except ConstructError as problem:
        raise MessageError("bad-value", type(problem).__name__) from None


class PeerRecord(NamedTuple):
    """Somebody who can be reached."""

    public_key: bytes
    #: Addresses of nodes that forward handshakes to it, six bytes each.
    relays: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, data: bytes | None) -> PeerRecord:
        """:raises MessageError: it is not one."""
        return cls._read(parse_value(PEER_RECORD, data))

    @classmethod
    def _read(cls, fields: Any) -> PeerRecord:
        return cls(fields.public_key, tuple(fields.relays))

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        return self.public_key + encode_uint(len(self.relays)) + b"".join(self.relays)

    def cut(self) -> PeerRecord:
        """:returns: it with no more relays than are kept."""
        return self if len(self.relays) <= MAX_RELAYS else PeerRecord(self.public_key, self.relays[:MAX_RELAYS])


class Announce(NamedTuple):
    """The value of ANNOUNCE and UNANNOUNCE."""

    peer: PeerRecord | None = None
    #: A link of a hash chain, by which the announce can be repeated without a signature: 32 bytes.
    refresh: bytes | None = None
    signature: bytes | None = None
    #: Milliseconds since 1970; a topic's highest is told to whoever looks it up.
    bump: int = 0

    @classmethod
    def parse(cls, data: bytes | None) -> Announce:
        """:raises MessageError: it is not one."""
        fields = parse_value(ANNOUNCE, data)
        peer = None if fields.peer is None else PeerRecord._read(fields.peer)
        return cls(peer, fields.refresh, fields.signature, fields.bump or 0)

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        flags = 0
        fields = b""
        if self.peer is not None:
            flags |= HAS_PEER
            fields += self.peer.encode()
        if self.refresh is not None:
            flags |= HAS_REFRESH
            fields += self.refresh
        if self.signature is not None:
            flags |= HAS_SIGNATURE
            fields += self.signature
        if self.bump:
            flags |= HAS_BUMP
            fields += encode_uint(self.bump)
        return encode_uint(flags) + fields

    def claim(self, target: bytes, node_id: bytes, token: bytes, withdrawn: bool = False) -> Claim:
        """
        What its peer, which there must be, has to sign: the relays count before they are cut, the bump does not.

        :param target: the topic, or the hash of the public key.
        :param node_id: the verified id of the node that it goes to.
        :param token: what that node gave.
        :param withdrawn: is it the value of UNANNOUNCE?
        """
        assert self.peer is not None
        return Claim(target, node_id, token, self.peer.encode() + (self.refresh or b""), withdrawn)

    def verified(self, profile: Profile, target: bytes, node_id: bytes, token: bytes, withdrawn: bool = False) -> bool:
        """:returns: whether the peer itself has signed this, in this network, for this node and this token."""
        if self.peer is None or self.signature is None:
            return False
        signable = self.claim(target, node_id, token, withdrawn).signable(profile)
        return verify(self.signature, signable, self.peer.public_key)


class LookupReply(NamedTuple):
    """Who is under a topic."""

    peers: tuple[PeerRecord, ...]
    bump: int = 0

    @classmethod
    def parse(cls, data: bytes | None) -> LookupReply:
        """:raises MessageError: it is not one."""
        if data is None:
            raise MessageError("no-value")
        try:
            return cls._read(data)
        except MessageError as problem:
            raise MessageError("bad-value", problem.kind) from None

    @classmethod
    def _read(cls, data: bytes) -> LookupReply:
        """The same as the grammar; a lookup reads twenty of these."""
        peers = []
        count, offset = read_uint(data, 0)
        if count * SMALLEST_RECORD > len(data):
            raise MessageError("array-too-long", str(count))
        for _ in range(count):
            public_key, offset = read_fixed(data, offset, PUBLIC_KEY_LENGTH)
            relays, offset = read_addresses(data, offset, MAX_ITEMS)
            peers.append(PeerRecord(public_key, tuple(relays)))
        return cls(tuple(peers), read_uint(data, offset)[0] if offset < len(data) else 0)

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        return encode_lookup_reply([peer.encode() for peer in self.peers], self.bump)


def encode_lookup_reply(records: list[bytes], bump: int) -> bytes:
    """:param records: encoded records of peers."""
    return encode_uint(len(records)) + b"".join(records) + encode_uint(bump)


class MutableRecord(NamedTuple):
    """A value that its key's owner can replace."""

    seq: int
    value: bytes
    signature: bytes

    @classmethod
    def parse(cls, data: bytes | None) -> MutableRecord:
        """:raises MessageError: it is not one."""
        fields = parse_value(MUTABLE_REPLY, data)
        return cls(fields.seq, fields.value, fields.signature)

    @classmethod
    def signed(cls, namespace: bytes, key_pair: KeyPair, seq: int, value: bytes) -> MutableRecord:
        """:param namespace: the profile's, of MUTABLE_PUT."""
        return cls(seq, value, key_pair.sign(mutable_signable(namespace, seq, value)))

    def encode(self) -> bytes:
        """:returns: it in bytes, as MUTABLE_GET answers."""
        return encode_uint(self.seq) + encode_buffer(self.value) + self.signature

    def verified(self, namespace: bytes, public_key: bytes) -> bool:
        """:returns: whether the key's owner has signed this."""
        return verify(self.signature, mutable_signable(namespace, self.seq, self.value), public_key)


def mutable_signable(namespace: bytes, seq: int, value: bytes) -> bytes:
    """:returns: the 64 bytes that are signed."""
    return namespace + hash32(encode_uint(seq) + encode_buffer(value))


def parse_mutable_put(data: bytes | None) -> tuple[bytes, MutableRecord]:
    """
    :returns: the public key, and what is to be stored.
    :raises MessageError: it is not one.
    """
    fields = parse_value(MUTABLE_PUT, data)
    return fields.public_key, MutableRecord(fields.seq, fields.value, fields.signature)


def encode_mutable_put(public_key: bytes, record: MutableRecord) -> bytes:
    """:returns: the value of MUTABLE_PUT."""
    return public_key + record.encode()


def parse_uint(data: bytes | None) -> int:
    """
    The value of MUTABLE_GET: the lowest sequence number wanted.

    :raises MessageError: it is not one.
    """
    return int(parse_value(UINT, data))


class PluginRequest(NamedTuple):
    """The value of PLUGIN: a command of an extension that both sides must have."""

    plugin: str
    version: int
    command: int
    value: bytes | None = None

    @classmethod
    def parse(cls, data: bytes | None) -> PluginRequest:
        """:raises MessageError: it is not one."""
        fields = parse_value(PLUGIN, data)
        return cls(fields.plugin, fields.version, fields.command, fields.value)

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        fields = encode_buffer(self.plugin.encode()) + encode_uint(self.version) + encode_uint(self.command)
        return fields + (b"\x00" if self.value is None else b"\x01" + encode_buffer(self.value))


class KeyWithNodes(NamedTuple):
    """A public key to connect to, and nodes to ask first; never part of a message."""

    public_key: bytes
    nodes: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> KeyWithNodes:
        """:raises MessageError: it is not one."""
        fields = parse_value(KEY_WITH_NODES, data)
        nodes = parse_value(_NODES, fields.rest).nodes if fields.rest else None
        return cls(fields.public_key, tuple(nodes or ()))

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        if not self.nodes:
            return self.public_key
        return self.public_key + b"\x01" + encode_uint(len(self.nodes)) + b"".join(self.nodes)
