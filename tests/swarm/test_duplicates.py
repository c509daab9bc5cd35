"""Tests of ``spaceswarm_proxy.swarm.duplicates``."""

from __future__ import annotations

from hypothesis import assume, given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.swarm.duplicates import keep_new

keys = st.binary(min_size=32, max_size=32)


class KeepNewTests(SynchronousTestCase):
    """Which of two connections stays."""

    @settings(deadline=None, max_examples=100)
    @given(keys, keys)
    def test_both_sides_agree(self, a: bytes, b: bytes) -> None:
        """When two peers connect to each other at once, both keep the connection that the larger key opened."""
        assume(a != b)
        a_keeps_the_one_of_b = keep_new(a, b, existing_is_active=False, new_is_initiator=False)
        b_keeps_the_one_of_a = keep_new(b, a, existing_is_active=False, new_is_initiator=False)
        self.assertNotEqual(a_keeps_the_one_of_b, b_keeps_the_one_of_a)
        self.assertEqual(a_keeps_the_one_of_b, b > a)

    @settings(deadline=None, max_examples=50)
    @given(keys, keys, st.booleans())
    def test_active_gives_way(self, a: bytes, b: bytes, initiator: bool) -> None:
        """A connection that has carried data both ways gives way to a new one: the peer must have lost it."""
        self.assertTrue(keep_new(a, b, True, initiator))

    @settings(deadline=None, max_examples=50)
    @given(keys, keys)
    def test_order_does_not_matter(self, a: bytes, b: bytes) -> None:
        """Seen from one side, the same one of two stays, whichever came first."""
        assume(a != b)
        self.assertNotEqual(keep_new(a, b, False, True), keep_new(a, b, False, False))
