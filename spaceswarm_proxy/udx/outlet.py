"""
The way out of a stream: what its packets say of it, and where they go.

All packets carry how far everything has arrived, and how much more may come.  An acknowledgement that is owed goes
with the next new data, or by itself at the end of the turn; that of a lone packet waits a moment for new data to go
with, as an answer may follow it at once.

:source: spec/udx.md, sections 2, 6 and 9.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from spaceswarm_proxy.errors import ValueTooLargeError
from spaceswarm_proxy.udx.flights import Flight
from spaceswarm_proxy.udx.headers import packets, single_packet
from spaceswarm_proxy.udx.packet import HEADER_LENGTH, MESSAGE, encode_header, encode_state
from spaceswarm_proxy.udx.receiver import Receiver
from spaceswarm_proxy.udx.sender import Sender


class Sink(Protocol):
    """Whatever takes datagrams."""

    def send(self, socket: int, address: bytes, data: bytes) -> bool:
        """:returns: whether the system took the datagram, or it is lost; ``False`` if it can be tried again."""

    def send_bunch(self, socket: int, address: bytes, parts: list[memoryview], segment: int) -> bool:
        """
        Send packets of ``segment`` bytes each, the last one of as many at most.

        :param parts: header and payload of each.
        :returns: as :meth:`send` does.
        """


class Outlet:
    """What of a :class:`~spaceswarm_proxy.udx.stream.Stream` sends; not used by itself."""

    __slots__ = (
        "_ack_at",
        "_ack_owed",
        "_advertised",
        "_sink",
        "address",
        "closed",
        "connected",
        "receiver",
        "remote_id",
        "sender",
        "socket",
    )

    def __init__(self, sink: Sink, first: int, remote_first: int, window: int, now: float) -> None:
        """
        :param first, remote_first: the numbers of the first packets, as agreed.
        :param window: bytes that are held for an owner who does not consume.
        """
        #: The remote's number, where its packets come and go, and its address.
        self.remote_id = 0
        self.socket = -1
        self.address = b""
        self.connected = False
        self.closed = False
        self.receiver = Receiver(remote_first, window)
        self.sender = Sender(first, self._emit, now)
        self._sink = sink
        # Is an acknowledgement owed now; or when, at the latest, if nothing goes that takes it along?
        self._ack_owed = False
        self._ack_at = inf
        # The last window that the remote was told.
        self._advertised = window

    def _wait_for_room(self) -> None:
        """The system has no room for the moment."""
        raise NotImplementedError

    # Packets with a number of their own.

    def _emit(self, flight: Flight) -> bool:
        """
        Send a flight; an acknowledgement goes with it.

        One is still owed after packets that tell the remote nothing of our window, as they were sent before, and after
        those that the path may not carry.
        """
        receiver = self.receiver
        window, ack = receiver.window, receiver.expected
        if flight.count == 1:
            packet = single_packet(flight, self.remote_id, window, ack)
            taken = self._sink.send(self.socket, self.address, packet)
        else:
            parts = packets(flight, self.remote_id, window, ack)
            taken = self._sink.send_bunch(self.socket, self.address, parts, flight.size + HEADER_LENGTH)
        if not taken:
            self._wait_for_room()
        elif flight.first == self.sender.next and not (flight.padding or receiver.has_gaps):
            self._acknowledged(window)
        return taken

    # All others.

    def _send_state(self) -> None:
        """Say how far everything has arrived."""
        receiver, sender = self.receiver, self.sender
        self._acknowledged(receiver.window)
        ranges = receiver.ranges() if receiver.has_gaps else ()
        state = encode_state(self.remote_id, receiver.window, sender.next, receiver.expected, ranges)
        if not self._sink.send(self.socket, self.address, state):
            self._ack_owed = True
            self._wait_for_room()

    def _acknowledged(self, window: int) -> None:
        """The remote is told how far everything has arrived, and how much more may come."""
        self._ack_owed = False
        self._ack_at = inf
        self._advertised = window

    def _send_plain(self, flags: int, payload: bytes = b"") -> bytes:
        """
        Send a packet that is lost if it is lost.

        :returns: it.
        """
        packet = self._header(flags) + payload
        self._sink.send(self.socket, self.address, packet)
        return packet

    def _header(self, flags: int) -> bytes:
        receiver = self.receiver
        return encode_header(flags, 0, self.remote_id, receiver.window, self.sender.next, receiver.expected)

    @property
    def max_message(self) -> int:
        """Bytes of a message at most."""
        return self.sender.mtu.payload

    def send_message(self, message: bytes) -> None:
        """
        Send something that may get lost, or come twice or late; before the stream is connected, it is lost.

        :raises ValueTooLargeError: it does not fit into one packet of this path.
        """
        if len(message) > self.max_message:
            raise ValueTooLargeError("max_message", self.max_message)
        if self.connected and not self.closed:
            self._send_plain(MESSAGE, message)
