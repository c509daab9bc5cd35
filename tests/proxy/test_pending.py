"""Tests for ``spaceswarm_proxy.proxy.pending``: CONNECTs that were not answered."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import LinkLostError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.proxy.pending import Connects, Pending
from tests.proxy.world import Peers

ONE, OTHER = Peer.keyed(b"o" * 32), Peer.keyed(b"x" * 32)


def pending(peer: Peer = ONE) -> Pending:
    return Pending(peer, Peers(), Deferred(lambda done: None))


class ConnectsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connects = Connects()

    def test_numbers(self) -> None:
        """One with a number is answered by that, once."""
        one, other = pending(), pending()
        self.connects.add(one, 1)
        self.connects.add(other, 2)
        self.assertEqual([other, None, one, None], [self.connects.answered(number) for number in (2, 2, 1, 3)])
        self.assertEqual(0, len(self.connects))

    def test_in_order(self) -> None:
        """Without numbers, the first one to a peer is answered first."""
        first, second, other = pending(), pending(), pending(OTHER)
        for each in (first, second, other):
            self.connects.add(each, None)
        self.assertEqual([first, second, None], [self.connects.opened(ONE.id) for _ in range(3)])
        self.assertEqual((1, None), (len(self.connects), self.connects.answered(1)))
        self.assertIs(other, self.connects.opened(OTHER.id))

    def test_given_up(self) -> None:
        """One that nobody waits for stands in nobody's way; but if there is no other, it is that one."""
        first, second = pending(), pending()
        for each in (first, second):
            self.connects.add(each, None)
        first.fail(LinkLostError())
        self.failureResultOf(first.done, LinkLostError)
        self.assertIs(second, self.connects.opened(ONE.id))
        self.assertIs(first, self.connects.opened(ONE.id))

    def test_are_to(self) -> None:
        """Whom connections are wanted to, as long as they are not answered."""
        self.connects.add(pending(), 1)
        self.assertEqual([True, False], [self.connects.are_to(peer.public_key or b"") for peer in (ONE, OTHER)])
        self.connects.answered(1)
        self.assertFalse(self.connects.are_to(ONE.public_key or b""))

    def test_fail(self) -> None:
        """All of them fail, if they have not by then."""
        waiting = [pending(), pending(), pending()]
        waiting[1].fail(ZeroDivisionError())
        for number, each in enumerate(waiting):
            self.connects.add(each, number or None)
        self.connects.fail(LinkLostError())
        for each, kind in zip(waiting, (LinkLostError, ZeroDivisionError, LinkLostError), strict=True):
            self.failureResultOf(each.done, kind)
        self.assertEqual(0, len(self.connects))
