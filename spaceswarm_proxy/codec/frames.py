"""
Frames with a length of three bytes.

Bytes::  length:u24, low byte first | the frame, length bytes

:source: npm ``@hyperswarm/secret-stream`` 6; spec/connect.md, section 8.1.
"""

from __future__ import annotations

from spaceswarm_proxy.errors import FrameError

#: Bytes of the length.
HEAD = 3
#: Bytes of the longest frame.
MAX_FRAME = (1 << 24) - 1


def encode_frame(frame: bytes) -> bytes:
    """:returns: the length and the frame."""
    return len(frame).to_bytes(HEAD, "little") + frame


class FrameReader:
    """
    Cuts a byte stream into frames; between two calls it holds less than one of them.

    A frame over the limit is refused as soon as its length is there.
    """

    __slots__ = ("_partial", "limit")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        """:param limit: bytes of the longest frame that is taken; it may be changed between two calls."""
        self.limit = limit
        # The beginning of a frame, from its length on.
        self._partial = bytearray()

    @property
    def held(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._partial)

    def feed(self, data: bytes) -> list[bytes]:
        """
        :param data: whatever has come, cut anywhere.
        :returns: the frames that it completes.
        :raises FrameError: a frame is too long; ``decoded`` has those before it.
        """
        frames: list[bytes] = []
        start, size, limit = 0, len(data), self.limit
        if self._partial:
            frame, start = self.take(data)
            if frame is None:
                return frames
            frames.append(frame)
        while size - start >= HEAD:
            body = start + HEAD
            length = int.from_bytes(data[start:body], "little")
            if length > limit:
                raise self._too_long(length, frames)
            if body + length > size:
                break
            start = body + length
            frames.append(data[body:start])
        if start < size:
            self._partial += memoryview(data)[start:]
        return frames

    def take(self, data: bytes) -> tuple[bytes | None, int]:
        """
        Read one frame and no further.

        :param data: whatever has come, cut anywhere.
        :returns: the frame, or ``None`` while it is not complete; and how much of the data belongs to it.
        :raises FrameError: it is too long.
        """
        partial, start = self._partial, 0
        if len(partial) < HEAD:
            start = min(HEAD - len(partial), len(data))
            partial += data[:start]
            if len(partial) < HEAD:
                return None, start
        length = int.from_bytes(partial[:HEAD], "little")
        if length > self.limit:
            raise self._too_long(length, [])
        rest = memoryview(data)[start : start + HEAD + length - len(partial)]
        end = start + len(rest)
        if len(partial) + len(rest) < HEAD + length:
            partial += rest
            return None, end
        frame = b"".join((memoryview(partial)[HEAD:], rest))
        self._partial = bytearray()
        return frame, end

    def _too_long(self, length: int, frames: list[bytes]) -> FrameError:
        problem = FrameError("too-long", f"{length} bytes, {self.limit} at most")
        problem.decoded = list(frames)
        return problem
