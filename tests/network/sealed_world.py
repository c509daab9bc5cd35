"""Two networks on one hub, of which one is sealed, or both: a test's world, on a clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.network.local import LocalHub
from tests.keepers import FakeKeeper, Unsealed
from tests.network.support import Collector, Recorder


class SealedTestCase(SynchronousTestCase):
    """One connects to the other, which listens; at the end of each test nothing may be left of that."""

    near_sealed = far_sealed = True

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = LocalHub(self.clock)
        self.keepers: list[FakeKeeper] = []
        self.begin()
        self.addCleanup(self.nothing_left)

    def begin(self) -> None:
        """Put two new networks in the place of those that are there."""
        self.keepers.clear()
        #: Makes the protocols of who listens.
        self.build: Callable[[], Any] = Recorder
        self.listening, self.connecting = Collector(lambda: self.build()), Collector()
        self.near_keeper, self.near = self.network(self.near_sealed)
        self.far_keeper, self.far = self.network(self.far_sealed)
        self.peer = Peer.keyed(self.far.public_key)
        self.port = self.successResultOf(self.far.listen(self.listening))

    def network(self, sealed: bool) -> tuple[FakeKeeper, Any]:
        """:returns: a network, and who keeps its key, if that is not itself."""
        keeper = FakeKeeper(clock=self.clock)
        if not sealed:
            return keeper, self.hub.network(keeper.key_pair)
        self.keepers.append(keeper)
        return keeper, Unsealed(self.hub.network(keeper), keeper, self.clock)

    def nothing_left(self) -> None:
        closed = self.hub.close()
        self.clock.advance(0)
        self.successResultOf(closed)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.nothing_under_way()

    def nothing_under_way(self) -> None:
        """No stream is open, or about to be, and all handshakes were closed of which nothing came."""
        self.assertEqual([], [keeper.left_over for keeper in self.keepers if keeper.left_over])
        self.assertEqual((set(), set()), (self.near.meetings, self.port.meetings))
        self.assertEqual((0, 0), (len(self.near.streams), len(self.far.streams)))

    def turns(self) -> None:
        """Let everything happen that needs no time."""
        self.clock.advance(0)

    def connect(self) -> Deferred[Any]:
        """:returns: a Deferred of an attempt, which has come as far as it does without time."""
        attempt: Deferred[Any] = self.near.connect(self.peer, self.connecting)
        self.turns()
        return attempt

    def connected(self) -> tuple[Any, Any]:
        """:returns: the protocols at both ends of a stream."""
        near = self.successResultOf(self.connect())
        return near, self.listening.built[-1]

    def fails(self, kind: type[Exception], attempt: Deferred[Any] | None = None) -> Exception:
        """An attempt (by default, a new one) fails with this; no factory was asked, and nothing is left of it."""
        problem: Exception = self.failureResultOf(attempt or self.connect(), kind).value
        self.turns()
        self.assertEqual(([], []), (self.connecting.addresses, self.listening.addresses))
        self.nothing_under_way()
        return problem
