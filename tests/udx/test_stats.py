"""What the streams of a node count: :mod:`spaceswarm_proxy.udx.stats`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.stats import StreamStats
from tests.udx.world import Net


class StatsTests(SynchronousTestCase):
    """The counters."""

    def test_counts(self) -> None:
        """What is sent again is counted, and stays so when the stream is over."""
        net = Net(loss=0.1)
        ours, theirs = net.couple()
        self.assertEqual(StreamStats(1, 1, 0, 0, 0, 0), StreamStats.of(net.here.core))
        ours.write(bytes(200_000))
        net.run_until(lambda: len(theirs.data) == 200_000)
        while_open = StreamStats.of(net.here.core)
        self.assertLess(0, while_open.retransmitted)
        net.path.dead = True
        ours.write(b"and no more")
        net.run(5)
        ours.destroy()
        over = StreamStats.of(net.here.core)
        self.assertEqual((0, 1), (over.streams, over.streams_begun))
        self.assertLess(while_open.retransmitted, over.retransmitted)
        self.assertLess(while_open.timed_out, over.timed_out)
        net.run(60)

    def test_strays(self) -> None:
        """So is what belongs to nobody."""
        net = Net()
        net.here.receive(b"\xff\x01", b"\x7f\x00\x00\x01\x00\x01")
        self.assertEqual(1, StreamStats.of(net.here.core).strays)
