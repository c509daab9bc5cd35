"""Tests of spaceswarm_proxy.udp.port."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.udp import port as udp
from spaceswarm_proxy.udp.batch import SLOT_LENGTH, Batch, Receive, SendLarge, shared_batch
from spaceswarm_proxy.udp.port import BATCH_FROM, BATCH_TO, MAX_TURN, UDPPort
from tests.dht.stepping import LOOPBACK, SteppedReactor, arrived, plain_socket

NUMBER = 7
NOW = 123.0
#: IP_RECVTTL, which Python has no name for yet.
_RECEIVE_TTL = 12


class CountedBatch:
    """The process's batch, which counts its turns."""

    def __init__(self) -> None:
        self.turns = 0
        shared = shared_batch()
        if shared is None:
            raise SkipTest("this system sends and receives datagrams one by one")
        self._batch: Batch = shared

    def run(
        self, bound: socket.socket, receive: Receive, number: int, now: float, send_large: SendLarge
    ) -> tuple[int, int]:
        self.turns += 1
        return self._batch.run(bound, receive, number, now, send_large)


class UDPTestCase(SynchronousTestCase):
    """A port, and plain sockets that send to it."""

    def setUp(self) -> None:
        self.reactor = SteppedReactor()
        self.counted = CountedBatch()
        self.patch(udp, "shared_batch", lambda: self.counted)
        #: What came: datagram, source, number of the socket, time.
        self.received: list[tuple[bytes, bytes, int, float]] = []
        self.turns = 0
        self.asked = 0
        self.answer: Callable[[bytes], bytes | None] = lambda data: data
        self.port = self.listening()

    def tearDown(self) -> None:
        self.assertEqual(set(), self.reactor.readers)

    def listening(self) -> UDPPort:
        """A port that keeps what it receives, and answers what :attr:`answer` says."""
        port = UDPPort(self.reactor, NUMBER, self.receive, self.clock, self.turn_ended)
        port.listen(LOOPBACK, 0)
        self.addCleanup(port.close)
        return port

    def receive(self, data: bytes, source: bytes, number: int, now: float) -> bytes | None:
        self.received.append((data, source, number, now))
        return self.answer(data)

    def clock(self) -> float:
        self.asked += 1
        return NOW

    def turn_ended(self) -> None:
        self.turns += 1

    def client(self) -> socket.socket:
        """Somebody who sends."""
        client = plain_socket()
        self.addCleanup(client.close)
        return client

    def send(self, client: socket.socket, *datagrams: bytes) -> None:
        """Send to the port."""
        for data in datagrams:
            client.sendto(data, (LOOPBACK, self.port.port))

    def switch_to_batches(self) -> None:
        """A full turn, of which nothing is left."""
        self.take_turn_with(BATCH_FROM)
        self.received.clear()

    def take_turn_with(self, count: int) -> bool:
        """
        So many datagrams, from somebody who comes only once, and a turn.

        :returns: whether it was a batch.
        """
        before = self.counted.turns
        with plain_socket() as client:
            self.send(client, *[b"*"] * count)
            self.port.doRead()
        return self.counted.turns > before


