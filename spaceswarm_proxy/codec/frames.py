"""
Frames with a length of three bytes.

Bytes::  length:u24, low byte first | the frame, length bytes

:source: npm ``@hyperswarm/secret-stream`` 6; spec/connect.md, section 8.1.
"""

from __future__ import annotations

_HEAD = 3
#: Bytes of the longest frame.
MAX_FRAME = (1 << 24) - 1


def encode_frame(frame: bytes) -> bytes:
    """:returns: the length and the frame."""
    return len(frame).to_bytes(_HEAD, "little") + frame


class FrameReader:
    """Cuts a byte stream into frames; between two calls it holds less than one of them."""

    __slots__ = ("_partial",)

    def __init__(self) -> None:
        self._partial = bytearray()

    @property
    def held(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._partial)

    def feed(self, data: bytes) -> list[bytes]:
        """
        :param data: whatever has come, cut anywhere.
        :returns: the frames that it completes.
        """
        if not self._partial:
            frames, end = _cut(data)
            self._partial += data[end:]
            return frames
        self._partial += data
        frames, end = _cut(self._partial)
        del self._partial[:end]
        return frames


def _cut(data: bytes | bytearray) -> tuple[list[bytes], int]:
    """:returns: the whole frames at the beginning, and where they end."""
    frames: list[bytes] = []
    start, length = 0, len(data)
    while length - start >= _HEAD:
        end = start + _HEAD + int.from_bytes(data[start : start + _HEAD], "little")
        if end > length:
            break
        frames.append(bytes(data[start + _HEAD : end]))
        start = end
    return frames, start
