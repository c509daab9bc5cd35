"""Tests of spaceswarm_proxy._reactor."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy._reactor import or_global


class ReactorTests(SynchronousTestCase):
    """Whose reactor it is."""

    def test_given(self) -> None:
        """The caller's own is used."""
        clock = Clock()
        self.assertIs(or_global(clock), clock)

    def test_not_given(self) -> None:
        """Without one, it is the process's."""
        self.assertIs(or_global(None), reactor)
