"""Tests of spaceswarm_proxy.udx.sender."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.flights import Flight
from spaceswarm_proxy.udx.packet import HEADER_LENGTH
from spaceswarm_proxy.udx.sender import LOSS, MAX_BUNCH, MAX_BUNCH_PACKETS, OPEN, RECOVERY, Sender

ROUND_TRIP = 0.1
SIZE = 1152


class Bench(SynchronousTestCase):
    """A sender, and what it sends."""

    def setUp(self) -> None:
        self.now = 50.0
        #: First and last number, and zeros, of each flight.
        self.sent: list[tuple[int, int, int]] = []
        self.payloads: dict[int, bytes] = {}
        self.takes = True
        self.sender = Sender(0, self.emit, self.now)

    def emit(self, flight: Flight) -> bool:
        if self.takes:
            self.assertLessEqual(flight.count, MAX_BUNCH_PACKETS)
            self.assertLessEqual(flight.count * (flight.size + HEADER_LENGTH), MAX_BUNCH)
            self.sent.append((flight.first, flight.next, flight.padding))
            for number in range(flight.count):
                part = bytes(flight.payload[number * flight.size : (number + 1) * flight.size])
                self.assertEqual(part, self.payloads.setdefault(flight.first + number, part))
        return self.takes

    def write(self, count: int) -> None:
        """Write, and send what may leave."""
        self.sender.queue.add(b"x" * count)
        self.transmit()

    def transmit(self) -> list[tuple[int, int, int]]:
        """:returns: what left now."""
        self.sent.clear()
        self.sender.transmit(self.now)
        return list(self.sent)

    def acknowledge(self, ack: int, *ranges: tuple[int, int]) -> list[tuple[int, int, int]]:
        """:returns: what leaves after it."""
        self.sender.acknowledge(ack, ranges, self.now)
        return self.transmit()

    def know_the_path(self) -> None:
        """Something was sent and acknowledged before."""
        self.write(1)
        self.now += ROUND_TRIP
        self.acknowledge(1)
        self.sent.clear()

    def leave(self) -> None:
        """Let all leave that waits for its turn only."""
        while self.sender.queue.length:
            self.now = self.sender.next_deadline()
            self.sender.transmit(self.now)

    def advance(self) -> tuple[bool, list[tuple[int, int, int]]]:
        """
        Go to the next deadline that brings something.

        :returns: is the remote to be asked for its window; what leaves.
        """
        asks = False
        self.sent.clear()
        while not (self.sent or asks):
            self.now = max(self.sender.next_deadline(), self.now)
            asks = self.sender.advance(self.now)
            self.sender.transmit(self.now)
        return asks, list(self.sent)


class NewTests(Bench):
    """What leaves for the first time."""

    def test_first_flight(self) -> None:
        """Ten packets, cut from whatever was written."""
        for count in (1, 5000, 30_000):
            self.sender.queue.add(b"x" * count)
        self.assertEqual([(0, 10, 0)], self.transmit())
        self.assertEqual({SIZE}, {*map(len, self.payloads.values())})
        self.assertEqual(10, self.sender.flights.flying)

    def test_end(self) -> None:
        """The end rides on the last packet; alone, it is a packet by itself."""
        self.sender.queue.add(b"x" * 2000)
        self.sender.end()
        self.assertEqual([(0, 2, 0)], self.transmit())
        self.assertTrue(self.sender.end_sent)
        self.assertTrue(self.sender.flights.last.end)
        self.payloads.clear()
        other = Sender(0, self.emit, self.now)
        other.end()
        other.transmit(self.now)
        self.assertTrue(other.awaits_end_only)
        other.acknowledge(1, (), self.now)
        self.assertTrue(other.done)

    def test_no_room(self) -> None:
        """What the system does not take stays, and nothing wakes up for it."""
        self.know_the_path()
        self.takes = False
        self.write(5000)
        self.assertEqual(
            (5000, 0, inf), (self.sender.queue.length, len(self.sender.flights), self.sender.next_deadline())
        )
        self.takes = True
        self.transmit()
        self.leave()
        self.assertEqual((0, 5), (self.sender.queue.length, len(self.sender.flights)))

    def test_pace(self) -> None:
        """Once the path is known, packets are spread over time."""
        self.write(11 * SIZE)
        self.now += ROUND_TRIP
        self.acknowledge(10)
        self.write(1_000_000)
        self.assertLess(len(self.sender.flights), 10)
        for _ in range(5):
            self.assertLess(self.sender.next_deadline(), self.now + ROUND_TRIP)
            asks, sent = self.advance()
            self.assertEqual((False, True), (asks, bool(sent)))


class WindowTests(Bench):
    """What the remote takes."""

    def test_counts_packets(self) -> None:
        """The window counts in packets, those that have arrived early too."""
        self.sender.set_remote_window(4 * SIZE + 5)
        self.write(100_000)
        self.assertEqual([(0, 4, 0)], self.sent)
        self.now += ROUND_TRIP
        self.assertEqual([], self.acknowledge(0, (2, 3)))
        self.assertEqual([(4, 5)], [(first, after) for first, after, _ in self.acknowledge(1, (2, 3))])

    def test_one_at_least(self) -> None:
        """Into the smallest, one packet is sent."""
        self.sender.set_remote_window(1)
        self.write(100_000)
        self.assertEqual([(0, 1, 0)], self.sent)

    def test_closed(self) -> None:
        """It is asked at once whether a closed one is still that, after a time-out, and then after two of them each."""
        self.know_the_path()
        self.sender.set_remote_window(0)
        self.write(100)
        self.assertEqual([], self.sent)
        asked = []
        for _ in range(4):
            asks, sent = self.advance()
            self.assertEqual((True, []), (asks, sent))
            asked.append(self.now - 50.1)
        self.assertEqual([0.0, 1.0, 3.0, 5.0], [round(at, 6) for at in asked])
        self.assertFalse(self.sender.hopeless)
        self.sender.set_remote_window(5000)
        self.assertEqual([(1, 2, 0)], self.transmit())
        self.assertLess(self.now + 0.1, self.sender.next_deadline())

    def test_closed_for_the_end(self) -> None:
        """So is it for the end."""
        self.sender.set_remote_window(0)
        self.sender.end()
        self.transmit()
        self.assertEqual((True, []), self.advance())

    def test_closed_and_nothing_to_say(self) -> None:
        """Nobody asks for a window that is not needed."""
        self.know_the_path()
        self.sender.set_remote_window(0)
        self.transmit()
        self.assertEqual(inf, self.sender.next_deadline())

    def test_closed_while_something_is_on_the_way(self) -> None:
        """Not before that has arrived; lost packets are repeated all the same."""
        self.know_the_path()
        self.write(2 * SIZE)
        self.leave()
        self.sender.set_remote_window(0)
        self.write(100)
        asks, sent = self.advance()
        self.assertEqual((False, 1), (asks, self.sender.retransmitted))
        self.now += ROUND_TRIP
        self.acknowledge(3)
        self.assertEqual((True, []), self.advance())

    def test_no_new_packet_probes(self) -> None:
        """A probe of the last packet does not carry new data into a closed window."""
        self.know_the_path()
        self.write(SIZE)
        self.leave()
        self.sender.set_remote_window(0)
        self.write(100)
        _, sent = self.advance()
        self.assertEqual([(1, 2, 0)], sent)


class LossTests(Bench):
    """What has to be sent again."""

    def setUp(self) -> None:
        super().setUp()
        self.know_the_path()
        self.write(10 * SIZE)
        self.leave()

    def test_what_others_have_overtaken(self) -> None:
        """A gap is filled at once when three have come after it; all of it before anything new."""
        self.now += ROUND_TRIP
        self.sender.queue.add(b"x" * 50_000)
        sent = self.acknowledge(1, (4, 8))
        while self.sender.flights.lost:
            sent += self.advance()[1]
        repeated = [seq for first, after, _ in sent for seq in range(first, after)]
        self.assertEqual([1, 2, 3], repeated[:3])
        self.assertTrue(all(seq >= 11 for seq in repeated[3:]))
        self.assertEqual(RECOVERY, self.sender.state)

    def test_recovery_ends(self) -> None:
        """It is over when all that was sent before the loss has arrived."""
        self.now += ROUND_TRIP
        self.acknowledge(1, (4, 8))
        end = self.sender.next
        self.now += ROUND_TRIP
        self.acknowledge(end - 1)
        self.assertEqual(RECOVERY, self.sender.state)
        self.acknowledge(end)
        self.assertEqual(OPEN, self.sender.state)

    def test_probe(self) -> None:
        """When nothing is heard, the last packet is sent again; or a new one, if there is one."""
        due = self.now + 2 * ROUND_TRIP
        _, sent = self.advance()
        last = self.sender.next
        self.assertEqual([(last - 1, last, 0)], sent[:1])
        self.assertLess(abs(self.now - due), 0.01)

    def test_new_probe(self) -> None:
        """A new packet shows the same."""
        self.sender.remote_window = 3 * SIZE
        self.sender.queue.add(b"x" * 50_000)
        before = self.sender.next
        _, sent = self.advance()
        self.assertEqual([(before, before + 1, 0)], sent)
        self.assertEqual(0, self.sender.retransmitted)

    def test_nothing_to_probe_with(self) -> None:
        """Where all that is missing waits to be sent again, there is nothing to probe with."""
        for flight in list(self.sender.flights):
            self.sender.flights.lose(flight)
        before = list(self.sent)
        self.sender._probe(self.now)
        self.assertEqual(before, self.sent)

    def test_no_room_for_a_probe(self) -> None:
        """A probe that the system does not take has not been sent."""
        self.takes = False
        self.sender.set_remote_window(0)
        self.now = self.sender.next_deadline()
        self.sender.advance(self.now)
        self.assertEqual((0, []), (self.sender.retransmitted, [f for f in self.sender.flights if f.tries != 1]))

    def test_time_out(self) -> None:
        """After the silence that follows, one packet tries again, and again."""
        while self.sender.state != LOSS:
            self.advance()
        firsts = []
        while not self.sender.hopeless:
            _, sent = self.advance()
            firsts += [first for first, _, _ in sent]
        self.assertEqual({1}, {*firsts})
        self.assertEqual(LOSS, self.sender.state)
        self.assertLess(abs(self.now - 50.1 - 13.0), 0.3)

    def test_goes_on(self) -> None:
        """When the remote answers after all, what is missing follows."""
        for _ in range(4):
            self.advance()
        self.now += ROUND_TRIP
        self.acknowledge(2)
        for _ in range(20):
            self.now += ROUND_TRIP
            if self.acknowledge(self.sender.next) == [] and not len(self.sender.flights):
                break
        self.assertEqual((OPEN, inf), (self.sender.state, self.sender.next_deadline()))

    def test_liar(self) -> None:
        """Ranges beyond what was sent, backwards, or below what is acknowledged, say nothing."""
        una, next = self.sender.unacknowledged, self.sender.next
        for start, end in (
            (next, next + 1),
            (una, next + 1),
            (una + 2, una + 1),
            (una - 1, una + 1),
            (una + 1, una + 1),
        ):
            self.acknowledge(una, (start, end))
        self.assertEqual(next - una, self.sender.flights.flying)


class PathTests(Bench):
    """The size of packets."""

    def setUp(self) -> None:
        super().setUp()
        self.know_the_path()

    def test_probes(self) -> None:
        """Once something was heard, one packet at a time is padded; when it arrives, others are as large."""
        self.write(100 * SIZE)
        self.assertEqual((1, 2, 252), self.sent[0])
        self.assertEqual([0], sorted({padding for _, _, padding in self.sent[1:]} | {0}))
        self.now += ROUND_TRIP
        self.acknowledge(2)
        self.assertEqual(SIZE + 252, self.sender.mtu.payload)

    def test_lost_probe(self) -> None:
        """A probe that is lost is sent again as it was meant, and is no sign of a full path."""
        self.write(5 * SIZE)
        self.leave()
        self.now += ROUND_TRIP
        sent = self.acknowledge(1, (2, 6))
        self.assertEqual(([(1, 2, 0)], OPEN), (sent, self.sender.state))

    def test_probe_of_the_last_packet(self) -> None:
        """What is sent to see whether the last packet was lost is not padded."""
        self.write(SIZE)
        self.assertEqual([(1, 2, 252)], self.sent)
        _, sent = self.advance()
        self.assertEqual([(1, 2, 0)], sent)

    def test_other_path(self) -> None:
        """On another path packets are small again; what was padded for the old one says nothing of it."""
        self.write(3 * SIZE)
        self.leave()
        self.sender.moved()
        self.write(SIZE)
        self.leave()
        self.now += ROUND_TRIP
        self.acknowledge(2)
        self.assertEqual(SIZE, self.sender.mtu.payload)

    def test_large_packets_on_another_path(self) -> None:
        """Those of the old path keep their size, and leave in bunches that the system takes."""
        self.sender.mtu.size, self.sender.mtu.payload = 1500, 1452
        self.sender.congestion.window = 200
        self.sender.congestion.pacing_rate = 0.0
        self.write(1452 * 150)
        self.assertEqual(150, len(self.sender.flights))
        self.sender.moved()
        for flight in list(self.sender.flights):
            self.sender.flights.lose(flight)
        self.now += 1
        self.transmit()
        self.assertLess(40, max(after - first for first, after, _ in self.sent))
