"""Tests of spaceswarm_proxy.proxy.wire."""

from __future__ import annotations

import sys
from hashlib import sha256
from itertools import pairwise
from typing import Any
from unittest import mock

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.varint import encode_varint
from spaceswarm_proxy.errors import EventError, FrameError, ProtocolError
from spaceswarm_proxy.proxy import wire
from spaceswarm_proxy.proxy.wire import (
    FRAME,
    MAX_FRAME,
    Event,
    EventType,
    Frame,
    FrameDecoder,
    check_semantics,
    data_header,
    data_trailer,
    decode,
    encode,
    encode_bare,
    encode_data,
    encode_end,
    encode_open,
    grammar_encode,
)
from tests.proxy.strategies import VECTORS, bodies, events, payloads, stream_ids

#: Lengths that JavaScript takes, or dies of, and we refuse: docs/protocol.md, section 1.
REFUSED_CHUNKS = {
    "a length in 11 bytes": "length-too-long",
    "100 byte length prefix": "length-too-long",
    "101 byte length prefix": "length-too-long",
    "length 2^32 + 1": "frame-too-large",
    "length 2^53": "length-too-long",
    "length 2^63 in 10 bytes": "length-too-long",
}

#: What clients sent to a JavaScript server and we close the link for.  It left it open without another answer, or
#: ended; what it took are the topics of other lengths and the field that overruns.
REFUSED_SENDS = {
    "JOIN without topic": "no-topic",
    "JOIN with an empty topic": "bad-topic",
    "JOIN with a 33 byte topic": "bad-topic",
    "LEAVE without topic": "no-topic",
    "frame without type": "no-type",
    "group wire type": "group",
    "wire type 6": "bad-wire-type",
    "varint cut off inside a frame": "varint-cut",
    "data field longer than the frame, unknown stream": "field-overruns",
    "length 2^31": "frame-too-large",
    "length 2^32": "frame-too-large",
    "length 5 * 2^30": "frame-too-large",
    "length 2^53": "length-too-long",
    "length 2^63 in 10 bytes": "length-too-long",
    "120 continuation bytes": "length-too-long",
    "ERROR without data": "no-error-data",
}


def read(chunks: list[bytes], decoder: FrameDecoder | None = None) -> tuple[list[Frame], str | None]:
    """All frames of some chunks, up to the first violation, and its kind."""
    decoder = decoder or FrameDecoder()
    frames: list[Frame] = []
    for chunk in chunks:
        try:
            frames += decoder.feed(chunk)
        except ProtocolError as problem:
            return frames + problem.decoded, problem.kind
    return frames, None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data, cut at these places."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def as_frame(body: bytes) -> Frame:
    """What a decoder should give for a body, by way of the plain decode."""
    event = decode(body)
    if event.type == EventType.ON_STREAM_DATA and event.data is not None:
        return event.stream or 0, event.data
    return event


def meant(event: dict[str, Any]) -> Event:
    """The event that a frame vector says it is."""
    fields = dict(event)
    if "data_fill" in fields:
        fields["data"] = bytes(k % 251 for k in range(fields.pop("data_fill"))).hex()
    for name in fields.keys() & {"topic", "data"}:
        fields[name] = bytes.fromhex(fields[name])
    if "peer" in fields:
        fields["peer"] = fields["peer"].encode()
    return Event(**fields)


