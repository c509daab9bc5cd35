"""Tests of spaceswarm_proxy.udx.headers."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.flights import Flight
from spaceswarm_proxy.udx.headers import alike, packets, single_packet
from spaceswarm_proxy.udx.packet import DATA, END, MASK, Packet, parse

quick = settings(deadline=None, max_examples=100)


def flight_of(first: int, payload: bytes, size: int, end: bool) -> Flight:
    """:returns: a flight with this payload."""
    return Flight(first, max(-(-len(payload) // size), 1), payload, size, end)


class HeaderTests(SynchronousTestCase):
    """Flights as packets."""

    @quick
    @given(st.integers(0, 1 << 33), st.binary(min_size=1, max_size=200), st.integers(1, 50), st.booleans())
    def test_bunch(self, first: int, payload: bytes, size: int, end: bool) -> None:
        """All packets carry their own number, the last one the end, and together the payload."""
        flight = flight_of(first, payload, size, end)
        parts = packets(flight, 7, 1000, (1 << 32) + 3)
        found = [parse(bytes(header) + bytes(text)) for header, text in zip(parts[::2], parts[1::2], strict=True)]
        expected = [
            Packet(DATA, 7, 1000, (first + number) & MASK, 3, (), payload[number * size : (number + 1) * size])
            for number in range(flight.count)
        ]
        if end:
            expected[-1] = expected[-1]._replace(flags=DATA | END)
        self.assertEqual(expected, found)

    @quick
    @given(st.integers(0, 1 << 33), st.binary(max_size=50), st.booleans(), st.integers(0, 255))
    def test_single(self, first: int, payload: bytes, end: bool, padding: int) -> None:
        """A packet by itself may be padded; without payload it is an end, if it is one."""
        flight = flight_of(first, payload, 50, end)
        flight.padding = padding
        data = single_packet(flight, 7, 1000, 3)
        flags = (DATA if payload or not end else 0) | (END if end else 0)
        self.assertEqual(Packet(flags, 7, 1000, first & MASK, 3, (), payload), parse(data))
        self.assertEqual(20 + padding + len(payload), len(data))


class TrainTests(SynchronousTestCase):
    """Trains that come."""

    def train(self, first: int, count: int, size: int, gap: int = 0) -> tuple[bytearray, list[bytes]]:
        """:returns: a train as it comes, with so many bytes between its packets, and the payloads in it."""
        payload = bytes(number % 251 for number in range(count * size - size // 2))
        parts = packets(flight_of(first, payload, size, False), 7, 1000, 3)
        whole = [bytes(header) + bytes(text) for header, text in zip(parts[::2], parts[1::2], strict=True)]
        return bytearray((b"?" * gap).join(whole)), [bytes(text) for text in parts[1::2]]

    @quick
    @given(st.integers(0, 1 << 33), st.integers(1, 60), st.integers(2, 40), st.integers(0, 30))
    def test_alike(self, first: int, count: int, size: int, gap: int) -> None:
        """What was written together is read together, unless the lowest byte of the number wraps."""
        train, payloads = self.train(first, count, size, gap)
        found = [bytes(each) for each in alike(memoryview(train), 0, size + 20, size + 20 + gap)]
        self.assertEqual(payloads if (first & 0xFF) + count <= 256 else [], found)

    @quick
    @given(st.data(), st.integers(2, 40))
    def test_one_is_different(self, data: st.DataObject, count: int) -> None:
        """A header that is different in any way is found."""
        train, _ = self.train(100, count, 30)
        place = 50 * data.draw(st.integers(1, count - 1)) + data.draw(st.integers(0, 19))
        train[place] ^= data.draw(st.integers(1, 255))
        self.assertEqual([], alike(memoryview(train), 0, 50, 50))
