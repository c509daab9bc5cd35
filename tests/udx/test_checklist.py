"""What a stream must do, should do, and what it is better prepared for, to get on with the reference: by name."""

from __future__ import annotations

from heapq import heapify

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import StreamResetError, StreamTimeoutError
from spaceswarm_proxy.udx.packet import (
    DATA,
    DESTROY,
    END,
    HEARTBEAT,
    MASK,
    MESSAGE,
    SACK,
    Packet,
    encode_header,
    encode_state,
    unwrap,
)
from tests.udx.world import HERE, THERE, End, Net

STREAM_KINDS = {0, DATA, END, DATA | END, SACK, MESSAGE, DESTROY, HEARTBEAT}


class Bench(SynchronousTestCase):
    """Two ends that talk over a bad path, each packet of which is kept."""

    def setUp(self) -> None:
        self.net = Net(loss=0.05, late=0.05, twice=0.02)
        self.ours, self.theirs = self.net.couple(0, MASK - 20, 5)

    def talk(self) -> None:
        """Both say much, and end."""
        for _ in range(10):
            for end in (self.ours, self.theirs):
                end.write(b"x" * 20_000)
                end.stream.send_message(b"m")
            self.net.run(0.05)
        self.ours.end()
        self.theirs.end()
        self.net.run(30)
        self.assertEqual([200_000] * 2, [len(end.data) for end in (self.ours, self.theirs)])

    def say(self, data: bytes, seconds: float = 0.0) -> list[Packet]:
        """Somebody sends ours something.  :returns: what it sends at once, or in that time."""
        before = self.net.now
        self.net.sent.clear()
        self.net.here.receive(data, THERE)
        self.net.run(seconds)
        return self.net.packets(HERE, since=before)


