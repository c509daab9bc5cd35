"""Tests of spaceswarm_proxy.proxy.features."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.proxy.features import ALL, Feature, Role


class FeatureTests(SynchronousTestCase):
    """The bits of READY and JOIN."""

    def test_wire(self) -> None:
        """The bits are the wire's, and stay."""
        self.assertEqual(
            {feature.name: feature.value for feature in Feature},
            {"WINDOWS": 1, "REPLIES": 2, "ROLES": 4, "LIVENESS": 8, "IDENTITY": 16, "TOKEN": 32, "END_TO_END": 64},
        )
        self.assertEqual({role.name: role.value for role in Role}, {"LOOKUP": 1, "ANNOUNCE": 2})

    def test_all(self) -> None:
        """We can do all that has a name."""
        self.assertEqual(set(ALL), set(Feature))

    @settings(deadline=None)
    @given(st.integers(0, 2**70 - 1))
    def test_future(self, offered: int) -> None:
        """Bits that we do not know are not in force, however many a remote offers."""
        self.assertEqual(int(Feature(offered) & ALL), offered & 127)
