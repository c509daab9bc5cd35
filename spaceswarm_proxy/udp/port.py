"""
One UDP socket in the reactor, read as fast as datagrams come.

Three ways to read it, each cheaper than the one before once there is more to read:

    one by one      few datagrams a turn: a request now and then
    in batches      many small ones from everywhere: a node under load        batch.py
    in trains       the packets of streams, merged where the system can       merged.py

A turn reads until the socket is empty, up to a bound.  Once it carries streams, a socket is read in trains for good.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from struct import pack
from typing import Any, Protocol

import txaio
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.udp.addresses import packed, unpacked
from spaceswarm_proxy.udp.batch import SLOTS, Receive, shared_batch
from spaceswarm_proxy.udp.merged import (
    SLOTS as TRAIN_SLOTS,
    SOL_UDP,
    UDP_SEGMENT,
    TrainReader,
    leave_single,
    merge_trains,
    sends_trains,
    train_reader,
)

log = txaio.make_logger()

#: Datagrams that are read in a turn of the reactor, and calls that read trains.
MAX_TURN = SLOTS
MAX_TRAIN_CALLS = 4
#: Datagrams of a turn from which on the next one is a batch, and below which a batch was the last.
BATCH_FROM = 16
BATCH_TO = 8
#: Bytes of the largest datagram that there is.
_MAX_DATAGRAM = 65536
#: Bytes that the kernel keeps for us while we are busy; it may give less.
_KERNEL_BUFFER = 1 << 20
_STREAMS_BUFFER = 4 << 20
#: What the packets of streams begin with; nothing of the DHT's does.
STREAM_BYTE = 0xFF
_STREAM_BYTES = bytes([STREAM_BYTE])
#: Linux: datagrams are not cut on the way, and what the kernel believes of the path is ignored.
_MTU_DISCOVER, _DISCOVER_PROBE = 10, 3
#: The system takes no more for the moment.
_NO_ROOM = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)
#: The system, or the device, can't cut trains into datagrams after all; or only not this one, on its way.
_NO_TRAINS = (errno.EIO, errno.EOPNOTSUPP)
_NOT_THIS_TRAIN = (errno.EINVAL, errno.EMSGSIZE)


class Streams(Protocol):
    """Whoever has the streams over a socket."""

    def receive(self, data: memoryview, segment: int, stride: int, source: bytes, socket: int, now: float) -> None:
        """
        Packets of one length have come.

        :param data: all of them; used again after this call.
        :param segment: bytes of each; the last one may have fewer.
        :param stride: bytes from the beginning of one to that of the next.
        """


@implementer(IReadWriteDescriptor)
class UDPPort:
    """A bound socket."""

    def __init__(
        self,
        reactor: Any,
        number: int,
        receive: Receive,
        clock: Callable[[], float],
        turn_ended: Callable[[], None],
    ) -> None:
        """
        :param reactor: one that watches file descriptors (``IReactorFDSet``).
        :param number: what the socket is called in the node.
        :param receive: called for each datagram.
        :param clock: tells the time; asked once a turn.
        :param turn_ended: called after the datagrams of a turn.
        """
        self.number = number
        #: What it is bound to; 0 before it is.
        self.port = 0
        #: Datagrams that the system did not take from us.
        self.unsent = 0
        self._reactor = reactor
        self._receive = receive
        self._clock = clock
        self._turn_ended = turn_ended
        self._batched = False
        self._batch = shared_batch()
        self._streams: Streams | None = None
        self._trains: TrainReader | None = None
        self._cuts_trains = sends_trains()
        self._turn_time = 0.0
        self._written: Callable[[], None] | None = None
        # What is left of a train that goes one by one, and where it goes.
        self._rest: Sequence[memoryview] = ()
        self._rest_address = b""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER)

    def listen(self, host: str, port: int) -> None:
        """
        Bind, and read from now on.

        :raises CannotListenError: the port is not to be had.
        """
        try:
            self._socket.bind((host, port))
        except OSError as problem:
            self._socket.close()
            raise CannotListenError(host, port, problem) from problem
        self.port = int(self._socket.getsockname()[1])
        self._reactor.addReader(self)

    def close(self) -> None:
        """Stop; a second call is harmless."""
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._socket.close()
            self._written, self._rest = None, ()

    def carry(self, streams: Streams) -> None:
        """Give what begins as the packets of streams do to somebody else, from now on."""
        if self._streams is None:
            self._streams = streams
            self._trains = train_reader()
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _STREAMS_BUFFER)
            self._do_not_cut()
            if self._trains is not None:
                merge_trains(self._socket)

    def _do_not_cut(self) -> None:
        try:
            self._socket.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _DISCOVER_PROBE)
        except OSError:  # Not on this system: then paths are taken to carry more than they do in one piece.
            log.debug("{prefix}: datagrams may be cut on the way", prefix=self.logPrefix())

    def send(self, data: bytes, address: bytes, ttl: int = 0) -> bool:
        """
        Send a datagram; one that the system does not take is lost, as any may be.

        :param address: six bytes.
        :param ttl: of the IP packet; 0 for the system's default.
        :returns: ``False`` if the system has no room for the moment.
        """
        if not ttl:
            return self._send_to(data, unpacked(address))
        control = [(socket.IPPROTO_IP, socket.IP_TTL, pack("i", ttl))]
        return self._send_message([data], control, address)

    def _send_to(self, data: bytes, to: tuple[str, int]) -> bool:
        try:
            self._socket.sendto(data, to)
        except OSError as problem:  # No room, no route, or a host that has told us that nobody listens there.
            self.unsent += 1
            return problem.errno not in _NO_ROOM
        return True

    def _send_message(self, parts: Sequence[Any], control: Sequence[Any], address: bytes) -> bool:
        try:
            self._socket.sendmsg(parts, control, 0, unpacked(address))
        except OSError as problem:
            self.unsent += 1
            return problem.errno not in _NO_ROOM
        return True

    def send_train(self, parts: Sequence[memoryview], segment: int, address: bytes) -> bool:
        """
        Send datagrams of one length, but for the last, with one call if that can be.

        :param parts: the header and the rest of each.
        :param segment: that length.
        :returns: ``False`` if the system has no room for the moment: none has been sent.
        """
        if not self._cuts_trains:
            return self._send_each(parts, address)
        try:
            self._socket.sendmsg(parts, [(SOL_UDP, UDP_SEGMENT, pack("H", segment))], 0, unpacked(address))
        except OSError as problem:
            return self._train_refused(problem, parts, address)
        return True

    def _train_refused(self, problem: OSError, parts: Sequence[memoryview], address: bytes) -> bool:
        if problem.errno in _NO_ROOM:
            return False
        if problem.errno in _NOT_THIS_TRAIN:
            return self._send_each(parts, address)
        if problem.errno in _NO_TRAINS:
            log.info("{prefix}: no trains: {problem}", prefix=self.logPrefix(), problem=problem)
            self._cuts_trains = False
            return self._send_each(parts, address)
        self.unsent += len(parts) // 2
        return True

    def _send_each(self, parts: Sequence[memoryview], address: bytes) -> bool:
        """Once one is gone, the train is: what there was no room for follows as soon as there is some."""
        if self._rest:
            return False
        rest = self._send_while_room(parts, address)
        if len(rest) == len(parts):
            return False
        self._keep_rest(rest, address)
        return True

    def _send_while_room(self, parts: Sequence[memoryview], address: bytes) -> Sequence[memoryview]:
        """:returns: what there is no room for."""
        for place in range(0, len(parts), 2):
            if not self._send_message(parts[place : place + 2], (), address):
                return parts[place:]
        return ()

    def _keep_rest(self, rest: Sequence[memoryview], address: bytes) -> None:
        self._rest, self._rest_address = rest, address
        if rest:
            self._watch_for_room()

    def when_writable(self, call: Callable[[], None]) -> None:
        """:param call: called once, when the system takes datagrams again."""
        self._written = call
        self._watch_for_room()

    def _watch_for_room(self) -> None:
        if self._socket.fileno() >= 0:
            self._reactor.addWriter(self)

    # What the reactor calls.

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return f"UDP socket {self.number}"

    def doRead(self) -> None:
        """A turn."""
        now = self._turn_time = self._clock()
        if self._trains is not None:
            self._read_trains(now)
        else:
            count = self._read_batch(now) if self._batched else self._read_each(now)
            self._batched = self._takes_batches and count >= (BATCH_TO if self._batched else BATCH_FROM)
        self._turn_ended()

    @property
    def _takes_batches(self) -> bool:
        return self._batch is not None and self._streams is None

    def doWrite(self) -> None:
        """The system takes datagrams again."""
        self._reactor.removeWriter(self)
        self._keep_rest(self._send_while_room(self._rest, self._rest_address), self._rest_address)
        if self._rest:
            return
        written, self._written = self._written, None
        if written is not None:
            written()

    def _read_each(self, now: float) -> int:
        receive_from, receive, number = self._socket.recvfrom, self._receive, self.number
        for count in range(MAX_TURN):
            try:
                data, source = receive_from(_MAX_DATAGRAM)
            except BlockingIOError:
                return count
            except OSError:  # Some host has told us that nobody listens there; or the socket was closed meanwhile.
                if self._socket.fileno() < 0:
                    return count
                continue
            try:
                if self._streams is not None and data[:1] == _STREAM_BYTES:
                    self._streams.receive(memoryview(data), len(data), len(data), packed(source), number, now)
                    continue
                reply = receive(data, packed(source), number, now)
            except Exception:  # A fault of ours; let through, it would make the reactor close the socket.
                log.failure("a datagram to {prefix} could not be handled", prefix=self.logPrefix())
                continue
            if reply is not None:
                self._send_to(reply, source)
        return MAX_TURN

    def _read_trains(self, now: float) -> None:
        assert self._trains is not None
        for _ in range(MAX_TRAIN_CALLS):
            try:
                count = self._trains.read(self._socket, self._receive_train)
            except OSError as problem:
                log.warn("{prefix}: no trains: {problem}", prefix=self.logPrefix(), problem=problem)
                self._trains = None
                leave_single(self._socket)  # Nobody could tell any more what was merged.
                return
            if count < TRAIN_SLOTS or self._socket.fileno() < 0:
                return

    def _receive_train(self, data: memoryview, segment: int, stride: int, source: bytes) -> None:
        """A train is of streams, or of single datagrams; or, where the system has merged them, of both."""
        kinds = bytes(data[::stride])
        if kinds.count(STREAM_BYTE) == len(kinds) and kinds:
            self._receive_packets(data, segment, stride, source)
            return
        for start in range(0, max(len(data), 1), stride or 1):
            one = data[start : start + segment]
            if one[:1] == _STREAM_BYTES:
                self._receive_packets(one, segment, stride, source)
            else:
                self._receive_single(one, source)

    def _receive_packets(self, data: memoryview, segment: int, stride: int, source: bytes) -> None:
        assert self._streams is not None
        try:
            self._streams.receive(data, segment, stride, source, self.number, self._turn_time)
        except Exception:  # As above.
            log.failure("a datagram to {prefix} could not be handled", prefix=self.logPrefix())

    def _receive_single(self, data: memoryview, source: bytes) -> None:
        try:
            reply = self._receive(data.tobytes(), source, self.number, self._turn_time)
        except Exception:  # As above.
            log.failure("a datagram to {prefix} could not be handled", prefix=self.logPrefix())
            return
        if reply is not None:
            self.send(reply, source)

    def _read_batch(self, now: float) -> int:
        assert self._batch is not None
        try:
            count, unsent = self._batch.run(self._socket, self._receive, self.number, now, self.send)
        except OSError as problem:
            log.warn("{prefix}: no batches: {problem}", prefix=self.logPrefix(), problem=problem)
            self._batch, self._batched = None, False
            return 0
        self.unsent += unsent
        return count

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is about to go."""
        self.close()
