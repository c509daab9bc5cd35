"""Tests of spaceswarm_proxy.udp.port: sockets that carry streams."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SkipTest
from zope.interface.verify import verifyObject

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.udp import port as udp
from spaceswarm_proxy.udp.merged import SLOTS, SOL_UDP, TrainReader, merge_trains, sends_trains, train_reader
from tests.dht.stepping import LOOPBACK, arrived
from tests.udp.test_merged import LARGEST, send_merged
from tests.udp.test_port import NOW, NUMBER, UDPTestCase

#: Bytes of the packets here.
LENGTH = 40


def packet(number: int, length: int = LENGTH) -> bytes:
    """A datagram that begins as the packets of streams do."""
    return b"\xff\x01" + bytes([number % 256]) * (length - 2)


class Streams:
    """Keeps the packets that come."""

    def __init__(self) -> None:
        #: The packets of each call.
        self.trains: list[list[bytes]] = []
        #: Source, number of the socket, and time of each call.
        self.from_where: list[tuple[bytes, int, float]] = []
        #: Told of each call.
        self.then: Callable[[list[bytes]], object] = lambda train: None

    def receive(self, data: memoryview, segment: int, stride: int, source: bytes, socket: int, now: float) -> None:
        train = [bytes(data[start : start + segment]) for start in range(0, len(data), stride)]
        self.trains.append(train)
        self.from_where.append((source, socket, now))
        self.then(train)

    @property
    def packets(self) -> list[bytes]:
        return sum(self.trains, [])


class StubbornSocket:
    """A socket that sends only what it is allowed to."""

    def __init__(self, bound: socket.socket, refusal: Callable[[int, bool], int | None]) -> None:
        """:param refusal: for each call, by its number and whether it is for a train: the error, or ``None``."""
        self._bound = bound
        self._refusal = refusal
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bound, name)

    def sendmsg(self, parts: Sequence[Any], control: Sequence[Any], flags: int, to: Any) -> int:
        code = self._refusal(self.calls, any(level == SOL_UDP for level, *_ in control))
        self.calls += 1
        if code is not None:
            raise OSError(code, "refused")
        return self._bound.sendmsg(parts, control, flags, to)


class StreamsTestCase(UDPTestCase):
    """A port that carries streams, beside what else comes."""

    def setUp(self) -> None:
        super().setUp()
        self.streams = Streams()
        self.prepare()
        self.port.carry(self.streams)

    def prepare(self) -> None:
        """What is to be done before the port carries streams."""

    def tearDown(self) -> None:
        self.port.close()
        self.assertEqual(set(), self.reactor.writers)
        super().tearDown()

    def datagrams(self) -> list[bytes]:
        """What came for others than the streams."""
        return [data for data, *_ in self.received]


class ReceivingTests(StreamsTestCase):
    """What goes to whom."""

    def test_interface(self) -> None:
        """It is what a reactor reads from and writes to."""
        self.assertTrue(verifyObject(IReadWriteDescriptor, self.port))

    def test_packets(self) -> None:
        """Packets go to the streams, with source, socket and time, and nothing is answered."""
        client = self.client()
        sent = list(map(packet, range(5)))
        self.send(client, *sent)
        self.port.doRead()
        self.assertEqual((self.streams.packets, self.received, self.turns), (sent, [], 1))
        source = address_of(*client.getsockname())
        self.assertEqual(set(self.streams.from_where), {(source, NUMBER, NOW)})
        self.assertEqual(arrived(client), [])

    def test_others(self) -> None:
        """What else comes in between is received and answered as before."""
        client = self.client()
        self.send(client, b"a", packet(1), b"b", b"", packet(2), packet(3), b"c" * LENGTH)
        self.port.doRead()
        self.assertEqual(self.streams.packets, list(map(packet, (1, 2, 3))))
        self.assertEqual(self.datagrams(), [b"a", b"b", b"", b"c" * LENGTH])
        self.assertEqual([data for data, _ in arrived(client)], [b"a", b"b", b"", b"c" * LENGTH])

    def test_same_length(self) -> None:
        """So it is when all are of one length, so that they come as one train."""
        client = self.client()
        mixed = [packet(1), b"x" * LENGTH, packet(2), b"\xfe" * LENGTH]
        self.send(client, *mixed)
        self.port.doRead()
        self.assertEqual((self.streams.packets, self.datagrams()), (mixed[::2], mixed[1::2]))

    def test_many(self) -> None:
        """However many come, in few turns all have come, in order."""
        client = self.client()
        sent = [each for number in range(3 * SLOTS) for each in (packet(number), b"%d" % number)]
        self.send(client, *sent)
        self.port.doRead()
        self.port.doRead()
        self.assertEqual((self.streams.packets, self.datagrams()), (sent[::2], sent[1::2]))

    def test_sizes(self) -> None:
        """Of any size."""
        client = self.client()
        for length in (2, 20, 1472, 2049, LARGEST):
            self.send(client, packet(7, length), bytes(length))
        self.port.doRead()
        self.assertEqual([len(data) for data in self.streams.packets], [2, 20, 1472, 2049, LARGEST])
        self.assertEqual([len(data) for data in self.datagrams()], [2, 20, 1472, 2049, LARGEST])

    def test_no_batches(self) -> None:
        """A burst of other datagrams does not lead to a way of reading on which streams are forgotten."""
        client = self.client()
        for _ in range(3):
            self.send(client, *[b"x"] * 40, packet(1))
            self.port.doRead()
        self.assertEqual((self.counted.turns, len(self.streams.packets), len(self.received)), (0, 3, 120))

    def test_trouble(self) -> None:
        """What cannot be handled is logged, and touches nothing else."""

        def then(train: list[bytes]) -> None:
            if train[0] == packet(2, 30):
                raise LookupError("a fault of ours")

        def answer(data: bytes) -> bytes:
            if data == b"bad":
                raise ZeroDivisionError("another one")
            return data

        self.streams.then, self.answer = then, answer
        client = self.client()
        self.send(client, packet(1), b"a", packet(2, 30), b"bad", packet(3), b"b")
        self.port.doRead()
        self.assertEqual(self.streams.packets, [packet(1), packet(2, 30), packet(3)])
        self.assertEqual([data for data, _ in arrived(client)], [b"a", b"b"])
        self.assertEqual(len(self.flushLoggedErrors(LookupError, ZeroDivisionError)), 2)
        self.assertEqual((self.reactor.readers, self.turns), ({self.port}, 1))

    def test_closed_by_a_packet(self) -> None:
        """A packet may lead to the end of the port: nothing is read or sent after that, and the turn ends."""
        self.streams.then = lambda train: self.port.close()
        client = self.client()
        self.send(client, packet(1), *[b"x"] * (2 * SLOTS))
        self.port.doRead()
        self.assertEqual((len(self.streams.trains), self.turns, arrived(client)), (1, 1, []))
        self.assertLess(len(self.received), SLOTS)

    def test_carry_twice(self) -> None:
        """Who carries streams already goes on with those."""
        self.port.carry(Streams())
        self.send(self.client(), packet(1))
        self.port.doRead()
        self.assertEqual(self.streams.packets, [packet(1)])


class MergedTests(StreamsTestCase):
    """Trains that the system keeps together."""

    def setUp(self) -> None:
        if train_reader() is None or not sends_trains():
            raise SkipTest("this system merges no datagrams")
        super().setUp()

    def send_train(self, *datagrams: bytes) -> None:
        send_merged(self.client(), (LOOPBACK, self.port.port), b"".join(datagrams), len(datagrams[0]))

    def test_one_call(self) -> None:
        """A train of packets comes with one call, the short one at its end too."""
        sent = [*map(packet, range(10)), packet(10, 25)]
        self.send_train(*sent)
        self.port.doRead()
        self.assertEqual(self.streams.trains, [sent])

    def test_mixed(self) -> None:
        """One in which there are others is taken apart."""
        sent = [packet(1), b"x" * LENGTH, packet(2), b"y" * LENGTH, packet(3, 30)]
        self.send_train(*sent)
        self.port.doRead()
        self.assertEqual((self.streams.packets, self.datagrams()), (sent[::2], sent[1::2]))

    def test_others(self) -> None:
        """One of others alone is answered datagram by datagram."""
        sent = [b"aa", b"bb", b"c"]
        self.send_train(*sent)
        self.port.doRead()
        self.assertEqual((self.streams.trains, self.datagrams()), ([], sent))

    def test_there_and_back(self) -> None:
        """What one port sends as a train comes to another as one."""
        other = self.listening()
        sent = list(map(packet, range(40)))
        parts = [part for each in sent for part in (memoryview(each)[:20], memoryview(each)[20:])]
        self.assertTrue(other.send_train(parts, LENGTH, address_of(LOOPBACK, self.port.port)))
        self.port.doRead()
        self.assertEqual(self.streams.trains, [sent])
        other.close()


class SendingTests(StreamsTestCase):
    """Trains that leave, whatever the system makes of them."""

    def setUp(self) -> None:
        super().setUp()
        self.other = self.client()
        self.there = address_of(*self.other.getsockname())
        self.packets = [packet(number, LENGTH if number < 4 else 25) for number in range(5)]

    def stubborn(self, refusal: Callable[[int, bool], int | None]) -> StubbornSocket:
        """Let the port's socket refuse some."""
        stubborn = StubbornSocket(self.port._socket, refusal)
        self.patch(self.port, "_socket", stubborn)
        return stubborn

    def send_train(self) -> bool:
        parts = [part for each in self.packets for part in (memoryview(each)[:20], memoryview(each)[20:])]
        return self.port.send_train(parts, LENGTH, self.there)

    def came(self) -> list[bytes]:
        """What has arrived."""
        return [data for data, _ in arrived(self.other)]

    def test_train(self) -> None:
        """All of it arrives as it was cut."""
        self.assertTrue(self.send_train())
        self.assertEqual((self.came(), self.port.unsent), (self.packets, 0))

    def test_one_by_one(self) -> None:
        """Where the system takes no trains it is the same."""
        self.patch(self.port, "_cuts_trains", False)
        stubborn = self.stubborn(lambda call, train: errno.EIO if train else None)
        self.assertTrue(self.send_train())
        self.assertEqual((self.came(), stubborn.calls), (self.packets, 5))

    def test_device_without_trains(self) -> None:
        """Where a device can't do it after all that is logged, and not tried again."""
        stubborn = self.stubborn(lambda call, train: errno.EIO if train else None)
        with capturedLogs() as logs:
            for calls in (6, 11):
                self.assertTrue(self.send_train())
                self.assertEqual((self.came(), stubborn.calls), (self.packets, calls))
        self.assertEqual(["UDP socket 7: no trains: [Errno 5] refused"], list(map(formatEvent, logs)))

    def test_way_without_trains(self) -> None:
        """Where one train can't go its way, it goes one by one; the next one may."""
        for code in (errno.EINVAL, errno.EMSGSIZE):
            stubborn = self.stubborn(lambda call, train, code=code: code if not call else None)
            for calls in (6, 7):
                self.assertTrue(self.send_train())
                self.assertEqual((self.came(), stubborn.calls), (self.packets, calls))

    def test_no_way(self) -> None:
        """A train to where there is no way is lost, and counted."""
        self.stubborn(lambda call, train: errno.ENETUNREACH)
        self.assertTrue(self.send_train())
        self.assertEqual((self.came(), self.port.unsent), ([], 5))

    def test_no_room(self) -> None:
        """A train for which there is no room has not been sent, and who waits is told once when there is some."""
        self.stubborn(lambda call, train: errno.EAGAIN if not call else None)
        self.assertFalse(self.send_train())
        told: list[bool] = []
        self.port.when_writable(lambda: told.append(self.send_train()))
        self.assertEqual(self.reactor.writers, {self.port})
        self.port.doWrite()
        self.assertEqual((told, self.came(), self.reactor.writers), ([True], self.packets, set()))

    def test_no_room_half_way(self) -> None:
        """One of which only a part has left one by one is gone; the rest follows, before anything else does."""
        self.patch(self.port, "_cuts_trains", False)
        # The second call is refused, then the third once more.
        self.stubborn(lambda call, train: errno.EAGAIN if call in (1, 2, 5) else None)
        self.assertTrue(self.send_train())
        self.assertEqual(self.came(), self.packets[:1])
        self.assertFalse(self.send_train())
        told: list[bool] = []
        self.port.when_writable(lambda: told.append(True))
        for count in (0, 2, 2):
            self.assertEqual((self.reactor.writers, told), ({self.port}, []))
            self.port.doWrite()
            self.assertEqual(len(self.came()), count)
        self.assertEqual((self.reactor.writers, told), (set(), [True]))

    def test_no_room_for_a_datagram(self) -> None:
        """A single datagram says so, too."""
        self.stubborn(lambda call, train: errno.ENOBUFS if not call else None)
        self.assertEqual([self.port.send(b"x", self.there, ttl=9) for _ in range(2)], [False, True])
        self.assertEqual((self.came(), self.port.unsent), ([b"x"], 1))

    def test_closed(self) -> None:
        """Who waits for room when the port is closed is not told, and nothing is left."""
        self.patch(self.port, "_cuts_trains", False)
        self.stubborn(lambda call, train: errno.EAGAIN if call else None)
        self.send_train()
        told: list[bool] = []
        self.port.when_writable(lambda: told.append(True))
        self.port.close()
        self.port.when_writable(lambda: told.append(True))
        self.assertEqual((self.reactor.writers, told), (set(), []))
        self.assertTrue(self.port.send(b"x", self.there))

    def test_not_cut(self) -> None:
        """Datagrams are not cut on the way; where the system does not know that, they go all the same."""
        self.assertEqual(self.port._socket.getsockopt(socket.IPPROTO_IP, udp._MTU_DISCOVER), udp._DISCOVER_PROBE)
        self.patch(udp, "_MTU_DISCOVER", 254)
        other = self.listening()
        other.carry(self.streams)
        self.assertTrue(other.send(b"x", self.there))
        other.close()


