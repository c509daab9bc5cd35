"""What was written and not sent yet: bytes, cut into packets when they leave."""

from __future__ import annotations

from collections import deque


class WriteQueue:
    """Takes any pieces, gives any lengths; copies only what does not lie in one piece."""

    __slots__ = ("_head_from", "_pieces", "length")

    def __init__(self) -> None:
        self._pieces: deque[bytes | memoryview] | None = None
        # Where the first piece begins.
        self._head_from = 0
        #: Bytes in it.
        self.length = 0

    def add(self, data: bytes) -> None:
        """:param data: not empty."""
        if self._pieces is None:
            self._pieces = deque()
        self._pieces.append(data)
        self.length += len(data)

    def take(self, count: int) -> bytes | memoryview:
        """
        :param count: bytes, as many as there are at most, and at least one.
        :returns: the first ones.
        """
        assert self._pieces is not None
        head, start = self._pieces[0], self._head_from
        self.length -= count
        if len(head) - start > count:
            self._head_from = start + count
            return memoryview(head)[start : start + count]
        parts: list[bytes | memoryview] = []
        while count:
            head, start = self._pieces[0], self._head_from
            end = min(start + count, len(head))
            parts.append(head if end - start == len(head) else memoryview(head)[start:end])
            count -= end - start
            self._head_from = end
            if end == len(head):
                self._pieces.popleft()
                self._head_from = 0
        if not self._pieces:
            self._pieces = None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def put_back(self, data: bytes | memoryview) -> None:
        """Undo a :meth:`take`."""
        if self._pieces is None:
            self._pieces = deque()
        if self._head_from:
            self._pieces[0] = memoryview(self._pieces[0])[self._head_from :]
            self._head_from = 0
        self._pieces.appendleft(bytes(data))
        self.length += len(data)

    def clear(self) -> None:
        """Forget all of it."""
        self._pieces = None
        self._head_from = self.length = 0
