"""
Many streams in one link: the pure core of both ends of the proxy.

Bytes of the link go in at :meth:`Mux.receive` and come out of :attr:`Mux.output`; what a stream is owed waits on the
stream.  There is no socket here, no timer and no callback.  The shell around it does four things:

* after :meth:`Mux.receive`, it acts on the events returned, then visits every stream of :attr:`Mux.touched` once;
* it writes :attr:`Mux.output` to the transport whenever it has called something here;
* it tells the mux when the link's transport is full (:attr:`Mux.writable`), and when it no longer is;
* it calls :meth:`Mux.pump` when the transport takes data again and, as long as it does, after each ``receive`` and each
  taking of the output that leave something in :attr:`Mux.queued` or :attr:`Mux.stopped`.

**Outgoing.** While the link takes data and nobody waits, what a stream sends goes straight to the output.  Otherwise
it waits in the stream's own queue, and the streams take turns, a frame each (:data:`MAX_PAYLOAD`): a bulk stream delays
another's message by one frame, not by its backlog.  :meth:`Mux.send` answers ``False`` once a stream has queued
:data:`STREAM_HIGH_WATER` (or all together :attr:`Mux.max_queued`): the stream's source is to stop, and
:meth:`Mux.pump` returns it when it may go on.  Small control frames do not queue; what of them piles up while the link
is full has a limit of its own (:data:`MAX_CONTROL_BACKLOG`), because a remote can cause them and then not read them.

**Incoming.** What arrives waits on its stream until the reader takes it.  Where windows were agreed, a stream's sender
stops by itself at zero credit, and credit is given back on *consumption*.  A sender that goes on regardless loses the
stream.  Without windows the shell must stop reading the link when :attr:`MuxStream.debt` passes its bound.

**Ends.** Each direction of a stream ends by the end-of-data marker.  A stream is over (and forgotten, its number is
never used again) when CLOSE or ERROR has been sent or received.  When both directions have ended, the server sends
CLOSE; a client waits for that.  CLOSE that arrives lets everything before it be read first.

Invariants (``tests/proxy/test_mux.py`` checks them after every step): a stream waits for its turn once or not at all,
exactly when it has something queued and credit to send it; ``queued`` is the sum over the streams, ``unread`` that of
what has arrived and was not consumed, over those that are over too; a stopped source's stream is in ``stopped``; what
is over holds no queue; nothing of a stream is sent after its end, and nothing is accepted after the remote's.
"""

from __future__ import annotations

from collections import deque

from spaceswarm_proxy.errors import (
    EventError,
    LimitError,
    ProtocolError,
    StreamResetError,
    WindowError,
    from_code,
    to_code,
)
from spaceswarm_proxy.proxy.mux_stream import MuxStream, Opened
from spaceswarm_proxy.proxy.wire import (
    Event,
    EventType,
    Frame,
    FrameDecoder,
    check_semantics,
    data_header,
    encode,
    encode_bare,
)

__all__ = [
    "MAX_CONTROL_BACKLOG",
    "MAX_CREDIT",
    "MAX_PAYLOAD",
    "MAX_PIECES",
    "MAX_STREAM_ID",
    "OUTPUT_HIGH_WATER",
    "STREAM_HIGH_WATER",
    "STREAM_LOW_WATER",
    "Mux",
    "MuxStream",
    "Opened",
]

#: The most payload in one frame that we send: what a small message of another stream may have to wait for.
MAX_PAYLOAD = 64 * 1024
#: A payload up to this is put together with its frame at once: cheaper than three pieces.
JOIN_BELOW = 1024
#: What may go to the link's transport before it has said whether it is full: two frames.
OUTPUT_HIGH_WATER = 128 * 1024
#: A source is stopped when its stream has this much waiting, and started again below the second.
STREAM_HIGH_WATER = 64 * 1024
STREAM_LOW_WATER = 16 * 1024
#: What waits for a stream's reader are no more pieces than this; small ones are joined, as each costs some 50 bytes.
MAX_PIECES = 256
#: Bytes of control frames that may wait for a link that takes nothing.
MAX_CONTROL_BACKLOG = 1024 * 1024
#: Stream numbers are a signed 32-bit integer on the wire; they count upwards and never wrap.
MAX_STREAM_ID = 2**31 - 1
#: Credit beyond this is a remote that can't count.
MAX_CREDIT = 2**53

_OPEN = EventType.ON_STREAM_OPEN
_CLOSE = EventType.ON_STREAM_CLOSE
_DATA = EventType.ON_STREAM_DATA
_ERROR = EventType.ON_STREAM_ERROR
_WINDOW = EventType.WINDOW


