"""Tests of spaceswarm_proxy.udx.flights."""

from __future__ import annotations

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.flights import ARRIVED, FLYING, LOST, Flight, Flights

SIZE = 3


def flight_of(first: int, count: int, end: bool = False) -> Flight:
    """:returns: a flight whose packets hold the low byte of their numbers, the last one only two of them."""
    payload = b"".join(bytes([number & 0xFF]) * SIZE for number in range(first, first + count))
    return Flight(first, count, payload[:-1], SIZE, end)


def payload_of(flight: Flight) -> list[tuple[int, bytes]]:
    """:returns: its packets: number and payload."""
    parts = range(flight.count)
    return [(flight.first + part, bytes(flight.payload[part * SIZE : (part + 1) * SIZE])) for part in parts]


class SplitTests(SynchronousTestCase):
    """A flight in two."""

    def test_split(self) -> None:
        """Each part has its own packets, and the fate of both; the end is in the second one."""
        flight = flight_of(10, 5, True)
        flight.sent_at, flight.tries, flight.delivered, flight.counted = 7.0, 2, 3, 4
        whole = payload_of(flight)
        rest = flight.split(12)
        self.assertEqual((10, 2, False, 12, 3, True), (*self.shape(flight), *self.shape(rest)))
        self.assertEqual(whole, payload_of(flight) + payload_of(rest))
        self.assertEqual((7.0, 2, 3, 4), (rest.sent_at, rest.tries, rest.delivered, rest.counted))

    @staticmethod
    def shape(flight: Flight) -> tuple[int, int, bool]:
        return flight.first, flight.count, flight.end


class FlightsTests(SynchronousTestCase):
    """What is not acknowledged."""

    def setUp(self) -> None:
        self.flights = Flights()
        for first, count in ((10, 5), (15, 5)):
            self.flights.add(flight_of(first, count))

    def shapes(self) -> list[tuple[int, int, int]]:
        return [(flight.first, flight.next, flight.fate) for flight in self.flights]

    def test_without_loss(self) -> None:
        """As long as nothing is lost, flights stay as they are."""
        self.assertEqual([(10, 15)], [(flight.first, flight.next) for flight in self.flights.acknowledge(15)])
        self.assertEqual((5, 5, 0, 0), (len(self.flights), self.flights.flying, *self.rest()))

    def rest(self) -> tuple[int, int]:
        return self.flights.lost, self.flights.arrived

    def test_half_a_flight(self) -> None:
        """An acknowledgement in the midst of one splits it."""
        self.assertEqual([(10, 5), (15, 2)], [(flight.first, flight.count) for flight in self.flights.acknowledge(17)])
        self.assertEqual([(17, 20, FLYING)], self.shapes())

    def test_range(self) -> None:
        """A range cuts out what has arrived; told again, it is no news."""
        news = self.flights.acknowledge_range(13, 17)
        self.assertEqual([(13, 2), (15, 2)], [(flight.first, flight.count) for flight in news])
        self.assertEqual([(10, 13, FLYING), (13, 17, ARRIVED), (17, 20, FLYING)], self.shapes())
        self.assertEqual([], self.flights.acknowledge_range(13, 17))
        self.assertEqual([(10, 3)], [(flight.first, flight.count) for flight in self.flights.acknowledge(15)])

    def test_neighbours_join(self) -> None:
        """However many ranges tell of it, what has arrived in a row is one."""
        for seq in (12, 14, 13, 18, 11, 16, 17, 15):
            self.flights.acknowledge_range(seq, seq + 1)
        self.assertEqual([(10, 11, FLYING), (11, 19, ARRIVED), (19, 20, FLYING)], self.shapes())

    def test_lost(self) -> None:
        """What is lost is found again in order, no more than asked for at once."""
        first, second = self.flights
        self.flights.lose(second)
        self.flights.lose(first)
        found = self.flights.next_lost(3)
        assert found is not None
        self.assertEqual((10, 3), (found.first, found.count))
        self.flights.fly_again(found)
        found = self.flights.next_lost(64)
        assert found is not None
        self.assertEqual((13, 2), (found.first, found.count))
        self.flights.fly_again(found)
        self.assertEqual((5, 5, 0), (self.flights.flying, *self.rest()))

    def test_last_flying(self) -> None:
        """The last packet on the way stands alone then."""
        self.flights.acknowledge_range(18, 20)
        last = self.flights.last_flying()
        assert last is not None
        self.assertEqual((17, 1), (last.first, last.count))
        self.flights.acknowledge(20)
        self.assertIsNone(self.flights.last_flying())

    def test_clear(self) -> None:
        """All can be forgotten."""
        self.flights.lose(self.flights.first)
        self.flights.clear()
        self.assertEqual((0, []), (len(self.flights), self.shapes()))
        self.assertIsNone(self.flights.next_lost(5))