class WithoutTrainsTests(ReceivingTests):
    """Where the system has no such call, it is the same."""

    def prepare(self) -> None:
        self.patch(udp, "train_reader", lambda: None)

    def test_many(self) -> None:
        """Only it takes more turns."""
        client = self.client()
        sent = [each for number in range(100) for each in (packet(number), b"%d" % number)]
        self.send(client, *sent)
        for _ in range(4):
            self.port.doRead()
        self.assertEqual((self.streams.packets, self.datagrams()), (sent[::2], sent[1::2]))


class WithoutMergingTests(ReceivingTests):
    """Where the system does not merge, but reads many at once."""

    def prepare(self) -> None:
        self.patch(udp, "merge_trains", lambda bound: False)


class ForbiddenTests(StreamsTestCase):
    """Where the system has the call, and does not let us."""

    def prepare(self) -> None:
        def read(*arguments: Any) -> int:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        self.merges = False
        reader = TrainReader(lambda *arguments: 0)
        self.patch(reader, "read", read)
        self.patch(udp, "train_reader", lambda: reader)
        self.patch(udp, "merge_trains", self.merge)

    def merge(self, bound: socket.socket) -> bool:
        self.merges = merge_trains(bound)
        return self.merges

    def test_forbidden(self) -> None:
        """That is logged once; from then on nothing is merged, and trains come one by one."""
        with capturedLogs() as logs:
            self.port.doRead()
            if self.merges and sends_trains():
                sent = list(map(packet, range(5)))
                send_merged(self.client(), (LOOPBACK, self.port.port), b"".join(sent), LENGTH)
                self.port.doRead()
                self.assertEqual(self.streams.trains, [[each] for each in sent])
        self.assertEqual(
            ["UDP socket 7: no trains: [Errno 1] Operation not permitted"], [formatEvent(event) for event in logs]
        )