class Mux:
    """The streams of one link, seen from one of its ends."""

    def __init__(self, *, client: bool, max_streams: int, window: int, max_queued: int, max_frame: int) -> None:
        """
        :param client: which end this is: a client is told of streams by ON_STREAM_OPEN, a server makes them
            (:meth:`open`).
        :param max_streams: more than this at once are refused.
        :param window: bytes that a remote may send on a stream before some are consumed (where windows are agreed).
        :param max_queued: bytes waiting to be sent, over all streams, at which who adds to them is stopped.
        :param max_frame: bytes, the longest frame accepted.
        """
        self.decoder = FrameDecoder(max_frame)
        self.streams: dict[int, MuxStream] = {}
        #: Streams with news, each once; the shell visits and clears them after ``receive``.
        self.touched: list[MuxStream] = []
        #: What is to be written to the link, in order.
        self.output: list[bytes] = []
        self.output_size = 0
        #: Does the link's transport take data?
        self.writable = True
        #: Bytes waiting in all streams' queues.
        self.queued = 0
        #: Streams whose sources were told to stop, and not yet to go on.
        self.stopped: set[MuxStream] = set()
        #: The remote's offence, after which it is not listened to.
        self.violation: ProtocolError | LimitError | None = None
        #: Bytes that have arrived and that no reader has used yet, over all streams.
        self.unread = 0
        #: Were windows agreed on?
        self.windows = False
        #: Were replies?  Without them a server is sent no ERROR: a JavaScript one would die of it.
        self.replies = False
        #: What a stream of the remote's accepts at first; ``None`` without windows.
        self.remote_window: int | None = None
        self.client = client
        self.max_streams = max_streams
        self.window = window
        self.max_queued = max_queued
        self._ready: deque[MuxStream] = deque()
        self._next_id = 0
        self._control_backlog = 0

    # What arrives.

    def receive(self, data: bytes) -> list[Event | Opened]:
        """
        Take what the link delivered.

        :param data: any piece of the byte stream.
        :returns: the events that are not about a stream's data, in order; ``touched`` then holds the streams with
            news.  After the remote broke the protocol, ``violation`` is set, and what came before that is still here.
        """
        if self.violation is not None:
            return []
        try:
            frames = self.decoder.feed(data)
        except ProtocolError as problem:
            self.violation = problem
            frames = problem.decoded
        events = self._dispatch(frames)
        for stream in self.touched:
            if len(stream.inbound) > MAX_PIECES:
                stream.inbound = [b"".join(stream.inbound)]
        return events

    def _dispatch(self, items: list[Frame]) -> list[Event | Opened]:
        events: list[Event | Opened] = []
        streams = self.streams
        touched = self.touched
        arrived = 0  # until it is added below, ``unread`` can be too small
        for item in items:
            if item.__class__ is tuple:
                stream_id, payload = item
                stream = streams.get(stream_id)
                if stream is None or stream.remote_ended:
                    continue
                if not stream.touched:
                    stream.touched = True
                    touched.append(stream)
                stream.inbound.append(payload)
                size = len(payload)
                arrived += size
                stream.debt += size
                if stream.debt > self.window and self.windows:
                    self.reset(stream, WindowError(f"more than {self.window} bytes on a stream"))
                elif stream.close_wanted:
                    self.discard(stream)
            else:
                try:
                    self._event(item, events)  # type: ignore[arg-type]
                except ProtocolError as problem:
                    self.violation = problem
                    break
        self.unread += arrived
        return events

    def _event(self, event: Event, events: list[Event | Opened]) -> None:
        check_semantics(event)
        kind = event.type
        if kind == _OPEN:
            self._opened(event, events)
        elif kind == _CLOSE or kind == _ERROR or kind == _DATA or kind == _WINDOW:
            stream = self.streams.get(event.stream or 0)
            if stream is None:
                return
            if kind == _WINDOW:
                self._granted(stream, event.window or 0)
                return
            stream.remote_ended = True
            if kind != _DATA:
                self._forget(stream)
            if kind == _ERROR:
                self.discard(stream)
                text = (event.data or b"").decode("utf-8", "replace")
                stream.error = from_code(event.code, text) if event.code else StreamResetError(text)
            self._touch(stream)
        else:
            events.append(event)

    def _opened(self, event: Event, events: list[Event | Opened]) -> None:
        if not self.client:
            return  # nothing that a client may say; the JavaScript server ignores it too
        stream_id = event.stream or 0
        if stream_id in self.streams:
            raise EventError("stream-id-reused", str(stream_id))
        stream = MuxStream(stream_id, self.remote_window)
        self.streams[stream_id] = stream
        events.append(Opened(event, stream))
        if len(self.streams) > self.max_streams:
            self.reset(stream, LimitError("max_streams", self.max_streams))

    def _touch(self, stream: MuxStream) -> None:
        if not stream.touched:
            stream.touched = True
            self.touched.append(stream)

    def _granted(self, stream: MuxStream, amount: int) -> None:
        if stream.credit is None:
            return
        stream.credit += amount
        if stream.credit > MAX_CREDIT:
            raise EventError("window-overflow", str(stream.credit))
        self._enqueue(stream)

    # What is read.

    def take(self, stream: MuxStream) -> bytes:
        """
        Everything that has arrived on a stream, and the promise that it is consumed: credit goes back for it.

        :returns: one piece; empty if there is nothing.
        """
        inbound = stream.inbound
        if not inbound:
            return b""
        data = inbound[0] if len(inbound) == 1 else b"".join(inbound)
        stream.inbound = []
        self.consume(stream, len(data))
        return data

    def discard(self, stream: MuxStream) -> None:
        """Use up what has arrived without looking at it."""
        if stream.inbound:
            self.consume(stream, sum(map(len, stream.inbound)))
            stream.inbound = []

    def consume(self, stream: MuxStream, count: int) -> None:
        """Say that ``count`` bytes that were taken out of ``stream.inbound`` have been used."""
        self.unread -= count
        if not self.windows:
            stream.debt -= count
            return
        stream.consumed += count
        # A frame costs as much as 10 KiB of payload.  One for each half of a window is rare enough, and stops no
        # sender.
        if 2 * stream.consumed >= self.window and not stream.remote_ended and not stream.closed:
            self.control(Event(_WINDOW, stream=stream.id, window=stream.consumed))
            stream.debt -= stream.consumed
            stream.consumed = 0

    # What is sent.

    def open(self) -> MuxStream:
        """
        A new stream (the server's end); the caller sends its ON_STREAM_OPEN.

        :raises LimitError: there are ``max_streams`` of them, or the link has used up all numbers.
        """
        if len(self.streams) >= self.max_streams:
            raise LimitError("max_streams", self.max_streams)
        stream = MuxStream(self.next_id(), self.remote_window)
        self.streams[stream.id] = stream
        return stream

    def next_id(self) -> int:
        """
        A stream number that was never used before on this link, and is used up now.

        :raises LimitError: there are none left.
        """
        if self._next_id > MAX_STREAM_ID:
            raise LimitError("stream_ids", MAX_STREAM_ID)
        self._next_id += 1
        return self._next_id - 1

    def send(self, stream: MuxStream, data: bytes) -> bool:
        """
        Send payload, or queue it.

        :returns: ``False`` when the stream's source is to stop until :meth:`pump` returns the stream.
        """
        size = len(data)
        if stream.closed or stream.end_wanted or not size:
            return True
        credit = stream.credit
        if (
            size <= MAX_PAYLOAD
            and self.writable
            and not self._ready  # so nothing of this stream is queued either, unless it has no credit
            and (credit is None or credit >= size)
            and self.output_size < OUTPUT_HIGH_WATER
        ):
            if credit is not None:
                stream.credit = credit - size
            trailer = stream.trailer
            header = data_header(size, len(trailer))
            if size <= JOIN_BELOW:
                self.output.append(header + data + trailer)
            else:
                self.output += (header, data, trailer)
            self.output_size += size + 16
            return True
        return self._queue(stream, data, size)

    def _queue(self, stream: MuxStream, data: bytes, size: int) -> bool:
        if stream.queue is None:
            stream.queue = deque()
        if size <= MAX_PAYLOAD:
            stream.queue.append(data)
        else:
            stream.queue.extend(data[start : start + MAX_PAYLOAD] for start in range(0, size, MAX_PAYLOAD))
        stream.queued += size
        self.queued += size
        self._enqueue(stream)
        if self.writable:
            self._turns()
        if stream.queued >= STREAM_HIGH_WATER or (stream.queued and self.queued >= self.max_queued):
            stream.source_stopped = True
            self.stopped.add(stream)
        return not stream.source_stopped

    def _enqueue(self, stream: MuxStream) -> None:
        if stream.queued and stream.credit != 0 and not stream.ready:
            stream.ready = True
            self._ready.append(stream)

    def pump(self) -> list[MuxStream]:
        """
        Move what waits to the output, as far as the link takes it.

        :returns: the streams whose sources were told to stop, and may go on.
        """
        if self.writable:
            self._control_backlog = 0
            self._turns()
        if not self.stopped:
            return []
        # When all together have too much, those of which nothing waits are not to blame.
        enough = STREAM_LOW_WATER if self.queued < self.max_queued else 0
        freed = [stream for stream in self.stopped if stream.queued <= enough]
        for stream in freed:
            stream.source_stopped = False
            self.stopped.discard(stream)
        return freed

    def _turns(self) -> None:
        """One frame of each stream that waits, in turn, until the output is full."""
        ready = self._ready
        while ready and self.output_size < OUTPUT_HIGH_WATER:
            stream = ready.popleft()
            stream.ready = False
            self._one_frame(stream)
            if stream.queued:
                self._enqueue(stream)
            else:
                self._drained(stream)

    def _one_frame(self, stream: MuxStream) -> None:
        queue = stream.queue
        assert queue  # it has something queued
        size = MAX_PAYLOAD if stream.credit is None else min(MAX_PAYLOAD, stream.credit)
        parts: list[bytes] = []
        room = size
        while queue and room:
            data = queue.popleft()
            if len(data) > room:
                queue.appendleft(data[room:])
                data = data[:room]
            parts.append(data)
            room -= len(data)
        count = size - room
        stream.queued -= count
        self.queued -= count
        if stream.credit is not None:
            stream.credit -= count
        self.output += (data_header(count, len(stream.trailer)), *parts, stream.trailer)
        self.output_size += count + 16

    def control(self, event: Event) -> None:
        """
        Send an event that is not payload, at once.

        When the remote has let more than :data:`MAX_CONTROL_BACKLOG` pile up, ``violation`` says so.
        """
        self.control_frame(encode(event))

    def control_frame(self, frame: bytes) -> None:
        """:meth:`control`, of a frame that is encoded already."""
        self.output.append(frame)
        self.output_size += len(frame)
        if not self.writable:
            self._control_backlog += len(frame)
            if self._control_backlog > MAX_CONTROL_BACKLOG and self.violation is None:
                self.violation = LimitError("max_control_backlog", MAX_CONTROL_BACKLOG)

    def take_output(self) -> list[bytes]:
        """What is to be written to the link now."""
        output, self.output = self.output, []
        self.output_size = 0
        return output

    # How streams end.

    def end(self, stream: MuxStream) -> None:
        """Send the end of data after what is queued; the other direction goes on.  A visit tells that it is done."""
        if not stream.end_wanted:
            stream.end_wanted = True
            self._drained(stream)

    def cut(self, stream: MuxStream) -> None:
        """Send the end of data at once; what is queued is lost, and what has arrived used up unseen."""
        stream.end_wanted = True
        self._drop_queue(stream)
        self.discard(stream)
        self._drained(stream)

    def close(self, stream: MuxStream) -> None:
        """
        End both directions after what is queued has been sent: CLOSE.  A visit tells that it is done.

        Nothing more is read: what has arrived and what still does is used up unseen.
        """
        stream.end_wanted = stream.close_wanted = True
        self.discard(stream)
        self._drained(stream)

    def reset(self, stream: MuxStream, error: Exception) -> None:
        """
        End a stream at once with an error (or, to who cannot take one, with CLOSE); what is queued is lost.

        Its owner learns of it by a visit, as when the remote had done it.
        """
        if stream.closed:
            return
        if self.replies or not self.client:
            code, text = to_code(error)
            self.control(Event(_ERROR, data=text.encode(), stream=stream.id, code=code if self.replies else None))
        else:
            self.control(Event(_CLOSE, stream=stream.id))
        stream.error = error
        stream.remote_ended = True
        self.discard(stream)
        self._forget(stream)
        self._touch(stream)

    def _drained(self, stream: MuxStream) -> None:
        """Nothing of the stream is queued (or is it?): send the ends that were asked for."""
        if stream.queued or stream.closed:
            return
        if stream.close_wanted:
            self.control_frame(encode_bare(_CLOSE, stream.trailer))
            self._forget(stream)
            if stream.tell_done:
                self._touch(stream)
        elif stream.end_wanted and not stream.ended:
            stream.ended = True
            if stream.tell_done:
                self._touch(stream)
            self.control_frame(encode_bare(_DATA, stream.trailer))

    def _forget(self, stream: MuxStream) -> None:
        stream.closed = True
        self.streams.pop(stream.id, None)
        self._drop_queue(stream)

    def _drop_queue(self, stream: MuxStream) -> None:
        self.queued -= stream.queued
        stream.queued = 0
        stream.queue = None
        if stream.ready:
            stream.ready = False
            self._ready.remove(stream)
        if stream.source_stopped:
            stream.source_stopped = False
            self.stopped.discard(stream)

    def abandon(self, error: Exception) -> list[MuxStream]:
        """
        The link is gone.

        :returns: the streams to visit for the last time: each that was open is over now, with ``error``; others were
            over before, and have not been visited since.
        """
        for stream in list(self.streams.values()):
            stream.error = error
            stream.remote_ended = True
            self._forget(stream)
            self._touch(stream)
        touched, self.touched = self.touched, []
        for stream in touched:
            stream.touched = False
        return touched
