"""
Frames and events: the bytes of the proxy protocol (``docs/protocol.md``, sections 1 and 2).

The layout is written once, as a grammar (:data:`FRAME`, :data:`SWARM_EVENT`).  It is the reference, and too slow for
a link: beside it stand :func:`encode`, :func:`decode` and :class:`FrameDecoder`, by hand, which the tests hold equal
to it.  Nothing here knows of time, sockets or streams; whatever a remote can send gives events or one
:class:`~spaceswarm_proxy.errors.ProtocolError`.

Nearly all traffic is DATA, written by every peer we know in one order of fields, so that is the layout which
:class:`FrameDecoder` reads without a call or an object of its own for each frame.
"""

from __future__ import annotations

from functools import lru_cache

from construct import Construct, Prefixed

from spaceswarm_proxy.codec.varint import Varint, encode_varint
from spaceswarm_proxy.errors import FrameError, ProtocolError
from spaceswarm_proxy.proxy.event import (
    SWARM_EVENT,
    Event,
    EventType,
    check_semantics,
    decode_body,
    encode_blob,
    encode_body,
    encode_int32,
    grammar_decode,
    read_varint,
    tell_problem,
    to_int32,
    told_problem,
)

__all__ = [
    "FRAME",
    "MAX_FRAME",
    "SWARM_EVENT",
    "Event",
    "EventType",
    "Frame",
    "FrameDecoder",
    "check_semantics",
    "data_header",
    "data_trailer",
    "decode",
    "encode",
    "encode_bare",
    "encode_data",
    "encode_end",
    "encode_open",
    "grammar_decode",
    "grammar_encode",
    "tell_problem",
    "told_problem",
]

#: The largest body that is read unless configured: a JavaScript peer makes one frame of each application write.
MAX_FRAME = 16 * 1024 * 1024 + 1024
#: Most bytes that a frame's length may take.
LENGTH_LIMIT = 5
#: What :meth:`FrameDecoder.feed` gives: ``(stream, payload)`` for DATA with data, for all else the event.
Frame = tuple[int, bytes] | Event


FRAME: Construct = Prefixed(Varint(LENGTH_LIMIT), SWARM_EVENT)
"""
A whole frame, as an :class:`Event`::

    +---------------+--------------------+
    | length varint | body, length bytes |
    +---------------+--------------------+
      1 to 5 bytes    SWARM_EVENT
"""


def grammar_encode(event: Event) -> bytes:
    """The same as :func:`encode`, by the grammar: slow, for reference."""
    return FRAME.build(event)


def encode(event: Event) -> bytes:
    """
    :returns: the whole frame, with its length; fields in the order of their numbers.
    :raises ValueError: a number is out of range.
    """
    return encode_blob(encode_body(event))


def decode(body: bytes | memoryview) -> Event:
    """
    :param body: a whole frame without its length.
    :raises EventError: as :func:`~spaceswarm_proxy.proxy.event.decode_body`.
    """
    return decode_body(body, 0, len(body))


@lru_cache(maxsize=1024)
def data_header(length: int, trailer_length: int) -> bytes:
    """
    What stands before the payload of a DATA frame; cached, as lengths repeat.

    :param length: the payload's, in bytes.
    :param trailer_length: that of :func:`data_trailer`'s bytes.
    """
    key_and_length = b"\x1a" + encode_varint(length)
    return encode_varint(2 + len(key_and_length) + length + trailer_length) + b"\x08\x06" + key_and_length


def data_trailer(stream: int) -> bytes:
    """
    What stands after the payload of a DATA frame: the stream's id.  A sender keeps it for as long as the stream lives.

    :raises ValueError: the id is not an int32.
    """
    return b"\x28" + encode_int32(stream)


def encode_data(stream: int, payload: bytes) -> bytes:
    """
    One DATA frame.  For a large payload, write header, payload and trailer without putting them together.

    :param payload: any bytes-like.
    """
    trailer = data_trailer(stream)
    return b"".join((data_header(len(payload), len(trailer)), payload, trailer))


def encode_end(stream: int) -> bytes:
    """The frame that ends a stream's data: DATA without a data field."""
    return encode_blob(b"\x08\x06" + data_trailer(stream))


def encode_bare(kind: int, trailer: bytes) -> bytes:
    """
    A frame that says nothing but which stream it is about: CLOSE, or DATA as the end of data.

    :param kind: an event type below 128.
    :param trailer: from :func:`data_trailer`.
    """
    return bytes((2 + len(trailer), 8, kind)) + trailer


def encode_open(topic: bytes, peer: bytes, trailer: bytes, request: int | None, handshake: int | None = None) -> bytes:
    """
    ON_STREAM_OPEN, one for every stream: four times as fast as by :func:`encode`.

    :param topic: shorter than 128 bytes.
    :param trailer: from :func:`data_trailer`.
    """
    asked = b"" if request is None else b"\x88\x01" + encode_varint(request)
    if handshake is not None:
        asked += b"\xb8\x01" + encode_varint(handshake)
    return encode_blob(b"\x08\x04\x12%c%b\x22%b%b%b" % (len(topic), topic, encode_blob(peer), trailer, asked))


def _read_frame(data: bytes | memoryview, start: int, end: int) -> Frame:
    event = decode_body(data, start, end)
    if event.type == EventType.ON_STREAM_DATA and event.data is not None:
        return event.stream or 0, event.data
    return event


@lru_cache(maxsize=1024)
def _stream_of(trailer: bytes) -> int | None:
    """The id in a trailer of 3 to 6 bytes, or ``None`` where it is something else; cached, as streams repeat."""
    if trailer[0] != 0x28 or trailer[-1] >= 0x80:
        return None
    value, end = read_varint(trailer, 1, len(trailer))
    return to_int32(value) if end == len(trailer) else None