class FlightsMachine(RuleBasedStateMachine):
    """Against a fate for each number."""

    def __init__(self) -> None:
        super().__init__()
        self.flights = Flights()
        self.fates: dict[int, int] = {}
        self.una = self.next = 1000

    @rule(count=st.integers(1, 12))
    def add(self, count: int) -> None:
        self.flights.add(flight_of(self.next, count))
        self.fates.update(dict.fromkeys(range(self.next, self.next + count), FLYING))
        self.next += count

    def check_news(self, news: list[Flight], expected: set[int]) -> None:
        told = [seq for flight in news for seq in range(flight.first, flight.next)]
        assert len(told) == len(set(told))
        assert set(told) == expected

    @rule(ahead=st.integers(0, 15))
    def acknowledge(self, ahead: int) -> None:
        ack = min(self.una + ahead, self.next)
        expected = {seq for seq, fate in self.fates.items() if seq < ack and fate != ARRIVED}
        self.check_news(self.flights.acknowledge(ack), expected)
        self.fates = {seq: fate for seq, fate in self.fates.items() if seq >= ack}
        self.una = ack

    @precondition(lambda self: self.fates)
    @rule(start=st.integers(0, 40), length=st.integers(1, 20))
    def acknowledge_range(self, start: int, length: int) -> None:
        start = self.una + start % (self.next - self.una)
        end = min(start + length, self.next)
        expected = {seq for seq in range(start, end) if self.fates[seq] != ARRIVED}
        self.check_news(self.flights.acknowledge_range(start, end), expected)
        self.fates.update(dict.fromkeys(range(start, end), ARRIVED))

    @rule(number=st.integers(0, 100))
    def lose(self, number: int) -> None:
        flying = [flight for flight in self.flights if flight.fate == FLYING]
        if flying:
            flight = flying[number % len(flying)]
            self.flights.lose(flight)
            self.fates.update(dict.fromkeys(range(flight.first, flight.next), LOST))

    @rule(limit=st.integers(1, 10))
    def repeat(self, limit: int) -> None:
        flight = self.flights.next_lost(limit)
        lost = sorted(seq for seq, fate in self.fates.items() if fate == LOST)
        assert (flight is None) == (not lost)
        if flight is not None:
            assert flight.count <= limit
            assert flight.first == lost[0]
            numbers = range(flight.first, flight.next)
            assert all(bytes(payload)[:1] == bytes([seq & 0xFF]) for seq, payload in payload_of(flight))
            self.flights.fly_again(flight)
            self.fates.update(dict.fromkeys(numbers, FLYING))

    @rule()
    def last_flying(self) -> None:
        flight = self.flights.last_flying()
        flying = [seq for seq, fate in self.fates.items() if fate == FLYING]
        assert (flight and (flight.first, flight.count)) == ((max(flying), 1) if flying else None)

    @invariant()
    def agrees(self) -> None:
        fates = {seq: flight.fate for flight in self.flights for seq in range(flight.first, flight.next)}
        assert fates == self.fates
        assert sum(flight.count for flight in self.flights) == len(self.flights) == len(self.fates)
        for fate, count in ((FLYING, self.flights.flying), (LOST, self.flights.lost), (ARRIVED, self.flights.arrived)):
            assert count == list(fates.values()).count(fate)
        joined = [flight.fate for flight in self.flights]
        assert (ARRIVED, ARRIVED) not in zip(joined, joined[1:], strict=False)


class MachineTests(SynchronousTestCase):
    """Runs it."""

    def test_machine(self) -> None:
        """However acknowledgements, losses and repetitions come, each packet has its fate."""
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            FlightsMachine, settings=settings(deadline=None, max_examples=100, stateful_step_count=50)
        )
