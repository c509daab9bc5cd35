"""Tests of spaceswarm_proxy.udp.merged."""

from __future__ import annotations

import ctypes
import errno
import socket
import sys
from struct import pack
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.udp.merged import (
    SLOT_LENGTH,
    SLOTS,
    SOL_UDP,
    UDP_SEGMENT,
    TrainReader,
    leave_single,
    merge_trains,
    sends_trains,
    train_reader,
)
from tests.dht.stepping import plain_socket

#: Bytes of the largest datagram that there is.
LARGEST = 65507


def send_merged(client: socket.socket, to: tuple[str, int], data: bytes, segment: int) -> None:
    """Send a train with one call; it stays one where the receiver lets it be merged."""
    client.sendmsg([data], [(SOL_UDP, UDP_SEGMENT, pack("H", segment))], 0, to)


def datagrams(data: memoryview, segment: int, stride: int) -> list[bytes]:
    """What a train consists of."""
    return [bytes(data[start : start + segment]) for start in range(0, max(len(data), 1), stride)]


class ReaderTestCase(SynchronousTestCase):
    """A socket that is read in trains."""

    def setUp(self) -> None:
        reader = train_reader()
        if reader is None:
            raise SkipTest("this system receives datagrams one by one")
        self.reader = reader
        self.bound = self.socket()
        self.client = self.socket()
        #: What came: the datagrams of a train, the bytes from one to the next, and the source.
        self.trains: list[tuple[list[bytes], int, bytes]] = []

    def socket(self) -> socket.socket:
        bound = plain_socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.addCleanup(bound.close)
        return bound

    def send(self, *datagrams: bytes, client: socket.socket | None = None) -> None:
        for data in datagrams:
            (client or self.client).sendto(data, self.bound.getsockname())

    def read(self, reader: TrainReader | None = None) -> int:
        """Read once.  :returns: how many slots were filled."""

        def receive(data: memoryview, segment: int, stride: int, source: bytes) -> None:
            self.trains.append((datagrams(data, segment, stride), stride, source))

        return (reader or self.reader).read(self.bound, receive)

    def contents(self) -> list[list[bytes]]:
        """The datagrams of each train."""
        return [train for train, _, _ in self.trains]

    def source(self, client: socket.socket | None = None) -> bytes:
        return address_of(*(client or self.client).getsockname())


class SingleTests(ReaderTestCase):
    """Datagrams that the system has left as they were."""

    def test_nothing_there(self) -> None:
        """Without datagrams it reads none, and does not wait."""
        self.assertEqual((self.read(), self.trains), (0, []))

    def test_train(self) -> None:
        """Datagrams of one length from one source come together, each in a slot."""
        sent = [bytes([number]) * 1000 for number in range(5)]
        self.send(*sent)
        self.assertEqual(self.read(), 5)
        self.assertEqual(self.trains, [(sent, SLOT_LENGTH, self.source())])

    def test_lengths(self) -> None:
        """Where the length changes the next train begins."""
        self.send(b"aa", b"bb", b"c", b"dd", b"eee", b"fff")
        self.read()
        self.assertEqual(self.contents(), [[b"aa", b"bb"], [b"c"], [b"dd"], [b"eee", b"fff"]])

    def test_sources(self) -> None:
        """So it does where the source changes."""
        other = self.socket()
        self.send(b"aa", b"bb")
        self.send(b"cc", client=other)
        self.send(b"dd")
        self.read()
        self.assertEqual(self.contents(), [[b"aa", b"bb"], [b"cc"], [b"dd"]])
        self.assertEqual([source for *_, source in self.trains], list(map(self.source, (None, other, None))))

    def test_empty(self) -> None:
        """Empty datagrams come one by one, and none is missing."""
        self.send(b"", b"", b"x", b"", b"", b"")
        self.assertEqual(self.read(), 6)
        self.assertEqual(self.contents(), [[b""], [b""], [b"x"], [b""], [b""], [b""]])

    def test_sizes(self) -> None:
        """The largest datagram that there is comes whole, and leaves nothing in a shorter one after it."""
        for length in (LARGEST, 1, 1500, 0, 20):
            self.send(bytes([length % 251]) * length)
            self.read()
        self.assertEqual([len(train[0]) for train in self.contents()], [LARGEST, 1, 1500, 0, 20])
        self.assertEqual({len(set(train[0])) for train in self.contents()}, {0, 1})

    def test_as_many_as_there_are_slots(self) -> None:
        """It reads as many as it has slots; the others wait."""
        sent = [b"%03d" % number for number in range(SLOTS + 3)]
        self.send(*sent)
        self.assertEqual([self.read() for _ in range(3)], [SLOTS, 3, 0])
        self.assertEqual(sum(self.contents(), []), sent)


