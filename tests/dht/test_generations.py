"""Tests of spaceswarm_proxy.dht.generations."""

from __future__ import annotations

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.generations import Generations

#: A life that is divided by three without a rest.
LIFETIME = 30.0
TURN = 20.0

keys = st.integers(0, 7).map(lambda number: bytes([number]))


def size_of(value: bytes) -> int:
    return len(value)


class GenerationsMachine(RuleBasedStateMachine):
    """Entries come, are read and forgotten while time passes; what must be there is, and what may not be is not."""

    @initialize(limit=st.integers(1, 30), now=st.sampled_from([0.0, 1000.0]))
    def begin(self, limit: int, now: float) -> None:
        self.limit, self.now = limit, now
        self.entries: Generations[bytes] = Generations(limit, LIFETIME, now, size_of)
        #: What was put, when it was last touched, and how much was put or moved since then.
        self.model: dict[bytes, tuple[bytes, float, int]] = {}
        self.largest = 1

    def touched(self, key: bytes, value: bytes) -> None:
        for other, (kept, when, since) in self.model.items():
            self.model[other] = kept, when, since + len(value)
        self.model[key] = value, self.now, 0

    def may_be_there(self, key: bytes) -> bool:
        return key in self.model and self.now - self.model[key][1] < 2 * TURN

    def must_be_there(self, key: bytes) -> bool:
        if key not in self.model:
            return False
        _, when, since = self.model[key]
        return self.now - when < TURN and since < self.limit

    @rule(key=keys, value=st.integers(1, 8).map(bytes))
    def put(self, key: bytes, value: bytes) -> None:
        self.largest = max(self.largest, len(value))
        self.entries.put(key, value, self.now)
        self.touched(key, value)

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        value = self.entries.get(key, self.now)
        assert value is not None or not self.must_be_there(key), "an entry is gone too early"
        if value is not None:
            assert self.may_be_there(key), "an entry is there for too long"
            assert value == self.model[key][0], "an old value is there"
            self.touched(key, value)

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        self.entries.delete(key)
        self.model.pop(key, None)

    @rule(seconds=st.integers(0, 25))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(seconds=st.integers(0, 100))
    def wait_and_advance(self, seconds: int) -> None:
        self.now += seconds
        self.entries.advance(self.now)
        there = set(self.entries)
        for key in map(bytes, ([number] for number in range(8))):
            assert key in there or not self.must_be_there(key), "an entry is gone too early"
            assert key not in there or self.may_be_there(key), "an entry is there for too long"

    @invariant()
    def bounded(self) -> None:
        if not hasattr(self, "entries"):
            return
        entries = self.entries
        keys = list(entries)
        assert len(keys) == len(set(keys)) == len(entries)
        assert entries.size == sum(map(len, entries._current.values())) < self.limit
        assert sum(map(len, entries._old.values())) < self.limit + self.largest


class GenerationsTests(SynchronousTestCase):
    """Entries that grow old together."""

    def entries(self, limit: int = 10, now: float = 0.0) -> Generations[str]:
        return Generations(limit, LIFETIME, now)

    def test_machine(self) -> None:
        """Untouched entries live two to four thirds of their life, and no generation is larger than its limit."""
        run_state_machine_as_test(
            GenerationsMachine,
            settings=settings(
                max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )

    def test_bounds(self) -> None:
        """One from just before a turn lives for two thirds of its life, one from just after it for four thirds."""
        for put, last in ((19.0, 39.0), (20.0, 59.0)):
            for asked in range(int(put), 70):
                entries = self.entries()
                entries.put(b"a", "a", put)
                self.assertEqual(entries.get(b"a", float(asked)), "a" if asked <= last else None, (put, asked))

    def test_late_turn(self) -> None:
        """A turn that is noticed late makes nothing live longer: the next one comes in its time."""
        entries = self.entries()
        entries.put(b"a", "a", 0.0)
        entries.get(b"b", 39.0)
        self.assertIn(b"a", list(entries))
        self.assertIsNone(entries.get(b"a", 40.0))

    def test_read(self) -> None:
        """An entry that is read now and then lives on."""
        entries = self.entries()
        entries.put(b"a", "a", 0.0)
        entries.put(b"b", "b", 0.0)
        for now in range(0, 500, 20):
            self.assertEqual(entries.get(b"a", float(now)), "a")
        self.assertEqual((list(entries), len(entries)), ([b"a"], 1))

    def test_full(self) -> None:
        """A generation that is full becomes the old one, and the one before it is gone."""
        entries = self.entries(limit=3)
        for number in range(9):
            entries.put(bytes([number]), str(number), 0.0)
            self.assertLess(entries.size, 3)
        self.assertEqual(sorted(entries), [b"\x06", b"\x07", b"\x08"])
        entries.put(b"a", "a", 0.0)
        self.assertEqual([entries.get(bytes([number]), 0.0) for number in (5, 6)], [None, "6"])

    def test_full_turn(self) -> None:
        """After a generation was full, the next one has its whole time."""
        entries = self.entries(limit=2)
        entries.put(b"a", "a", 15.0)
        entries.put(b"b", "b", 15.0)
        entries.put(b"c", "c", 16.0)
        self.assertEqual(len(entries), 3)
        entries.advance(34.0)
        self.assertEqual(len(entries), 3)
        entries.advance(35.0)
        self.assertEqual(list(entries), [b"c"])

    def test_replaced(self) -> None:
        """A key has one value: the last one, from whichever generation the one before was."""
        entries = self.entries()
        for now in (0.0, 5.0, 20.0, 25.0):
            entries.put(b"a", str(now), now)
            self.assertEqual((entries.get(b"a", now), len(entries), entries.size), (str(now), 1, 1))

    def test_deleted(self) -> None:
        """What is forgotten is gone, wherever it was; to forget what is not there changes nothing."""
        entries = self.entries()
        for now in (0.0, 20.0):
            entries.put(b"a", "a", 0.0)
            entries.advance(now)
            entries.delete(b"a")
            entries.delete(b"b")
            self.assertIsNone(entries.get(b"a", now))
            self.assertEqual((len(entries), entries.size), (0, 0))

    def test_larger_than_the_limit(self) -> None:
        """An entry that fills a generation alone is kept, with a new generation after it."""
        entries: Generations[bytes] = Generations(10, LIFETIME, 0.0, size_of)
        entries.put(b"a", bytes(3), 0.0)
        entries.put(b"b", bytes(50), 0.0)
        self.assertEqual((sorted(entries), entries.size), ([b"a", b"b"], 0))
        self.assertEqual(entries.get(b"b", 0.0), bytes(50))
        self.assertEqual(list(entries), [b"b"])