class FrameVectorTests(SynchronousTestCase):
    """The frames that the JavaScript stream object writes."""

    def test_frames(self) -> None:
        """We write every one the same to the byte, and read back what was meant."""
        without_frame = []
        for row in VECTORS["frames"]:
            event = meant(row["event"])
            if "error" in row:
                without_frame.append(row["name"])
                continue
            frame = encode(event)
            self.assertEqual(grammar_encode(event), frame, row["name"])
            self.assertEqual(FRAME.parse(frame), event, row["name"])
            self.check_bytes(row, frame)
            expected = [as_frame(frame[row["writes"][0] :])]
            self.assertEqual(read([frame]), (expected, None), row["name"])
            if isinstance(expected[0], Event):
                self.assertEqual(expected, [event], row["name"])
            else:
                self.assertEqual(expected, [(event.stream, event.data)], row["name"])
                self.assertEqual(encode_data(*expected[0]), frame)
        # JavaScript's published table has no number for ON_UPDATED, so it cannot write it; the row after has it.
        self.assertEqual(without_frame, ["updated as published (the number is missing from the message table)"])

    def check_bytes(self, row: dict[str, Any], frame: bytes) -> None:
        if "frame" in row:
            self.assertEqual(frame.hex(), row["frame"], row["name"])
        else:
            self.assertEqual(len(frame), row["frame_length"], row["name"])
            self.assertEqual(sha256(frame).hexdigest(), row["frame_sha256"], row["name"])
            self.assertEqual(frame[:24].hex(), row["frame_head"], row["name"])
            self.assertEqual(frame[-24:].hex(), row["frame_tail"], row["name"])

    def test_two_writes(self) -> None:
        """A length and a body that come apart, as JavaScript writes them, make the same frames."""
        for row in VECTORS["frames"]:
            if "frame" in row:
                frame = bytes.fromhex(row["frame"])
                prefix = row["writes"][0]
                self.assertEqual(read([frame[:prefix], frame[prefix:]]), read([frame]), row["name"])


class ChunkVectorTests(SynchronousTestCase):
    """The chunks that were given to the JavaScript length decoder."""

    def test_chunks(self) -> None:
        """We find the same frames in them, but for the lengths in the table above."""
        for row in VECTORS["chunks"]:
            name = row["name"]
            if "chunks" in row:
                chunks = [bytes.fromhex(chunk) for chunk in row["chunks"]]
            else:
                chunks = [bytes([byte]) for byte in bytes.fromhex(row["chunks_of_one_byte"])]
            if name in REFUSED_CHUNKS:
                self.assertEqual(read(chunks), ([], REFUSED_CHUNKS[name]), name)
            else:
                self.assertNotIn("error", row, name)
                self.assertEqual(read(chunks), ([as_frame(bytes.fromhex(b)) for b in row["bodies"]], None), name)

    def test_table(self) -> None:
        """Each deviation is one of a vector that exists."""
        self.assertLessEqual(REFUSED_CHUNKS.keys(), {row["name"] for row in VECTORS["chunks"]})


class ServerVectorTests(SynchronousTestCase):
    """What clients sent to the real JavaScript server."""

    def test_sends(self) -> None:
        """Each gives events, or a protocol error of the kind in the table above."""
        names = set()
        for row in VECTORS["server"]:
            names.add(row["name"])
            sends = [
                bytes.fromhex(send["repeat"]) * send["times"] if isinstance(send, dict) else bytes.fromhex(send)
                for send in row["sends"]
            ]
            frames, kind = read(sends)
            for frame in frames:
                if isinstance(frame, Event):
                    try:
                        check_semantics(frame)
                    except EventError as problem:
                        kind = problem.kind
            self.assertEqual(kind, REFUSED_SENDS.get(row["name"]), row["name"])
            if kind is None:
                self.assertEqual(len(frames), sum(any(send) for send in sends), row["name"])
        self.assertLessEqual(REFUSED_SENDS.keys(), names)


