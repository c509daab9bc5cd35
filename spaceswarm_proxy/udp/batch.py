"""
Many datagrams with one system call each way: ``recvmmsg`` and ``sendmmsg``, where the system has them.

One set of buffers serves the whole process: between two turns of the reactor nothing stays in it.  The buffers are
written and read as words of 64 bits, which costs half as much as the fields of ``ctypes`` structures.

Words of a ``struct mmsghdr``::

    name  name length  vectors  vector count  control  control length  flags  length

and of a ``struct iovec``: base, then length.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from collections.abc import Callable
from functools import cache

import txaio

from spaceswarm_proxy.udp.addresses import AddressCache

log = txaio.make_logger()

#: Datagrams of one batch.
SLOTS = 64
#: Bytes of a datagram that a slot holds.  A longer one is dropped here; its sender will repeat it, and then it mostly
#: comes alone, outside of a batch.
SLOT_LENGTH = 2048
_NAME_LENGTH = 16  # struct sockaddr_in: family, port, host, padding
_HEADER_WORDS = 8
_HEADER_LENGTH = 8 * _HEADER_WORDS
_NAME, _LENGTH_OF_NAME, _VECTORS, _VECTOR_COUNT, _FLAGS, _LENGTH = 0, 1, 2, 3, 6, 7
_VECTOR_WORDS = 2
_TRUNCATED = 0x20  # MSG_TRUNC
_DONT_WAIT = 0x40  # MSG_DONTWAIT
#: What the system says when it takes no answer to anybody for the moment.
_NO_ROOM = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)

#: Takes a datagram, its source (six bytes), the socket's number and the time; returns what to send back.
Receive = Callable[[bytes, bytes, int, float], bytes | None]
#: Takes an answer that no slot holds, and where it goes.
SendLarge = Callable[[bytes, bytes], object]


class _Slots:
    """Room for a batch in one direction, and what the system needs to know of it."""

    def __init__(self, names: int) -> None:
        """:param names: where the addresses of the batch stand."""
        self._arena = bytearray(SLOTS * SLOT_LENGTH)
        self._headers = bytearray(SLOTS * _HEADER_LENGTH)
        self._vectors = bytearray(SLOTS * _VECTOR_WORDS * 8)
        self.arena = memoryview(self._arena)
        self.words = memoryview(self._headers).cast("Q")
        self.vectors = memoryview(self._vectors).cast("Q")
        self.base = _where(self._headers)
        arena, vectors = _where(self._arena), _where(self._vectors)
        for slot in range(SLOTS):
            self.vectors[slot * _VECTOR_WORDS] = arena + slot * SLOT_LENGTH
            self.vectors[slot * _VECTOR_WORDS + 1] = SLOT_LENGTH
            header = slot * _HEADER_WORDS
            self.words[header + _NAME] = names + slot * _NAME_LENGTH
            self.words[header + _LENGTH_OF_NAME] = _NAME_LENGTH
            self.words[header + _VECTORS] = vectors + slot * _VECTOR_WORDS * 8
            self.words[header + _VECTOR_COUNT] = 1


def _where(buffer: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


class Batch:
    """Buffers for a batch of datagrams, and for the answers to them."""

    def __init__(self, receive: Callable[..., int], send: Callable[..., int]) -> None:
        """
        :param receive, send: the two functions of the C library.
        """
        self._receive, self._send = receive, send
        self._names_buffer = bytearray(SLOTS * _NAME_LENGTH)
        self._names = memoryview(self._names_buffer)
        self._names_base = _where(self._names_buffer)
        self._incoming = _Slots(self._names_base)
        self._outgoing = _Slots(self._names_base)
        self._sources = AddressCache()

    def run(
        self, bound: socket.socket, receive: Receive, number: int, now: float, send_large: SendLarge
    ) -> tuple[int, int]:
        """
        Receive what there is, up to :data:`SLOTS` datagrams, and send what they are answered with.

        :param bound: the socket; one that is closed by ``receive`` sends nothing more.
        :param receive: told of each, with ``number`` and ``now``.
        :returns: how many were received, and how many answers the system did not take.
        :raises OSError: nothing can be received from this socket.
        """
        incoming = self._incoming
        count = self._receive(bound.fileno(), ctypes.c_void_p(incoming.base), SLOTS, _DONT_WAIT, None)
        if count < 0:
            return _nothing(ctypes.get_errno()), 0
        end = count * _HEADER_WORDS
        flags = incoming.words[_FLAGS:end:_HEADER_WORDS].tolist()
        lengths = incoming.words[_LENGTH:end:_HEADER_WORDS].tolist()
        arena, names, source_of = incoming.arena, self._names, self._sources.address
        owed = 0
        for slot in range(count):
            if flags[slot] & _TRUNCATED:
                continue
            start, name = slot * SLOT_LENGTH, slot * _NAME_LENGTH
            source = source_of(names[name + 2 : name + 8].tobytes())
            try:
                reply = receive(arena[start : start + lengths[slot]].tobytes(), source, number, now)
            except Exception:  # A fault of ours, which is no reason to forget the others.
                log.failure("a datagram to UDP socket {number} could not be handled", number=number)
                continue
            if reply is None:
                continue
            if len(reply) > SLOT_LENGTH:
                send_large(reply, source)
                continue
            self._put(owed, slot, reply)
            owed += 1
        return count, owed - self._flush(bound.fileno(), owed)

    def _put(self, place: int, slot: int, reply: bytes) -> None:
        outgoing = self._outgoing
        start = place * SLOT_LENGTH
        outgoing.arena[start : start + len(reply)] = reply
        outgoing.vectors[place * _VECTOR_WORDS + 1] = len(reply)
        outgoing.words[place * _HEADER_WORDS + _NAME] = self._names_base + slot * _NAME_LENGTH

    def _flush(self, descriptor: int, owed: int) -> int:
        """:returns: how many were sent; what was not is UDP, and gone."""
        tried = sent = 0
        while tried < owed and descriptor >= 0:
            first = ctypes.c_void_p(self._outgoing.base + tried * _HEADER_LENGTH)
            count = self._send(descriptor, first, owed - tried, _DONT_WAIT)
            if count > 0:
                tried += count
                sent += count
            elif ctypes.get_errno() in _NO_ROOM:
                break
            else:
                tried += 1  # The system refuses this one; those after it go elsewhere.
        return sent


def _nothing(code: int) -> int:
    if code in (errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED):
        return 0
    raise OSError(code, os.strerror(code))


@cache
def shared_batch() -> Batch | None:
    """:returns: the process's, made when it is first needed; ``None`` where the system has no such calls."""
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_void_p) != 8 or sys.byteorder != "little":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    try:
        return Batch(library.recvmmsg, library.sendmmsg)
    except AttributeError:
        return None
