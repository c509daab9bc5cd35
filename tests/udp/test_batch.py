"""Tests of spaceswarm_proxy.udp.batch."""

from __future__ import annotations

import ctypes
import errno
import socket
import sys
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.udp import addresses
from spaceswarm_proxy.udp.batch import SLOT_LENGTH, SLOTS, Batch, shared_batch
from tests.dht.stepping import arrived, plain_socket


class BatchTestCase(SynchronousTestCase):
    """A socket that is read in batches, and the C library's functions, which a test may replace."""

    def setUp(self) -> None:
        if shared_batch() is None:
            raise SkipTest("this system sends and receives datagrams one by one")
        library = ctypes.CDLL(None, use_errno=True)
        self.library_receive, self.library_send = library.recvmmsg, library.sendmmsg
        self.bound = self.socket()
        self.client = self.socket()
        #: What was received: datagram, source, number, time.
        self.received: list[tuple[bytes, bytes, int, float]] = []
        #: What was too large for the batch.
        self.large: list[tuple[bytes, bytes]] = []
        self.answer: Callable[[bytes], bytes | None] = lambda data: data

    def socket(self) -> socket.socket:
        bound = plain_socket()
        self.addCleanup(bound.close)
        return bound

    def send(self, *datagrams: bytes) -> None:
        for data in datagrams:
            self.client.sendto(data, self.bound.getsockname())

    def run_batch(self, batch: Batch | None = None) -> tuple[int, int]:
        """A batch: of the library's functions unless told otherwise."""

        def receive(data: bytes, source: bytes, number: int, now: float) -> bytes | None:
            self.received.append((data, source, number, now))
            return self.answer(data)

        def send_large(data: bytes, address: bytes) -> None:
            self.large.append((data, address))

        batch = batch or Batch(self.library_receive, self.library_send)
        return batch.run(self.bound, receive, 5, 99.0, send_large)

    def answers(self) -> list[bytes]:
        """What has come back to the client."""
        return [data for data, source in arrived(self.client) if source == self.bound.getsockname()]


class RunTests(BatchTestCase):
    """What goes through a batch."""

    def test_run(self) -> None:
        """Each datagram comes with source, number and time, in order; the answers go back in order."""
        self.send(b"a", b"b", b"c")
        self.assertEqual((3, 0), self.run_batch())
        source = address_of(*self.client.getsockname())
        self.assertEqual([(data, source, 5, 99.0) for data in (b"a", b"b", b"c")], self.received)
        self.assertEqual([b"a", b"b", b"c"], self.answers())

    def test_nothing_there(self) -> None:
        """Without datagrams it receives none, and does not wait."""
        self.assertEqual((0, 0), self.run_batch())
        self.assertEqual([], self.received)

    def test_as_many_as_there_are_slots(self) -> None:
        """It takes as many as it has slots; the others wait."""
        self.send(*[b"%d" % number for number in range(SLOTS + 3)])
        batch = Batch(self.library_receive, self.library_send)
        self.assertEqual([(SLOTS, 0), (3, 0), (0, 0)], [self.run_batch(batch) for _ in range(3)])
        self.assertEqual([b"%d" % number for number in range(SLOTS + 3)], self.answers())

    def test_some_are_not_answered(self) -> None:
        """Answers find their way when others between them are missing."""
        clients = [self.socket() for _ in range(9)]
        for number, client in enumerate(clients):
            client.sendto(b"%d" % number, self.bound.getsockname())
        self.answer = lambda data: None if data in b"258" else data * 3
        self.assertEqual((9, 0), self.run_batch())
        for number, client in enumerate(clients):
            expected = [] if number in (2, 5, 8) else [b"%d" % number * 3]
            self.assertEqual(expected, [data for data, _ in arrived(client)])

    def test_large(self) -> None:
        """A datagram larger than a slot is dropped, but counts; an answer larger than one is given away to be sent."""
        self.answer = lambda data: data * SLOT_LENGTH
        self.send(b"a", bytes(SLOT_LENGTH + 1), b"bc")
        self.assertEqual((3, 0), self.run_batch())
        self.assertEqual([b"a", b"bc"], [data for data, *_ in self.received])
        self.assertEqual([(b"bc" * SLOT_LENGTH, address_of(*self.client.getsockname()))], self.large)
        self.assertEqual([b"a" * SLOT_LENGTH], self.answers())

    def test_remembered_sources(self) -> None:
        """No more sources are remembered than there is room for; whoever is forgotten is known again."""
        self.patch(addresses, "_CACHED", 4)
        batch = Batch(self.library_receive, self.library_send)
        clients = [self.socket() for _ in range(10)]
        for _ in range(2):
            self.received.clear()
            for client in clients:
                client.sendto(b"x", self.bound.getsockname())
            self.assertEqual((10, 0), self.run_batch(batch))
            sources = [address_of(*client.getsockname()) for client in clients]
            self.assertEqual(sources, [source for _, source, *_ in self.received])
            self.assertLessEqual(len(batch._sources), 4)

    datagrams = st.lists(
        st.tuples(
            st.binary(max_size=20) | st.integers(0, SLOT_LENGTH).map(lambda length: b"#" * length),
            st.none() | st.integers(0, SLOT_LENGTH),
        ),
        max_size=SLOTS,
    )

    @settings(deadline=None, max_examples=40)
    @given(datagrams)
    def test_anything(self, datagrams: list[tuple[bytes, int | None]]) -> None:
        """Whatever is sent is received, and whatever is answered arrives, byte for byte."""
        self.received.clear()
        lengths = iter([length for _, length in datagrams])

        def answer(data: bytes) -> bytes | None:
            length = next(lengths)
            return None if length is None else (data + b"." * length)[:length]

        self.answer = answer
        self.send(*[data for data, _ in datagrams])
        self.assertEqual((len(datagrams), 0), self.run_batch(shared_batch()))
        self.assertEqual([data for data, _ in datagrams], [data for data, *_ in self.received])
        expected = [(data + b"." * length)[:length] for data, length in datagrams if length is not None]
        self.assertEqual(expected, self.answers())