class PortTests(UDPTestCase):
    """What holds whether datagrams come singly or in batches."""

    def test_interface(self) -> None:
        """It is what a reactor reads from, and says in logs which socket it is."""
        self.assertTrue(verifyObject(IReadDescriptor, self.port))
        self.assertEqual("UDP socket 7", self.port.logPrefix())
        self.assertEqual({self.port}, self.reactor.readers)
        self.port.close()

    def test_answers_each_to_its_source(self) -> None:
        """Each datagram comes with its source, the socket's number and the turn's time, and is answered there."""
        clients = [self.client() for _ in range(20)]
        for batches in (False, True):
            self.received.clear()
            for number, client in enumerate(clients):
                self.send(client, b"from %d" % number)
            self.port.doRead()
            for number, client in enumerate(clients):
                data = b"from %d" % number
                self.assertEqual((data, address_of(*client.getsockname()), NUMBER, NOW), self.received[number])
                self.assertEqual([(data, (LOOPBACK, self.port.port))], arrived(client))
            self.assertEqual(int(batches), self.counted.turns)
        self.port.close()

    def test_silence(self) -> None:
        """What is not answered leads to nothing."""
        self.answer = lambda data: None
        client = self.client()
        for _ in range(2):
            self.send(client, b"a", b"b")
            self.port.doRead()
            self.assertEqual([b"a", b"b"], [data for data, *_ in self.received])
            self.assertEqual([], arrived(client))
            self.switch_to_batches()
        self.port.close()

    def test_turn(self) -> None:
        """A turn ends after so many datagrams, whatever waits; the time is asked once in it, and its end told once."""
        client = self.client()
        self.send(client, *[b"%d" % number for number in range(2 * MAX_TURN + 5)])
        counts = []
        for _ in range(4):
            before = len(self.received)
            self.port.doRead()
            counts.append(len(self.received) - before)
        self.assertEqual([MAX_TURN, MAX_TURN, 5, 0], counts)
        self.assertEqual((4, 4), (self.turns, self.asked))
        self.assertEqual([b"%d" % number for number in range(2 * MAX_TURN + 5)], [data for data, *_ in self.received])
        self.port.close()

    def test_batches_when_they_pay(self) -> None:
        """Batches begin after a turn with many datagrams, and end after one with few."""
        self.assertFalse(self.take_turn_with(BATCH_FROM - 1))
        self.assertFalse(self.take_turn_with(BATCH_FROM))
        self.assertTrue(self.take_turn_with(BATCH_TO))
        self.assertTrue(self.take_turn_with(BATCH_TO - 1))
        self.assertFalse(self.take_turn_with(BATCH_TO - 1))
        self.port.close()

    def test_empty_turn(self) -> None:
        """A turn without any datagram is one like others, in a batch or not."""
        self.port.doRead()
        self.switch_to_batches()
        self.port.doRead()
        self.assertEqual(([], 3, 1), (self.received, self.turns, self.counted.turns))
        self.port.close()

    def test_sent_without_being_asked(self) -> None:
        """A datagram goes where it is sent."""
        client = self.client()
        self.port.send(b"hello", address_of(*client.getsockname()))
        self.assertEqual([(b"hello", (LOOPBACK, self.port.port))], arrived(client))
        self.port.close()

    def test_ttl(self) -> None:
        """A datagram may have a TTL of its own; the next one has the usual one again."""
        client = self.client()
        client.setsockopt(socket.IPPROTO_IP, _RECEIVE_TTL, 1)
        usual = client.getsockopt(socket.IPPROTO_IP, socket.IP_TTL)
        for ttl in (0, 5, 0):
            self.port.send(b"x", address_of(*client.getsockname()), ttl)
        ttls = [int.from_bytes(client.recvmsg(10, 100)[1][0][2], "little") for _ in range(3)]
        self.assertEqual([usual, 5, usual], ttls)
        self.port.close()

    def test_unsendable(self) -> None:
        """What the system does not take is counted, and no error: for port 0, for everybody, or far too long."""
        client = self.client()
        there = address_of(*client.getsockname())
        self.port.send(b"x", address_of(LOOPBACK, 0))
        self.port.send(b"x", address_of("255.255.255.255", 9), ttl=3)
        self.port.send(bytes(70_000), there)
        self.assertEqual(3, self.port.unsent)
        self.port.send(b"x", there)
        self.assertEqual((3, 1), (self.port.unsent, len(arrived(client))))
        self.port.close()

    def test_unsendable_answers(self) -> None:
        """Answers that are too long for a datagram are counted, and those to others leave."""
        self.answer = lambda data: bytes(70_000) if data == b"long" else data
        client = self.client()
        for unsent in (1, 2):
            self.send(client, b"a", b"long", b"b")
            self.port.doRead()
            self.assertEqual([b"a", b"b"], [data for data, _ in arrived(client)])
            self.assertEqual(unsent, self.port.unsent)
            self.switch_to_batches()
        self.port.close()

    def test_told_that_nobody_listens(self) -> None:
        """What the system tells of an earlier datagram, where it does, keeps nothing from being received."""

        class Told:
            """A socket that is told something before it receives."""

            def __init__(self, bound: socket.socket) -> None:
                self.bound = bound
                self.told = False

            def __getattr__(self, name: str) -> Any:
                return getattr(self.bound, name)

            def recvfrom(self, length: int) -> Any:
                if self.told:
                    return self.bound.recvfrom(length)
                self.told = True
                raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

        self.patch(self.port, "_socket", Told(self.port._socket))
        client = self.client()
        self.send(client, b"a", b"b")
        self.port.doRead()
        self.assertEqual([b"a", b"b"], [data for data, _ in arrived(client)])
        self.port.close()

    def test_trouble_of_one_datagram(self) -> None:
        """What cannot be handled is logged with its traceback; the datagrams around it are handled all the same."""

        def answer(data: bytes) -> bytes:
            if data == b"bad":
                raise LookupError("a fault of ours")
            return data

        client = self.client()
        for _ in range(2):
            self.answer = answer
            self.send(client, b"a", b"bad", b"b")
            self.port.doRead()
            self.assertEqual([b"a", b"b"], [data for data, _ in arrived(client)])
            self.assertEqual(1, len(self.flushLoggedErrors(LookupError)))
            self.assertEqual({self.port}, self.reactor.readers)
            self.switch_to_batches()
        self.port.close()


