"""Tests of spaceswarm_proxy.udx.core."""

from __future__ import annotations

import tracemalloc
from math import inf

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.errors import ClosedError, LimitError, StreamResetError
from spaceswarm_proxy.udx.packet import DATA, DESTROY, HEARTBEAT, encode_header, encode_state
from spaceswarm_proxy.udx.stream import ACK_DELAY
from tests.udx.world import HERE, SOCKET, THERE, End, Net


class Bench(SynchronousTestCase):
    """A place."""

    def setUp(self) -> None:
        self.net = Net()
        self.place = self.net.here
        self.core = self.place.core


class FindTests(Bench):
    """Whose packet it is."""

    def say(self, data: bytes, source: bytes = THERE, socket: int = SOCKET) -> None:
        self.place.receive(data, source, socket)
        self.net.run(0)

    def test_nobody(self) -> None:
        """A packet for nobody is counted, and answered by nothing."""
        for flags in (0, DATA, DESTROY, HEARTBEAT):
            self.say(encode_header(flags, 0, 77, 0, 0, 0))
        self.say(b"\xff\x01")
        self.say(b"\xff\x02" + bytes(18))
        self.assertEqual((6, []), (self.core.strays, self.net.sent))

    def test_any_source(self) -> None:
        """The source does not matter; the answer goes where the remote is known to be."""
        end = self.place.create(1)
        end.connect(THERE, 2)
        self.say(encode_header(DATA, 0, 1, 0, 0, 0) + b"text", address_of("10.6.6.6", 6))
        self.assertEqual(b"text", end.data)
        self.net.run(1)
        self.assertEqual(1, self.net.there.core.strays)

    def test_other_socket(self) -> None:
        """Over another socket, the firewall is asked about each; without one, all are refused."""
        end = self.place.create(1)
        end.connect(THERE, 2)
        data = [encode_header(DATA, 0, 1, 0, seq, 0) + b"text" for seq in range(3)]
        self.say(data[0], socket=9)
        self.assertEqual((b"", []), (end.data, self.net.sent))
        answers = [True, False]
        end.stream.firewall = lambda socket, source, now: answers.pop(0)
        self.say(data[0], socket=9)
        self.say(data[0], socket=9)
        self.assertEqual((b"text", []), (end.data, answers))

    def test_firewall_destroys(self) -> None:
        """A firewall may end the stream that it is asked for."""
        end: End

        def firewall(socket: int, source: bytes, now: float) -> bool:
            end.destroy()
            return False

        end = self.place.accept(5, firewall)
        self.say(encode_header(DATA, 0, 5, 0, 0, 0) + b"text")
        self.assertEqual((b"", 0), (end.data, len(self.core)))


class CreateTests(Bench):
    """Streams come and go."""

    def test_numbers(self) -> None:
        """Each has a number of its own."""
        numbers = {self.place.create().stream.id for _ in range(1000)}
        self.assertEqual(1000, len(numbers))
        self.assertNotIn(0, numbers)

    def test_taken(self) -> None:
        """A number can be had once only."""
        self.place.create(5)
        self.assertRaises(ValueError, self.place.create, 5)

    def test_bound(self) -> None:
        """There are only so many; one that ends makes room."""
        self.core.max_streams = 3
        ends = [self.place.create() for _ in range(3)]
        self.assertRaises(LimitError, self.place.create)
        ends[0].destroy()
        self.place.create()

    def test_again(self) -> None:
        """The number of one that is over can be had again; its deadlines do not get in the way."""
        for _ in range(3):
            end = self.place.create(5)
            end.connect(THERE, 6)
            end.write(b"x")
            self.place.look_after()
            end.destroy()
        self.net.run(60)
        self.assertTrue(self.net.is_at_rest())


class CloseTests(Bench):
    """All of it ends."""

    def test_close(self) -> None:
        """All streams are destroyed, their owners told, and no more are made."""
        ours, theirs = self.net.couple()
        unknown = self.place.create()
        self.core.close(self.net.now)
        for end in (ours, unknown):
            self.assertIsInstance(end.problem, ClosedError)
        self.assertRaises(ClosedError, self.place.create)
        self.net.run(1)
        self.assertIsInstance(theirs.problem, StreamResetError)
        self.assertTrue(self.net.is_at_rest())

    def test_told_before(self) -> None:
        """One that was over before is told what was the matter then."""
        ours, _ = self.net.couple()
        self.place.receive(encode_header(DESTROY, 0, 1, 0, 0, 0), THERE)
        self.core.close(self.net.now)
        self.assertIsInstance(ours.problem, StreamResetError)