class MergedTests(ReaderTestCase):
    """Trains that the system keeps together."""

    def setUp(self) -> None:
        super().setUp()
        if not (sends_trains() and merge_trains(self.bound)):
            raise SkipTest("this system merges no datagrams")

    def send_train(self, data: bytes, segment: int, client: socket.socket | None = None) -> None:
        send_merged(client or self.client, self.bound.getsockname(), data, segment)

    def test_train(self) -> None:
        """A train comes in one slot, its datagrams end to end."""
        data = bytes(range(250)) * 16
        self.send_train(data, 1000)
        self.assertEqual(self.read(), 1)
        expected = [data[start : start + 1000] for start in range(0, 4000, 1000)]
        self.assertEqual(self.trains, [(expected, 1000, self.source())])

    def test_short_end(self) -> None:
        """The last datagram may be shorter than the others."""
        self.send_train(b"aaabbbc", 3)
        self.read()
        self.assertEqual(self.contents(), [[b"aaa", b"bbb", b"c"]])

    def test_between_others(self) -> None:
        """Merged trains and single datagrams, from several sources, come in their order, and do not mix."""
        other = self.socket()
        self.send(b"11")
        self.send_train(b"aabbc", 2)
        self.send_train(b"ddee", 2, other)
        self.send(b"22", b"33", client=other)
        self.send_train(b"ffgg", 2)
        self.read()
        expected = [[b"11"], [b"aa", b"bb", b"c"], [b"dd", b"ee"], [b"22", b"33"], [b"ff", b"gg"]]
        self.assertEqual(self.contents(), expected)

    def test_single_after_merged(self) -> None:
        """A slot that a train was in holds a single datagram the next time."""
        self.send_train(b"aabb", 2)
        self.read()
        self.send(b"single")
        self.read()
        self.assertEqual(self.contents(), [[b"aa", b"bb"], [b"single"]])

    def test_largest(self) -> None:
        """As many bytes as the system takes at once."""
        data = bytes(range(256)) * 256
        segment = 1472
        whole = data[: LARGEST // segment * segment]
        self.send_train(whole, segment)
        self.read()
        self.assertEqual(b"".join(sum(self.contents(), [])), whole)

    def test_left_single(self) -> None:
        """A socket that is not to merge any more gets the datagrams of a train one by one."""
        self.assertTrue(leave_single(self.bound))
        self.send_train(b"aabbc", 2)
        self.assertEqual(self.read(), 3)
        self.assertEqual(self.contents(), [[b"aa", b"bb"], [b"c"]])

    trains = st.lists(
        st.tuples(st.integers(0, 1), st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9)), max_size=9
    )

    @settings(deadline=None, max_examples=50)
    @given(trains)
    def test_anything(self, trains: list[tuple[int, list[bytes]]]) -> None:
        """Whatever trains come, merged or not, all their datagrams are told, in order, with the right source."""
        self.trains.clear()
        clients = (self.client, self.other_client())
        expected: list[tuple[bytes, bytes]] = []
        for which, contents in trains:
            segment = len(contents[0])
            whole = [(each * segment)[:segment] for each in contents]
            self.send_train(b"".join(whole), segment, clients[which])
            expected += [(each, self.source(clients[which])) for each in whole]
        while self.read():
            continue
        self.assertEqual([(each, source) for train, _, source in self.trains for each in train], expected)

    def other_client(self) -> socket.socket:
        if not hasattr(self, "other"):
            self.other = self.socket()
        return self.other


class TroubleTests(ReaderTestCase):
    """When the system does not do as it is told."""

    def failing(self, code: int) -> TrainReader:
        """A reader whose call fails."""

        def call(*arguments: Any) -> int:
            ctypes.set_errno(code)
            return -1

        return TrainReader(call)

    def test_nothing_received(self) -> None:
        """Nothing there, an interruption, and what an earlier datagram has led to, are no errors."""
        for code in (errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED):
            self.assertEqual(self.read(self.failing(code)), 0)

    def test_cannot_receive(self) -> None:
        """Other errors are raised as what they are."""
        for code in (errno.EPERM, errno.ENOSYS):
            self.assertEqual(self.assertRaises(OSError, self.read, self.failing(code)).errno, code)

    def test_closed(self) -> None:
        """So is it that the socket is closed."""
        self.bound.close()
        self.assertEqual(self.assertRaises(OSError, self.read).errno, errno.EBADF)


class SystemTests(SynchronousTestCase):
    """What there is on which system."""

    def setUp(self) -> None:
        for cached in (train_reader, sends_trains):
            cached.cache_clear()
            self.addCleanup(cached.cache_clear)

    def test_shared(self) -> None:
        """Everybody is given the same reader."""
        self.assertIs(train_reader(), train_reader())

    def test_other_systems(self) -> None:
        """There is none where the system is another one, or lays its words out in another way."""
        for name, value in (("platform", "darwin"), ("byteorder", "big")):
            patched = self.patch(sys, name, value)
            self.assertIsNone(train_reader())
            patched.restore()
            train_reader.cache_clear()

    def test_library_without_it(self) -> None:
        """Nor is there one where the C library does not know the call."""
        self.patch(ctypes, "CDLL", lambda name, use_errno: object())
        self.assertIsNone(train_reader())

    def test_no_such_options(self) -> None:
        """Where a socket does not know the options, that is found out, and no error."""

        class Old(socket.socket):
            def setsockopt(self, *arguments: Any) -> None:
                raise OSError(errno.ENOPROTOOPT, "Protocol not available")

        self.patch(socket, "socket", Old)
        self.assertFalse(sends_trains())
        with Old(socket.AF_INET, socket.SOCK_DGRAM) as bound:
            self.assertEqual((merge_trains(bound), leave_single(bound)), (False, False))