class TroubleTests(BatchTestCase):
    """When the system does not do as it is told."""

    def failing(self, code: int) -> Callable[..., int]:
        """A function of the library that fails."""

        def call(*arguments: Any) -> int:
            ctypes.set_errno(code)
            return -1

        return call

    def test_nothing_received(self) -> None:
        """Nothing there, an interruption, and what an earlier datagram has led to, are no errors."""
        for code in (errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED):
            self.assertEqual((0, 0), self.run_batch(Batch(self.failing(code), self.library_send)))

    def test_cannot_receive(self) -> None:
        """Other errors are raised as what they are."""
        for code in (errno.EPERM, errno.ENOSYS, errno.ENOMEM):
            batch = Batch(self.failing(code), self.library_send)
            self.assertEqual(code, self.assertRaises(OSError, self.run_batch, batch).errno)

    def test_closed(self) -> None:
        """So is it that the socket is closed."""
        self.bound.close()
        self.assertEqual(errno.EBADF, self.assertRaises(OSError, self.run_batch).errno)

    def check_sending(self, script: list[int], sent: str) -> None:
        """
        :param script: for each call, how many of the answers the system takes, or below zero, an error.
        :param sent: which of eight answers arrive.
        """
        calls = iter(script)

        def send(descriptor: int, first: Any, count: int, flags: int) -> int:
            step = next(calls)
            if step > 0:
                return int(self.library_send(descriptor, first, min(step, count), flags))
            ctypes.set_errno(-step)
            return -1

        self.send(*[b"%d" % number for number in range(8)])
        unsent = 8 - len(sent)
        self.assertEqual((8, unsent), self.run_batch(Batch(self.library_receive, send)))
        self.assertEqual(sent, b"".join(self.answers()).decode())
        self.assertEqual([], list(calls), "the system was not asked as often as it should be")

    def test_some_are_taken(self) -> None:
        """When the system takes only some of the answers, it is asked to take the others."""
        self.check_sending([3, 1, 8], "01234567")

    def test_one_is_refused(self) -> None:
        """An answer that the system refuses, by a firewall's rule or for want of a route, takes no other with it."""
        for code in (errno.EPERM, errno.ENETUNREACH, errno.EINVAL):
            self.check_sending([2, -code, 8], "013" + "4567")
            self.check_sending([-code, 8], "1234567")
            self.check_sending([7, -code], "0123456")

    def test_all_are_refused(self) -> None:
        """When each is refused, the system has been asked about each once."""
        self.check_sending([-errno.EPERM] * 8, "")

    def test_no_room(self) -> None:
        """When the system has no room for the moment, the others are lost, and it is not asked about each of them."""
        for code in (errno.EAGAIN, errno.ENOBUFS):
            self.check_sending([-code], "")
            self.check_sending([5, -code], "01234")

    def test_nothing_to_send(self) -> None:
        """Without an answer nothing is sent."""
        self.answer = lambda data: None
        self.send(b"a")
        self.assertEqual((1, 0), self.run_batch(Batch(self.library_receive, self.failing(errno.EPERM))))

    def test_trouble_of_one_datagram(self) -> None:
        """What goes wrong with one datagram is logged, and the others are answered."""

        def answer(data: bytes) -> bytes:
            if data == b"bad":
                raise LookupError("a fault of ours")
            return data

        self.answer = answer
        self.send(b"a", b"bad", b"b")
        self.assertEqual((3, 0), self.run_batch())
        self.assertEqual([b"a", b"b"], self.answers())
        self.assertEqual(1, len(self.flushLoggedErrors(LookupError)))

    def test_oserror_of_one_datagram(self) -> None:
        """An ``OSError`` of whoever is told is no reason to believe that the system has no batches."""

        def answer(data: bytes) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.answer = answer
        self.send(b"a")
        self.assertEqual((1, 0), self.run_batch())
        self.assertEqual(1, len(self.flushLoggedErrors(OSError)))


class SharedTests(SynchronousTestCase):
    """The one set of buffers of a process."""

    def setUp(self) -> None:
        shared_batch.cache_clear()
        self.addCleanup(shared_batch.cache_clear)

    def test_shared(self) -> None:
        """Everybody is given the same."""
        self.assertIs(shared_batch(), shared_batch())

    def test_other_systems(self) -> None:
        """There is none where the system is another one, or lays its words out in another way."""
        for name, value in (("platform", "darwin"), ("byteorder", "big")):
            patched = self.patch(sys, name, value)
            self.assertIsNone(shared_batch())
            patched.restore()
            shared_batch.cache_clear()

    def test_library_without_them(self) -> None:
        """Nor is there one where the C library does not know the calls."""
        self.patch(ctypes, "CDLL", lambda name, use_errno: object())
        self.assertIsNone(shared_batch())