class SizeTests(UDPTestCase):
    """Datagrams of all sizes."""

    def exchange(self, *datagrams: bytes) -> tuple[list[bytes], list[bytes]]:
        """:returns: what the port has received, and what came back."""
        self.received.clear()
        client = self.client()
        self.send(client, *datagrams)
        self.port.doRead()
        return [data for data, *_ in self.received], [data for data, _ in arrived(client)]

    def test_same_in_both_modes(self) -> None:
        """Empty ones, probes of a byte, and all up to a slot's length arrive and are answered to the same byte."""
        datagrams = [b"", b"\x00", b"ab", b"", bytes(range(256)) * 7, bytes(SLOT_LENGTH - 1), b"\xff" * SLOT_LENGTH]
        single = self.exchange(*datagrams)
        self.switch_to_batches()
        batched = self.exchange(*datagrams)
        self.assertEqual((datagrams, datagrams), single)
        self.assertEqual(single, batched)
        self.assertEqual((1, 0), (self.counted.turns, self.port.unsent))
        self.port.close()

    def test_reused_room(self) -> None:
        """Nothing of a longer datagram is left in a shorter one of the next batch."""
        self.switch_to_batches()
        for length in (SLOT_LENGTH, 100, 3, 0, 50):
            datagrams = [bytes([length % 251]) * length] * BATCH_TO
            self.assertEqual((datagrams, datagrams), self.exchange(*datagrams))
        self.assertEqual(5, self.counted.turns)
        self.port.close()

    def test_larger_than_a_slot(self) -> None:
        """A longer datagram comes whole when it comes singly; of a batch it is dropped, and nothing else is."""
        datagrams = [b"a", bytes(SLOT_LENGTH + 1), b"b", bytes(60_000), b"c"]
        self.assertEqual((datagrams, datagrams), self.exchange(*datagrams))
        self.switch_to_batches()
        self.assertEqual(([b"a", b"b", b"c"],) * 2, self.exchange(*datagrams))
        self.assertEqual(1, self.counted.turns)
        self.port.close()

    def test_large_answers(self) -> None:
        """Answers that no slot holds are sent all the same."""
        self.answer = lambda data: data * (SLOT_LENGTH + 1)
        for _ in range(2):
            _, answers = self.exchange(b"a", b"b")
            self.assertEqual([b"a" * (SLOT_LENGTH + 1), b"b" * (SLOT_LENGTH + 1)], answers)
            self.answer = lambda data: data
            self.switch_to_batches()
            self.answer = lambda data: data * (SLOT_LENGTH + 1)
        self.port.close()


