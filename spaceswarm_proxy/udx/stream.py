"""
One stream: two directions, and how it comes to life and ends.

::

    created      its number is known, nothing else; what is written waits
    connected    it is known where the other end is; nothing is sent for that
    closed       both directions have ended; or it was destroyed, by us or the remote; or the remote is silent

There are no packets that open a stream: both ends learn of each other by other means.  A packet that comes before, or
over another socket than the one that the stream is connected over, is shown to the ``firewall`` of the stream.

What the owner is told, it is told at the end of a turn (:meth:`Stream.deliver`), when all datagrams of that turn are
read; what is owed to the remote leaves after that (:meth:`Stream.flush`), so that an answer carries the
acknowledgement with it.

:source: npm ``udx-native`` 1.21; spec/udx.md, sections 4 to 7, 11 and 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Protocol

from spaceswarm_proxy.errors import SpaceswarmError, StreamResetError, StreamTimeoutError
from spaceswarm_proxy.udx.headers import alike
from spaceswarm_proxy.udx.outlet import Outlet, Sink
from spaceswarm_proxy.udx.owner import Firewall, News, Owner, Watcher
from spaceswarm_proxy.udx.packet import (
    DATA,
    DESTROY,
    END,
    HEADER_LENGTH,
    HEARTBEAT,
    MASK,
    MESSAGE,
    PLAIN,
    Packet,
    unwrap,
)

#: Bytes that wait to be sent from which on a stream is full, and below which it is not any more.
HIGH_WATER = 256 << 10
LOW_WATER = 128 << 10
#: Bytes that are held for a user who does not read.
RECEIVE_WINDOW = 4 << 20
#: Seconds that the acknowledgement of a lone packet waits for something to go with: less than the 2 ms that a remote
#: gives it, beside two round trips, before it sends the packet again.
ACK_DELAY = 0.001
#: Seconds that a remote may go on sending to somebody who has closed.
LINGER = 10.0
#: Packets of a train from which on it pays to compare all headers at once.
_MANY = 6


class Carrier(Sink, Protocol):
    """What a stream needs of those who have all streams."""

    def touched(self, stream: Stream) -> None:
        """Something is to be told or sent at the end of the turn."""

    def written(self, stream: Stream) -> None:
        """Something is to be sent, at the end of the turn at the latest."""

    def waits(self, stream: Stream) -> None:
        """The system took no more from this stream: it is told when it does."""

    def connected(self, stream: Stream) -> None:
        """It knows its remote."""

    def moved(self, stream: Stream, socket: int) -> None:
        """It has another remote; until now, its packets went over this socket."""

    def relays(self, stream: Stream) -> None:
        """Its packets are passed on from now on."""

    def route(self, stream: Stream) -> None:
        """Its packets are to be shown to its watcher, or not any more."""

    def closed(self, stream: Stream, answer: bytes | None, now: float) -> None:
        """
        It is over.

        :param answer: what to send to a remote that has not understood that.
        """


class Stream(Outlet):
    """One end of a stream."""

    __slots__ = (
        "__weakref__",
        "_acked",
        "_carrier",
        "_closing",
        "_full",
        "_keep_alive",
        "_keep_alive_at",
        "_linger_until",
        "_move_until",
        "_news",
        "_ranges",
        "_window_seen",
        "expected",
        "firewall",
        "id",
        "is_touched",
        "is_watched",
        "queued",
        "relay",
        "watcher",
    )

    def __init__(
        self,
        carrier: Carrier,
        id: int,
        firewall: Firewall | None,
        now: float,
        first: int = 0,
        remote_first: int = 0,
        window: int = RECEIVE_WINDOW,
    ) -> None:
        """
        :param id: ours, 32 bits: the number in the packets that are for us.
        :param first, remote_first: the numbers of the first packets, as agreed.
        :param window: bytes that are held for an owner who does not consume.
        """
        super().__init__(carrier, first, remote_first, window, now)
        self.id = id
        self.firewall = firewall
        #: The number that comes next, as it is on the wire.
        self.expected = remote_first & MASK
        #: Where its packets are passed on to, if they are not for us.
        self.relay: Stream | None = None
        #: Who looks after its way, if anybody does; and is that one told of packets?
        self.watcher: Watcher | None = None
        self.is_watched = False
        #: Is it to be looked after at the end of this turn; and when, as the carrier's list has it: the soonest last?
        self.is_touched = False
        self.queued: list[float] = []
        self._carrier = carrier
        self._news = News()
        self._full = False
        self._closing = False
        self._linger_until = inf
        # The numbers of the packet that told us of the remote's window.
        self._window_seen = (remote_first, first)
        self._keep_alive = 0.0
        self._keep_alive_at = inf
        # The change of the remote is over when everything before this number is acknowledged.
        self._move_until: int | None = None
        # What the remote has said last of our direction, in this turn.
        self._acked = first
        self._ranges: Sequence[tuple[int, int]] = ()

    # What the owner does.

    @property
    def owner(self) -> Owner | None:
        """Who is told what happens; what happens before there is one waits."""
        return self._news.owner

    @owner.setter
    def owner(self, owner: Owner | None) -> None:
        self._news.owner = owner
        self._touch()

    def connect(self, socket: int, remote_id: int, address: bytes, now: float) -> None:
        """Now it is known where the other end is."""
        if self.connected or self.closed:
            return
        self.connected = True
        self.socket, self.remote_id, self.address = socket, remote_id, address
        self._carrier.connected(self)
        self._touch()

    def change_remote(self, socket: int, remote_id: int, address: bytes, now: float) -> None:
        """The other end is elsewhere from now on; what is lost on the old path is repeated on the new one."""
        if not self.connected or self.closed:
            return
        before = self.socket
        self.socket, self.remote_id, self.address = socket, remote_id, address
        self._carrier.moved(self, before)
        self.sender.moved()
        self._move_until = self.sender.next
        self._see_whether_moved()
        self._touch()

    def write(self, data: bytes) -> bool:
        """
        :param data: of any length; what comes after the end is thrown away.
        :returns: ``False`` when the stream is full; the owner is told when it is not any more.
        """
        if self.closed or self.sender.ending or not data:
            return True
        self.sender.queue.add(data)
        if not self.is_touched:
            self._carrier.written(self)
        self._full = self._full or self.sender.queue.length > HIGH_WATER
        return not self._full

    def end(self) -> None:
        """Nothing more is written."""
        if not self.closed:
            self.sender.end()
            self._touch()

    def close(self) -> None:
        """End, and read no more: whatever comes yet is thrown away; the owner is told when all has arrived."""
        self._closing = True
        self._discard()
        self.end()

    def destroy(self, now: float) -> None:
        """End at once; the owner is told nothing, the remote that it is over."""
        self._news.owner = None
        if self.closed:
            return
        self._say_destroyed(None, now)

    def consumed(self, count: int) -> None:
        """So many bytes of what was told have been used: once there is much room again, the remote is told so."""
        receiver = self.receiver
        receiver.unread -= count
        if self._advertised < receiver.limit // 4 and receiver.window >= receiver.limit // 2:
            self._ack_owed = True
            self._touch()

    def set_keep_alive(self, seconds: float, now: float) -> None:
        """
        Ask the remote for a sign of life when all is quiet; that there is none has no consequence here.

        :param seconds: of silence; 0 for not at all.
        """
        self._keep_alive = seconds
        self._keep_alive_at = now + seconds if seconds else inf
        self._touch()

    def relay_to(self, other: Stream) -> None:
        """Pass all packets on to the remote of another stream; nothing of them is for us from now on."""
        self.relay = other
        self._carrier.relays(self)

    def watch_path(self, wanted: bool) -> None:
        """Tell the watcher of each packet that comes over our socket, or not any more; meanwhile all is slower."""
        self.is_watched = wanted and self.watcher is not None
        self._carrier.route(self)

    # What comes.

    def receive_run(self, data: memoryview, position: int, segment: int, stride: int, key: int, now: float) -> int:
        """
        Plain packets, of which the first is the one that is expected.

        :param data: what was received at once: packets of ``segment`` bytes, the last one may be shorter.
        :param position: where the first one begins.
        :param stride: bytes from the beginning of one to that of the next.
        :param key: what each of them begins with.
        :returns: where the first packet begins that is not one of the run, or the end.
        """
        payloads = alike(data, position, segment, stride) if len(data) - position > _MANY * stride else []
        if not payloads:
            payloads = self._run(data, position, segment, stride, key)
        position += len(payloads) * stride
        _, window, seq, ack = PLAIN.unpack_from(data, position - stride)
        self._news.arrived += self.receiver.receive_next(payloads)
        self._owe(len(payloads), now)
        self._progress(seq, window, ack, (), now)
        return min(position, len(data))

    def _owe(self, count: int, now: float) -> None:
        """So many packets are to be acknowledged: one may wait for an answer, the next one does not wait any more."""
        if count == 1 and self._ack_at == inf and not self.receiver.has_gaps:
            self._ack_at = now + ACK_DELAY
        else:
            self._ack_owed = True

    def _run(self, data: memoryview, position: int, segment: int, stride: int, key: int) -> list[memoryview]:
        """:returns: the payloads of a run, packet by packet."""
        payloads = []
        expected = self.expected
        last = len(data) - HEADER_LENGTH
        while position <= last:
            found, _, seq, _ = PLAIN.unpack_from(data, position)
            if found != key or seq != expected:
                break
            payloads.append(data[position + HEADER_LENGTH : position + segment])
            expected = (expected + 1) & MASK
            position += stride
        return payloads

    def receive_states(self, data: memoryview, position: int, stride: int, key: int, now: float) -> int:
        """
        Acknowledgements without ranges: what counts is the highest.

        :param data, position, stride, key: as for :meth:`receive_run`; the first one is one of these.
        :returns: where the first packet begins that is none.
        """
        near, highest, seq, window = self.sender.unacknowledged, -1, 0, 0
        reach = self.sender.next - near
        starts = range(position, len(data) - HEADER_LENGTH + 1, stride)
        headers = b"".join([data[start : start + HEADER_LENGTH] for start in starts])
        for found, its_window, its_seq, its_ack in PLAIN.iter_unpack(headers):
            if found != key:
                break
            ahead = (its_ack - near) & MASK
            if highest <= ahead <= reach:
                highest, seq, window = ahead, its_seq, its_window
            position += stride
        if highest >= 0:
            self._progress(seq, window, near + highest, (), now)
        return position

    def receive(self, packet: Packet, now: float) -> None:
        """Any packet."""
        flags = packet.flags
        if flags & HEARTBEAT:
            self._ack_owed = True
            self._touch()
            return
        if flags & (DATA | END):
            self._receive_data(packet)
        if flags & DESTROY and unwrap(packet.seq, self.receiver.expected) >= self.receiver.expected:
            self._destroyed(packet, now)
            return
        if flags & MESSAGE and not self._closing:
            self._news.message(bytes(packet.payload))
        self._progress(packet.seq, packet.window, packet.ack, packet.ranges, now)

    def _destroyed(self, packet: Packet, now: float) -> None:
        """
        The remote is gone.

        That is in order if we have closed, and it has all that we sent: so JavaScript streams leave when they hear an
        end and have nothing to say.
        """
        if self._closing:
            self._progress(packet.seq, packet.window, packet.ack, (), now)
            self.settle(now)
        self._close(None if self._closing and self.sender.done else StreamResetError(), None, now)

    def _receive_data(self, packet: Packet) -> None:
        self._ack_owed = True
        receiver = self.receiver
        payload = packet.payload if packet.flags & DATA else b""
        seq = unwrap(packet.seq, receiver.expected)
        self._news.arrived += receiver.receive(seq, payload, bool(packet.flags & END))

    def _progress(self, seq: int, window: int, ack: int, ranges: Sequence[tuple[int, int]], now: float) -> None:
        """What a packet says of our own direction."""
        self.expected = self.receiver.expected & MASK
        if self._closing:
            self._discard()
        self._touch()
        sender = self.sender
        acked = unwrap(ack, sender.unacknowledged)
        if acked > sender.next:
            return
        if acked >= sender.unacknowledged:
            said = (unwrap(seq, self.receiver.expected), acked)
            if said >= self._window_seen:
                self._window_seen = said
                sender.set_remote_window(window)
        if acked > self._acked:
            self._acked, self._ranges = acked, ranges
        elif acked == self._acked and len(ranges) >= len(self._ranges):
            self._ranges = ranges

    def settle(self, now: float) -> None:
        """Take the remote's last word of this turn on our direction: it says all that those before it did."""
        sender, ranges = self.sender, self._ranges
        near = sender.unacknowledged
        if not ranges and self._acked <= near:
            return
        self._ranges = ()
        sender.acknowledge(
            max(self._acked, near), [(unwrap(start, near), unwrap(end, near)) for start, end in ranges], now
        )
        self._see_whether_moved()
        if self._keep_alive:
            self._keep_alive_at = now + self._keep_alive

    def _discard(self) -> None:
        if count := self._news.forget():
            self.consumed(count)

    def _see_whether_moved(self) -> None:
        if self._move_until is not None and self.sender.unacknowledged >= self._move_until:
            self._move_until = None
            self._news.moved()
            self._carrier.touched(self)  # In this turn its owner has been told all already.
            if self.watcher is not None:
                self.watcher.path_moved()

    # The end of a turn.

    def deliver(self) -> None:
        """Tell the owner what has come."""
        if self._full and self.sender.queue.length <= LOW_WATER:
            self._full = False
            self._news.drained()
        if self.receiver.ended:
            self._news.ended()
        self._news.tell()

    def flush(self, now: float) -> None:
        """Send what is owed, and what may be sent; see whether it is over."""
        if not self._is_active:
            return
        self.sender.transmit(now)
        if self._ack_owed or self._ack_at <= now:
            self._send_state()
        if self.sender.done:
            self._end_if_done(now)
        if self._full and self.sender.queue.length <= LOW_WATER:
            self._touch()

    @property
    def is_waiting(self) -> bool:
        """Has what is written to wait, for the connection, or for what is on the way already?"""
        return len(self.sender.flights) > 0 or not self._is_active

    @property
    def _is_active(self) -> bool:
        """Does it send?"""
        return self.connected and not self.closed and self.relay is None

    def _wait_for_room(self) -> None:
        self._carrier.waits(self)

    def _end_if_done(self, now: float) -> None:
        if self.receiver.ended and not self._news.arrived:
            self._close(None, self._header(0), now)
        elif self._closing and self._linger_until == inf:
            self._linger_until = now + LINGER
            self._news.over(None)
            self._touch()

    # Time.

    def next_deadline(self) -> float:
        """:returns: when :meth:`advance` has something to do; infinite without anything."""
        if not self._is_active:
            return inf
        return min(self.sender.next_deadline(), self._ack_at, self._keep_alive_at, self._linger_until)

    def advance(self, now: float) -> None:
        """Do what is due."""
        if not self._is_active:
            return
        if self.sender.advance(now) or self._keep_alive_at <= now:
            self._send_plain(HEARTBEAT)
            self._keep_alive_at = now + self._keep_alive if self._keep_alive else inf
        if self._linger_until <= now:
            self.destroy(now)
        elif self.sender.hopeless:
            self._give_up(now)
        else:
            self._touch()

    def _give_up(self, now: float) -> None:
        """The remote is silent; but where all but our end has arrived, it may just have left before us."""
        if self.receiver.ended and self.sender.awaits_end_only:
            self._close(None, self._header(0), now)
        else:
            self._say_destroyed(StreamTimeoutError(), now)

    # The end.

    def _say_destroyed(self, problem: SpaceswarmError | None, now: float) -> None:
        """Tell the remote that it is over, now and when it asks."""
        answer = None
        if self.connected and self.relay is None:
            answer = self._send_plain(DESTROY)
        self._close(problem, answer, now)

    def fail(self, problem: SpaceswarmError) -> None:
        """End at once, without a word to the remote."""
        if not self.closed:
            self._close(problem, None)

    def _close(self, problem: SpaceswarmError | None, answer: bytes | None, now: float = 0.0) -> None:
        self.closed = True
        self.sender.forget()
        self.receiver.forget()
        self._carrier.closed(self, answer, now)
        self._news.over(problem)
        # In this turn it may have had its say already, before somebody else ended it: it gets another.
        self._carrier.touched(self)
        if self.watcher is not None:
            watcher, self.watcher = self.watcher, None
            watcher.stream_over()

    def _touch(self) -> None:
        if not self.is_touched:
            self._carrier.touched(self)
