"""Tests of spaceswarm_proxy.udx.receiver."""

from __future__ import annotations

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.packet import MAX_RANGES
from spaceswarm_proxy.udx.receiver import MAX_AHEAD, OVERRUN, Receiver


class OrderTests(SynchronousTestCase):
    """Packets come in any order."""

    def setUp(self) -> None:
        self.receiver = Receiver(10, 1000)

    def receive(self, seq: int, payload: bytes = b"x", end: bool = False) -> list[bytes]:
        return self.receiver.receive(seq, payload, end)

    def test_in_order(self) -> None:
        """What is expected is given out at once."""
        self.assertEqual([b"a"], self.receive(10, b"a"))
        self.assertEqual([b"bc"], self.receiver.receive_next([b"b", b"c"]))
        self.assertEqual((13, [], False), (self.receiver.expected, self.receiver.ranges(), self.receiver.has_gaps))

    def test_early(self) -> None:
        """What is early waits, and is told of."""
        self.assertEqual([], self.receive(12, b"c"))
        self.assertEqual([], self.receive(13, b"d"))
        self.assertEqual([], self.receive(15, b"f"))
        self.assertEqual([(12, 14), (15, 16)], self.receiver.ranges())
        self.assertEqual([b"a"], self.receive(10, b"a"))
        self.assertEqual([b"b", b"c", b"d"], self.receive(11, b"b"))
        self.assertEqual([(15, 16)], self.receiver.ranges())

    def test_again(self) -> None:
        """What is there already is not taken again, early or not."""
        self.receive(10)
        self.receive(12, b"first")
        self.assertEqual([], self.receive(10))
        self.assertEqual([], self.receive(12, b"second"))
        self.assertEqual([b"x", b"first"], self.receive(11))

    def test_run_over_what_is_early(self) -> None:
        """A run that holds what came early does not leave that behind."""
        self.receive(11, b"b")
        self.receive(12, b"c")
        self.receive(15, b"f")
        given = self.receiver.receive_next([b"a", b"b", b"c", b"d"])
        self.assertEqual((b"abcd", 14), (b"".join(given), self.receiver.expected))
        self.assertEqual([(15, 16)], self.receiver.ranges())

    def test_run_up_to_what_is_early(self) -> None:
        """A run that closes a gap gives out what was kept behind it."""
        self.receive(12, b"c")
        self.assertEqual([b"ab", b"c"], self.receiver.receive_next([b"a", b"b"]))
        self.assertFalse(self.receiver.has_gaps)

    def test_empty(self) -> None:
        """Empty packets count, and give nothing."""
        self.assertEqual([], self.receive(10, b""))
        self.assertEqual([], self.receiver.receive_next([b"", b""]))
        self.assertEqual([], self.receive(14, b""))
        self.assertEqual([b"x"], self.receive(13))
        self.assertEqual(15, self.receiver.expected)

    def test_many_gaps(self) -> None:
        """No more ranges are told of than a packet has room for: the lowest."""
        for seq in range(11, 11 + 4 * MAX_RANGES, 2):
            self.receive(seq, b"")
        self.assertEqual([(seq, seq + 1) for seq in range(11, 11 + 2 * MAX_RANGES, 2)], self.receiver.ranges())


class EndTests(SynchronousTestCase):
    """The last packet."""

    def setUp(self) -> None:
        self.receiver = Receiver(10, 1000)

    def test_alone(self) -> None:
        """An end without data is a packet as any."""
        self.assertEqual([], self.receiver.receive(10, b"", True))
        self.assertEqual((True, 11), (self.receiver.ended, self.receiver.expected))

    def test_early(self) -> None:
        """An end that comes before what is missing is remembered."""
        self.receiver.receive(12, b"c", True)
        self.assertFalse(self.receiver.ended)
        self.assertEqual(b"abc", b"".join(self.receiver.receive_next([b"a", b"b"])))
        self.assertTrue(self.receiver.ended)

    def test_nothing_after(self) -> None:
        """What seems to come after it is not taken, nor another end."""
        self.receiver.receive(11, b"b", True)
        for seq, end in ((12, False), (13, True), (10, True)):
            self.assertEqual([], self.receiver.receive(seq, b"?", end))
        self.assertEqual([b"ab"], [b"".join(self.receiver.receive_next([b"a", b"c", b"d"]))])
        self.assertTrue(self.receiver.ended)
        self.assertEqual(12, self.receiver.expected)

    def test_before_others(self) -> None:
        """An end before packets that are there is a lie."""
        self.receiver.receive(13, b"d", False)
        self.receiver.receive(11, b"b", True)
        self.assertIsNone(self.receiver.end)


