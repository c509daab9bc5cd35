"""Who makes room: :mod:`spaceswarm_proxy.secret.pending`."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.secret.pending import Pending


class PendingTests(SynchronousTestCase):
    """What is under way."""

    def test_room(self) -> None:
        """Up to the limit nothing has to go, and what is done makes room."""
        pending: Pending[str] = Pending(2)
        self.assertEqual([None, None], [pending.add("a", 1), pending.add("b", 1)])
        pending.remove("a")
        self.assertIsNone(pending.add("c", 2))
        self.assertEqual(["b", "c"], list(pending))

    def test_oldest_of_the_greatest(self) -> None:
        """Then the oldest goes of the source that has the most, whoever comes."""
        pending: Pending[str] = Pending(4)
        for item, source in (("quiet", "x"), ("1", "flood"), ("2", "flood"), ("3", "flood")):
            pending.add(item, source)
        self.assertEqual(["1", "2"], [pending.add("new", "y"), pending.add("4", "flood")])
        self.assertEqual({"quiet", "3", "new", "4"}, set(pending))

    def test_not_in_it(self) -> None:
        """What is not in it can be removed."""
        pending: Pending[str] = Pending(1)
        pending.remove("nobody")
        self.assertEqual(0, len(pending))

    @settings(deadline=None)
    @given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.booleans()), max_size=40))
    def test_limit(self, limit: int, steps: list[tuple[int, int, bool]]) -> None:
        """Whatever happens, there are never more than the limit, and who had to go is out."""
        pending: Pending[int] = Pending(limit)
        for number, (item, source, add) in enumerate(steps):
            if add:
                victim = pending.add(100 + number, source)
                self.assertNotIn(victim, list(pending))
            else:
                pending.remove(100 + item)
            self.assertLessEqual(len(pending), limit)
            self.assertEqual(len(pending), sum(map(len, pending._by_source.values())))
