"""Tests of spaceswarm_proxy.udx.queue."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.queue import WriteQueue

quick = settings(deadline=None, max_examples=100)


class WriteQueueTests(SynchronousTestCase):
    """Bytes in, bytes out."""

    @quick
    @given(
        st.lists(st.binary(min_size=1, max_size=30), min_size=1), st.lists(st.tuples(st.integers(1, 40), st.booleans()))
    )
    def test_order(self, pieces: list[bytes], takes: list[tuple[int, bool]]) -> None:
        """However it is cut, and put back, nothing is lost or changed."""
        queue = WriteQueue()
        for piece in pieces:
            queue.add(piece)
        given_out = b""
        for count, back in takes:
            if not queue.length:
                break
            taken = queue.take(min(count, queue.length))
            if back:
                queue.put_back(taken)
            else:
                given_out += taken
        rest = bytes(queue.take(queue.length)) if queue.length else b""
        self.assertEqual(b"".join(pieces), given_out + rest)
        self.assertEqual(0, queue.length)

    def test_no_copy(self) -> None:
        """What lies in one piece is not copied, nor what is left when something is put back."""
        piece = bytes(100)
        queue = WriteQueue()
        queue.add(piece)
        for _ in range(3):
            taken = queue.take(10)
            assert isinstance(taken, memoryview)
            self.assertIs(piece, taken.obj)
        queue.put_back(taken)
        queue.take(10)
        rest = queue.take(70)
        assert isinstance(rest, memoryview)
        self.assertIs(piece, rest.obj)

    def test_whole_piece(self) -> None:
        """A piece that is taken whole is given as it came."""
        queue = WriteQueue()
        piece = b"all of it"
        queue.add(piece)
        self.assertIs(piece, queue.take(len(piece)))

    def test_clear(self) -> None:
        """It can be forgotten."""
        queue = WriteQueue()
        queue.add(b"1234")
        queue.take(1)
        queue.clear()
        queue.add(b"5")
        self.assertEqual((1, b"5"), (queue.length, bytes(queue.take(1))))