class DataTests(SynchronousTestCase):
    """DATA frames are written in parts, or whole."""

    @settings(deadline=None, max_examples=80)
    @given(stream_ids, payloads)
    def test_parts(self, stream: int, payload: bytes) -> None:
        """Header, payload and trailer make the frame, which is that of the event."""
        frame = encode_data(stream, payload)
        trailer = data_trailer(stream)
        self.assertEqual(data_header(len(payload), len(trailer)) + payload + trailer, frame)
        self.assertEqual(frame, encode(Event(EventType.ON_STREAM_DATA, data=payload, stream=stream)))
        self.assertEqual(encode_data(stream, memoryview(payload)), frame)
        self.assertEqual(read([frame]), ([(stream, payload)], None))

    @settings(deadline=None, max_examples=30)
    @given(stream_ids)
    def test_end(self, stream: int) -> None:
        """The end of data is DATA without data, and comes as an event."""
        event = Event(EventType.ON_STREAM_DATA, stream=stream)
        self.assertEqual(encode_end(stream), encode(event))
        self.assertEqual(read([encode_end(stream)]), ([event], None))

    def test_every_length_of_a_length(self) -> None:
        """Payloads around each step of the lengths' sizes come through, at every size of the stream's id."""
        for size in (0, 1, 120, 121, 122, 127, 128, 16370, 16376, 16377, 16383, 16384, 2097140, 2097151, 2097152):
            payload = bytes(size)
            for stream in (0, 127, 128, 16383, 16384, 2**31 - 1, -1):
                frame = encode_data(stream, payload)
                self.assertEqual(read([frame * 2]), ([(stream, payload)] * 2, None))

    def test_other_layouts(self) -> None:
        """DATA in any order of fields, with repeated or unknown ones or without a stream, is a bare tuple too."""
        for body, expected in [
            ("28 05 1a 01 61 08 06", (5, b"a")),
            ("08 06 28 05 1a 01 61", (5, b"a")),
            ("08 06 1a 01 61", (0, b"a")),
            ("08 06 1a 01 61 28 01 28 02", (2, b"a")),
            ("08 06 1a 01 61 1a 01 62 28 02", (2, b"b")),
            ("08 06 1a 81 00 61 28 02", (2, b"a")),
            ("08 06 1a 01 61 28 82 80 80 00", (2, b"a")),
            ("08 06 1a 01 61 28 82 80 80 80 80 00", (2, b"a")),
            ("08 06 1a 01 61 28 02 78 05", (2, b"a")),
            ("08 86 00 1a 01 61 28 02", (2, b"a")),
        ]:
            data = bytes.fromhex(body)
            frame = encode_varint(len(data)) + data
            padded = frame + bytes(20)  # so that it is looked at by the loop, too
            self.assertEqual(read([frame]), ([expected], None), body)
            self.assertEqual(read([padded]), ([expected], None), body)

    def test_looks_like_data(self) -> None:
        """What begins like DATA but is not well-formed is refused, and does not read into the next frame."""
        data = encode_data(1, b"next")
        for body, kind in [
            ("08 06 1a 04 61 28 05", "field-overruns"),
            ("08 06 1a 7f 61 28 05", "field-overruns"),
            ("08 06 1a 01 61 28 85", "varint-cut"),
            ("08 06 1a 01 61 28 85 85", "varint-cut"),
            ("08 06 1a 01 61 2a 05", "wrong-wire-type"),
            ("08 06 1a 01 61 2d 05 00", "wrong-wire-type"),
            ("08 06 1a", "varint-cut"),
            ("08 06 1a 80", "varint-cut"),
            ("08 06 1a 80 80 80", "varint-cut"),
        ]:
            bad = bytes.fromhex(body)
            chunk = data + encode_varint(len(bad)) + bad + data * 3
            self.assertEqual(read([chunk]), ([(1, b"next")], kind), body)


#: A few frames, and things between frames, as a peer might send them: mostly good.
links = st.lists(
    st.one_of(
        st.builds(encode_data, stream_ids, payloads),
        st.builds(encode_end, stream_ids),
        events.map(encode),
        st.sampled_from([b"\x00", b"\x80\x00", b"\x80\x80\x80\x80\x00", b"\x82\x80\x00\x08\x01"]),
        bodies.map(lambda body: encode_varint(len(body)) + body),
    ),
    max_size=6,
).map(b"".join)


class ChunkingTests(SynchronousTestCase):
    """How the bytes come in pieces does not matter."""

    @settings(deadline=None, max_examples=150)
    @given(links, st.lists(st.integers(0, 2**16), max_size=8))
    def test_any_pieces(self, link: bytes, places: list[int]) -> None:
        """Any cutting gives the frames, and the refusal, that one chunk gives."""
        self.assertEqual(read(cut(link, places)), read([link]))

    @settings(deadline=None, max_examples=40)
    @given(links)
    def test_single_bytes(self, link: bytes) -> None:
        """So does one byte at a time, and nothing is held after the last whole frame."""
        decoder = FrameDecoder()
        whole = read([link + encode_end(0)])
        self.assertEqual(read([bytes([byte]) for byte in link + encode_end(0)], decoder), whole)
        self.assertEqual(decoder.buffered, 0)

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=200), st.lists(st.integers(0, 2**16), max_size=5))
    def test_garbage(self, garbage: bytes, places: list[int]) -> None:
        """Whatever comes gives frames or a protocol error, the same in pieces."""
        decoder = FrameDecoder(max_frame=150)
        whole = read([garbage], FrameDecoder(max_frame=150))
        self.assertEqual(read(cut(garbage, places), decoder), whole)

    def test_buffered(self) -> None:
        """What is held of an unfinished frame is what has come of it."""
        decoder = FrameDecoder()
        frame = encode_data(1, bytes(100))
        for count in range(1, len(frame)):
            self.assertEqual(decoder.feed(frame[count - 1 : count]), [])
            self.assertEqual(decoder.buffered, count)
        self.assertEqual(decoder.feed(frame[-1:] + frame[:30]), [(1, bytes(100))])
        self.assertEqual(decoder.buffered, 30)

    def test_empty_chunks(self) -> None:
        """A chunk of nothing changes nothing."""
        frame = encode_data(1, bytes(100))
        self.assertEqual(read([b"", frame[:1], b"", frame[1:50], b"", frame[50:], b""]), ([(1, bytes(100))], None))


