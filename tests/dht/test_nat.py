"""Tests of spaceswarm_proxy.dht.nat."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of, host_port
from spaceswarm_proxy.dht.nat import NatSampler
from tests.dht.vectors import vectors


def seen_at(text: str) -> bytes:
    """Where somebody sees us."""
    host, _, port = text.partition(":")
    return address_of(host, int(port))


class NaiveSampler:
    """The sampler as the specification words it; an entry is ``[host, port, hits]``."""

    def __init__(self) -> None:
        self.ring: list[list[Any]] = []
        self.position = self.size = self.threshold = 0
        self.best: list[list[Any] | None] = [None, None]

    def find(self, host: str, port: int, backs: tuple[int, ...]) -> list[Any]:
        for back in backs:
            place = (self.position - back) % 32
            if place >= self.size:
                break
            if self.ring[place][:2] == [host, port]:
                self.ring[place][2] += 1
                return self.ring[place]
        return [host, port, 1]

    def add(self, host: str, port: int) -> int:
        a = self.find(host, port, (2, 4, 6, 8))
        b = self.find(host, 0, (1, 3, 5, 7))
        if self.size < 32:
            self.ring += [a, b]
            self.size += 2
            samples = self.size // 2
            self.threshold = samples - (0 if samples < 4 else 1 if samples < 8 else 2 if samples < 12 else 3)
        else:
            self.position = 0 if self.position == 32 else self.position
            for place, entry in ((self.position, a), (self.position + 1, b)):
                self.ring[place][2] -= 1
                self.ring[place] = entry
        self.position += 2
        for number, entry in enumerate((a, b)):
            best = self.best[number]
            if best is None or entry[2] > best[2]:
                self.best[number] = entry
        return int(a[2])

    def result(self) -> bytes | None:
        for best in self.best:
            if best is not None and best[2] >= self.threshold:
                return address_of(best[0], best[1])
        return None


#: Of few hosts and ports, so that they agree now and then; and the same one for long, with some others between.
samples = st.tuples(st.sampled_from(["1.1.1.1", "1.1.1.1", "2.2.2.2"]), st.sampled_from([0, 1, 10, 10, 10, 20]))
runs = st.lists(st.tuples(samples, st.integers(1, 14)), max_size=8) | st.lists(
    st.tuples(samples, st.just(1)), max_size=30
)


class NatSamplerTests(SynchronousTestCase):
    """Where others see us."""

    def test_vectors(self) -> None:
        """After each sample the answer is that of the JavaScript package."""
        for sequence in vectors("nat_sampler"):
            sampler = NatSampler()
            for number, (sample, state) in enumerate(zip(sequence["samples"], sequence["states"], strict=True), 1):
                hits = sampler.add(seen_at(sample))
                host, port = (None, 0) if sampler.value is None else host_port(sampler.value)
                ours = {"host": host, "port": port, "returned_hits": hits}
                self.assertEqual(ours, state, (sequence["name"], number))
                self.assertEqual(sampler.samples, number)

    @settings(deadline=None, max_examples=120)
    @given(runs)
    def test_as_specified(self, runs: list[tuple[tuple[str, int], int]]) -> None:
        """In any sequence it is that of the specification, taken literally."""
        sampler, model = NatSampler(), NaiveSampler()
        for (host, port), times in runs:
            for _ in range(times):
                self.assertEqual(sampler.add(address_of(host, port)), model.add(host, port))
                self.assertEqual(sampler.value, model.result())

    def test_nobody(self) -> None:
        """Before anybody has told us, nothing is known."""
        self.assertIsNone(NatSampler().value)

    def test_look_back(self) -> None:
        """Only the last four samples are looked at for one like the new one."""
        for others in range(8):
            sampler = NatSampler()
            sampler.add(seen_at("1.1.1.1:10"))
            for port in range(1, others + 1):
                self.assertEqual(sampler.add(address_of("2.2.2.2", port)), 1)
            self.assertEqual(sampler.add(seen_at("1.1.1.1:10")), 2 if others < 4 else 1, others)

    def test_any_port(self) -> None:
        """When the port changes each time, the host alone is agreed on."""
        sampler = NatSampler()
        for port in range(1, 40):
            sampler.add(address_of("1.1.1.1", port))
        self.assertEqual(sampler.value, address_of("1.1.1.1", 0))

    def test_liars(self) -> None:
        """Three of sixteen who say otherwise change nothing; more make it unknown."""
        for liars in range(8):
            sampler = NatSampler()
            for number in range(16):
                sampler.add(seen_at("6.6.6.6:6") if number < liars else seen_at("1.1.1.1:10"))
            self.assertEqual(sampler.value, seen_at("1.1.1.1:10") if liars <= 3 else None, liars)

    def test_moved(self) -> None:
        """Who has a new address learns it when enough have said so, and holds no more samples than the ring has."""
        sampler = NatSampler()
        for _ in range(100):
            sampler.add(seen_at("1.1.1.1:10"))
        for count in range(1, 17):
            sampler.add(seen_at("2.2.2.2:20"))
            if 4 <= count < 13:
                self.assertIsNone(sampler.value, count)
        self.assertEqual(sampler.value, seen_at("2.2.2.2:20"))
        self.assertEqual(len(sampler._ring), 32)