def _read_length(data: bytes | memoryview, pos: int, size: int, limit: int) -> tuple[int, int] | None:
    """
    :returns: where the body of the frame at ``pos`` begins and ends, or ``None`` as long as its length is unfinished.
    :raises FrameError: ``length-too-long``, ``frame-too-large``.
    """
    length = shift = 0
    for index in range(pos, min(size, pos + LENGTH_LIMIT)):
        byte = data[index]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            if length > limit:
                raise FrameError("frame-too-large", f"{length} bytes, {limit} are allowed")
            return index + 1, index + 1 + length
        shift += 7
    if size - pos >= LENGTH_LIMIT:
        raise FrameError("length-too-long", bytes(data[pos : pos + LENGTH_LIMIT]).hex())
    return None


class FrameDecoder:
    """
    Cuts a byte stream into frames, however it comes in pieces.

    It holds nothing between whole frames; of an unfinished one, only the bytes that have come.
    """

    __slots__ = ("_buffer", "_failed", "_max_frame", "_needed")

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        """
        :param max_frame: the longest body that is taken, in bytes; not below 127, the longest that needs no check.
        """
        if max_frame < 0x7F:
            raise ValueError(f"a frame limit of {max_frame} is below 127")
        self._max_frame = max_frame
        #: An unfinished frame, with its length.
        self._buffer: bytearray | None = None
        #: How long it will be; known as soon as it has more bytes than a length may.
        self._needed = 0
        self._failed: tuple[type[ProtocolError], str, str] | None = None

    @property
    def buffered(self) -> int:
        """How many bytes of an unfinished frame are held."""
        return 0 if self._buffer is None else len(self._buffer)

    def feed(self, chunk: bytes) -> list[Frame]:
        """
        Take the next bytes.

        :returns: every frame that they complete, in order: ``(stream, payload)`` for DATA with data, an
            :class:`Event` for all else.
        :raises FrameError: ``length-too-long``, ``frame-too-large``.
        :raises EventError: as :func:`decode`.  The frames before the bad one are in the exception's ``decoded``.
            There is no way to go on: the next call raises the same, with nothing ``decoded``.
        """
        if self._failed is not None:
            cls, kind, detail = self._failed
            raise cls(kind, detail)
        frames: list[Frame] = []
        try:
            self._scan(*self._resume(chunk, frames), frames)
        except ProtocolError as problem:
            self._failed = type(problem), problem.kind, problem.detail
            self._buffer = None
            problem.decoded = frames
            raise
        return frames

    def _resume(self, chunk: bytes, frames: list[Frame]) -> tuple[bytes, int]:
        """Go on with the unfinished frame.  :returns: what to scan, and from where."""
        buffer = self._buffer
        if buffer is None:
            return chunk, 0
        if len(buffer) <= LENGTH_LIMIT:  # Hardly more than a length: JavaScript peers write that apart from the body.
            self._buffer = None
            return b"".join((buffer, chunk)), 0
        missing = self._needed - len(buffer)
        buffer += chunk[:missing]
        if len(chunk) < missing:
            return chunk, len(chunk)
        self._buffer = None
        self._take(memoryview(buffer), 0, frames)
        return chunk, missing

    def _scan(self, chunk: bytes, pos: int, frames: list[Frame]) -> None:
        """
        Take all frames from ``pos`` on, and hold what is left over.

        The hot path: some 0.4 us for a DATA frame of the usual layout
        (``length | 08 06 1a length payload 28 stream``).  It recognizes that and leaves all else to :meth:`_take`.
        """
        size = len(chunk)
        safe = size - 10  # Before here, two lengths of 3 bytes and 3 keys are in the chunk: no need to ask each time.
        limit = self._max_frame
        append = frames.append
        while pos < safe:
            start = pos + 1
            length = chunk[pos]
            if length >= 0x80:
                length += (chunk[start] << 7) - 0x80
                start += 1
                if length >= 0x4000:
                    length += (chunk[start] << 14) - 0x4000
                    start += 1
                if length >= 0x200000 or length > limit:
                    pos = self._take(chunk, pos, frames)
                    continue
            end = start + length
            if end <= size and chunk[start] == 0x08 and chunk[start + 1] == 0x06 and chunk[start + 2] == 0x1A:
                count = chunk[start + 3]
                start += 4
                if count >= 0x80:
                    count += (chunk[start] << 7) - 0x80
                    start += 1
                    if count >= 0x4000:
                        count += (chunk[start] << 14) - 0x4000
                        start += 1
                stop = start + count
                if stop + 2 == end and chunk[stop] == 0x28 and chunk[stop + 1] < 0x80:
                    append((chunk[stop + 1], chunk[start:stop]))
                    pos = end
                    continue
                if 2 < end - stop <= 6:
                    stream = _stream_of(chunk[stop:end])
                    if stream is not None:
                        append((stream, chunk[start:stop]))
                        pos = end
                        continue
            elif not length:
                pos = start
                continue
            pos = self._take(chunk, pos, frames)
        while pos < size:
            pos = self._take(chunk, pos, frames)

    def _take(self, data: bytes | memoryview, pos: int, frames: list[Frame]) -> int:
        """
        Take one frame of any kind, or hold it when it is not all there.

        :returns: where the next one begins.
        """
        size = len(data)
        found = _read_length(data, pos, size, self._max_frame)
        if found is not None:
            start, end = found
            if end <= size:
                if start < end:
                    frames.append(_read_frame(data, start, end))
                return end
            self._needed = end - pos
        self._buffer = bytearray(memoryview(data)[pos:])
        return size
