"""
What a node keeps for others, and for how long.

Everything here has passed its checks: the store knows limits and ages, not signatures.

:source: npm ``hyperdht`` 6; spec/dht.md, section 14.
"""

from __future__ import annotations

from typing import NamedTuple

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.dht.chance import Chance
from spaceswarm_proxy.dht.contact import HOST_LENGTH
from spaceswarm_proxy.dht.generations import Generations
from spaceswarm_proxy.dht.topic_records import LIFETIME, TopicRecords
from spaceswarm_proxy.dht.values import Announce, MutableRecord, PeerRecord

#: Entries of a generation: forwards, bumps and refreshes each; the next generation begins when it is full.
MAX_ENTRIES = 65536
#: Bytes of a generation of mutable, and of immutable values.  The reference counts 32,768 values of any size.
MAX_VALUE_BYTES = 32 * 1024 * 1024
#: Seconds that such a value lives, give or take a third.
VALUE_LIFETIME = 48 * 3600.0
#: Bytes of a value.  The reference has no such limit; whoever asks for one would be sent what no path carries whole.
MAX_VALUE_LENGTH = 4096
#: What a value counts for beside its bytes.
_OVERHEAD = 200
#: New records that one host may store in a while; more are not answered, as if they were wrong.
MAX_RECORDS_OF_HOST = 8192
_HOST_TURN = LIFETIME * 2 / 3
#: How far ahead of our clock a bump may be, in milliseconds.
_BUMP_AHEAD = 60_000


class Forward(NamedTuple):
    """Where a server is to be found: it has announced itself here."""

    record: PeerRecord
    #: The address that the announce came from; ``None`` for a server of this node.
    relay: bytes | None


class _Refresh(NamedTuple):
    """What is stored again when somebody knows the next link of the chain."""

    target: bytes
    record: PeerRecord
    is_self: bool


class Store:
    """Records of peers, mutable and immutable values."""

    def __init__(self, chance: Chance, now: float, max_records_of_host: int = MAX_RECORDS_OF_HOST) -> None:
        self.topics = TopicRecords(chance, now)
        self.forwards: Generations[Forward] = Generations(MAX_ENTRIES, LIFETIME, now)
        self.mutables: Generations[MutableRecord] = Generations(MAX_VALUE_BYTES, VALUE_LIFETIME, now, _mutable_size)
        self.immutables: Generations[bytes] = Generations(MAX_VALUE_BYTES, VALUE_LIFETIME, now, _immutable_size)
        self._bumps: Generations[int] = Generations(MAX_ENTRIES, LIFETIME, now)
        self._refreshes: Generations[_Refresh] = Generations(MAX_ENTRIES, LIFETIME, now)
        self._servers: dict[bytes, Forward] = {}
        self._quota = _HostQuota(max_records_of_host, now)

    # Servers of this node: their entries never expire, and no announce replaces them.

    def serve(self, target: bytes, record: PeerRecord) -> None:
        """A server of this node can be found here."""
        self._servers[target] = Forward(record, None)
        self.topics.changed(target)

    def unserve(self, target: bytes) -> None:
        """It is gone."""
        self._servers.pop(target, None)
        self.topics.changed(target)

    # Peers.

    def forward(self, target: bytes, now: float) -> Forward | None:
        """:returns: who has announced itself under the hash of its key."""
        return self._servers.get(target) or self.forwards.get(target, now)

    def lookup(self, topic: bytes, now: float) -> bytes | None:
        """:returns: who is under a topic, encoded, 20 at most; ``None`` where there is nobody."""
        value = self.topics.cached_answer(topic, now)
        if value is None:
            forward = self.forward(topic, now)
            own = None if forward is None else forward.record.encode()
            value = self.topics.answer(topic, own, self._bumps.get(topic, now) or 0, now)
        return value or None

    def announce(self, target: bytes, announce: Announce, source: bytes, now: float, wall_clock: float) -> bool:
        """
        Store who has announced itself.

        :param announce: verified; with a peer.
        :param source: the address that it came from.
        :param wall_clock: milliseconds since 1970, which bumps are held against.
        :returns: whether it is stored; a host has a quota.
        """
        assert announce.peer is not None
        record = announce.peer.cut()
        is_self = hash32(record.public_key) == target
        known = self.forward(target, now) if is_self else self.topics.holds(target, record.public_key)
        if not known and not self._quota.take(source, now):
            return False
        if not is_self and announce.bump:
            self._bump(target, announce.bump, now, wall_clock)
        self._store_peer(_Refresh(target, record, is_self), source, now)
        if announce.refresh is not None and self._quota.take(source, now):
            self._refreshes.put(announce.refresh, _Refresh(target, record, is_self), now)
        return True

    def refresh(self, preimage: bytes, source: bytes, now: float) -> bool:
        """
        Store again what was announced with the hash of this.

        :returns: whether there was something.
        """
        key = hash32(preimage)
        known = self._refreshes.get(key, now)
        if known is None:
            return False
        self._store_peer(known, source, now)
        self._refreshes.delete(key)
        self._refreshes.put(preimage, known, now)
        return True

    def unannounce(self, target: bytes, public_key: bytes) -> None:
        """Forget a peer, if it is there."""
        self.topics.remove(target, public_key)
        if hash32(public_key) == target:
            self.forwards.delete(target)

    def _store_peer(self, peer: _Refresh, source: bytes, now: float) -> None:
        if not peer.is_self:
            self.topics.add(peer.target, peer.record, now)
        elif peer.target not in self._servers:
            self.forwards.put(peer.target, Forward(peer.record, source), now)
            self.topics.remove(peer.target, peer.record.public_key)

    def _bump(self, topic: bytes, bump: int, now: float, wall_clock: float) -> None:
        if bump > (self._bumps.get(topic, now) or 0) and bump <= wall_clock + _BUMP_AHEAD:
            self._bumps.put(topic, bump, now)
            self.topics.changed(topic)

    # Values.

    def put_mutable(self, target: bytes, record: MutableRecord, source: bytes, now: float) -> bool:
        """:returns: whether it is stored; a host has a quota, and a value a size."""
        if len(record.value) > MAX_VALUE_LENGTH:
            return False
        if self.mutables.get(target, now) is None and not self._quota.take(source, now):
            return False
        self.mutables.put(target, record, now)
        return True

    def put_immutable(self, target: bytes, value: bytes, source: bytes, now: float) -> bool:
        """:returns: whether it is stored; a host has a quota, and a value a size."""
        if len(value) > MAX_VALUE_LENGTH:
            return False
        if self.immutables.get(target, now) is None and not self._quota.take(source, now):
            return False
        self.immutables.put(target, value, now)
        return True


def _mutable_size(record: MutableRecord) -> int:
    return len(record.value) + _OVERHEAD


def _immutable_size(value: bytes) -> int:
    return len(value) + _OVERHEAD


class _HostQuota:
    """How many new records each host has stored in the current turn."""

    def __init__(self, limit: int, now: float) -> None:
        self._limit = limit
        self._due = now + _HOST_TURN
        self._taken: dict[bytes, int] = {}

    def take(self, address: bytes, now: float) -> bool:
        """:returns: whether that host may store one more."""
        if now >= self._due or len(self._taken) >= MAX_ENTRIES:
            self._taken.clear()
            self._due = now + _HOST_TURN
        host = address[:HOST_LENGTH]
        taken = self._taken.get(host, 0)
        self._taken[host] = min(taken + 1, self._limit)
        return taken < self._limit
