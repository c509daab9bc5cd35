"""
The things that a DHT is used for, each a query: what is asked, which answers count, and what is written in the end.

:source: npm ``hyperdht`` 6; spec/dht.md, section 15.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from spaceswarm_proxy.codec.compact import encode_uint
from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.dht.claimant import Claimant
from spaceswarm_proxy.dht.commands import (
    FIND_NODE,
    FIND_PEER,
    IMMUTABLE_GET,
    IMMUTABLE_PUT,
    LOOKUP,
    MUTABLE_GET,
    MUTABLE_PUT,
)
from spaceswarm_proxy.dht.contact import address_of, host_port
from spaceswarm_proxy.dht.message import Command
from spaceswarm_proxy.dht.query import Query, QueryHost, QueryReply
from spaceswarm_proxy.dht.results import MutableValue, Reply, TopicPeers
from spaceswarm_proxy.dht.topic_records import MAX_ANSWER
from spaceswarm_proxy.dht.values import (
    LookupReply,
    MutableRecord,
    PeerRecord,
    encode_mutable_put,
)
from spaceswarm_proxy.dht.writes import Decide, Decided
from spaceswarm_proxy.errors import MessageError, SpaceswarmError, ValueTooLargeError
from spaceswarm_proxy.interfaces import HostPort, Peer

#: Bytes of a value that a datagram carries over any path, with all that goes with it.
MAX_VALUE = 1000

Value = TypeVar("Value")
#: Told of a reply.
Found = Callable[[Reply[Any]], None]
#: Told once that the query is over.
Ended = Callable[[SpaceswarmError | None], None]
#: Reads an answer: its value, or ``None`` where it has nothing to say.
Read = Callable[[bytes | None], Any]


class Operations:
    """Makes the queries of one node; each is to be begun by whoever asked for it."""

    def __init__(self, host: QueryHost, profile: Profile) -> None:
        self._host = host
        self._profile = profile

    def _query(
        self,
        target: bytes,
        command: Command,
        read: Read,
        found: Found,
        ended: Ended,
        *,
        react: Decide | None = None,
        commit: Decide | None = None,
    ) -> Query:
        def on_reply(reply: QueryReply, now: float) -> None:
            try:
                value = read(reply.response.value)
            except MessageError:
                return  # It says nothing that can be understood; it may be among the nearest all the same.
            if value is not None:
                found(public(reply, value))

        def on_end(problem: SpaceswarmError | None, now: float) -> None:
            ended(problem)

        return Query(self._host, target, command, on_reply=on_reply, on_end=on_end, react=react, commit=commit)

    # Nodes and peers.

    def find_node(self, target: bytes, found: Found, ended: Ended) -> Query:
        """Nodes near to an id; the value of each reply is ``True``."""
        return self._query(target, Command.make(True, FIND_NODE, target), lambda value: True, found, ended)

    def find_peer(self, public_key: bytes, found: Found, ended: Ended) -> Query:
        """Whoever has announced itself by its key; values are ``Peer``."""
        target = hash32(public_key)

        def read(value: bytes | None) -> Peer | None:
            record = None if value is None else PeerRecord.parse(value)
            return _peer(record) if record is not None and record.public_key == public_key else None

        return self._query(target, Command.make(False, FIND_PEER, target), read, found, ended)

    def lookup(self, topic: bytes, found: Found, ended: Ended) -> Query:
        """Who is under a topic; values are ``TopicPeers``."""
        return self._lookup(topic, found, ended)

    def _lookup(
        self, topic: bytes, found: Found, ended: Ended, react: Decide | None = None, commit: Decide | None = None
    ) -> Query:
        def read(value: bytes | None) -> TopicPeers | None:
            if value is None:
                return None
            reply = LookupReply.parse(value)
            topics = frozenset({topic})
            # An honest node tells of no more than this.
            return TopicPeers(tuple(_peer(record, topics) for record in reply.peers[:MAX_ANSWER]), reply.bump)

        command = Command.make(False, LOOKUP, topic)
        return self._query(topic, command, read, found, ended, react=react, commit=commit)

    def announce(
        self,
        topic: bytes,
        keeper: Keeper,
        relays: tuple[bytes, ...],
        bump: int,
        clear: bool,
        found: Found,
        ended: Ended,
    ) -> Query:
        """
        Be found under a topic, and see who is there.

        :param keeper: signs; nodes for which it does not are told nothing.
        :param clear: take back first what was announced before, whose relays would stay otherwise.
        :raises ValueError: the bump does not fit into a record.
        """
        encode_uint(bump)  # Now, not when the first record is signed.
        claimant = Claimant(self._profile, keeper, topic)

        def commit(reply: QueryReply, decided: Decided, now: float) -> None:
            claimant.announce(reply.response, decided, now, relays, bump)

        return self._lookup(topic, found, ended, _unannounce_known(claimant) if clear else None, commit)

    def lookup_and_unannounce(self, topic: bytes, keeper: Keeper, found: Found, ended: Ended) -> Query:
        """
        See who is under a topic, and be found there no more.

        :param keeper: signs; if it does not, the query ends with the reason for that.
        """
        unannounce = _unannounce_known(Claimant(self._profile, keeper, topic))

        def react(reply: QueryReply, decided: Decided, now: float) -> None:
            def signed(command: Command | SpaceswarmError | None, now: float) -> None:
                if isinstance(command, SpaceswarmError):
                    query.give_up(command, now)
                else:
                    decided(command, now)

            unannounce(reply, signed, now)

        query = self._lookup(topic, found, ended, react)
        return query

    # Values.

    def immutable_get(self, target: bytes, found: Found, ended: Ended) -> Query:
        """The value whose hash this is; values are ``bytes``."""

        def read(value: bytes | None) -> bytes | None:
            return value if value is not None and hash32(value) == target else None

        return self._query(target, Command.make(False, IMMUTABLE_GET, target), read, found, ended)

    def immutable_put(self, value: bytes, found: Found, ended: Ended) -> Query:
        """
        Store a value under its hash.

        :param found: told of nothing: what is there already is the same.
        :raises ValueError: it is empty, which old nodes take for none.
        :raises ValueTooLargeError: it has more than :data:`MAX_VALUE` bytes.
        """
        _check_value(value)
        target = hash32(value)
        put = Command.make(False, IMMUTABLE_PUT, target, value)
        get = Command.make(False, IMMUTABLE_GET, target)
        return self._query(target, get, _nothing, found, ended, commit=_with_token(put))

    def mutable_get(self, public_key: bytes, seq: int, found: Found, ended: Ended) -> Query:
        """The values of a key from this sequence number on; values are ``MutableValue``."""
        return self._mutable_get(public_key, seq, found, ended)

    def _mutable_get(
        self, public_key: bytes, seq: int, found: Found, ended: Ended, commit: Decide | None = None
    ) -> Query:
        target = hash32(public_key)

        def read(value: bytes | None) -> MutableValue | None:
            if value is None:
                return None
            record = MutableRecord.parse(value)
            if record.seq < seq or not record.verified(self._profile.mutable_put, public_key):
                return None
            return MutableValue(public_key, *record)

        command = Command.make(False, MUTABLE_GET, target, encode_uint(seq))
        return self._query(target, command, read, found, ended, commit=commit)

    def mutable_put(self, key_pair: KeyPair, value: bytes, seq: int, found: Found, ended: Ended) -> Query:
        """
        Store a value under a key.

        :param found: told of the values that are there already, as :meth:`mutable_get` does; it may cancel the query.
        :raises ValueError: the value is empty, or the number is none.
        :raises ValueTooLargeError: it has more than :data:`MAX_VALUE` bytes.
        """
        _check_value(value)
        target = hash32(key_pair.public_key)
        record = MutableRecord.signed(self._profile.mutable_put, key_pair, seq, value)
        put = Command.make(False, MUTABLE_PUT, target, encode_mutable_put(key_pair.public_key, record))
        return self._mutable_get(key_pair.public_key, 0, found, ended, _with_token(put))


def public(reply: QueryReply, value: Value) -> Reply[Value]:
    """:returns: what users see of an answer."""
    response = reply.response
    return Reply(host_port(reply.contact.address), response.id, host_port(response.to), value)


def relay_addresses(relays: Sequence[HostPort]) -> tuple[bytes, ...]:
    """
    :returns: addresses as they are announced.
    :raises ValueError: one is not IPv4.
    """
    return tuple(address_of(*relay) for relay in relays)


def _peer(record: PeerRecord, topics: frozenset[bytes] = frozenset()) -> Peer:
    return Peer.keyed(record.public_key, tuple(host_port(relay) for relay in record.cut().relays), topics)


def _check_value(value: bytes) -> None:
    if not value:
        raise ValueError("a value must not be empty")
    if len(value) > MAX_VALUE:
        raise ValueTooLargeError("max_value", MAX_VALUE)


def _unannounce_known(claimant: Claimant) -> Decide:
    """:returns: what tells those that we are gone who tell of us, or of so many that we may be one of the others."""

    def react(reply: QueryReply, decided: Decided, now: float) -> None:
        try:
            peers = LookupReply.parse(reply.response.value).peers
        except MessageError:
            decided(None, now)
            return
        if len(peers) < MAX_ANSWER and all(peer.public_key != claimant.public_key for peer in peers):
            decided(None, now)
        else:
            claimant.unannounce(reply.response, decided, now)

    return react


def _with_token(command: Command) -> Decide:
    """:returns: what sends the command to whoever has given us a token."""

    def commit(reply: QueryReply, decided: Decided, now: float) -> None:
        decided(None if reply.response.token is None else command, now)

    return commit


def _nothing(value: bytes | None) -> None:
    """What is there already does not matter."""
