"""Tests of spaceswarm_proxy.udx.runner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.packet import HEARTBEAT, Packet, encode_state, parse
from spaceswarm_proxy.udx.runner import StreamsRunner
from spaceswarm_proxy.udx.stream import ACK_DELAY, Stream

THERE = bytes([192, 0, 2, 7, 1, 0])
SOCKET = 3
#: Bytes of the stream that a packet carries at the beginning.
PAYLOAD = 1152


class FakePort:
    """A socket that keeps what it is to send, as long as there is room."""

    number = SOCKET

    def __init__(self) -> None:
        #: Datagrams, and in how many calls they came.
        self.sent: list[bytes] = []
        self.calls = 0
        self.has_room = True
        self.waiting: Callable[[], None] | None = None

    def send(self, data: bytes, address: bytes, ttl: int = 0) -> bool:
        return self._take([data], address)

    def send_train(self, parts: Sequence[memoryview], segment: int, address: bytes) -> bool:
        whole = b"".join(parts)
        return self._take([whole[start : start + segment] for start in range(0, len(whole), segment)], address)

    def _take(self, datagrams: list[bytes], address: bytes) -> bool:
        assert address == THERE
        self.calls += 1
        if self.has_room:
            self.sent += datagrams
        return self.has_room

    def when_writable(self, call: Callable[[], None]) -> None:
        self.waiting = call

    def packets(self) -> list[Packet]:
        """What was sent since the last time."""
        sent, self.sent = self.sent, []
        return [packet for data in sent if (packet := parse(data)) is not None]


class RunnerTests(SynchronousTestCase):
    """With a socket that is none, and a virtual clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.port = FakePort()
        self.runner = StreamsRunner(self.clock, self.find_port, self.clock.seconds)
        self.addCleanup(self.check_nothing_left)

    def find_port(self, number: int) -> Any:
        return self.port if number == SOCKET else None

    def check_nothing_left(self) -> None:
        self.runner.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def stream(self, id: int = 1, socket: int = SOCKET) -> Stream:
        """A stream that is connected."""
        stream = self.runner.core.create(id=id)
        stream.connect(socket, 1000 + id, THERE, self.runner.now())
        self.clock.advance(0)
        return stream

    def receive(self, stream: Stream, data: bytes) -> None:
        """A datagram comes, alone in its turn."""
        self.runner.core.receive(memoryview(data), len(data), len(data), THERE, stream.socket, self.runner.now())
        self.runner.turn_ended()

    def acknowledge(self, stream: Stream) -> None:
        """All that was sent has arrived."""
        self.receive(stream, encode_state(stream.id, 1 << 20, 0, stream.sender.next))

    def due(self) -> list[float]:
        """When the reactor is to call us, in seconds from now."""
        return [call.getTime() - self.clock.seconds() for call in self.clock.getDelayedCalls()]

    def test_written_in_a_turn(self) -> None:
        """
        What is written to a stream that has nothing on the way leaves at once; what is written more is sent at the end
        of the turn, which is waited for once.
        """
        streams = [self.stream(id) for id in (1, 2, 3)]
        for count in (1, 2):
            for stream in streams * count:
                stream.write(b"x" * 10)
            self.assertEqual([0.0] * (count - 1), [due for due in self.due() if not due])
            if count > 1:
                self.assertEqual([], self.port.sent)
                self.clock.advance(0)
            self.assertEqual([(packet.id, len(packet.payload)) for packet in self.port.packets()], [
                (id, 10 * count) for id in (1001, 1002, 1003)
            ])  # fmt: skip

    def test_many_packets(self) -> None:
        """Many packets leave with one call."""
        stream = self.stream()
        stream.write(bytes(10 * PAYLOAD))
        self.clock.advance(0)
        self.assertLessEqual(self.port.calls, 2)
        self.assertGreater(len(self.port.sent), 5)

    def test_one_timer(self) -> None:
        """However many streams wait for something, there is one timer, for the first of it."""
        for id in range(1, 20):
            self.stream(id).write(b"x")
        self.clock.advance(0)
        deadline = self.runner.core.next_deadline()
        self.assertEqual(self.due(), [deadline - self.clock.seconds()])

    def test_no_timer(self) -> None:
        """When all is acknowledged there is none, or it finds nothing to do and is the last."""
        stream = self.stream()
        stream.write(b"x")
        self.clock.advance(0)
        self.acknowledge(stream)
        self.port.packets()
        self.clock.advance(100)
        self.assertEqual((self.due(), self.port.sent, self.runner.core.next_deadline()), ([], [], inf))

    def test_earlier(self) -> None:
        """The timer goes off earlier when something is to be done earlier."""
        self.stream(1).set_keep_alive(50, self.clock.seconds())
        self.clock.advance(0)
        self.assertEqual(self.due(), [50])
        stream = self.stream(2)
        stream.set_keep_alive(20, self.clock.seconds())
        self.clock.advance(0)
        self.assertEqual(self.due(), [20])
        self.clock.advance(20)
        self.assertEqual([(packet.id, packet.flags) for packet in self.port.packets()], [(1002, HEARTBEAT)])

    def test_lost(self) -> None:
        """What is not acknowledged is sent again when it is time, until the stream is given up."""
        stream = self.stream()
        stream.write(b"x")
        for _ in range(60):
            self.clock.advance(0.5)
        self.assertTrue(stream.closed)
        self.assertGreater(len(self.port.sent), 3)
        self.assertEqual(self.due(), [])

    def test_answer(self) -> None:
        """A turn in which something is received ends with what is owed for it, and nobody is called for that."""
        stream = self.stream()
        self.receive(stream, bytes.fromhex("ff012000") + (1).to_bytes(4, "little") + bytes(12))
        self.assertEqual([packet.flags for packet in self.port.packets()], [0])
        self.assertEqual(self.due(), [])

    def test_no_room(self) -> None:
        """What the system does not take is kept, and sent when it does."""
        stream = self.stream()
        self.port.has_room = False
        stream.write(bytes(5 * PAYLOAD))
        self.clock.advance(0)
        self.assertEqual((self.port.sent, self.port.calls), ([], 1))
        self.port.has_room = True
        assert self.port.waiting is not None
        self.port.waiting()
        self.assertEqual(sum(len(packet.payload) for packet in self.port.packets()), 5 * PAYLOAD)
        self.assertEqual(stream.sender.retransmitted, 0)

    def test_no_room_for_an_acknowledgement(self) -> None:
        """So is an acknowledgement."""
        stream = self.stream()
        self.port.has_room = False
        self.receive(stream, bytes.fromhex("ff010100") + (1).to_bytes(4, "little") + bytes(12) + b"data")
        self.clock.advance(ACK_DELAY)
        self.port.has_room = True
        assert self.port.waiting is not None
        self.port.waiting()
        self.assertEqual([(packet.flags, packet.ack) for packet in self.port.packets()], [(0, 1)])

    def test_socket_that_is_not_there(self) -> None:
        """What is sent over a socket that is closed by now is lost."""
        stream = self.stream(socket=9)
        stream.write(b"x" * 2 * PAYLOAD)
        self.clock.advance(0)
        self.assertEqual((self.port.sent, stream.sender.next), ([], 2))

    def test_close(self) -> None:
        """After the end nothing is waited for, whatever was to be done."""
        streams = [self.stream(id) for id in (1, 2)]
        streams[0].write(b"x")
        self.clock.advance(0)
        streams[0].write(b"x")
        self.assertEqual(len(self.due()), 2)
        for _ in range(2):
            self.runner.close()
            self.assertEqual((self.due(), len(self.runner.core)), ([], 0))
            self.assertTrue(all(stream.closed for stream in streams))