class WakeTests(Bench):
    """When a turn is asked for."""

    def test_once(self) -> None:
        """Outside of a turn it is asked for once, however much there is to do."""
        ours, _ = self.net.couple()
        self.net.run(0)
        self.assertFalse(self.place.woken)
        ours.write(b"x")
        self.assertTrue(self.place.woken)
        self.place.woken = False
        ours.write(b"x")
        self.assertFalse(self.place.woken)

    def test_in_a_turn(self) -> None:
        """In a turn, what comes up is done in the same."""
        ours, theirs = self.net.couple()
        ours.react = lambda word: ours.write(b"answer") and None
        theirs.write(b"question")
        self.net.run(0.0101)
        self.assertFalse(self.place.woken)
        self.net.run(0.01)
        self.assertEqual(b"answer", theirs.data)

    def test_owner_that_fails(self) -> None:
        """An owner that raises something does no harm to other streams, nor to what is owed to its remote."""
        ends = [self.place.create(number) for number in (1, 3)]
        for end in ends:
            end.connect(THERE, 2)
        self.net.run(0)

        def fail(word: str) -> None:
            raise ZeroDivisionError

        ends[0].react = fail
        for number in (1, 3):
            self.place.receive(encode_header(DATA, 0, number, 9, 0, 0) + b"x", THERE)
        self.assertRaises(ZeroDivisionError, self.place.look_after)
        self.assertTrue(self.place.woken)
        self.net.run(ACK_DELAY)
        self.assertEqual(([b"x"], [b"x"]), (ends[0].chunks, ends[1].chunks))
        self.assertEqual([1, 1], [packet.ack for packet in self.net.packets(HERE)])


class DeadlineTests(Bench):
    """Many streams, one list of deadlines."""

    def test_idle(self) -> None:
        """Idle streams are not in it."""
        ends = [self.net.couple(number)[0] for number in range(50)]
        for end in ends:
            end.write(b"x")
        self.net.run(5)
        self.assertEqual(inf, self.core.next_deadline())
        self.assertEqual(0, len(self.core._deadlines))

    def test_no_heap_of_old_ones(self) -> None:
        """However often a stream's deadline moves, it is there a few times only."""
        self.net.path.rate = 2e6
        ours, _ = self.net.couple()
        ours.write(bytes(2_000_000))
        for _ in range(100):
            self.net.run(0.01)
            self.assertLess(len(self.core._deadlines), 6)
            self.assertEqual(len(self.core._deadlines), len(ours.stream.queued))

    def test_cost(self) -> None:
        """To ask for the next one looks at one stream, not at all."""
        ends = [self.net.couple(number)[0] for number in range(200)]
        for end in ends:
            end.stream.set_keep_alive(100.0, self.net.now)
        self.net.run(0)
        looked = []
        original = type(ends[0].stream).next_deadline

        def next_deadline(stream: object) -> float:
            looked.append(stream)
            return original(stream)  # type: ignore[arg-type]

        self.patch(type(ends[0].stream), "next_deadline", next_deadline)
        self.assertAlmostEqual(self.net.now + 100.0, self.core.next_deadline())
        self.assertEqual(1, len(looked))

    def test_order(self) -> None:
        """They come in their order, each once."""
        ends = [self.place.create() for _ in range(20)]
        for number, end in enumerate(ends):
            end.connect(THERE, 1)
            end.stream.set_keep_alive(1.0 + (number * 7) % 20, self.net.now)
        self.net.run(20.5)
        times = [round(at - 1000.0) for at, _, _ in self.net.sent]
        self.assertEqual(sorted(times), times)
        self.assertEqual(sum(20 // period for period in range(1, 21)), len(times))


class MemoryTests(Bench):
    """What an idle stream takes."""

    def test_idle_stream(self) -> None:
        """Less than four kilobytes, before and after it was used."""
        self.place.create()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            streams = []
            for number in range(200):
                stream = self.core.create(id=number + 1000)
                stream.connect(SOCKET, 1, THERE, self.net.now)
                stream.write(b"x")
                streams.append(stream)
            self.core.turn(self.net.now)
            for stream in streams:
                for data in (
                    encode_header(DATA, 0, stream.id, 1 << 22, 0, 0) + b"x",
                    encode_state(stream.id, 99, 1, 1),
                ):
                    self.core.receive(memoryview(data), len(data), len(data), THERE, SOCKET, self.net.now + 0.1)
            self.core.turn(self.net.now + 0.1)
            self.net.sent.clear()
            self.net._on_the_way.clear()
            used = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        self.assertLess(used / len(streams), 4096)


class ManyTests(Bench):
    """Many streams at once."""

    def test_share(self) -> None:
        """They do not mix, and nobody is left behind."""
        self.net.path.loss = 0.02
        couples = [self.net.couple(number) for number in range(40)]
        for number, (ours, theirs) in enumerate(couples):
            ours.write(bytes([number]) * 20_000)
            theirs.write(bytes([number]) * 3_000)
            ours.end()
            theirs.end()
        self.net.run(20)
        for number, (ours, theirs) in enumerate(couples):
            self.assertEqual((bytes([number]) * 20_000, bytes([number]) * 3_000), (theirs.data, ours.data))
        self.assertTrue(self.net.is_at_rest())

    def test_few_packets(self) -> None:
        """Streams that have nothing to say send nothing."""
        for number in range(40):
            self.net.couple(number)
        self.net.run(100)
        self.assertEqual([], self.net.packets(HERE))
