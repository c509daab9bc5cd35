"""Tests of spaceswarm_proxy.dht.topic_records."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.topic_records import LIFETIME, MAX_ANSWER, MAX_IN_TOPIC, TopicRecords
from spaceswarm_proxy.dht.values import LookupReply, PeerRecord

TURN = 800.0
TOPIC, OTHER_TOPIC = b"\x01" * 32, b"\x02" * 32


def record(number: int, relays: int = 0) -> PeerRecord:
    """Somebody's record, with so many relays."""
    return PeerRecord(number.to_bytes(32, "big"), tuple(bytes([relay] * 6) for relay in range(relays)))


def records(now: float = 0.0, limit: int = 65536) -> TopicRecords:
    """No records yet."""
    return TopicRecords(Random(1), now, limit)


def peers(data: bytes) -> tuple[PeerRecord, ...]:
    """Who is in an answer."""
    return LookupReply.parse(data).peers if data else ()


def told(stored: TopicRecords, topic: bytes, now: float) -> tuple[PeerRecord, ...]:
    """Who is told to somebody who looks a topic up."""
    value = stored.cached_answer(topic, now)
    return peers(stored.answer(topic, None, 0, now) if value is None else value)


class AgeTests(SynchronousTestCase):
    """How long a record lives."""

    def test_bounds(self) -> None:
        """One from just before a turn lives for two thirds of its life, one from just after it for four thirds."""
        self.assertEqual(TURN, LIFETIME * 2 / 3)
        for added, until in ((799.0, 1600.0), (800.0, 2400.0)):
            for now, there in ((until - 1.0, True), (until, False), (until + 10 * TURN, False)):
                stored = records()
                stored.add(TOPIC, record(1), added)
                self.assertEqual(told(stored, TOPIC, now), (record(1),) if there else (), (added, now))
                self.assertEqual((stored.holds(TOPIC, record(1).public_key), len(stored)), (there, int(there)))

    def test_late_turn(self) -> None:
        """A turn that is noticed late makes nothing live longer."""
        stored = records()
        stored.add(TOPIC, record(1), 0.0)
        self.assertEqual(told(stored, TOPIC, 1599.0), (record(1),))
        self.assertEqual(told(stored, TOPIC, 1600.0), ())

    def test_added_again_in_time(self) -> None:
        """A record of the current generation stays as it is when it comes again, its relays and its age too."""
        stored = records()
        stored.add(TOPIC, record(1, relays=1), 0.0)
        stored.add(TOPIC, record(1, relays=2), 799.0)
        self.assertEqual(told(stored, TOPIC, 799.0), (record(1, relays=1),))
        self.assertEqual(len(stored), 1)
        self.assertEqual(told(stored, TOPIC, 1600.0), ())

    def test_added_again_when_old(self) -> None:
        """A record of the old generation is replaced, and is young."""
        stored = records()
        stored.add(TOPIC, record(1, relays=1), 0.0)
        stored.add(TOPIC, record(1, relays=2), 800.0)
        self.assertEqual(told(stored, TOPIC, 800.0), (record(1, relays=2),))
        self.assertEqual(len(stored), 1)
        self.assertEqual(told(stored, TOPIC, 2399.0), (record(1, relays=2),))

    def test_reading(self) -> None:
        """To be read makes no record young."""
        stored = records()
        stored.add(TOPIC, record(1), 0.0)
        for now in range(0, 1600, 100):
            self.assertEqual(told(stored, TOPIC, float(now)), (record(1),))
        self.assertEqual(told(stored, TOPIC, 1600.0), ())

    def test_full(self) -> None:
        """A generation that is full, of whatever topics, becomes the old one; what was old is gone."""
        stored = records(limit=4)
        for number in range(12):
            stored.add(TOPIC if number % 2 else OTHER_TOPIC, record(number), 0.0)
            self.assertLessEqual(len(stored), 7)
        self.assertEqual(told(stored, TOPIC, 0.0), (record(9), record(11)))
        self.assertEqual(told(stored, OTHER_TOPIC, 0.0), (record(8), record(10)))

    def test_full_turn(self) -> None:
        """After a generation was full, the next one has its whole time."""
        stored = records(limit=2)
        stored.add(TOPIC, record(1), 700.0)
        stored.add(TOPIC, record(2), 700.0)
        self.assertEqual(len(told(stored, TOPIC, 1499.0)), 2)
        self.assertEqual(told(stored, TOPIC, 1500.0), ())

    def test_full_topic(self) -> None:
        """In a topic that is full, the oldest makes room, and other topics keep what they have."""
        stored = records()
        stored.add(OTHER_TOPIC, record(0), 0.0)
        for number in range(MAX_IN_TOPIC + 10):
            stored.add(TOPIC, record(number), 0.0)
        self.assertEqual(len(stored), MAX_IN_TOPIC + 1)
        there = [number for number in range(MAX_IN_TOPIC + 10) if stored.holds(TOPIC, record(number).public_key)]
        self.assertEqual(there, list(range(10, MAX_IN_TOPIC + 10)))
        self.assertTrue(stored.holds(OTHER_TOPIC, record(0).public_key))

    def test_removed(self) -> None:
        """A record that is removed is gone, of whichever generation; the rest stays, and nothing is left behind."""
        stored = records()
        for now in (0.0, 800.0):
            stored.add(TOPIC, record(1), 0.0)
            stored.add(TOPIC, record(2), 0.0)
            stored.advance(now)
            stored.remove(TOPIC, record(1).public_key)
            stored.remove(OTHER_TOPIC, record(2).public_key)
            self.assertEqual(told(stored, TOPIC, now), (record(2),))
            stored.remove(TOPIC, record(2).public_key)
            self.assertEqual((told(stored, TOPIC, now), len(stored)), ((), 0))
            self.assertEqual((stored._current, stored._old), ({}, {}))


