"""Tests of spaceswarm_proxy.udx.stream: how packets come and go; how a stream ends is in ``test_ending.py``."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.errors import ValueTooLargeError
from spaceswarm_proxy.udx.packet import (
    DATA,
    END,
    HEADER_LENGTH,
    HEARTBEAT,
    MASK,
    MAX_DATAGRAM,
    MESSAGE,
    SACK,
    Packet,
    encode_header,
    encode_state,
    parse,
)
from spaceswarm_proxy.udx.stream import ACK_DELAY, HIGH_WATER, LOW_WATER
from tests.udx.world import HERE, SOCKET, THERE, End, Net

WINDOW = 4 << 20


class Bench(SynchronousTestCase):
    """One end; the test is the other one."""

    FIRST = REMOTE_FIRST = 0

    def setUp(self) -> None:
        self.net = Net()
        self.place = self.net.here
        self.end = self.make()
        self.stream = self.end.stream

    def make(self, window: int = WINDOW) -> End:
        end = self.place.create(1, self.FIRST, self.REMOTE_FIRST, window)
        end.connect(THERE, 2)
        self.settle()
        return end

    def settle(self) -> list[Packet]:
        """End the turn.  :returns: what was sent in it."""
        self.place.look_after()
        sent = [parse(data) for _, _, data in self.net.sent]
        self.net.sent.clear()
        return [packet for packet in sent if packet is not None]

    def pass_time(self, seconds: float) -> list[Packet]:
        """:returns: what is sent meanwhile."""
        self.net.run(seconds)
        return self.settle()

    def say(self, *datagrams: bytes) -> list[Packet]:
        """The remote sends.  :returns: what is sent at the end of the turn."""
        for data in datagrams:
            self.place.receive(data, THERE)
        return self.settle()

    def said_to(self, data: bytes) -> list[Packet]:
        """:returns: what is sent when the remote has said that, and then nothing more."""
        return self.say(data) + self.pass_time(ACK_DELAY)

    def data(self, seq: int, payload: bytes = b"x", ack: int = 0, flags: int = DATA, window: int = WINDOW) -> bytes:
        return encode_header(flags, 0, self.stream.id, window, seq, ack) + payload

    def state(self, seq: int, ack: int, *ranges: tuple[int, int], window: int = WINDOW) -> bytes:
        return encode_state(self.stream.id, window, seq, ack, ranges)


class ReceiveTests(Bench):
    """What comes, and how it is acknowledged."""

    def test_data(self) -> None:
        """Data is given to the owner, and acknowledged: a lone packet a moment later, as something may follow."""
        self.assertEqual([], self.say(self.data(0, b"hello")))
        self.assertEqual([b"hello"], self.end.chunks)
        self.assertEqual([], self.pass_time(ACK_DELAY / 2))
        self.assertEqual([Packet(0, 2, WINDOW, 0, 1, (), b"")], self.pass_time(ACK_DELAY / 2))
        self.assertEqual([], self.pass_time(1))

    def test_next_one_waits_no_more(self) -> None:
        """What comes while an acknowledgement waits is acknowledged in the same turn, and the first one with it."""
        self.say(self.data(0))
        self.assertEqual([2], [packet.ack for packet in self.say(self.data(1))])
        self.assertEqual([], self.say(self.data(2)))

    def test_written_meanwhile(self) -> None:
        """What is written while an acknowledgement waits takes it along."""
        self.say(self.data(0))
        self.end.write(b"answer")
        self.assertEqual([Packet(DATA, 2, WINDOW, 0, 1, (), b"answer")], self.settle())
        self.assertEqual([], self.pass_time(ACK_DELAY))

    def test_one_acknowledgement_a_turn(self) -> None:
        """However much comes in a turn, one acknowledgement is sent, and the owner is told once."""
        sent = self.say(*[self.data(seq, b"%d" % seq) for seq in range(5)])
        self.assertEqual(([5], ["received"], b"01234"), ([packet.ack for packet in sent], self.end.told, self.end.data))

    def test_answer_carries_it(self) -> None:
        """What the owner answers carries the acknowledgement."""
        self.end.react = lambda word: self.end.write(b"answer") and None
        self.assertEqual([Packet(DATA, 2, WINDOW, 0, 1, (), b"answer")], self.say(self.data(0)))

    def test_again(self) -> None:
        """What came before is acknowledged again, and not given again."""
        self.say(self.data(0))
        self.assertEqual([Packet(0, 2, WINDOW, 0, 1, (), b"")], self.say(self.data(0)))
        self.assertEqual(b"x", self.end.data)

    def test_gap(self) -> None:
        """What comes early is told of in ranges, which no data carries."""
        self.end.write(b"ours")
        sent = self.say(self.data(1, b"b"), self.data(4, b"e"))
        self.assertEqual([(DATA, ()), (SACK, ((1, 2), (4, 5)))], [(packet.flags, packet.ranges) for packet in sent])
        self.assertEqual([((4, 5),)], [packet.ranges for packet in self.say(self.data(0, b"a"))])
        self.assertEqual(b"ab", self.end.data)

    def test_beyond_reason(self) -> None:
        """What is half the numbers ahead is acknowledged as little as what was never there."""
        sent = self.say(self.data(1 << 31), self.data((1 << 31) - 1))
        self.assertEqual([(0, 0, ())], [(packet.flags, packet.ack, packet.ranges) for packet in sent])

    def test_padding(self) -> None:
        """Zeros before the payload are skipped."""
        self.say(encode_header(DATA, 64, 1, WINDOW, 0, 0) + bytes(64) + b"text")
        self.assertEqual(b"text", self.end.data)

    def test_padding_beyond_the_end(self) -> None:
        """A packet whose padding leads out of it is none; nothing is said to it."""
        self.assertEqual([], self.say(encode_header(DATA, 64, 1, WINDOW, 0, 0) + bytes(63)))

    def test_ranges_and_data(self) -> None:
        """Data with ranges is both."""
        self.end.write(b"x" * 5000)
        self.settle()
        area = bytes([2, 0, 0, 0, 3, 0, 0, 0])
        self.say(encode_header(DATA | SACK, 8, 1, WINDOW, 0, 1) + area + b"text")
        self.assertEqual(b"text", self.end.data)
        self.assertEqual(1, self.stream.sender.flights.arrived)

    def test_empty_data(self) -> None:
        """Empty data has a number as any, by itself and among others; the owner does not hear of it."""
        self.assertEqual([1], [packet.ack for packet in self.say(self.data(0, b""))])
        self.place.receive_train([self.data(seq, b"") for seq in range(1, 5)])
        self.assertEqual([5], [packet.ack for packet in self.settle()])
        self.assertEqual([], self.end.told)

    def test_heartbeat(self) -> None:
        """A heartbeat is answered at once; what it says otherwise is ignored."""
        self.end.write(b"ours")
        self.settle()
        self.assertEqual([Packet(0, 2, WINDOW, 1, 0, (), b"")], self.say(self.data(0, b"no", 1, HEARTBEAT | DATA)))
        self.assertEqual((1, b""), (len(self.stream.sender.flights), self.end.data))

    def test_unknown_flags(self) -> None:
        """Bits that mean nothing are ignored."""
        self.say(self.data(0, b"text", 0, DATA | 0xC0))
        self.assertEqual(b"text", self.end.data)

    def test_large_datagram(self) -> None:
        """A datagram larger than the reference sends is taken as it is."""
        self.say(self.data(0, bytes(2500)))
        self.assertEqual(2500, len(self.end.data))


class TrainTests(Bench):
    """Packets that come at once."""

    def test_run(self) -> None:
        """The packets that follow on are taken together; the last may be shorter."""
        self.place.receive_train([self.data(0, b"aa"), self.data(1, b"bb"), self.data(2, b"c")])
        self.assertEqual([3], [packet.ack for packet in self.settle()])
        self.assertEqual([b"aabbc"], self.end.chunks)

    def test_mixed(self) -> None:
        """Others among them are looked at one by one, and the order is kept."""
        end = self.data(3, b"d", 0, DATA | END)
        early = self.data(2, b"c")
        self.place.receive_train([self.data(0, b"a"), early, self.data(1, b"b"), end])
        self.settle()
        self.assertEqual((b"abcd", ["received", "ended"]), (self.end.data, self.end.told))

    def test_two_streams(self) -> None:
        """Packets of several streams may come in one train."""
        other = self.place.create(9)
        other.connect(THERE, 8)
        theirs = encode_header(DATA, 0, 9, WINDOW, 0, 0) + b"z"
        self.place.receive_train([self.data(0, b"a"), theirs, self.data(1, b"b")])
        self.settle()
        self.assertEqual((b"ab", b"z"), (self.end.data, other.data))

    def test_short_rest(self) -> None:
        """What is too short for a packet is none."""
        self.place.receive_train([self.data(0, b"aaaa"), b"\xff\x01short"])
        self.settle()
        self.assertEqual((b"aaaa", 1), (self.end.data, self.place.core.strays))

    def test_tiny_datagrams(self) -> None:
        """Nor do pieces of datagrams make a packet together."""
        data = self.data(0, b"abcd")
        self.place.receive_train([data[start : start + 4] for start in range(0, len(data), 4)])
        self.settle()
        self.assertEqual(b"", self.end.data)

    def test_acknowledgements(self) -> None:
        """Of many acknowledgements the highest counts, with its window; one that lies about the future does not."""
        self.end.write(b"x" * 11_000)
        self.settle()
        acks = [self.state(0, ack, window=1000 + ack) for ack in (1, 4, 3, 5, 11, 1 << 31, 5)]
        self.place.receive_train(acks)
        self.settle()
        sender = self.stream.sender
        self.assertEqual((5, 1005), (sender.unacknowledged, sender.remote_window))

    def test_run_over_early_ones(self) -> None:
        """A run over what came early leaves no gap in the books."""
        self.say(self.data(1, b"b"))
        self.place.receive_train([self.data(seq, b"abc"[seq : seq + 1]) for seq in range(3)])
        self.assertEqual([(0, 3, ())], [(packet.flags, packet.ack, packet.ranges) for packet in self.settle()])
        self.assertEqual(b"abc", self.end.data)


class WrapTests(Bench):
    """Numbers that wrap."""

    FIRST, REMOTE_FIRST = MASK - 1, MASK

    def test_both_directions(self) -> None:
        """Nothing happens when they do."""
        self.end.write(b"x" * 5000)
        self.assertEqual([MASK - 1, MASK, 0, 1, 2], [packet.seq for packet in self.settle()])
        self.place.receive_train([self.data(MASK, b"a", MASK), self.data(0, b"b", 0), self.data(1, b"c", 1)])
        sent = self.settle()
        self.assertEqual([(3, 2)], [(packet.seq, packet.ack) for packet in sent])
        self.assertEqual((2, b"abc"), (len(self.stream.sender.flights), self.end.data))
        self.say(self.state(2, 1, (2, 3)))
        self.assertEqual(1, self.stream.sender.flights.arrived)
        self.say(self.state(2, 3))
        self.assertEqual(0, len(self.stream.sender.flights))

    def test_ranges(self) -> None:
        """Nor when ranges do."""
        sent = self.say(self.data(0), self.data(1))
        self.assertEqual([(MASK, ((0, 2),))], [(packet.ack, packet.ranges) for packet in sent])


class AcknowledgedTests(Bench):
    """What the remote says of our direction."""

    def setUp(self) -> None:
        super().setUp()
        self.end.write(b"x" * 5000)
        self.settle()

    def test_future(self) -> None:
        """An acknowledgement of what was not sent is ignored, with its window; the data beside it is not."""
        sent = self.said_to(self.data(0, b"text", 6, window=7))
        self.assertEqual(
            (0, WINDOW, b"text"), (self.stream.sender.unacknowledged, self.stream.sender.remote_window, self.end.data)
        )
        self.assertEqual([1], [packet.ack for packet in sent])

    def test_past(self) -> None:
        """So is one of long ago, or of before the beginning."""
        self.say(self.state(0, 3))
        self.say(self.state(0, 1), self.state(0, MASK))
        self.assertEqual(3, self.stream.sender.unacknowledged)

    def test_window(self) -> None:
        """The window is what the newest packet says: the one with the higher number, or the higher acknowledgement."""
        for seq, ack, window, expected in (
            (0, 1, 100, 100),
            (0, 0, 200, 100),  # acknowledges less
            (5, 1, 300, 300),  # newer, though it comes before others
            (4, 2, 400, 300),  # older
            (5, 2, 500, 500),
            (5, 2, 600, 600),
        ):
            self.say(self.state(seq, ack, window=window))
            self.assertEqual(expected, self.stream.sender.remote_window)

    def test_state_carries_the_next_number(self) -> None:
        """Our own states carry the number of the next packet, as windows are judged by it."""
        self.assertEqual([5], [packet.seq for packet in self.say(self.data(0, b"x", flags=HEARTBEAT))])


class FlowTests(Bench):
    """Owners that do not read, and those that write much."""

    def setUp(self) -> None:
        super().setUp()
        self.stream.destroy(self.net.now)
        self.place.core._notes.clear()
        self.settle()
        self.end = self.make(window=10_000)
        self.stream = self.end.stream
        self.end.reads = False

    def test_window_shrinks(self) -> None:
        """What is not used is taken off the window."""
        self.assertEqual([9000], [packet.window for packet in self.said_to(self.data(0, bytes(1000)))])

    def test_window_opens(self) -> None:
        """When it opens again by far, the remote is told; not for each byte."""
        for seq in range(9):
            sent = self.said_to(self.data(seq, bytes(1000)))
        self.assertEqual([1000], [packet.window for packet in sent])
        self.stream.consumed(1000)
        self.assertEqual([], self.settle())
        self.stream.consumed(4000)
        self.assertEqual([Packet(0, 2, 6000, 0, 9, (), b"")], self.settle())
        self.stream.consumed(4000)
        self.assertEqual([], self.settle())

    def test_repetition_tells_nothing_of_the_window(self) -> None:
        """A packet that is repeated does not carry a new window, as the remote would not believe it."""
        self.end.write(b"y")
        self.settle()
        for seq in range(10):
            self.say(self.data(seq, bytes(1000)))
        self.end.read()
        self.net.now = self.stream.next_deadline()
        sent = self.settle()
        self.assertEqual([(DATA, 0), (0, 1)], [(packet.flags, packet.seq) for packet in sent])
        self.assertEqual(10_000, sent[1].window)

    def test_one_packet_more(self) -> None:
        """A packet more than the window is taken; what is beyond is not, and not acknowledged."""
        sent = self.say(*[self.data(seq, bytes(1400)) for seq in range(20)])
        self.assertTrue(8 <= sent[0].ack <= 13)
        self.assertEqual(0, sent[0].window)

    def test_without_an_owner(self) -> None:
        """What comes before there is an owner waits, within the same bounds."""
        self.stream.owner = None
        sent = self.say(*[self.data(seq, bytes(1400)) for seq in range(20)])
        self.stream.owner = self.end
        self.settle()
        self.assertEqual(sent[0].ack * 1400, len(self.end.data))

    def test_full(self) -> None:
        """Whoever writes much is told that it is, and when it is not any more."""
        self.assertTrue(self.end.write(bytes(HIGH_WATER)))
        self.assertFalse(self.end.write(b"x"))
        self.assertFalse(self.end.write(b"x"))
        self.settle()
        acked = 0
        while "drained" not in self.end.told:
            self.assertLess(LOW_WATER, self.stream.sender.queue.length)
            acked = self.stream.sender.next
            self.net.now += 0.01
            self.say(self.state(0, acked))
        self.assertLessEqual(self.stream.sender.queue.length, LOW_WATER)
        self.assertTrue(self.end.write(b"x"))

    def test_drained_once(self) -> None:
        """Whoever fills it again when told so is told again, and does not run in circles."""
        self.end.react = lambda word: self.end.write(bytes(HIGH_WATER)) and None if word == "drained" else None
        self.end.write(bytes(HIGH_WATER + 1))
        self.settle()
        for _ in range(100):
            self.net.now += 0.01
            self.say(self.state(0, self.stream.sender.next))
        self.assertLess(self.end.told.count("drained"), 101)
        self.assertLess(2, self.end.told.count("drained"))

    def test_nothing_to_write(self) -> None:
        """Nothing is sent for nothing."""
        self.assertTrue(self.end.write(b""))
        self.assertEqual(([], inf), (self.settle(), self.stream.next_deadline()))


class ZeroWindowTests(Bench):
    """A remote that takes nothing."""

    def test_probes(self) -> None:
        """It is asked at once, after a time-out, and after two each; its answer opens the window."""
        self.end.write(b"fill")
        self.settle()
        self.say(self.state(0, 1, window=0))
        self.end.write(b"blocked")
        sent = self.pass_time(0)
        self.assertEqual([Packet(HEARTBEAT, 2, WINDOW, 1, 0, (), b"")], sent)
        counts = [len(self.pass_time(seconds)) for seconds in (0.9, 0.2, 1.8, 0.2, 1.8, 0.2)]
        self.assertEqual([0, 1, 0, 1, 0, 1], counts)
        sent = self.say(self.state(0, 1, window=100))
        self.assertEqual([(DATA, b"blocked")], [(packet.flags, packet.payload) for packet in sent])

    def test_for_ever(self) -> None:
        """For as long as it takes: that is no reason to give up."""
        self.end.write(b"fill")
        self.settle()
        self.say(self.state(0, 1, window=0))
        self.end.write(b"blocked")
        self.pass_time(600)
        self.assertFalse(self.end.closed)


class MessageTests(Bench):
    """Unordered messages."""

    def test_sent(self) -> None:
        """One is sent at once, and takes no number."""
        self.stream.send_message(b"unordered")
        self.stream.send_message(b"")
        sent = self.settle()
        self.assertEqual([(MESSAGE, 0, b"unordered"), (MESSAGE, 0, b"")], [(p.flags, p.seq, p.payload) for p in sent])
        self.assertEqual(inf, self.stream.next_deadline())

    def test_received(self) -> None:
        """Whatever its number, it is told, each time it comes, and never acknowledged."""
        old = encode_header(MESSAGE, 0, 1, WINDOW, MASK - 5, 0)
        self.assertEqual([], self.say(old + b"one", old + b"one", old))
        self.assertEqual([b"one", b"one", b""], self.end.messages)

    def test_too_large(self) -> None:
        """It has to fit into a packet."""
        self.stream.send_message(bytes(self.stream.max_message))
        self.assertRaises(ValueTooLargeError, self.stream.send_message, bytes(self.stream.max_message + 1))
        self.assertEqual([1172 - HEADER_LENGTH], [len(packet.payload) for packet in self.settle()])

    def test_not_connected(self) -> None:
        """Before it is known where to, and after the end, it is lost."""
        end = self.place.create()
        end.stream.send_message(b"lost")
        self.end.destroy()
        self.settle()
        self.stream.send_message(b"lost")
        self.assertEqual([], self.settle())

    def test_large_one_received(self) -> None:
        """One that no path carries in a piece is lost."""
        self.say(encode_header(MESSAGE, 0, 1, WINDOW, 0, 0) + bytes(MAX_DATAGRAM + 1))
        self.assertEqual([], self.end.messages)


class KeepAliveTests(Bench):
    """Signs of life."""

    def test_period(self) -> None:
        """A heartbeat each period; no answer has no consequence."""
        self.stream.set_keep_alive(0.04, self.net.now)
        sent = self.pass_time(0.41)
        self.assertEqual([Packet(HEARTBEAT, 2, WINDOW, 0, 0, (), b"")] * 10, sent)
        self.assertFalse(self.end.closed)

    def test_off(self) -> None:
        """Unless wanted, an idle stream sends nothing, and wants no time."""
        self.assertEqual(([], inf), (self.pass_time(100), self.stream.next_deadline()))
        self.stream.set_keep_alive(1.0, self.net.now)
        self.stream.set_keep_alive(0.0, self.net.now)
        self.assertEqual([], self.pass_time(100))

    def test_put_off(self) -> None:
        """What is acknowledged is a sign of life."""
        self.stream.set_keep_alive(1.0, self.net.now)
        self.end.write(b"x")
        self.settle()
        self.net.now += 0.9
        self.say(self.state(0, 1))
        self.assertEqual([], self.pass_time(0.9))
        self.assertEqual(1, len(self.pass_time(0.2)))


class ConnectTests(Bench):
    """Streams that know nobody yet."""

    def test_early_data(self) -> None:
        """What the firewall lets through before is given, and acknowledged once, on connecting."""
        end = self.place.accept(5, lambda socket, source, now: False)
        data = [encode_header(DATA, 0, 5, WINDOW, seq, 0) + b"early" for seq in range(3)]
        self.assertEqual([], self.say(*data))
        self.assertEqual(b"earlyearlyearly", end.data)
        end.connect(THERE, 6)
        self.assertEqual([Packet(0, 6, WINDOW, 0, 3, (), b"")], self.settle())

    def test_early_write(self) -> None:
        """What is written before waits for that."""
        end = self.place.create(5)
        end.write(b"early")
        end.end()
        self.assertEqual([], self.pass_time(5))
        end.connect(THERE, 6)
        self.assertEqual([(DATA | END, b"early")], [(packet.flags, packet.payload) for packet in self.settle()])

    def test_connects_in_the_firewall(self) -> None:
        """The first packet may say where the remote is; what it carries is not lost by that."""
        asked = []

        def firewall(socket: int, source: bytes, now: float) -> bool:
            asked.append((socket, source))
            end.connect(source, 6)
            return False

        end = self.place.accept(5, firewall)
        other = address_of("10.0.0.3", 1003)
        self.place.receive(encode_header(DATA, 0, 5, WINDOW, 0, 0) + b"text", other)
        self.settle()
        self.assertEqual(([(SOCKET, other)], b"text"), (asked, end.data))
        self.place.receive(encode_header(DATA, 0, 5, WINDOW, 1, 0) + b"more", THERE)
        self.settle()
        self.assertEqual((1, b"textmore"), (len(asked), end.data))

    def test_twice(self) -> None:
        """Only the first time counts."""
        self.end.connect(HERE, 9)
        self.assertEqual((THERE, 2), (self.stream.address, self.stream.remote_id))


class MoveTests(Bench):
    """A remote that is elsewhere now."""

    ELSEWHERE = address_of("10.0.0.9", 1009)

    def move(self) -> None:
        self.stream.change_remote(7, 3003, self.ELSEWHERE, self.net.now)

    def test_nothing_on_the_way(self) -> None:
        """It is done at once, but told at the end of the turn only."""
        self.move()
        self.assertEqual([], self.end.told)
        self.settle()
        self.assertEqual(["moved"], self.end.told)

    def test_data_on_the_way(self) -> None:
        """It is done when all that was sent before has arrived; what is lost is repeated on the new path."""
        self.net.places.clear()
        self.net.places[HERE] = self.place
        self.end.write(b"to the old")
        self.settle()
        self.move()
        self.end.write(b"to the new")
        sent = self.settle()
        self.assertEqual([(3003, 1, b"to the new")], [(packet.id, packet.seq, packet.payload) for packet in sent])
        again = self.pass_time(2.0)
        self.assertIn((3003, 0, b"to the old"), [(packet.id, packet.seq, packet.payload) for packet in again])
        self.say(self.state(0, 0, (1, 2)))
        self.assertEqual([], self.end.told)
        self.place.receive(self.state(0, 1), self.ELSEWHERE, 7)
        self.settle()
        self.assertEqual(["moved"], self.end.told)

    def test_old_socket(self) -> None:
        """Packets that come over the old socket are shown to the firewall again."""
        self.move()
        self.say(self.data(0, b"refused"))
        self.assertEqual(b"", self.end.data)
        self.stream.firewall = lambda socket, source, now: False
        self.say(self.data(0, b"let through"))
        self.assertEqual(b"let through", self.end.data)


class BlockedTests(Bench):
    """A system that takes no more."""

    def test_waits(self) -> None:
        """What it does not take follows when it does; nothing is tried before."""
        self.place.writable = False
        self.end.write(b"x" * 5000)
        self.said_to(self.data(0))
        self.assertEqual(inf, self.place.core.next_deadline())
        self.place.unblock()
        self.assertEqual([0, 1, 2, 3, 4], [packet.seq for packet in self.settle() if packet.flags & DATA])

    def test_over(self) -> None:
        """A stream that is over waits for nothing, and nothing is kept of it."""
        self.place.writable = False
        self.end.write(b"x" * 5000)
        self.say(self.data(0))
        self.assertEqual(1, len(self.place.core._waiting))
        self.end.destroy()
        self.assertEqual({}, self.place.core._waiting)

    def test_acknowledgement(self) -> None:
        """So does an acknowledgement by itself."""
        self.place.writable = False
        self.said_to(self.data(0))
        self.place.unblock()
        self.assertEqual([(0, 1)], [(packet.flags, packet.ack) for packet in self.settle()])
