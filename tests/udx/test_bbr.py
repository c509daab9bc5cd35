"""Tests of spaceswarm_proxy.udx.bbr."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.bbr import BBR, DRAIN, PROBE_BW, PROBE_RTT, STARTUP
from spaceswarm_proxy.udx.congestion import INITIAL_WINDOW, MAX_WINDOW, MIN_WINDOW
from spaceswarm_proxy.udx.rate import Delivery

#: The path: packets per second, and seconds there and back.
BANDWIDTH, LENGTH = 1000.0, 0.1
#: Packets that it holds.
PRODUCT = int(BANDWIDTH * LENGTH)


class Bench(SynchronousTestCase):
    """A controller, and a path that tells it of a round trip's packets at once."""

    def setUp(self) -> None:
        self.now = 50.0
        self.bbr = BBR(self.now)
        self.total = 0

    def round(self, rate: float | None = None, app_limited: bool = False, flying: int | None = None) -> None:
        """
        A round trip passes.

        :param rate: packets per second that arrive; by default those that were sent, as far as the path carries them.
        """
        window = self.bbr.window
        if rate is None:
            rate = min(window / LENGTH, BANDWIDTH)
        before = self.total
        newly = max(int(rate * LENGTH), 1)
        self.total += newly
        self.now += LENGTH
        if flying is None:
            flying = max(window - newly, 0)
        delivery = Delivery(newly, self.total, before, rate, app_limited, LENGTH, flying + newly, flying)
        self.bbr.delivered(delivery, self.now)

    def rounds(self, count: int) -> None:
        for _ in range(count):
            self.round()

    def settle(self) -> None:
        """Find out what the path carries."""
        self.rounds(20)
        self.round(flying=PRODUCT // 2)
        self.assertEqual(PROBE_BW, self.bbr.state)


class StartTests(Bench):
    """The first rounds."""

    def test_begins(self) -> None:
        """Ten packets, as fast as they go."""
        self.assertEqual((INITIAL_WINDOW, 0.0, STARTUP), (self.bbr.window, self.bbr.pacing_rate, self.bbr.state))

    def test_doubles(self) -> None:
        """As long as each round brings more, the window doubles."""
        windows = []
        for _ in range(4):
            windows.append(self.bbr.window)
            self.round()
        self.assertEqual([10, 20, 40, 80], windows)
        self.assertEqual(STARTUP, self.bbr.state)

    def test_full(self) -> None:
        """After three rounds that bring no more, what has piled up is let go; then it goes on evenly."""
        self.rounds(9)
        self.assertEqual((DRAIN, True), (self.bbr.state, self.bbr.is_full))
        self.assertLess(self.bbr.pacing_rate, BANDWIDTH / 2)
        self.round(flying=PRODUCT // 2)
        self.assertEqual(PROBE_BW, self.bbr.state)
        self.assertAlmostEqual(BANDWIDTH, self.bbr.bandwidth)
        self.assertTrue(2 * PRODUCT <= self.bbr.window <= 3.1 * PRODUCT)

    def test_too_little_to_send(self) -> None:
        """Rounds in which there was little to send do not make a path seem full."""
        for _ in range(20):
            self.round(rate=100.0, app_limited=True, flying=0)
        self.assertEqual((STARTUP, False), (self.bbr.state, self.bbr.is_full))


class SteadyTests(Bench):
    """What the path carries is known."""

    def setUp(self) -> None:
        super().setUp()
        self.settle()

    def test_cycle(self) -> None:
        """A phase a little faster, one a little slower, six as it is."""
        rates = []
        for _ in range(16):
            self.round(flying=3 * PRODUCT)
            rates.append(round(self.bbr.pacing_gain, 2))
        self.assertEqual({0.75: 2, 1.0: 12, 1.25: 2}, {gain: rates.count(gain) for gain in sorted(set(rates))})

    def test_more(self) -> None:
        """A path that carries more is used as much, after some cycles."""
        for _ in range(8):
            self.round(rate=1250.0, flying=2 * PRODUCT)
        self.assertAlmostEqual(1250.0, self.bbr.bandwidth)

    def test_less(self) -> None:
        """A path that carries less is known for that after ten rounds."""
        for _ in range(9):
            self.round(rate=500.0, flying=PRODUCT)
        self.assertAlmostEqual(BANDWIDTH, self.bbr.bandwidth)
        for _ in range(2):
            self.round(rate=500.0, flying=PRODUCT)
        self.assertAlmostEqual(500.0, self.bbr.bandwidth)

    def test_too_little_to_send(self) -> None:
        """When there is little to send, the path is not taken to be slow."""
        for _ in range(100):
            self.round(rate=20.0, app_limited=True, flying=0)
        self.assertAlmostEqual(BANDWIDTH, self.bbr.bandwidth)

    def test_path_length(self) -> None:
        """Every ten seconds the path is emptied for a moment; what it carries is not forgotten by that."""
        window = self.bbr.window
        while self.bbr.state != PROBE_RTT:
            self.round(flying=PRODUCT)
        self.assertEqual(MIN_WINDOW, self.bbr.window)
        began, rounds = self.now, 0
        while self.bbr.state == PROBE_RTT:
            self.round(rate=MIN_WINDOW / LENGTH, flying=0)
            self.assertLess(rounds := rounds + 1, 20)
        self.assertLess(0.2, self.now - began)
        self.assertLessEqual(window, self.bbr.window)
        self.assertAlmostEqual(BANDWIDTH, self.bbr.bandwidth)

    def test_short_path(self) -> None:
        """Not even where that is hundreds of rounds."""
        while self.bbr.state != PROBE_RTT:
            self.round(flying=PRODUCT)
        rounds = 0
        while self.bbr.state == PROBE_RTT:
            rounds += 1
            self.now += 0.001
            self.total += 1
            slow = Delivery(1, self.total, self.total - 1, 40.0, False, 0.1, 1, 0)
            self.bbr.delivered(slow, self.now)
        self.assertTrue(200 <= rounds < 210)
        self.round(rate=500.0, flying=PRODUCT)
        self.assertAlmostEqual(BANDWIDTH, self.bbr.bandwidth)

    def test_after_a_silence(self) -> None:
        """After a silence of our own the path is empty anyhow: its length is seen without that."""
        self.now += 30
        self.bbr.resumed(self.now)
        self.round()
        self.assertEqual(PROBE_BW, self.bbr.state)
        self.assertLess(MIN_WINDOW, self.bbr.window)


class LossTests(Bench):
    """Packets are lost."""

    def setUp(self) -> None:
        super().setUp()
        self.settle()
        self.window = self.bbr.window

    def test_conserves(self) -> None:
        """For a round no more leaves than arrives; when all is made good, it goes on as before."""
        self.bbr.lost(50, self.now)
        self.assertEqual(51, self.bbr.window)
        self.bbr.recovered(self.now)
        self.assertLessEqual(self.window, self.bbr.window)

    def test_not_less_than_a_few(self) -> None:
        """Some packets may be on the way in any case."""
        self.bbr.lost(0, self.now)
        self.assertEqual(MIN_WINDOW, self.bbr.window)

    def test_time_out(self) -> None:
        """After silence one packet tries; what the path carries is not forgotten."""
        for flying in (0, 0, 0):
            self.bbr.timed_out(flying, self.now)
            self.assertEqual(1, self.bbr.window)
        self.bbr.recovered(self.now)
        self.assertLessEqual(self.window, self.bbr.window)
        self.assertAlmostEqual(BANDWIDTH, self.bbr.bandwidth)

    def test_during_the_measurement(self) -> None:
        """A loss while the path is measured does not make the small window stay."""
        while self.bbr.state != PROBE_RTT:
            self.round(flying=PRODUCT)
        self.bbr.lost(3, self.now)
        while self.bbr.state == PROBE_RTT:
            self.round(rate=MIN_WINDOW / LENGTH, flying=0)
        self.bbr.recovered(self.now)
        self.assertLessEqual(self.window, self.bbr.window)

    def test_measured_during_recovery(self) -> None:
        """Nor does a measurement while losses are made good."""
        self.bbr.lost(10, self.now)
        while self.bbr.state != PROBE_RTT:
            self.round(flying=PRODUCT)
        self.bbr.recovered(self.now)
        while self.bbr.state == PROBE_RTT:
            self.round(rate=MIN_WINDOW / LENGTH, flying=0)
        self.assertLessEqual(self.window, self.bbr.window)


class BoundTests(Bench):
    """What a liar can bring about."""

    def test_window(self) -> None:
        """Whatever is acknowledged, the window is bounded, and so is what is remembered."""
        for number in range(2000):
            self.round(rate=10.0 ** (number % 12), flying=number)
            self.assertTrue(MIN_WINDOW <= self.bbr.window <= MAX_WINDOW)
            self.assertLess(len(self.bbr._bandwidths or ()), 12)
