"""Streams in any order of events: honest ends over a hostile path, and an honest end whose remote lies."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import StreamResetError, StreamTimeoutError
from spaceswarm_proxy.udx.flights import ARRIVED, FLYING, LOST
from spaceswarm_proxy.udx.owner import MAX_MESSAGES
from spaceswarm_proxy.udx.packet import DATA, HEADER_LENGTH, MASK, MAX_DATAGRAM, encode_header, encode_state
from spaceswarm_proxy.udx.receiver import MAX_AHEAD, OVERRUN
from spaceswarm_proxy.udx.stream import Stream
from tests.udx.world import HERE, THERE, End, Net

#: Bytes of which all that is written is a piece.
TEXT = Random(7).randbytes(1 << 20)
WINDOW = 30_000

ends = st.integers(0, 3)
sizes = st.integers(1, 3000) | st.sampled_from([20_000, 300_000])
shares = st.sampled_from([0.0, 0.0, 0.1, 0.3])


def check_books(case: SynchronousTestCase, stream: Stream) -> None:
    """What a stream keeps is bounded, and its books agree with each other."""
    sender, receiver = stream.sender, stream.receiver
    flights = list(sender.flights)
    for fate, count in (
        (FLYING, sender.flights.flying),
        (LOST, sender.flights.lost),
        (ARRIVED, sender.flights.arrived),
    ):
        case.assertEqual(count, sum(flight.count for flight in flights if flight.fate == fate))
    case.assertTrue(all(flight.count > 0 for flight in flights))
    if not stream.closed:
        places = [sender.unacknowledged, *(flight.next for flight in flights)]
        case.assertEqual(places, [*(flight.first for flight in flights), sender.next])
    kept = receiver._kept or {}
    case.assertEqual(receiver._kept_bytes, sum(map(len, kept.values())))
    case.assertLessEqual(receiver._kept_bytes, receiver.limit)
    case.assertLessEqual(len(kept), MAX_AHEAD)
    case.assertLessEqual(receiver.unread, 2 * (receiver.limit + OVERRUN))
    early = sorted(kept)
    told = [seq for start, end in zip(receiver._starts, receiver._ends, strict=True) for seq in range(start, end)]
    case.assertEqual(early, told)
    case.assertTrue(not early or early[0] > receiver.expected)


class HonestMachine(RuleBasedStateMachine):
    """Two streams between two places; the path and the users do what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.case = SynchronousTestCase()
        self.net = Net()
        firsts = [(0, 0), (0xFFFFFFF0, 0x7FFFFFFE)]
        couples = [self.net.couple(number, *first, window=WINDOW) for number, first in enumerate(firsts)]
        self.ends = [end for couple in couples for end in couple]
        self.partner = {0: 1, 1: 0, 2: 3, 3: 2}
        self.written = [0] * len(self.ends)
        self.over = [False] * len(self.ends)
        self.deaf = [False] * len(self.ends)

    @rule(number=ends, size=sizes)
    def write(self, number: int, size: int) -> None:
        if not self.over[number] and self.written[number] + size <= len(TEXT):
            start = self.written[number]
            self.written[number] += size
            self.ends[number].write(TEXT[start : start + size])

    @rule(number=ends)
    def end(self, number: int) -> None:
        self.over[number] = True
        self.ends[number].end()

    @rule(number=ends)
    def close(self, number: int) -> None:
        self.over[number] = self.deaf[number] = True
        self.ends[number].stream.close()

    @rule(number=ends, reads=st.booleans())
    def read(self, number: int, reads: bool) -> None:
        end = self.ends[number]
        end.reads = reads
        if reads:
            end.read()

    @rule(number=ends, size=st.integers(0, 1152))
    def send_message(self, number: int, size: int) -> None:
        self.ends[number].stream.send_message(TEXT[:size])

    @rule(number=ends, seconds=st.sampled_from([0.0, 0.5]))
    def keep_alive(self, number: int, seconds: float) -> None:
        self.ends[number].stream.set_keep_alive(seconds, self.net.now)

    @rule(number=ends)
    def change_remote(self, number: int) -> None:
        stream = self.ends[number].stream
        stream.change_remote(stream.socket, stream.remote_id, stream.address, self.net.now)

    # What the path does.

    @rule(loss=shares, late=shares, twice=shares, rate=st.sampled_from([0.0, 0.0, 200_000.0]))
    def weather(self, loss: float, late: float, twice: float, rate: float) -> None:
        path = self.net.path
        path.loss, path.late, path.twice, path.rate = loss, late, twice, rate

    @rule(largest=st.sampled_from([1172, 1300, 65536]))
    def carry(self, largest: int) -> None:
        senders = [end.stream.sender for end in self.ends]
        sizes = [flight.size for sender in senders for flight in sender.flights]
        sizes += [sender.mtu.payload for sender in senders]
        if largest >= max(sizes) + HEADER_LENGTH:  # Or else what is under way could never arrive.
            self.net.path.largest = largest

    @rule(seconds=st.floats(0.1, 6.0))
    def black_out(self, seconds: float) -> None:
        self.net.path.dead = True
        self.net.run(seconds)
        self.net.path.dead = False
        self.net.run(4)

    @rule(place=st.sampled_from([HERE, THERE]), seconds=st.floats(0, 2))
    def block(self, place: bytes, seconds: float) -> None:
        self.net.places[place].writable = False
        self.net.run(seconds)
        self.net.places[place].unblock()

    @rule(seconds=st.floats(0, 0.1) | st.sampled_from([1.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.net.run(seconds)

    # What holds.

    @invariant()
    def nothing_is_invented(self) -> None:
        for number, end in enumerate(self.ends):
            check_books(self.case, end.stream)
            assert TEXT.startswith(end.data)
            assert len(end.data) <= self.written[self.partner[number]]
            assert end.problem is None or isinstance(end.problem, StreamTimeoutError | StreamResetError)

    def teardown(self) -> None:
        """The path is good again, all read and end: everything arrives, and nothing is left."""
        self.weather(0.0, 0.0, 0.0, 0.0)
        for number in range(len(self.ends)):
            self.keep_alive(number, 0.0)
            self.read(number, True)
            self.end(number)
        self.net.run(900)  # After long silences, time-outs are long too.
        self.nothing_is_invented()
        for number, end in enumerate(self.ends):
            other = self.partner[number]
            if not end.closed:  # Its remote was lost while it had nothing to say: it can't know.
                assert self.ends[other].problem
                end.destroy()
            if not (self.deaf[number] or self.deaf[other] or end.problem or self.ends[other].problem):
                assert len(end.data) == self.written[other]
                assert "ended" in end.told
        self.net.run(60)
        assert self.net.is_at_rest()


#: Numbers near those that count, and far from them.
near = st.integers(-3, 80) | st.sampled_from([-(1 << 31), (1 << 31) - 1, 1 << 31, 5_000_000, -100, MAX_AHEAD, 1000])
windows = st.sampled_from([0, 1, 1000, 1 << 22, MASK])


class LyingMachine(RuleBasedStateMachine):
    """A place has two streams: one with an honest remote, one with a liar."""

    def __init__(self) -> None:
        super().__init__()
        self.case = SynchronousTestCase()
        self.net = Net()
        self.ours, self.theirs = self.net.couple(window=WINDOW)
        self.written = 0
        self.new_victim()

    def new_victim(self) -> None:
        self.victim: End = self.net.here.create(window=WINDOW)
        self.victim.connect(b"\x0a\x09\x09\x09\x01\x00", 77)
        self.net.run(0)

    @property
    def stream(self) -> Stream:
        return self.victim.stream

    def say(self, data: bytes) -> None:
        self.net.here.receive(data, b"\x0a\x09\x09\x09\x01\x00")

    @precondition(lambda self: self.victim.closed)
    @rule()
    def another(self) -> None:
        self.new_victim()

    # What the liar does.

    @rule(
        flags=st.integers(0, 255).filter(lambda flags: not flags & 0x10) | st.sampled_from([0, 1, 2, 3, 4, 8, 32]),
        seq=near,
        ack=near,
        window=windows,
        payload=st.binary(max_size=40) | st.sampled_from([bytes(1452), bytes(MAX_DATAGRAM), bytes(60_000)]),
        offset=st.sampled_from([0, 0, 8, 255]),
    )
    def packet(self, flags: int, seq: int, ack: int, window: int, payload: bytes, offset: int) -> None:
        receiver, sender = self.stream.receiver, self.stream.sender
        seq, ack = receiver.expected + seq, sender.unacknowledged + ack
        self.say(encode_header(flags, offset, self.stream.id, window, seq, ack) + payload)

    @rule(ack=st.integers(0, 60), ranges=st.lists(st.tuples(near, near), max_size=60), window=windows)
    def selective(self, ack: int, ranges: list[tuple[int, int]], window: int) -> None:
        una = self.stream.sender.unacknowledged
        shifted = [(una + start, una + end) for start, end in ranges]
        self.say(encode_state(self.stream.id, window, self.stream.receiver.expected, una + ack, shifted))

    @rule(
        pieces=st.lists(st.integers(0, 3), min_size=1, max_size=40), ack=st.integers(-2, 40), size=st.integers(0, 900)
    )
    def train(self, pieces: list[int], ack: int, size: int) -> None:
        """Data that follows on, more or less, in one go."""
        seq, una, id = self.stream.receiver.expected, self.stream.sender.unacknowledged, self.stream.id
        datagrams = []
        for piece in pieces:
            datagrams.append(encode_header(DATA, 0, id, 1 << 22, seq, una + ack) + bytes(size))
            seq += piece
        self.net.here.receive_train(datagrams)

    @rule(acks=st.lists(near, min_size=1, max_size=40), window=windows)
    def states(self, acks: list[int], window: int) -> None:
        una, expected = self.stream.sender.unacknowledged, self.stream.receiver.expected
        self.net.here.receive_train([encode_state(self.stream.id, window, expected, una + ack) for ack in acks])

    @rule(seq=near)
    def destroy(self, seq: int) -> None:
        self.say(encode_header(0x10, 0, self.stream.id, 0, self.stream.receiver.expected + seq, 0))

    @precondition(lambda self: self.net.sent)
    @rule(number=st.integers(0, 10_000), id=st.booleans())
    def replay(self, number: int, id: bool) -> None:
        """Something that was sent before, to one of the two; to the honest one, it is a duplicate."""
        _, source, data = self.net.sent[number % len(self.net.sent)]
        if source == THERE and not data[2] & 0x10:
            self.say(data)
        elif id:
            self.say(data[:4] + self.stream.id.to_bytes(4, "little") + data[8:])

    # What the honest do.

    @rule(size=sizes, close=st.integers(0, 20))
    def write(self, size: int, close: int) -> None:
        self.victim.write(bytes(size))
        if close == 0:
            self.victim.end()
        elif close == 1:
            self.stream.close()

    @rule(reads=st.booleans())
    def read(self, reads: bool) -> None:
        self.victim.reads = reads
        if reads:
            self.victim.read()

    @rule(size=sizes)
    def write_honestly(self, size: int) -> None:
        if self.written + size <= len(TEXT):
            self.ours.write(TEXT[self.written : self.written + size])
            self.written += size

    @rule(seconds=st.floats(0, 0.1) | st.sampled_from([1.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.net.run(seconds)

    @invariant()
    def is_bounded(self) -> None:
        check_books(self.case, self.stream)
        assert len(self.stream._news._messages or ()) <= MAX_MESSAGES
        assert len(self.net.here.core._deadlines) < 50
        assert not self.ours.closed

    def teardown(self) -> None:
        """The other stream has noticed nothing."""
        self.ours.end()
        self.theirs.end()
        self.net.run(60)
        assert self.theirs.data == TEXT[: self.written]
        assert (self.ours.closed, self.ours.problem) == (True, None)
        self.victim.destroy()
        self.net.run(60)
        assert self.net.is_at_rest()


class MachineTests(SynchronousTestCase):
    """Runs both."""

    SETTINGS = settings(deadline=None, max_examples=60, stateful_step_count=40, suppress_health_check=list(HealthCheck))

    def test_honest(self) -> None:
        """What is read is what was written; all arrives in the end, and nothing is left."""
        run_state_machine_as_test(HonestMachine, settings=self.SETTINGS)  # type: ignore[no-untyped-call]

    def test_liar(self) -> None:
        """Nothing raises, what is kept is bounded, and the other stream goes on."""
        run_state_machine_as_test(LyingMachine, settings=self.SETTINGS)  # type: ignore[no-untyped-call]