class CloseTests(UDPTestCase):
    """The end of a port, at any time."""

    def test_close(self) -> None:
        """Nothing is left of it; again is harmless, and what it was bound to is still known."""
        number = self.port.port
        self.port.close()
        self.port.close()
        self.assertEqual((set(), -1, number), (self.reactor.readers, self.port.fileno(), self.port.port))
        again = UDPPort(self.reactor, 0, self.receive, self.clock, self.turn_ended)
        again.listen(LOOPBACK, number)
        again.close()

    def test_reactor_ends(self) -> None:
        """The reactor's own end closes it too."""
        self.port.connectionLost(Failure(RuntimeError("no more")))
        self.assertEqual(-1, self.port.fileno())

    def test_send_afterwards(self) -> None:
        """What is sent from a closed one is lost, and counted."""
        client = self.client()
        self.port.close()
        self.port.send(b"x", address_of(*client.getsockname()))
        self.port.send(b"x", address_of(*client.getsockname()), ttl=3)
        self.assertEqual((2, []), (self.port.unsent, arrived(client)))

    def check_closed_by_a_datagram(self) -> None:
        """The second of four datagrams closes the port."""

        def answer(data: bytes) -> bytes:
            if data == b"b":
                self.port.close()
                # The system gives the descriptor to whoever asks next: nothing may leave through that.
                other.append(self.client())
            return data

        other: list[socket.socket] = []
        client = self.client()
        self.answer = answer
        turns = self.turns
        self.send(client, b"a", b"b", b"c", b"d")
        self.port.doRead()
        self.assertEqual(turns + 1, self.turns)
        for _, source in arrived(client):
            self.assertNotEqual(other[0].getsockname(), source)
        self.assertGreaterEqual(self.port.unsent, 1)
        self.assertEqual(set(), self.reactor.readers)

    def test_closed_by_a_datagram(self) -> None:
        """A datagram may close the port: those after it are not read, and nothing is sent from elsewhere."""
        self.check_closed_by_a_datagram()
        self.assertEqual([b"a", b"b"], [data for data, *_ in self.received])

    def test_closed_by_a_datagram_of_a_batch(self) -> None:
        """In a batch, which was read as a whole, it is the same but for those that were read already."""
        self.switch_to_batches()
        self.check_closed_by_a_datagram()
        self.assertEqual(1, self.counted.turns)

    def test_port_taken(self) -> None:
        """Where somebody else listens it cannot, nor at what is no host; and nothing is left of the attempt."""
        second = UDPPort(self.reactor, 1, self.receive, self.clock, self.turn_ended)
        problem = self.assertRaises(CannotListenError, second.listen, LOOPBACK, self.port.port)
        self.assertIn(str(self.port.port), str(problem))
        self.assertEqual((-1, 0), (second.fileno(), second.port))
        third = UDPPort(self.reactor, 1, self.receive, self.clock, self.turn_ended)
        self.assertRaises(CannotListenError, third.listen, "a..b", 0)
        self.assertEqual(-1, third.fileno())
        self.assertEqual({self.port}, self.reactor.readers)
        self.port.close()


class WithoutBatchesTests(UDPTestCase):
    """Systems that have no such calls, or do not let us."""

    def test_no_such_calls(self) -> None:
        """Where the system has none, all datagrams come singly, however many there are."""
        self.port.close()
        self.patch(udp, "shared_batch", lambda: None)
        self.port = self.listening()
        client = self.client()
        datagrams = [b"%d" % number for number in range(3 * MAX_TURN)]
        self.send(client, *datagrams)
        for _ in range(3):
            self.port.doRead()
        self.assertEqual(datagrams, [data for data, *_ in self.received])
        self.assertEqual(datagrams, [data for data, _ in arrived(client)])
        self.port.close()

    def test_calls_that_fail(self) -> None:
        """Where they are forbidden after all, that is logged once, and datagrams come singly from then on."""

        def run(*arguments: object) -> tuple[int, int]:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        self.patch(self.counted, "run", run)
        self.switch_to_batches()
        client = self.client()
        datagrams = [b"%d" % number for number in range(2 * BATCH_FROM)]
        self.send(client, *datagrams)
        with capturedLogs() as logs:
            for _ in range(3):
                self.port.doRead()
        lines = [formatEvent(event) for event in logs]
        self.assertEqual(["UDP socket 7: no batches: [Errno 1] Operation not permitted"], lines)
        self.assertEqual(datagrams, [data for data, _ in arrived(client)])
        self.port.close()


class BurstTests(UDPTestCase):
    """More than anybody asked for."""

    def lost(self) -> int:
        """:returns: how many datagrams the kernel has dropped for want of room."""
        for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == self.port.port:
                return int(fields[-1])
        raise AssertionError("the socket is not in /proc/net/udp")

    def test_burst(self) -> None:
        """Each datagram of a burst is answered, or dropped by the kernel; the answers to a source are in order."""
        clients = [self.client() for _ in range(3)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        count = 4000
        for number in range(count):
            self.send(clients[number % 3], number.to_bytes(4, "big"))
        while self.turns == 0 or len(self.received) % MAX_TURN == 0:
            self.port.doRead()
        answers = [[data for data, _ in arrived(client)] for client in clients]
        self.assertEqual(count, len(self.received) + self.lost())
        self.assertEqual(len(self.received), sum(map(len, answers)) + self.port.unsent)
        self.assertGreater(len(self.received), MAX_TURN)
        self.assertGreater(self.counted.turns, 1)
        for number, client in enumerate(clients):
            source = address_of(*client.getsockname())
            own = [data for data, other, *_ in self.received if other == source]
            self.assertEqual(own, answers[number])
            self.assertEqual(sorted(own), own)
            self.assertEqual({number}, {int.from_bytes(data, "big") % 3 for data in own})
        self.port.close()
