"""Frames with a length of three bytes: :mod:`spaceswarm_proxy.codec.frames`."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.frames import MAX_FRAME, FrameReader, encode_frame
from spaceswarm_proxy.errors import FrameError


class FrameTests(SynchronousTestCase):
    """What one side writes and the other reads."""

    def test_length(self) -> None:
        """The length comes first, its low byte before the others."""
        self.assertEqual(b"\x05\x00\x00hello", encode_frame(b"hello"))
        self.assertEqual(b"\x00\x00\x00", encode_frame(b""))
        self.assertEqual(b"\x03\x02\x01", encode_frame(bytes(0x10203))[:3])

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=40), max_size=12), st.data())
    def test_cut_anywhere(self, frames: list[bytes], data: st.DataObject) -> None:
        """However the stream is cut, the same frames come out, each as soon as it is complete."""
        stream = b"".join(map(encode_frame, frames))
        reader, came, fed = FrameReader(), [], 0
        while fed < len(stream):
            size = data.draw(st.integers(1, len(stream) - fed))
            came += reader.feed(stream[fed : fed + size])
            fed += size
            whole = sum(len(frame) + 3 for frame in came)
            self.assertEqual(fed - whole, reader.held)
            if len(came) < len(frames):
                self.assertLess(reader.held, len(frames[len(came)]) + 3)
        self.assertEqual((frames, 0), (came, reader.held))

    def test_longest(self) -> None:
        """The longest frame is taken in small pieces, without being copied for each of them."""
        frame = bytes(MAX_FRAME)
        stream = encode_frame(frame)
        reader = FrameReader()
        for start in range(0, len(stream) - 1, 1 << 16):
            self.assertEqual([], reader.feed(stream[start : min(start + (1 << 16), len(stream) - 1)]))
        self.assertEqual([frame], reader.feed(stream[-1:]))

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=20), max_size=6), st.binary(max_size=20), st.data())
    def test_one_by_one(self, frames: list[bytes], after: bytes, data: st.DataObject) -> None:
        """Frames can be taken one at a time, and nothing beyond them is touched."""
        stream = b"".join(map(encode_frame, frames)) + after
        reader, came = FrameReader(), []
        while len(came) < len(frames):
            piece = stream[: data.draw(st.integers(1, len(stream)))]
            frame, end = reader.take(piece)
            stream = stream[end:]
            if frame is not None:
                came.append(frame)
                self.assertEqual(0, reader.held)
            else:
                self.assertEqual(len(piece), end)
        self.assertEqual((frames, after), (came, stream))

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 12), max_size=8), st.booleans(), st.data())
    def test_limit(self, sizes: list[int], whole: bool, data: st.DataObject) -> None:
        """A frame over the limit is refused when its length is there; those before it are not lost."""
        good = [bytes(size) for size in sizes if size <= 10]
        stream = b"".join(map(encode_frame, good)) + (11).to_bytes(3, "little")
        reader, came = FrameReader(limit=10), []
        while stream:
            size = len(stream) if whole else data.draw(st.integers(1, len(stream)))
            try:
                came += reader.feed(stream[:size])
                self.assertLess(size, len(stream))
            except FrameError as problem:
                self.assertEqual(size, len(stream))
                self.assertEqual("too-long", problem.kind)
                came += problem.decoded
            stream = stream[size:]
        self.assertEqual(good, came)

    def test_limit_for_one(self) -> None:
        """The same holds where they are taken one at a time."""
        reader = FrameReader(limit=10)
        self.assertEqual((None, 2), reader.take(b"\x0b\x00"))
        self.assertRaises(FrameError, reader.take, b"\x00")
