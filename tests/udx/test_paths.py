"""Streams over paths of all kinds: everything arrives, and soon."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.packet import DATA
from tests.udx.world import HERE, End, Net

DATA_5_MB = Random(5).randbytes(5_000_000)


def transfer(net: Net, data: bytes, seconds: float = 60.0) -> tuple[float, End, End]:
    """
    Send it, and end both directions.

    :returns: how long it took to arrive; both ends.
    """
    ours, theirs = net.couple()
    ours.write(data)
    ours.end()
    theirs.end()
    taken = net.run_until(lambda: "ended" in theirs.told, seconds)
    assert theirs.data == data
    return taken, ours, theirs


class TransferTests(SynchronousTestCase):
    """Five megabytes, one way."""

    def assert_fast(self, seconds: float, repeated: float, **path: float) -> None:
        """It takes no longer than that, and no larger share of the packets is sent again."""
        net = Net(**path)
        taken, ours, theirs = transfer(net, DATA_5_MB)
        self.assertLess(taken, seconds)
        sender = ours.stream.sender
        self.assertLess(sender.retransmitted, 1 + repeated * sender.next)
        self.assertEqual(0, sender.timed_out)
        net.run(30)
        self.assertTrue(net.is_at_rest())
        self.assertEqual([(True, None)] * 2, [(end.closed, end.problem) for end in (ours, theirs)])

    def test_nothing_lost(self) -> None:
        """Eight round trips of slow start, with hardly anything sent twice."""
        self.assert_fast(0.25, 0.0)

    def test_one_in_a_thousand_lost(self) -> None:
        """Next to no difference."""
        self.assert_fast(0.3, 0.002, loss=0.001)

    def test_one_in_a_hundred_lost(self) -> None:
        """A loss costs a round trip or two at the end."""
        self.assert_fast(0.4, 0.02, loss=0.01)

    def test_one_in_twenty_lost(self) -> None:
        """It is no sign of a full path."""
        self.assert_fast(0.6, 0.08, loss=0.05)

    def test_slow_and_lossy(self) -> None:
        """The same with ten times the round trip takes ten times as long."""
        self.assert_fast(4.0, 0.02, loss=0.01, delay=0.1)

    def test_bottleneck(self) -> None:
        """A path that carries 5 MB/s does, from early on; what slow start sends in vain is bounded."""
        self.assert_fast(1.4, 0.1, rate=5e6, delay=0.02)

    def test_short_queue(self) -> None:
        """So does one that holds little more than it carries in a round trip."""
        self.assert_fast(1.8, 0.25, rate=5e6, delay=0.02, queue=64 << 10)

    def test_doubled(self) -> None:
        """What comes twice is thrown away."""
        self.assert_fast(0.25, 0.001, twice=0.05)

    def test_late(self) -> None:
        """Of a path on which two in a hundred are overtaken it is soon known that these are not lost."""
        self.assert_fast(0.6, 0.1, late=0.02, delay=0.0005)

    def test_late_and_lossy(self) -> None:
        """Nor are those of a path that loses others."""
        self.assert_fast(0.6, 0.05, late=0.02, loss=0.01)

    def test_carries_little(self) -> None:
        """Where only small packets arrive, the larger ones that try are all that is lost."""
        net = Net(largest=1250)
        taken, ours, _ = transfer(net, DATA_5_MB)
        self.assertLess(taken, 0.3)
        self.assertLess(net.lost, 12)
        self.assertEqual(net.lost, ours.stream.sender.retransmitted)
        self.assertLessEqual(1200, ours.stream.sender.mtu.size)
        self.assertLessEqual(ours.stream.sender.mtu.size, 1278)


class BusyTests(SynchronousTestCase):
    """Processes that have little time for their streams."""

    def test_few_turns(self) -> None:
        """With a turn every ten milliseconds only, a path is used as well."""
        net = Net(rate=5e6)
        net.tick = 0.01
        taken, ours, _ = transfer(net, DATA_5_MB)
        self.assertLess(taken, 1.5)
        self.assertLess(ours.stream.sender.retransmitted, 700)


class BlackoutTests(SynchronousTestCase):
    """Paths that are dead for a while."""

    def test_goes_on_soon(self) -> None:
        """Two seconds after eight seconds of nothing, data flows again as before."""
        net = Net(rate=5e6)
        ours, theirs = net.couple()
        ours.write(DATA_5_MB)
        net.run(0.3)
        net.path.dead = True
        net.run(8)
        net.path.dead = False
        before = len(theirs.data)
        net.run(2)
        self.assertLess(1_000_000, len(theirs.data) - before)
        net.run(1)
        self.assertEqual(DATA_5_MB, theirs.data)
        self.assertFalse(ours.closed)

    def test_few_packets_into_nothing(self) -> None:
        """Meanwhile, no more than a packet a second tries."""
        net = Net()
        ours, _ = net.couple()
        ours.write(DATA_5_MB)
        net.run(0.1)
        net.path.dead = True
        net.run(0.5)
        began = net.now
        net.run(8)
        self.assertLess(len(net.packets(HERE, since=began)), 10)


class LongTests(SynchronousTestCase):
    """Streams that go on for long."""

    def test_keeps_its_speed(self) -> None:
        """When it looks how long the path is, every ten seconds, a stream does not forget how fast it is."""
        net = Net(rate=2e6, delay=0.0005)
        ours, theirs = net.couple()
        ours.write(bytes(50_000_000))
        net.run(9)
        for _ in range(3):
            before = sum(map(len, theirs.chunks))
            net.run(5)
            self.assertLess(5 * 2e6 * 0.85, sum(map(len, theirs.chunks)) - before)

    def test_after_a_pause(self) -> None:
        """After a long silence, what is sent next does not wait for that either."""
        net = Net(rate=5e6)
        ours, theirs = net.couple()
        ours.write(DATA_5_MB)
        net.run(30)
        ours.write(DATA_5_MB[:1_000_000])
        self.assertLess(net.run_until(lambda: len(theirs.data) == 6_000_000), 0.3)

    def test_small_talk(self) -> None:
        """A question and its answer take a round trip, and two packets each way, in the long run."""
        net = Net()
        ours, theirs = net.couple()
        theirs.react = lambda word: theirs.write(b"pong") and None
        for count in range(1, 101):
            ours.write(b"ping")
            net.run(0.0201)
            self.assertEqual(count, len(ours.chunks))
        self.assertEqual(200, len([packet for packet in net.packets() if packet.flags & DATA]))
        self.assertLess(len(net.packets()), 320)
