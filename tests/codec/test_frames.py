"""Frames with a length of three bytes: :mod:`spaceswarm_proxy.codec.frames`."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.frames import MAX_FRAME, FrameReader, encode_frame


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
