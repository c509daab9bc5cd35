"""Muxes for tests: made in a line, read back frame by frame, and looked over after each step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from spaceswarm_proxy.proxy.mux import MAX_PIECES, Mux, MuxStream, Opened
from spaceswarm_proxy.proxy.wire import Event, EventType, Frame, FrameDecoder, encode, encode_data, encode_end

#: More than any control frame, and than what stands around the payload of a DATA frame.
FRAME_OVERHEAD = 16
TOPIC = bytes(range(32))


def make_mux(*, client: bool = False, windows: bool = False, replies: bool = False, **settings: Any) -> Mux:
    """:param settings: as :class:`Mux`'s; with ``windows``, the remote's is like ours unless ``remote_window`` says."""
    remote_window = settings.pop("remote_window", None)
    defaults = {"max_streams": 100, "window": 256 * 1024, "max_queued": 4 * 1024 * 1024, "max_frame": 1 << 20}
    mux = Mux(client=client, **{**defaults, **settings})
    mux.replies = replies
    if windows:
        mux.windows = True
        mux.remote_window = mux.window if remote_window is None else remote_window
    return mux


def opened(mux: Mux, stream_id: int = 0) -> MuxStream:
    """A stream of a mux of either end, with nothing left over from its opening."""
    if not mux.client:
        return mux.open()
    event = mux.receive(open_frame(stream_id))[0]
    assert isinstance(event, Opened)
    return event.stream


def open_frame(stream_id: int) -> bytes:
    """The server's announcement of a stream."""
    return encode(Event(EventType.ON_STREAM_OPEN, topic=TOPIC, peer=b"peer", stream=stream_id))


def close_frame(stream_id: int) -> bytes:
    """CLOSE."""
    return encode(Event(EventType.ON_STREAM_CLOSE, stream=stream_id))


def error_frame(stream_id: int, text: bytes = b"oh dear", code: str | None = None) -> bytes:
    """ERROR."""
    return encode(Event(EventType.ON_STREAM_ERROR, data=text, stream=stream_id, code=code))


def window_frame(stream_id: int, amount: int) -> bytes:
    """WINDOW."""
    return encode(Event(EventType.WINDOW, stream=stream_id, window=amount))


data_frame = encode_data
end_frame = encode_end


def sent(mux: Mux) -> list[Frame]:
    """Take the output, as the remote will understand it."""
    return FrameDecoder().feed(b"".join(mux.take_output()))


def sizes(frames: Iterable[Frame]) -> list[tuple[int, int]]:
    """The stream and payload length of each DATA frame with data."""
    return [(frame[0], len(frame[1])) for frame in frames if isinstance(frame, tuple)]


def payload(frames: Iterable[Frame]) -> bytes:
    """What the DATA frames carry, joined."""
    return b"".join(frame[1] for frame in frames if isinstance(frame, tuple))


def visit(mux: Mux) -> list[MuxStream]:
    """What the shell does first with the streams that have news."""
    touched, mux.touched = mux.touched, []
    for stream in touched:
        stream.touched = False
    return touched


def check_invariants(mux: Mux, known: Iterable[MuxStream] = ()) -> None:
    """
    What is true of a mux whatever has happened to it.

    :param known: streams that are over but hold something that was not consumed.
    """
    streams = {*mux.streams.values(), *known}
    ready = list(mux._ready)
    assert len(ready) == len(set(ready)), "a stream waits twice for its turn"
    assert streams.issuperset(ready)
    assert streams.issuperset(mux.stopped)
    assert mux.queued == sum(stream.queued for stream in mux.streams.values())
    assert mux.unread == sum(stream.debt - stream.consumed for stream in streams)
    written = sum(map(len, mux.output))
    assert written <= mux.output_size <= written + FRAME_OVERHEAD * len(mux.output)
    for stream in streams:
        assert stream.ready == (stream in ready)
        assert stream.ready == bool(stream.queued and stream.credit != 0), "ready is not: something to send, and credit"
        assert stream.source_stopped == (stream in mux.stopped)
        assert mux.touched.count(stream) == stream.touched
        check_stream(mux, stream)


def check_stream(mux: Mux, stream: MuxStream) -> None:
    """What is true of a single stream."""
    assert stream.queued == sum(map(len, stream.queue or ()))
    assert stream.credit is None or stream.credit >= 0
    assert 0 <= stream.consumed <= stream.debt
    assert sum(map(len, stream.inbound)) <= stream.debt - stream.consumed
    assert len(stream.inbound) <= MAX_PIECES
    assert stream.closed == (mux.streams.get(stream.id) is not stream)
    if mux.windows:
        assert stream.debt <= mux.window or stream.closed
    if stream.closed:
        assert stream.queue is None and not stream.source_stopped
    if stream.close_wanted:
        assert not stream.inbound
    if stream.ended:
        assert stream.end_wanted and not stream.queued