class RefusalTests(SynchronousTestCase):
    """What happens after, and around, a violation."""

    def test_frames_before_it(self) -> None:
        """The frames of the same chunk before the bad one are in the exception."""
        decoder = FrameDecoder()
        good = encode_data(1, b"a") + encode(Event(EventType.READY))
        problem = self.assertRaises(EventError, decoder.feed, good + b"\x02\x28\x00" + good)
        self.assertEqual(problem.decoded, [(1, b"a"), Event(EventType.READY)])

    def test_no_way_on(self) -> None:
        """After a violation all input is refused, for the same reason and with no frames twice."""
        for bad, error in [(b"\x02\x28\x00", EventError), (b"\xff" * 5, FrameError)]:
            decoder = FrameDecoder()
            first = self.assertRaises(error, decoder.feed, encode_data(1, b"a") + bad)
            for chunk in (b"", encode_data(1, b"b")):
                again = self.assertRaises(error, decoder.feed, chunk)
                self.assertEqual((again.kind, str(again), again.decoded), (first.kind, str(first), []))
            self.assertEqual(decoder.buffered, 0)

    def test_limit(self) -> None:
        """A frame of the limit is taken, one of a byte more is refused: as a whole, or by its length alone."""
        for limit in (127, 128, 16383, 16384, 2**21, 2**21 + 5):
            body = encode_data(0, bytes(limit))[-limit:]  # ends with a trailer, so it is no event; only its size counts
            length, over = encode_varint(limit), encode_varint(limit + 1)
            self.assertEqual(FrameDecoder(limit).feed(length + body[:-1]), [])
            for chunk in (over, over + body, over + body + bytes(1), encode_data(0, b"") + over + body + bytes(20)):
                problem = self.assertRaises(FrameError, FrameDecoder(limit).feed, chunk)
                self.assertEqual(problem.kind, "frame-too-large")
            payload = bytes(limit - 5 - len(encode_varint(limit - 8)))
            frame = encode_data(0, payload)
            self.assertEqual(FrameDecoder(limit).feed(frame * 2), [(0, payload)] * 2)

    def test_length_is_refused_as_soon_as_it_is_known(self) -> None:
        """A length over the limit, or too long, is refused at its last byte; nothing is held for it."""
        for prefix, kind in [
            (encode_varint(MAX_FRAME + 1), "frame-too-large"),
            (b"\xff\xff\xff\xff\x7f", "frame-too-large"),
            (b"\x80" * 5, "length-too-long"),
        ]:
            decoder = FrameDecoder()
            for byte in prefix[:-1]:
                self.assertEqual(decoder.feed(bytes([byte])), [])
            self.assertEqual(self.assertRaises(FrameError, decoder.feed, prefix[-1:]).kind, kind)
            self.assertEqual(decoder.buffered, 0)

    def test_smallest_limit(self) -> None:
        """A limit below 127 is the owner's mistake."""
        self.assertRaises(ValueError, FrameDecoder, 126)


class Counted(bytearray):
    """A buffer that counts the bytes put into it."""

    moved = 0

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        Counted.moved += len(self)

    def __iadd__(self, data: Any) -> Counted:  # type: ignore[override,misc]
        Counted.moved += len(data)
        return super().__iadd__(data)