class BoundTests(SynchronousTestCase):
    """What is kept."""

    def test_window(self) -> None:
        """The window is what the user has left of it."""
        receiver = Receiver(0, 1000)
        receiver.receive(0, bytes(300), False)
        self.assertEqual(700, receiver.window)
        receiver.receive(1, bytes(800), False)
        self.assertEqual(0, receiver.window)
        receiver.unread -= 600
        self.assertEqual(500, receiver.window)

    def test_beyond_the_window(self) -> None:
        """A little more than the window is taken, by runs too; what is beyond is dropped, and wanted still."""
        for size, count in ((1000, 20), (1452, 20)):
            receiver = Receiver(0, 2000)
            given = receiver.receive_next([bytes(size)] * count)
            taken = sum(map(len, given))
            self.assertEqual(taken, receiver.unread)
            self.assertEqual((2000 + OVERRUN) // size, receiver.expected)
            self.assertLessEqual(receiver._kept_bytes, 2000)
            receiver.unread = 0
            given = receiver.receive_next([bytes(size)] * (count - receiver.expected))
            self.assertLess(taken, taken + sum(map(len, given)))

    def test_too_far_ahead(self) -> None:
        """What is far ahead is not kept."""
        receiver = Receiver(0, 1000)
        receiver.receive(MAX_AHEAD, b"x", False)
        receiver.receive(MAX_AHEAD + 1, b"x", False)
        receiver.receive(1 << 31, b"x", False)
        self.assertEqual([(MAX_AHEAD, MAX_AHEAD + 1)], receiver.ranges())

    def test_too_much_ahead(self) -> None:
        """Nor is more than a window's worth."""
        receiver = Receiver(0, 1000)
        for seq in range(1, 20):
            receiver.receive(seq, bytes(100), False)
        self.assertEqual([(1, 11)], receiver.ranges())
        receiver.receive(0, bytes(100), False)
        self.assertEqual((11, 1100), (receiver.expected, receiver.unread))

    def test_forget(self) -> None:
        """What is kept can be forgotten."""
        receiver = Receiver(0, 1000)
        receiver.receive(5, b"x", False)
        receiver.forget()
        self.assertEqual(([], None), (receiver.ranges(), receiver._kept))


class ReceiverMachine(RuleBasedStateMachine):
    """Pieces of a text, in any order, against a set of those that have come."""

    TEXT = [bytes([number]) * (number % 5) for number in range(40)]

    def __init__(self) -> None:
        super().__init__()
        self.receiver = Receiver(100, 10_000)
        self.given = b""
        self.arrived: set[int] = set()

    @rule(number=st.integers(0, len(TEXT) - 1))
    def one(self, number: int) -> None:
        self.arrived.add(number)
        end = number == len(self.TEXT) - 1
        self.given += b"".join(self.receiver.receive(100 + number, self.TEXT[number], end))

    @precondition(lambda self: not self.receiver.ended)
    @rule(count=st.integers(1, 10))
    def run_of(self, count: int) -> None:
        first = self.receiver.expected - 100
        numbers = range(first, min(first + count, len(self.TEXT) - 1))
        if numbers:
            self.arrived.update(numbers)
            self.given += b"".join(self.receiver.receive_next([self.TEXT[number] for number in numbers]))

    @invariant()
    def agrees(self) -> None:
        expected = next(number for number in range(len(self.TEXT) + 1) if number not in self.arrived)
        assert self.receiver.expected == 100 + expected
        assert self.given == b"".join(self.TEXT[:expected])
        early = {number + 100 for number in self.arrived if number > expected}
        assert {seq for start, end in self.receiver.ranges() for seq in range(start, end)} == early
        assert set(self.receiver._kept or ()) == early
        assert self.receiver.ended == (expected == len(self.TEXT))
        assert self.receiver.unread == len(self.given)


class MachineTests(SynchronousTestCase):
    """Runs it."""

    def test_machine(self) -> None:
        """In whatever order packets come, what is given out is the text."""
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            ReceiverMachine, settings=settings(deadline=None, max_examples=80, stateful_step_count=60)
        )
