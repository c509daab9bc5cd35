"""Tests of ``spaceswarm_proxy.peering.duplicates``."""

from __future__ import annotations

from hypothesis import assume, given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.peering.duplicates import replaces

SMALL, LARGE = bytes(32), bytes([255]) * 32
keys = st.binary(min_size=32, max_size=32)


class ReplacesTests(SynchronousTestCase):
    """Which of two streams stays."""

    def test_table(self) -> None:
        """All there is to it."""
        for own, remote, same_role, expected in (
            (SMALL, LARGE, True, True),
            (LARGE, SMALL, True, True),
            (SMALL, LARGE, False, False),
            (LARGE, SMALL, False, True),
            (SMALL, SMALL, False, False),
        ):
            self.assertIs(expected, replaces(own, remote, same_role), (own, remote, same_role))

    @settings(deadline=None, max_examples=50)
    @given(keys, keys)
    def test_both_sides_agree(self, a: bytes, b: bytes) -> None:
        """When both connect at once, and each meets the other's stream, one gives way and the other does not."""
        assume(a != b)
        self.assertNotEqual(replaces(a, b, False), replaces(b, a, False))
