"""Tests of ``spaceswarm_proxy.swarm.round``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.swarm.round import MOST_SEEN, Report, Round


class RoundTests(SynchronousTestCase):
    """What is handed on."""

    def test_without_limit(self) -> None:
        """Everybody is; it is told who is reported for the first time."""
        found = Round()
        self.assertEqual([found.report(b"a", False) for _ in range(2)], [Report(True, True), Report(True, False)])

    def test_limit(self) -> None:
        """New peers up to the limit; connected ones are not new; one turned away stays so."""
        found = Round(1)
        for id, connected, admitted in (
            (b"a", True, True),
            (b"b", False, True),
            (b"c", False, False),
            (b"c", False, False),
            (b"b", False, True),
            (b"d", True, True),
        ):
            self.assertEqual(found.report(id, connected).admitted, admitted, id)

    def test_next(self) -> None:
        """Peers of the round before that are connected use up the limit."""
        found = Round(2)
        for id in (b"a", b"b", b"c"):
            found.report(id, False)
        following = found.next(2, lambda id: id == b"a")
        self.assertEqual([following.report(id, False).admitted for id in (b"d", b"e")], [True, False])

    def test_bounded(self) -> None:
        """Beyond what a round remembers, peers are not the first, and not handed on where there is a limit."""
        unlimited, limited = Round(), Round(MOST_SEEN + 5)
        for number in range(MOST_SEEN):
            unlimited.report(b"%d" % number, False)
            limited.report(b"%d" % number, False)
        self.assertEqual(unlimited.report(b"more", False), Report(True, False))
        self.assertEqual(limited.report(b"more", False), Report(False, False))