class ScaleTests(SynchronousTestCase):
    """Work grows with the bytes, and memory with what is unfinished."""

    def count(self, pieces: list[bytes]) -> tuple[list[Frame], int, int]:
        """The frames; how many bytes went through a buffer; how often a length was looked at."""
        Counted.moved = 0
        lengths = mock.patch.object(wire, "_read_length", wraps=wire._read_length)
        with mock.patch.object(wire, "bytearray", Counted, create=True), lengths as looked:
            frames, kind = read(pieces)
        self.assertIsNone(kind)
        return frames, Counted.moved, looked.call_count

    def test_a_byte_at_a_time(self) -> None:
        """Each byte of a large frame is moved once, but for the first five, and its length is not read again."""
        payload = bytes(range(256)) * 4096
        frame = encode_data(3, payload)
        frames, moved, looked = self.count([frame[i : i + 1] for i in range(len(frame))])
        self.assertEqual(frames, [(3, payload)])
        self.assertLess(moved, len(frame) + 30)
        self.assertLess(looked, 10)

    def test_largest_frame_in_reads(self) -> None:
        """The largest frame, in pieces as a socket gives them, is moved through the buffer once."""
        payload = bytes(16 * 1024 * 1024)
        frame = encode_data(3, payload)
        frames, moved, looked = self.count([frame[i : i + 65536] for i in range(0, len(frame), 65536)])
        self.assertEqual(frames, [(3, payload)])
        self.assertEqual(moved, len(frame))
        self.assertEqual(looked, 2)

    def test_only_the_unfinished_frame_is_moved(self) -> None:
        """Of many small frames, only those that lie across two chunks go through the buffer."""
        frame = encode_data(3, bytes(100))
        data = frame * 10000
        frames, moved, looked = self.count([data[i : i + 65536] for i in range(0, len(data), 65536)])
        chunks = len(data) // 65536 + 1
        self.assertEqual(len(frames), 10000)
        self.assertLessEqual(moved, chunks * len(frame))
        self.assertLessEqual(looked, chunks * 2)

    def test_a_million_small_frames(self) -> None:
        """A million frames in one chunk come out, none of them through a buffer or a look at its length."""
        frames, moved, looked = self.count([encode_data(3, b"") * 1_000_000])
        self.assertEqual(len(frames), 1_000_000)
        self.assertEqual(frames[-1], (3, b""))
        self.assertEqual(moved, 0)
        self.assertLess(looked, 3)

    def test_a_million_keep_alives(self) -> None:
        """A million frames of no length leave nothing; their lengths may be overlong."""
        frames, moved, looked = self.count([bytes(1_000_000) + encode_end(1)])
        self.assertEqual(frames, [Event(EventType.ON_STREAM_DATA, stream=1)])
        self.assertEqual(moved, 0)
        self.assertLess(looked, 20)
        self.assertEqual(read([b"\x80\x80\x80\x80\x00" * 1000, b"\x80\x80\x00" * 1000]), ([], None))

    def test_idle_decoder_is_small(self) -> None:
        """A decoder that is in no frame holds no buffer, before and after."""
        decoder = FrameDecoder()
        idle = sys.getsizeof(decoder)
        self.assertLess(idle, 128)
        self.assertFalse(hasattr(decoder, "__dict__"))
        frame = encode_data(1, bytes(1000))
        decoder.feed(frame[:500])
        decoder.feed(frame[500:])
        self.assertIsNone(decoder._buffer)


class ShortcutTests(SynchronousTestCase):
    """Frames that are common enough for an encoder of their own."""

    @given(
        stream_ids,
        st.binary(min_size=32, max_size=32),
        st.binary(max_size=300),
        st.none() | st.integers(0, 2**31 - 1),
        st.none() | st.integers(0, 2**64),
    )
    @settings(deadline=None, max_examples=100)
    def test_as_by_hand(
        self, stream: int, topic: bytes, peer: bytes, request: int | None, handshake: int | None
    ) -> None:
        """They give the same bytes as the general encoder."""
        trailer = data_trailer(stream)
        opened = Event(
            EventType.ON_STREAM_OPEN, topic=topic, peer=peer, stream=stream, request=request, handshake=handshake
        )
        self.assertEqual(encode_open(topic, peer, trailer, request, handshake), encode(opened))
        self.assertEqual(
            encode_bare(EventType.ON_STREAM_CLOSE, trailer), encode(Event(EventType.ON_STREAM_CLOSE, stream=stream))
        )
        self.assertEqual(encode_bare(EventType.ON_STREAM_DATA, trailer), encode_end(stream))
