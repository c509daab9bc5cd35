"""
Who is under which topic, as far as others have told us.

Records grow old in two generations, as in :mod:`spaceswarm_proxy.dht.generations`, with two differences: a record that
is in the current generation stays as it is when it comes again, and reading makes nothing young.

:source: spec/dht.md, sections 14.2, 14.3 and 14.7.
"""

from __future__ import annotations

from spaceswarm_proxy.dht.chance import Chance
from spaceswarm_proxy.dht.turns import Turns
from spaceswarm_proxy.dht.values import PeerRecord, encode_lookup_reply

#: Seconds that a record lives, give or take a third.
LIFETIME = 20 * 60.0
#: Records in a generation, all topics together; the next generation begins when it is full.
MAX_RECORDS = 65536
#: Records of one topic in a generation; the oldest makes room.
MAX_IN_TOPIC = 4096
#: Records in an answer.
MAX_ANSWER = 20
#: Seconds for which the same choice is given, where there are more.
_REDRAW = 1.0
#: Answers that are remembered.
_CACHED = 4096

#: Encoded records by public key.
_Topic = dict[bytes, bytes]


class TopicRecords:
    """Records of peers by topic, each encoded once, and the answers made of them."""

    def __init__(self, chance: Chance, now: float, limit: int = MAX_RECORDS) -> None:
        """:param chance: decides which records are told where there are more than fit into an answer."""
        self._chance = chance
        self._limit = limit
        self._turns = Turns(LIFETIME * 2 / 3, now)
        self._current: dict[bytes, _Topic] = {}
        self._size = 0
        self._old: dict[bytes, _Topic] = {}
        # Answers, and until when each holds.
        self._answers: dict[bytes, tuple[bytes, float]] = {}

    def __len__(self) -> int:
        """How many records there are."""
        return self._size + sum(map(len, self._old.values()))

    def holds(self, topic: bytes, public_key: bytes) -> bool:
        """:returns: whether this peer is under that topic."""
        return public_key in self._current.get(topic, ()) or public_key in self._old.get(topic, ())

    def add(self, topic: bytes, record: PeerRecord, now: float) -> None:
        """Store a record, unless it is in the current generation."""
        self.advance(now)
        records = self._current.setdefault(topic, {})
        if record.public_key in records:
            return
        if len(records) >= MAX_IN_TOPIC:
            del records[next(iter(records))]
            self._size -= 1
        records[record.public_key] = record.encode()
        self._size += 1
        _take(self._old, topic, record.public_key)
        self._answers.pop(topic, None)
        if self._size >= self._limit:
            self._rotate()
            self._turns.restart(now)

    def remove(self, topic: bytes, public_key: bytes) -> None:
        """Forget a record, if it is there."""
        self._size -= _take(self._current, topic, public_key)
        _take(self._old, topic, public_key)
        self._answers.pop(topic, None)

    def changed(self, topic: bytes) -> None:
        """Something else that goes into the answer has changed."""
        self._answers.pop(topic, None)

    def cached_answer(self, topic: bytes, now: float) -> bytes | None:
        """:returns: the last :meth:`answer` for the topic, while it holds."""
        answer = self._answers.get(topic)
        if answer is None or now >= answer[1]:
            return None
        return answer[0]

    def answer(self, topic: bytes, own: bytes | None, bump: int, now: float) -> bytes:
        """
        :param own: an encoded record to be told beside those stored, if there is room.
        :param bump: the topic's.
        :returns: an encoded reply; empty bytes where there is nobody.
        """
        self.advance(now)
        records = [*self._current.get(topic, {}).values(), *self._old.get(topic, {}).values()]
        until = self._turns.due
        if len(records) > MAX_ANSWER:
            records = self._chance.sample(records, MAX_ANSWER)
            until = min(now + _REDRAW, until)
        if own is not None and len(records) < MAX_ANSWER:
            records.append(own)
        value = encode_lookup_reply(records, bump) if records else b""
        if len(self._answers) >= _CACHED:
            self._answers.clear()
        self._answers[topic] = value, until
        return value

    def advance(self, now: float) -> None:
        """Let time pass."""
        for _ in range(min(self._turns.ended(now), 2)):
            self._rotate()

    def _rotate(self) -> None:
        self._old, self._current, self._size = self._current, {}, 0
        self._answers.clear()


def _take(generation: dict[bytes, _Topic], topic: bytes, public_key: bytes) -> int:
    """:returns: how many records were taken out: one or none."""
    records = generation.get(topic)
    if records is None or records.pop(public_key, None) is None:
        return 0
    if not records:
        del generation[topic]
    return 1
