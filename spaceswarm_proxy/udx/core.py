"""
All streams of a process or node, over any number of sockets, without those sockets.

Whoever runs it gives it what its sockets receive (:meth:`UDXCore.receive`), tells it when a turn of reading is over
(:meth:`UDXCore.turn`), calls :meth:`UDXCore.advance` when :meth:`UDXCore.next_deadline` has come, and sends what is
given to ``send`` and ``send_bunch``.

A stream that has ended leaves a note behind for some seconds: its remote may not have heard our last word, and is told
again when it asks.

:source: npm ``udx-native`` 1.21; spec/udx.md, sections 3, 5 and 12.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf

from spaceswarm_proxy.dht.chance import Chance
from spaceswarm_proxy.errors import ClosedError, LimitError, SpaceswarmError, StreamResetError
from spaceswarm_proxy.udx.notes import Notes
from spaceswarm_proxy.udx.owner import Firewall
from spaceswarm_proxy.udx.packet import (
    DATA,
    DESTROY,
    END,
    HEADER_LENGTH,
    HEARTBEAT,
    PLAIN,
    Packet,
    parse,
    plain_key,
)
from spaceswarm_proxy.udx.stream import RECEIVE_WINDOW, Stream

#: Streams at most, unless told otherwise.
MAX_STREAMS = 65536
#: Packets that are held for a stream which passes on, until it is known where to.
MAX_HELD = 4
_ID_LENGTH = 4
_ID = slice(4, 8)


class UDXCore:
    """The streams."""

    def __init__(
        self,
        chance: Chance,
        send: Callable[[int, bytes, bytes], bool],
        send_bunch: Callable[[int, bytes, list[memoryview], int], bool],
        wake: Callable[[], None],
        max_streams: int = MAX_STREAMS,
    ) -> None:
        """
        :param send: sends a datagram: socket, address, bytes; says whether the system took it.
        :param send_bunch: the same for packets of equal length: their parts, and that length.
        :param wake: told that there is something to do, outside of a turn: :meth:`turn` shall be called soon.
        """
        self.send = send
        self.send_bunch = send_bunch
        self.max_streams = max_streams
        self.closed_for_good = False
        #: Told that one stream more, or less, goes over a socket: its number, and 1 or -1.
        self.uses: Callable[[int, int], None] = _nobody_counts
        #: Calls :meth:`flush` for a stream that was written to outside of a turn, and has nothing on the way: there is
        #: nothing to wait for.  By default, such a one waits for the turn like all others.
        self.at_once: Callable[[Stream], None] = self.touched
        #: Packets of streams that are not there; packets that were passed on.
        self.strays = 0
        self.relayed = 0
        #: Streams that were created.
        self.begun = 0
        self._chance = chance
        self._wake = wake
        self._streams: dict[int, Stream] = {}
        # Those that are connected, by what their commonest packets begin with: plain data, plain acknowledgements.
        self._data: dict[int, Stream] = {}
        self._states: dict[int, Stream] = {}
        self._notes = Notes()
        self._touched: list[Stream] = []
        self._in_turn = False
        # When streams want to be looked after, the soonest first; the second number tells equal times apart.
        self._deadlines: list[tuple[float, int, Stream]] = []
        self._numbers = count()
        # Those that pass their packets on, by the stream to whose remote they do.
        self._sources: dict[Stream, dict[Stream, None]] = {}
        # What the streams that are over have counted.
        self._retransmitted = 0
        self._timed_out = 0
        # Packets for the remotes of streams that are not connected yet: who speaks first has to be repeated otherwise.
        self._held: dict[Stream, list[bytes]] = {}
        self._waiting: dict[int, dict[Stream, None]] = {}
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def retransmitted(self) -> int:
        """Packets that streams have sent again."""
        return self._retransmitted + sum(stream.sender.retransmitted for stream in self._streams.values())

    @property
    def timed_out(self) -> int:
        """Times that streams have waited too long for an acknowledgement."""
        return self._timed_out + sum(stream.sender.timed_out for stream in self._streams.values())

    def create(
        self,
        firewall: Firewall | None = None,
        *,
        id: int | None = None,
        first: int = 0,
        remote_first: int = 0,
        window: int = RECEIVE_WINDOW,
    ) -> Stream:
        """
        :param firewall: asked about packets that come before the stream is connected, or over another socket; without
            one, they are refused.
        :param id: by default a random one that is free.
        :returns: a new stream.
        :raises LimitError: there are too many.
        :raises ClosedError: this is closed.
        """
        if self.closed_for_good:
            raise ClosedError("the streams are closed")
        if len(self._streams) >= self.max_streams:
            raise LimitError("max_streams", self.max_streams)
        if id is None:
            id = self._free_id()
        elif id in self._streams:
            raise ValueError(f"there is a stream {id} already")
        stream = self._streams[id] = Stream(self, id, firewall, self._now, first, remote_first, window)
        self.begun += 1
        return stream

    def _free_id(self) -> int:
        while True:
            id = int.from_bytes(self._chance.randbytes(_ID_LENGTH), "little")
            if id and id not in self._streams and id not in self._notes:
                return id

    # Datagrams.

    def receive(self, data: memoryview, segment: int, stride: int, source: bytes, socket: int, now: float) -> None:
        """
        Datagrams have come that begin as packets do.

        :param data: one or several of them; not kept.
        :param segment: bytes of each; the last one may have fewer.
        :param stride: bytes from the beginning of one to that of the next.
        :param source: six bytes.
        """
        self._now = now
        self._in_turn = True  # Its end is told; nobody has to be woken for that.
        position, length = 0, len(data)
        # Where the last header may begin; what lies behind shorter datagrams is none of theirs.
        last = length - HEADER_LENGTH if segment >= HEADER_LENGTH else -1
        while position < length:
            after = self._receive_run(data, position, segment, stride, socket, now) if position <= last else position
            if after == position:
                self._receive_one(data[position : position + segment], source, socket, now)
                after += stride
            position = after

    def _receive_run(self, data: memoryview, position: int, segment: int, stride: int, socket: int, now: float) -> int:
        """
        The short way, for the commonest packets: many at once.

        :returns: where the first packet begins that was none of them.
        """
        key, _, seq, _ = PLAIN.unpack_from(data, position)
        stream = self._data.get(key)
        if stream is not None:
            if seq == stream.expected and socket == stream.socket and segment > HEADER_LENGTH:
                return stream.receive_run(data, position, segment, stride, key, now)
            return position
        stream = self._states.get(key)
        if stream is not None and socket == stream.socket and segment == HEADER_LENGTH:
            return stream.receive_states(data, position, stride, key, now)
        return position

    def _receive_one(self, data: memoryview, source: bytes, socket: int, now: float) -> None:
        packet = parse(data)
        if packet is None:
            self.strays += 1
            return
        stream = self._streams.get(packet.id)
        if stream is None:
            self._receive_late(packet, now)
        elif self._is_let_through(stream, source, socket, now):
            if stream.relay is not None:
                self._pass_on(stream, data, packet, now)
            else:
                stream.receive(packet, now)

    def _is_let_through(self, stream: Stream, source: bytes, socket: int, now: float) -> bool:
        if stream.connected and socket == stream.socket:
            if stream.is_watched and stream.watcher is not None:
                stream.watcher.path_heard(socket, source)
            return True
        if stream.firewall is None or stream.firewall(socket, source, now):
            return False
        return not stream.closed

    def _receive_late(self, packet: Packet, now: float) -> None:
        """For a stream that is over, or never was."""
        note = self._notes.find(packet.id, now)
        if note is None:
            self.strays += 1
        elif packet.flags & (DATA | END | HEARTBEAT):
            self.send(note.socket, note.address, note.answer)

    def _pass_on(self, stream: Stream, data: memoryview, packet: Packet, now: float) -> None:
        other = stream.relay
        assert other is not None
        if other.connected:
            self._send_on(other, data)
        elif not other.closed and len(held := self._held.setdefault(other, [])) < MAX_HELD:
            held.append(bytes(data))
        if packet.flags & DESTROY:
            stream.fail(StreamResetError())

    def _send_on(self, stream: Stream, data: bytes | memoryview) -> None:
        """:param data: a packet, for the remote of this stream."""
        if not stream.closed:
            self.relayed += 1
            passed = bytearray(data)
            passed[_ID] = stream.remote_id.to_bytes(_ID_LENGTH, "little")
            self.send(stream.socket, stream.address, bytes(passed))

    # Turns.

    def touched(self, stream: Stream) -> None:
        """A stream has something to tell or to send."""
        stream.is_touched = True
        self._touched.append(stream)
        if not self._in_turn and len(self._touched) == 1:
            self._wake()

    def written(self, stream: Stream) -> None:
        """A stream has something more to send."""
        if self._in_turn or stream.is_waiting:
            self.touched(stream)
        else:
            self.at_once(stream)

    def turn(self, now: float) -> None:
        """
        What was to be received has been: tell the owners, and send what is owed.

        The owners come first: what they pass on is waited for.
        """
        self._now = now
        self._in_turn = True
        try:
            while self._touched:
                touched, self._touched = self._touched, []
                self._deliver(touched)
                for stream in touched:
                    stream.is_touched = False
                    stream.settle(now)
                    self.flush(stream, now)
        finally:
            self._in_turn = False

    def flush(self, stream: Stream, now: float) -> None:
        """Send what a stream owes, and what it may send."""
        stream.flush(now)
        self._queue(stream)

    def _deliver(self, touched: list[Stream]) -> None:
        """Tell the owners of these; where one of them fails, the others are told in another turn."""
        try:
            for stream in touched:
                stream.deliver()
        except BaseException:
            self._touched = touched + self._touched
            self._wake()
            raise

    def waits(self, stream: Stream) -> None:
        """The system takes no more from this stream's socket for the moment."""
        self._waiting.setdefault(stream.socket, {})[stream] = None

    def writable(self, socket: int, now: float) -> None:
        """A socket can be written to again."""
        for stream in self._waiting.pop(socket, ()):
            if not stream.is_touched and not stream.closed:
                self.touched(stream)
        self.turn(now)

    # Time.

    def _queue(self, stream: Stream) -> None:
        """
        See that a stream's deadline is in the list.

        One that has moved away stays there until it is found, and then makes place for what it has become: so a stream
        that sends in many small bunches is there twice or so, not once for each.
        """
        deadline = stream.next_deadline()
        if deadline < (stream.queued[-1] if stream.queued else inf):
            stream.queued.append(deadline)
            heappush(self._deadlines, (deadline, next(self._numbers), stream))

    def _take_first(self) -> Stream:
        """Take the soonest out of the list.  :returns: whose it was."""
        stream = heappop(self._deadlines)[2]
        stream.queued.pop()
        return stream

    def next_deadline(self) -> float:
        """:returns: when :meth:`advance` has something to do; infinite without anything."""
        deadlines = self._deadlines
        while deadlines:
            deadline, _, stream = deadlines[0]
            if stream.next_deadline() <= deadline:
                return deadline
            self._queue(self._take_first())
        return inf

    @property
    def alarm(self) -> float:
        """A time that is not after :meth:`next_deadline`, and costs nothing to tell; infinite without anything."""
        return self._deadlines[0][0] if self._deadlines else inf

    def advance(self, now: float) -> None:
        """Do what is due, and end the turn."""
        self._now = now
        while self.next_deadline() <= now:
            stream = self._take_first()
            stream.advance(now)
            if not stream.is_touched and not stream.closed:
                self.touched(stream)
        self.turn(now)

    # Streams tell.

    def connected(self, stream: Stream) -> None:
        """A stream knows its remote: what comes for it may take the short way."""
        self.uses(stream.socket, 1)
        self.route(stream)
        for data in self._held.pop(stream, ()):
            self._send_on(stream, data)

    def route(self, stream: Stream) -> None:
        """See whether what comes for a stream may take the short way: not if it is passed on, or shown to somebody."""
        self._forget_route(stream)
        if stream.connected and not stream.closed and stream.relay is None and not stream.is_watched:
            self._data[plain_key(DATA, stream.id)] = stream
            self._states[plain_key(0, stream.id)] = stream

    def moved(self, stream: Stream, socket: int) -> None:
        """A stream goes over another socket than this one from now on."""
        self.uses(stream.socket, 1)
        self.uses(socket, -1)

    def relays(self, stream: Stream) -> None:
        """A stream's packets are for somebody else."""
        self.route(stream)
        if stream.relay is not None:
            self._sources.setdefault(stream.relay, {})[stream] = None

    def _forget_route(self, stream: Stream) -> None:
        self._data.pop(plain_key(DATA, stream.id), None)
        self._states.pop(plain_key(0, stream.id), None)

    def closed(self, stream: Stream, answer: bytes | None, now: float) -> None:
        """A stream is over."""
        if self._streams.get(stream.id) is stream:
            del self._streams[stream.id]
            self._retransmitted += stream.sender.retransmitted
            self._timed_out += stream.sender.timed_out
            self._forget_route(stream)
            if stream.connected:
                self.uses(stream.socket, -1)
        self._unlink(stream)
        if answer is not None:
            self._notes.add(stream.id, answer, stream.socket, stream.address, now)

    def _unlink(self, stream: Stream) -> None:
        """Nothing waits for a stream that is over; what was passed on through it has nowhere to go."""
        self._held.pop(stream, None)
        waiting = self._waiting.get(stream.socket, {})
        if stream in waiting:
            del waiting[stream]
            if not waiting:
                del self._waiting[stream.socket]
        if stream.relay is not None:
            self._sources.get(stream.relay, {}).pop(stream, None)
        for source in self._sources.pop(stream, ()):
            source.fail(StreamResetError())

    # The end.

    def end_all(self, problem: SpaceswarmError, now: float) -> None:
        """Destroy all streams; their owners are told why."""
        for stream in list(self._streams.values()):
            owner = stream.owner
            stream.destroy(now)
            if owner is not None:
                owner.stream_closed(problem)

    def close(self, now: float) -> None:
        """Destroy all streams, for good."""
        self.closed_for_good = True
        self.end_all(ClosedError("the node was closed"), now)
        self.turn(now)  # For those that were over already, and had not been told.
        self._notes.clear()
        self._deadlines.clear()
        self._waiting.clear()


def _nobody_counts(socket: int, change: int) -> None:
    """Whoever has one socket only need not know how many streams go over it."""