class AnswerTests(SynchronousTestCase):
    """What is told of a topic."""

    def test_nobody(self) -> None:
        """Where there is nobody the answer is no bytes, and that is remembered as well."""
        stored = records()
        self.assertIsNone(stored.cached_answer(TOPIC, 0.0))
        self.assertEqual(stored.answer(TOPIC, None, 5, 0.0), b"")
        self.assertEqual(stored.cached_answer(TOPIC, 0.0), b"")

    def test_of_both_generations(self) -> None:
        """All are told, those of the old generation and those of the current one, with the bump."""
        stored = records()
        stored.add(TOPIC, record(1), 0.0)
        stored.add(TOPIC, record(2, relays=3), 800.0)
        reply = LookupReply.parse(stored.answer(TOPIC, None, 1700000000000, 800.0))
        self.assertEqual(set(reply.peers), {record(1), record(2, relays=3)})
        self.assertEqual(reply.bump, 1700000000000)

    def test_own(self) -> None:
        """Another record is told beside them if there is room."""
        own = record(99, relays=2)
        for count in (0, 1, MAX_ANSWER - 1, MAX_ANSWER, MAX_ANSWER + 1):
            stored = records()
            for number in range(count):
                stored.add(TOPIC, record(number), 0.0)
            answer = peers(stored.answer(TOPIC, own.encode(), 0, 0.0))
            self.assertEqual(len(answer), min(count + 1, MAX_ANSWER))
            self.assertEqual(own in answer, count < MAX_ANSWER)

    def test_choice(self) -> None:
        """Of more than fit, some are told, no one twice, and others later, so that everybody has a turn."""
        stored = records()
        everybody = [record(number) for number in range(50)]
        for each in everybody:
            stored.add(TOPIC, each, 0.0)
        first = told(stored, TOPIC, 0.0)
        seen = set(first)
        self.assertEqual((len(first), len(seen)), (MAX_ANSWER, MAX_ANSWER))
        self.assertEqual(told(stored, TOPIC, 0.875), first)
        for second in range(1, 40):
            seen |= set(told(stored, TOPIC, float(second)))
        self.assertEqual(seen, set(everybody))

    def test_choice_of_old(self) -> None:
        """A choice is not told past the turn at which some of it are gone."""
        stored = records()
        for number in range(30):
            stored.add(TOPIC, record(number), 0.0)
        self.assertEqual(len(told(stored, TOPIC, 1599.5)), MAX_ANSWER)
        self.assertIsNone(stored.cached_answer(TOPIC, 1600.0))
        self.assertEqual(told(stored, TOPIC, 1600.0), ())

    def test_remembered(self) -> None:
        """An answer is made once, until something in its topic changes or a generation ends."""
        changes = {
            "added": lambda stored: stored.add(TOPIC, record(2), 10.0),
            "removed": lambda stored: stored.remove(TOPIC, record(1).public_key),
            "changed": lambda stored: stored.changed(TOPIC),
            "turned": lambda stored: stored.advance(800.0),
        }
        for name, change in changes.items():
            stored = records()
            stored.add(TOPIC, record(1), 0.0)
            stored.add(OTHER_TOPIC, record(1), 0.0)
            value = stored.answer(TOPIC, None, 0, 0.0)
            other = stored.answer(OTHER_TOPIC, None, 0, 0.0)
            self.assertIs(stored.cached_answer(TOPIC, 799.0), value)
            self.assertIsNone(stored.cached_answer(TOPIC, 800.0))
            change(stored)
            self.assertIsNone(stored.cached_answer(TOPIC, 10.0), name)
            if name != "turned":
                self.assertIs(stored.cached_answer(OTHER_TOPIC, 10.0), other)

    def test_most_answers(self) -> None:
        """Of any number of topics asked for, only so many answers are remembered."""
        stored = records()
        for number in range(9000):
            stored.answer(number.to_bytes(32, "big"), None, 0, 0.0)
            self.assertLessEqual(len(stored._answers), 4096)
        self.assertEqual(stored.cached_answer((8999).to_bytes(32, "big"), 0.0), b"")


