"""
Datagrams that come in trains: read many at once, and those as one that the system has merged (UDP_GRO).

A *train* is a run of datagrams from one source with one length, the last of which may be shorter.  It is handed on as
one piece of memory: where the system has merged it, its datagrams lie end to end; where not, in the slots of a batch,
one :data:`SLOT_LENGTH` after the other.  Then there are bytes of older datagrams between them.

One set of slots serves the whole process: between two turns of the reactor nothing stays in it.

:source: Linux, udp(7) and recvmmsg(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from array import array
from collections.abc import Callable
from functools import cache

from spaceswarm_proxy.udp.addresses import AddressCache

#: Datagrams, or merged trains, of one call; and the bytes of one.
SLOTS = 64
SLOT_LENGTH = 1 << 16
#: Options of a UDP socket that Python has no names for.
SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104
_NAME_LENGTH = 16  # struct sockaddr_in
_CONTROL_LENGTH = 32  # a header of 16 bytes, and an integer; aligned
_SEGMENT_AT = 16
_HEADER_WORDS = 8  # struct mmsghdr
_NAME, _LENGTH_OF_NAME, _VECTORS, _VECTOR_COUNT, _CONTROL, _LENGTH_OF_CONTROL, _FLAGS, _LENGTH = range(8)
_DONT_WAIT = 0x40  # MSG_DONTWAIT
#: Bytes; twice as much is kept.
_COMING_AND_GOING = 8 << 20
_CONTROL_LENGTHS = memoryview(array("Q", [_CONTROL_LENGTH] * SLOTS))

#: Takes a train: its memory, bytes of a datagram, bytes from the beginning of one to that of the next, its source.
ReceiveTrain = Callable[[memoryview, int, int, bytes], None]


class TrainReader:
    """Reads trains from any socket."""

    def __init__(self, receive: Callable[..., int]) -> None:
        """:param receive: ``recvmmsg`` of the C library."""
        self._receive = receive
        self._sources = AddressCache()
        self._arena = bytearray(SLOTS * SLOT_LENGTH)
        self._names = bytearray(SLOTS * _NAME_LENGTH)
        self._controls = bytearray(SLOTS * _CONTROL_LENGTH)
        self._headers = bytearray(SLOTS * _HEADER_WORDS * 8)
        self._vectors = bytearray(SLOTS * 16)
        self._view = memoryview(self._arena)
        self._words = memoryview(self._headers).cast("Q")
        self._base = ctypes.c_void_p(_where(self._headers))
        self._prepare()

    def _prepare(self) -> None:
        vectors = memoryview(self._vectors).cast("Q")
        arena, names, controls = _where(self._arena), _where(self._names), _where(self._controls)
        for slot in range(SLOTS):
            vectors[2 * slot] = arena + slot * SLOT_LENGTH
            vectors[2 * slot + 1] = SLOT_LENGTH
            header = slot * _HEADER_WORDS
            self._words[header + _NAME] = names + slot * _NAME_LENGTH
            self._words[header + _LENGTH_OF_NAME] = _NAME_LENGTH
            self._words[header + _VECTORS] = _where(self._vectors) + slot * 16
            self._words[header + _VECTOR_COUNT] = 1
            self._words[header + _CONTROL] = controls + slot * _CONTROL_LENGTH

    def read(self, bound: socket.socket, receive: ReceiveTrain) -> int:
        """
        Read what there is, up to :data:`SLOTS` slots.

        :param receive: told of each train; its memory is used again after this call.
        :returns: how many slots were filled.
        :raises OSError: nothing can be received from this socket.
        """
        words = self._words
        words[_LENGTH_OF_CONTROL::_HEADER_WORDS] = _CONTROL_LENGTHS
        count = self._receive(bound.fileno(), self._base, SLOTS, _DONT_WAIT, None)
        if count < 0:
            return _nothing(ctypes.get_errno())
        lengths = words[_LENGTH : count * _HEADER_WORDS : _HEADER_WORDS].tolist()
        merged = words[_LENGTH_OF_CONTROL : count * _HEADER_WORDS : _HEADER_WORDS].tolist()
        names = bytes(self._names[: count * _NAME_LENGTH])
        end = 0
        while end < count:
            end = self._hand_on(end, count, lengths, merged, names, receive)
        return count

    def _hand_on(
        self, slot: int, count: int, lengths: list[int], merged: list[int], names: bytes, receive: ReceiveTrain
    ) -> int:
        """Hand on the train that begins in a slot.  :returns: the slot after it."""
        name = slot * _NAME_LENGTH
        source = self._sources.address(names[name + 2 : name + 8])
        start, length = slot * SLOT_LENGTH, lengths[slot]
        if merged[slot]:
            segment = self._segment(slot)
            receive(self._view[start : start + length], segment, segment, source)
            return slot + 1
        end = self._end_of_train(slot, count, lengths, merged, names)
        receive(self._view[start : (end - 1) * SLOT_LENGTH + length], length, SLOT_LENGTH, source)
        return end

    def _end_of_train(self, slot: int, count: int, lengths: list[int], merged: list[int], names: bytes) -> int:
        """:returns: the slot after the last datagram of the same length from the same source."""
        length, end = lengths[slot], slot + 1
        if not length:
            return end  # One behind it would begin where the memory of the train ends.
        name = names[slot * _NAME_LENGTH : end * _NAME_LENGTH]
        rest = count - slot
        if lengths.count(length) == count and not any(merged) and names.endswith(name * rest):
            return count  # Mostly it is so.
        while end < count and lengths[end] == length and not merged[end] and names.startswith(name, end * _NAME_LENGTH):
            end += 1
        return end

    def _segment(self, slot: int) -> int:
        at = slot * _CONTROL_LENGTH + _SEGMENT_AT
        return int.from_bytes(self._controls[at : at + 4], "little")


def _where(buffer: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def _nothing(code: int) -> int:
    if code in (errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED):
        return 0
    raise OSError(code, os.strerror(code))


@cache
def train_reader() -> TrainReader | None:
    """:returns: the process's, made when it is first needed; ``None`` where the system has no such call."""
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_void_p) != 8 or sys.byteorder != "little":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    _keep_freed_memory()
    try:
        return TrainReader(library.recvmmsg)
    except AttributeError:
        return None


@cache
def sends_trains() -> bool:
    """:returns: whether the system takes many datagrams at once (UDP_SEGMENT)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(SOL_UDP, UDP_SEGMENT, 1200)
        except OSError:
            return False
        return True


def merge_trains(bound: socket.socket) -> bool:
    """
    Let the system merge what comes to a socket.

    :returns: whether it does.
    """
    return _set_merging(bound, 1)


def leave_single(bound: socket.socket) -> bool:
    """
    Undo :func:`merge_trains`.

    :returns: whether that could be done.
    """
    return _set_merging(bound, 0)


def _set_merging(bound: socket.socket, value: int) -> bool:
    try:
        bound.setsockopt(SOL_UDP, UDP_GRO, value)
    except OSError:
        return False
    return True


def _keep_freed_memory() -> None:
    """
    Have the C library keep what is freed, up to some megabytes: pieces of 64 KiB come and go all the time.

    By default it gives the system back whatever is free above 128 KiB, and then gets it again page by page, which costs
    more than encrypting it.  Once a large block was freed, it knows that blocks of that size come and go (mallopt(3)).
    """
    bytes(_COMING_AND_GOING)
