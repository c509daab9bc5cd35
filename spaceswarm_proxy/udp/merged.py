"""
Datagrams that come in trains: read many at once, and those as one that the system has merged (UDP_GRO).

A *train* is a run of datagrams from one source with one length, the last of which may be shorter.  It is handed on as
one piece of memory: where the system has merged it, its datagrams lie end to end; where not, in the slots of a batch,
one :data:`SLOT_LENGTH` after the other.

One set of slots serves the whole process: between two turns of the reactor nothing stays in it.

:source: Linux, udp(7) and recvmmsg(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
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
        self._control_lengths = [_CONTROL_LENGTH] * SLOTS

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
        for header in range(_LENGTH_OF_CONTROL, SLOTS * _HEADER_WORDS, _HEADER_WORDS):
            words[header] = _CONTROL_LENGTH
        count = self._receive(bound.fileno(), self._base, SLOTS, _DONT_WAIT, None)
        if count < 0:
            return _nothing(ctypes.get_errno())
        lengths = words[_LENGTH : count * _HEADER_WORDS : _HEADER_WORDS].tolist()
        merged = words[_LENGTH_OF_CONTROL : count * _HEADER_WORDS : _HEADER_WORDS].tolist()
        sources = [self._source(slot) for slot in range(count)]
        slot = 0
        while slot < count:
            slot = self._hand_on(slot, count, lengths, merged, sources, receive)
        return count

    def _hand_on(
        self,
        slot: int,
        count: int,
        lengths: list[int],
        merged: list[int],
        sources: list[bytes],
        receive: ReceiveTrain,
    ) -> int:
        """Hand on the train that begins in a slot.  :returns: the slot after it."""
        length, source = lengths[slot] & 0xFFFFFFFF, sources[slot]
        start, end = slot * SLOT_LENGTH, slot + 1
        if merged[slot]:
            segment = self._segment(slot)
            receive(self._view[start : start + length], segment, segment, source)
            return end
        while end < count and lengths[end] == lengths[slot] and sources[end] == source and not merged[end]:
            end += 1
        stop = (end - 1) * SLOT_LENGTH + length
        receive(self._view[start:stop], length, SLOT_LENGTH, source)
        return end

    def _source(self, slot: int) -> bytes:
        name = slot * _NAME_LENGTH
        return self._sources.address(bytes(self._names[name + 2 : name + 8]))

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
    try:
        bound.setsockopt(SOL_UDP, UDP_GRO, 1)
    except OSError:
        return False
    return True