class Model:
    """Two generations, as the specification has them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.current: dict[tuple[bytes, bytes], PeerRecord] = {}
        self.old: dict[tuple[bytes, bytes], PeerRecord] = {}
        self.due = TURN

    def advance(self, now: float) -> None:
        while self.due <= now:
            self.turn(self.due)

    def turn(self, now: float) -> None:
        self.old, self.current = self.current, {}
        self.due = now + TURN

    def add(self, topic: bytes, record: PeerRecord, now: float) -> None:
        self.advance(now)
        key = topic, record.public_key
        if key not in self.current:
            self.old.pop(key, None)
            self.current[key] = record
            if len(self.current) >= self.limit:
                self.turn(now)

    def remove(self, topic: bytes, public_key: bytes) -> None:
        self.current.pop((topic, public_key), None)
        self.old.pop((topic, public_key), None)

    def of(self, topic: bytes) -> set[PeerRecord]:
        everybody: Iterable[tuple[tuple[bytes, bytes], PeerRecord]] = (*self.old.items(), *self.current.items())
        return {record for (where, _), record in everybody if where == topic}


topics = st.sampled_from([TOPIC, OTHER_TOPIC])
some_records = st.builds(record, st.integers(0, 5), st.integers(0, 2))
waits = st.integers(0, 40).map(lambda count: count * 50.0) | st.just(0.0)
steps = st.lists(st.tuples(st.sampled_from(["add", "add", "ask", "remove"]), topics, some_records, waits), max_size=40)


class ModelTests(SynchronousTestCase):
    """Records against a model of them."""

    @settings(deadline=None, max_examples=150)
    @given(st.integers(1, 9), steps)
    def test_as_the_model(self, limit: int, steps: list[tuple[str, bytes, PeerRecord, float]]) -> None:
        """Whatever is added, removed and asked for, the model's records are told, from memory or not."""
        stored, model, now = records(limit=limit), Model(limit), 0.0
        for action, topic, record, wait in steps:
            now += wait
            if action == "add":
                stored.add(topic, record, now)
                model.add(topic, record, now)
            elif action == "remove":
                stored.remove(topic, record.public_key)
                model.remove(topic, record.public_key)
            else:
                model.advance(now)
                self.assertEqual(set(told(stored, topic, now)), model.of(topic))
                self.assertEqual(
                    stored.holds(topic, record.public_key),
                    any(each.public_key == record.public_key for each in model.of(topic)),
                )
                self.assertEqual(len(stored), len(model.current) + len(model.old))
                self.assertLess(len(stored), 2 * limit)
        for topic in (TOPIC, OTHER_TOPIC):
            model.advance(now)
            self.assertEqual(set(told(stored, topic, now)), model.of(topic))