class MustTests(Bench):
    """Or else a remote stalls, breaks, or takes harm."""

    def test_01_header(self) -> None:
        """Headers have twenty bytes, the receiver's number, and kinds that the reference knows."""
        self.talk()
        for source, id in ((HERE, 2), (THERE, 1)):
            packets = self.net.packets(source)
            self.assertEqual({id}, {packet.id for packet in packets})
            self.assertLessEqual({packet.flags for packet in packets}, STREAM_KINDS)

    def test_02_numbers(self) -> None:
        """Nothing is acknowledged that was not sent; numbers go on from the agreed ones, and wrap."""
        self.talk()
        sent = {HERE: MASK - 20, THERE: 5}
        for _, source, data in self.net.sent:
            other = THERE if source == HERE else HERE
            seq, ack = (int.from_bytes(data[start : start + 4], "little") for start in (12, 16))
            number = unwrap(seq, sent[source])
            self.assertLessEqual(number, sent[source])
            self.assertLessEqual(unwrap(ack, sent[other]), sent[other])
            if data[2] & (DATA | END) and number == sent[source]:
                sent[source] += 1
        self.assertLess(MASK + 50, sent[HERE])

    def test_03_state_number(self) -> None:
        """States, ranges and heartbeats carry the number that comes next."""
        self.net.path.loss = self.net.path.late = self.net.path.twice = 0.0
        self.talk()
        following = MASK - 20
        for packet in self.net.packets(HERE):
            if packet.flags & (DATA | END):
                following = max(following, unwrap(packet.seq, following) + 1)
            else:
                self.assertEqual(following & MASK, packet.seq)

    def test_04_acknowledgements(self) -> None:
        """
        Data, ends and heartbeats are answered, again if they come again; in the same turn, or a lone packet that is new
        after a millisecond; messages never.
        """
        data, end = (encode_header(flags, 0, 1, 9, seq, 0) for flags, seq in ((DATA, 5), (END, 6)))
        self.assertEqual(1, len(self.say(data + b"x", 0.001)))
        self.assertEqual(1, len(self.say(data + b"x")))
        for _ in range(2):
            self.assertEqual(1, len(self.say(end)))
        self.assertEqual(1, len(self.say(encode_header(HEARTBEAT, 0, 1, 9, 7, 0))))
        self.assertEqual(0, len(self.say(encode_header(MESSAGE, 0, 1, 9, 7, 0) + b"x")))

    def test_05_ranges(self) -> None:
        """Ranges are half open, ascending, apart from each other, above the acknowledgement; and of what has come."""
        self.talk()
        with_ranges = [packet for packet in self.net.packets() if packet.flags & SACK]
        self.assertLess(5, len(with_ranges))
        for packet in with_ranges:
            edges = [unwrap(edge, packet.ack) for pair in packet.ranges for edge in pair]
            self.assertEqual(sorted(set(edges)), edges)
            self.assertLess(packet.ack, edges[0])
            self.assertEqual(SACK, packet.flags)

    def test_06_padding(self) -> None:
        """Padding is skipped."""
        self.say(encode_header(DATA, 255, 1, 9, 5, 0) + bytes(255) + b"text")
        self.assertEqual(b"text", self.ours.data)

    def test_07_boundaries(self) -> None:
        """Datagrams are no longer than a path of 1500 carries; a number keeps its payload for good."""
        self.talk()
        payloads: dict[tuple[int, int], bytes] = {}
        for packet in self.net.packets():
            if packet.flags & (DATA | END):
                payload = bytes(packet.payload)
                self.assertEqual(payload, payloads.setdefault((packet.id, packet.seq), payload))
        self.assertLessEqual(max(len(data) for _, _, data in self.net.sent), 1472)

    def test_08_end(self) -> None:
        """The end has a number, is repeated, and acknowledged."""
        self.net.path.dead = True
        self.ours.end()
        self.net.run(3)
        ends = self.net.packets(HERE)
        self.assertLess(2, len(ends))
        self.assertEqual({(END, MASK - 20)}, {(packet.flags, packet.seq) for packet in ends})
        self.net.path.dead = False
        self.net.run(3)
        self.assertTrue(self.ours.stream.sender.done)

    def test_09_destroy(self) -> None:
        """Destruction is a reset; it is sent with the next number."""
        self.net.path.loss = 0.0
        self.ours.destroy()
        self.net.run(1)
        self.assertEqual([(DESTROY, MASK - 20)], [(packet.flags, packet.seq) for packet in self.net.packets()])
        self.assertIsInstance(self.theirs.problem, StreamResetError)

    def test_10_window(self) -> None:
        """The window is kept to, in packets, with one at least; a closed one is asked for by heartbeats."""
        self.ours.stream.sender.set_remote_window(5000)
        self.ours.write(b"x" * 100_000)
        self.net.here.look_after()
        self.assertEqual(5000 // 1152, len(self.net.packets(HERE)))
        ack = MASK - 20 + 4
        self.assertEqual(1, len(self.say(encode_state(1, 1, 5, ack))))
        self.say(encode_state(1, 0, 5, ack + 1))
        self.assertEqual([HEARTBEAT], [packet.flags for packet in self.net.packets(HERE)])

    def test_11_strays(self) -> None:
        """Packets for nobody are let go of without a word."""
        for flags in STREAM_KINDS:
            self.assertEqual([], self.say(encode_header(flags, 0, 99, 9, 0, 0) + b"x"))


class ShouldTests(Bench):
    """Or else it is slow, or rude."""

    def test_loss_is_found_fast(self) -> None:
        """What others overtake, and what is last, is repeated long before the time-out."""
        for lost in (0, 4):
            net = Net()
            ours, theirs = net.couple()
            ours.write(b"x" * 1152 * 5)
            net.here.look_after()
            net._on_the_way.pop(lost)
            heapify(net._on_the_way)
            net.run(0.95)
            self.assertEqual(1152 * 5, len(theirs.data))

    def test_time_out(self) -> None:
        """Without an answer, nothing is repeated in less than a second but a few probes."""
        self.net.path.loss = 0.0
        self.ours.write(b"x")
        self.net.run(1)
        self.net.path.dead = True
        self.ours.write(b"y")
        began = self.net.now
        self.net.run(0.99)
        self.assertEqual(4, len(self.net.packets(HERE, since=began)))

    def test_last_word(self) -> None:
        """Who has closed still answers who has not heard so."""
        self.net.path.loss = 0.0
        self.ours.end()
        self.theirs.end()
        self.net.run(2)
        end = encode_header(END, 0, 1, 9, 0, 0)
        self.assertTrue(self.ours.closed)
        self.assertEqual([0], [packet.flags for packet in self.say(end)])

    def test_true_window(self) -> None:
        """The window tells what the reader has room for, and that there is room again."""
        self.ours.reads = False
        self.say(encode_header(DATA, 0, 1, 9, 5, 0) + bytes(1400))
        self.assertEqual((4 << 20) - 1400, self.ours.stream.receiver.window)

    def test_stopped_reader(self) -> None:
        """A remote whose reader stands still is neither flooded nor given up; when that goes on, all goes on."""
        net = Net()
        ours, theirs = net.couple(window=100_000)
        theirs.reads = False
        ours.write(b"x" * 500_000)
        net.run(60)
        self.assertLess(len(theirs.data), 110_000)
        self.assertFalse(ours.closed)
        theirs.reads = True
        theirs.read()
        self.assertLess(net.run_until(lambda: len(theirs.data) == 500_000), 0.5)

    def test_bounded_buffer(self) -> None:
        """What comes far ahead is dropped, and not acknowledged."""
        sent = self.say(encode_header(DATA, 0, 1, 9, 5_000_000, 0) + b"x")
        self.assertEqual([()], [packet.ranges for packet in sent])

    def test_pace(self) -> None:
        """No more than a few milliseconds' worth leaves at once."""
        net = Net(rate=2e6)
        ours, _ = net.couple()
        ours.write(bytes(3_000_000))
        net.run(1)
        began = net.now
        net.run(0.2)
        times = [at for at, source, _ in net.sent if source == HERE and at > began]
        self.assertLess(max(times.count(at) for at in set(times)), 20)

    def test_gives_up(self) -> None:
        """Thirteen seconds of silence are enough."""
        self.net.path.dead = True
        self.ours.write(b"x")
        self.net.run(12.9)
        self.assertFalse(self.ours.closed)
        self.net.run(0.2)
        self.assertIsInstance(self.ours.problem, StreamTimeoutError)


class TrapTests(Bench):
    """What others have fallen into."""

    def test_wrong_acknowledgement(self) -> None:
        """A remote that acknowledges the future is acknowledged all the same, and sent what it lacks."""
        self.ours.write(b"x")
        self.net.here.look_after()
        self.assertEqual(1, len(self.say(encode_header(DATA, 0, 1, 9, 5, 50) + b"y", 0.001)))
        self.net.sent.clear()
        self.net.path.dead = True
        self.net.run(2)
        self.assertLess(0, len([packet for packet in self.net.packets(HERE) if packet.flags & DATA]))

    def test_heartbeat_acknowledges_nothing(self) -> None:
        """What a heartbeat says beside is nothing."""
        self.ours.write(b"x")
        self.net.here.look_after()
        self.say(encode_header(HEARTBEAT, 0, 1, 9, 5, MASK - 19))
        self.assertEqual(1, len(self.ours.stream.sender.flights))

    def test_window_is_decoration(self) -> None:
        """A window of four gigabytes does not make us send as much."""
        self.ours.stream.sender.set_remote_window(MASK)
        self.ours.write(bytes(1 << 20))
        self.net.here.look_after()
        self.assertEqual(10, len(self.net.packets(HERE)))

    def test_end_before_a_gap_is_filled(self) -> None:
        """An end that comes early is not forgotten."""
        self.say(encode_header(DATA | END, 0, 1, 9, 6, 0) + b"b")
        self.assertEqual([], self.ours.told)
        self.say(encode_header(DATA, 0, 1, 9, 5, 0) + b"a")
        self.assertEqual((b"ab", ["received", "ended"]), (self.ours.data, self.ours.told))

    def test_reordering(self) -> None:
        """Two in a hundred that come five milliseconds late, on a path of one, do not make half of all come twice."""
        net = Net(late=0.02, delay=0.0005, rate=10e6)
        ours, theirs = net.couple()
        ours.write(bytes(3_000_000))
        net.run_until(lambda: len(theirs.data) == 3_000_000)
        self.assertLess(ours.stream.sender.retransmitted, ours.stream.sender.next * 0.1)

    def test_deaf_after_its_close(self) -> None:
        """A remote that has closed, and hears nothing any more, has ended well, if all but our end has arrived."""
        ours: End = self.ours
        self.say(encode_header(END, 0, 1, 9, 5, MASK - 20))
        self.net.path.dead = True
        ours.end()
        self.net.run(14)
        self.assertEqual((True, None), (ours.closed, ours.problem))
