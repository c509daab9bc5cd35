"""Tests of spaceswarm_proxy.udx.recovery."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.flights import ARRIVED, Flight, Flights
from spaceswarm_proxy.udx.recovery import LossDetector
from spaceswarm_proxy.udx.round_trips import RoundTrips

ROUND_TRIP = 0.1


class Bench(SynchronousTestCase):
    """A detector whose path takes a tenth of a second there and back."""

    def setUp(self) -> None:
        self.now = 50.0
        self.flights, self.times = Flights(), RoundTrips()
        self.detector = LossDetector(self.flights, self.times, 0, self.now)
        self.next = 0

    def know_the_path(self) -> None:
        """Something was sent and acknowledged before."""
        self.send()
        self.now += ROUND_TRIP
        self.acknowledge(1)

    def send(self, count: int = 1) -> None:
        """Send new packets, each by itself."""
        for _ in range(count):
            flight = Flight(self.next, 1, b"x", 1, False)
            flight.sent_at, flight.tries = self.now, 1
            self.flights.add(flight)
            self.next += 1
            self.detector.sent(self.now)

    def repeat(self) -> int:
        """Send what was lost first again.  :returns: its number."""
        flight = self.flights.next_lost(1)
        assert flight is not None
        self.flights.fly_again(flight)
        flight.sent_at = self.now
        flight.tries += 1
        self.detector.sent(self.now)
        return flight.first

    def acknowledge(self, ack: int, *ranges: tuple[int, int]) -> None:
        """Hear of what has arrived."""
        news = self.flights.acknowledge(ack)
        progressed = bool(news)
        for start, end in ranges:
            news += self.flights.acknowledge_range(start, end)
        for flight in news:
            self.detector.arrived(flight, self.now)
            if flight.tries == 1:
                self.times.add(self.now - flight.sent_at, self.now)
        self.detector.heard(progressed, self.now)

    def find_late(self, recovering: bool = False) -> list[int]:
        """:returns: the numbers of packets that are lost by now."""
        flights = self.detector.find_late(recovering, self.now)
        for flight in flights:
            self.flights.lose(flight)
        return [flight.first for flight in flights]


class LateTests(Bench):
    """What others have overtaken (RACK)."""

    def setUp(self) -> None:
        super().setUp()
        self.know_the_path()

    def test_nothing_missing(self) -> None:
        """What arrives in order says nothing of what follows."""
        self.send(5)
        self.now += ROUND_TRIP
        self.acknowledge(3)
        self.assertEqual(([], inf), (self.find_late(), self.detector.late_at))

    def test_waits_a_little(self) -> None:
        """A packet that one other has overtaken has a fourth of a round trip."""
        self.send(5)
        self.now += ROUND_TRIP
        self.acknowledge(1, (2, 3))
        self.assertEqual([], self.find_late())
        self.assertAlmostEqual(self.now + ROUND_TRIP / 4, self.detector.late_at)
        self.now = self.detector.late_at
        self.assertEqual([1], self.find_late())
        self.assertEqual(inf, self.detector.late_at)

    def test_three_others(self) -> None:
        """One that three have overtaken has no more time, where nothing ever came late; nor while others are lost."""
        self.send(6)
        self.now += ROUND_TRIP
        self.acknowledge(1, (2, 4))
        self.assertEqual([], self.find_late())
        self.acknowledge(1, (2, 5))
        self.assertEqual([1], self.find_late())

    def test_recovering(self) -> None:
        """Nor while others are being made good."""
        self.send(5)
        self.now += ROUND_TRIP
        self.acknowledge(1, (2, 3))
        self.assertEqual([1], self.find_late(recovering=True))

    def test_path_that_reorders(self) -> None:
        """Where packets have come late, others are given as much time, and a little more."""
        self.send(5)
        self.now += ROUND_TRIP
        self.acknowledge(1, (2, 3))
        self.now += 0.04
        self.acknowledge(6)
        self.assertAlmostEqual(0.05, self.detector.tolerance)
        self.send(8)
        self.now += ROUND_TRIP
        self.acknowledge(6, (7, 13))
        self.assertEqual([], self.find_late(recovering=True))
        self.assertAlmostEqual(self.now + 0.05, self.detector.late_at)

    def test_order(self) -> None:
        """What was lost is found in the order of the numbers, and only what was sent before what has arrived."""
        self.send(4)
        self.now += 0.05
        self.send(4)
        self.now += ROUND_TRIP
        self.acknowledge(1, (3, 6))
        self.now += 1
        self.assertEqual([1, 2], self.find_late())

    def test_lost_again(self) -> None:
        """A repetition that is lost is found by what was sent after it; one that was sent just now is not."""
        self.send(5)
        self.now += ROUND_TRIP
        self.acknowledge(1, (2, 5))
        self.assertEqual([1], self.find_late())
        self.assertEqual(1, self.repeat())
        self.now += 0.01
        self.send(4)
        self.assertEqual([], self.find_late(True))
        self.now += ROUND_TRIP
        self.acknowledge(1, (2, 9))
        self.assertEqual([1], self.find_late(True))

    def test_untold(self) -> None:
        """Beyond the highest that we were told of, nothing is taken for lost: ranges may have been left out."""
        self.send(10)
        self.now += ROUND_TRIP
        self.acknowledge(1, (2, 6))
        self.assertEqual([1], self.find_late())
        self.repeat()
        self.now += ROUND_TRIP
        self.acknowledge(6)
        self.now += 1
        self.assertEqual([], self.find_late(True))

    def test_first_copy_was_late(self) -> None:
        """When a repetition is acknowledged too soon, its first copy was late; that says nothing of others."""
        self.send(6)
        self.now += ROUND_TRIP
        self.acknowledge(1, (2, 5))
        self.find_late()
        self.now += 0.01
        self.repeat()
        self.now += 0.01
        newest = self.detector.newest_sent_at
        self.acknowledge(5)
        self.assertEqual(newest, self.detector.newest_sent_at)
        self.assertLess(ROUND_TRIP / 4, 1 + self.detector.tolerance)
        self.assertEqual([], self.find_late())


class ProbeTests(Bench):
    """The last packet was lost, maybe (TLP)."""

    def test_path_unknown(self) -> None:
        """Where nothing is known, a second is waited."""
        self.send()
        self.assertEqual(self.now + 1.0, self.detector.probe_at)

    def test_two_round_trips(self) -> None:
        """Else two round trips, and what a remote takes to answer."""
        self.know_the_path()
        self.send()
        self.assertAlmostEqual(self.now + 0.202, self.detector.probe_at)

    def test_again(self) -> None:
        """Three probes wait twice as long each; then it is left to the time-out, until a round trip has been seen."""
        self.know_the_path()
        self.send(2)
        for wait in (0.404, 0.808):
            self.detector.probed(self.now)
            self.assertAlmostEqual(self.now + wait, self.detector.probe_at)
        self.detector.probed(self.now)
        self.send()
        self.assertEqual(inf, self.detector.probe_at)
        self.now += ROUND_TRIP
        self.acknowledge(2)
        self.assertAlmostEqual(self.now + 0.202, self.detector.probe_at, places=2)

    def test_while_others_are_missing(self) -> None:
        """It is armed too while others are missing, but not while something waits to be sent again."""
        self.know_the_path()
        self.send(5)
        self.now += ROUND_TRIP
        self.acknowledge(1, (2, 5))
        self.assertNotEqual(inf, self.detector.probe_at)
        self.find_late()
        self.acknowledge(1, (5, 6))
        self.assertEqual(inf, self.detector.probe_at)

    def test_nothing_on_the_way(self) -> None:
        """Without anything on the way, there is nothing to wait for."""
        self.know_the_path()
        self.assertEqual(inf, self.detector.next_deadline())


class TimeoutTests(Bench):
    """Silence (RTO)."""

    def setUp(self) -> None:
        super().setUp()
        self.know_the_path()

    def test_from_the_first(self) -> None:
        """It runs from what was sent first; what is sent later does not put it off."""
        self.send()
        due = self.detector.timeout_at
        self.now += 0.5
        self.send()
        self.assertEqual((50.1 + 1.0, due), (due, self.detector.timeout_at))

    def test_progress(self) -> None:
        """What is acknowledged does; ranges do not."""
        self.send(3)
        due = self.detector.timeout_at
        self.now += 0.5
        self.acknowledge(1, (2, 3))
        self.assertEqual(due, self.detector.timeout_at)
        self.acknowledge(2)
        self.assertEqual(self.now + self.times.timeout, self.detector.timeout_at)
        self.acknowledge(4)
        self.assertEqual(inf, self.detector.timeout_at)

    def test_what_is_lost(self) -> None:
        """The first one is, and what was sent long enough ago."""
        self.send(3)
        self.now += 0.95
        self.send(2)
        self.now += 0.05
        self.assertEqual([1, 2, 3], [flight.first for flight in self.detector.timed_out(self.now)])

    def test_first_in_any_case(self) -> None:
        """Even the youngest, if it is the first."""
        self.send()
        self.assertEqual([1], [flight.first for flight in self.detector.timed_out(self.now)])

    def test_gives_up(self) -> None:
        """After thirteen seconds of silence there is no hope, and a good many repetitions have been made."""
        self.send()
        began = self.now
        times = []
        while not self.detector.hopeless:
            self.now = self.detector.timeout_at
            times.append(self.now - began)
            for flight in self.detector.timed_out(self.now):
                self.flights.lose(flight)
            self.repeat()
        self.assertEqual([1.0, 2.5, 4.0, 5.5, 7.0, 8.5, 10.0, 11.5, 13.0], [round(time, 6) for time in times])

    def test_hope(self) -> None:
        """Anything that is acknowledged begins the count anew."""
        self.send(2)
        for _ in range(8):
            self.now = self.detector.timeout_at
            self.detector.timed_out(self.now)
        self.acknowledge(2)
        self.assertEqual((0, False), (self.detector.timeouts, self.detector.hopeless))
        self.assertLess(self.now, self.detector.timeout_at)

    def test_joined(self) -> None:
        """What has arrived is never lost."""
        self.send(4)
        self.acknowledge(1, (2, 4))
        self.now += 5
        lost = self.detector.timed_out(self.now)
        self.assertEqual([1, 4], [flight.first for flight in lost])
        self.assertEqual([ARRIVED], [flight.fate for flight in self.flights if flight not in lost])
