"""
What this room needs of the streams and sockets below it: packets and sockets are somebody else's.

A *raw stream* is one end of a UDX stream: it has a number that packets to it carry, and is not connected to anybody
at first.  Whoever makes it decides with a *firewall* what becomes of packets that come before it is, or from a socket
that it is not connected over.

:source: spec/connect.md, section 7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Takes the number of the socket that a packet came in on, the address that it came from (six bytes), and the time;
#: says whether the packet is to be refused.  It may connect the stream, or change its remote, before it returns.
Firewall = Callable[[int, bytes, float], bool]


class RawStream(Protocol):
    """One end of a stream."""

    #: What packets to this end carry: 32 bits, random.
    id: int
    #: Does it know where its packets go to?
    connected: bool
    #: Has it come to its end, in whatever way?
    closed: bool

    def connect(self, socket: int, remote_id: int, address: bytes, now: float) -> None:
        """
        Send to somebody from now on; packets that come are accepted.

        :param socket: which of ours to use.
        :param remote_id: what packets to the other end carry.
        :param address: where it is, six bytes.
        """

    def change_remote(self, socket: int, remote_id: int, address: bytes, now: float) -> None:
        """The other end is somewhere else from now on; nothing that is under way is lost by that."""

    def destroy(self, now: float) -> None:
        """End it without ceremony; the other end is told, where that is known."""


class RawStreams(Protocol):
    """Makes raw streams."""

    def create(self, firewall: Firewall) -> RawStream:
        """
        :param firewall: asked about packets that come before the stream is connected, or on another socket.
        :raises SpaceswarmError: there can be no more.
        """
