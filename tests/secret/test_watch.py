"""What time asks of an encrypted connection: :mod:`spaceswarm_proxy.secret.watch`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.secret.watch import Due, Watch


class WatchTests(SynchronousTestCase):
    """When something is due."""

    def watch(self, opening: float = 15, keep_alive: float = 0, timeout: float = 0, *, open: bool = True) -> Watch:
        watch = Watch(100.0, opening, keep_alive, timeout)
        if open:
            watch.opened(100.0)
        return watch

    def test_opening(self) -> None:
        """Before it is open, a connection has so long for that, and nothing else is due."""
        watch = self.watch(15, 1, 1, open=False)
        self.assertEqual((115.0, None, Due.OPENING), (watch.next_deadline(), watch.due(114.9), watch.due(115.0)))
        watch.opened(110.0)
        self.assertEqual((None, Due.SILENCE), (watch.due(100.5), watch.due(115.0)))

    def test_no_limit(self) -> None:
        """With 0, each of them is off."""
        self.assertIsNone(self.watch(0, 1, 1, open=False).next_deadline())
        self.assertIsNone(self.watch().next_deadline())

    def test_keep_alive(self) -> None:
        """A keep-alive is due so long after the last write."""
        watch = self.watch(keep_alive=5)
        self.assertEqual(105.0, watch.next_deadline())
        watch.wrote(103.0)
        self.assertEqual((108.0, None, Due.KEEP_ALIVE), (watch.next_deadline(), watch.due(107.9), watch.due(108.0)))
        watch.done_writing()
        self.assertIsNone(watch.next_deadline())

    def test_silence(self) -> None:
        """The remote is given up so long after the last byte; that comes before a keep-alive."""
        watch = self.watch(keep_alive=5, timeout=20)
        watch.heard(110.0)
        watch.wrote(125.0)
        self.assertEqual((130.0, None, Due.SILENCE), (watch.next_deadline(), watch.due(129.9), watch.due(130.0)))

    def test_not_reading(self) -> None:
        """While nothing is read, silence is not the remote's fault; then it has its full time again."""
        watch = self.watch(timeout=20)
        watch.not_reading()
        self.assertEqual((None, None), (watch.next_deadline(), watch.due(1000.0)))
        watch.reading(200.0)
        self.assertEqual(220.0, watch.next_deadline())

    def test_paused_before_it_opened(self) -> None:
        """To stop reading counts from the beginning."""
        watch = self.watch(timeout=20, open=False)
        watch.not_reading()
        watch.opened(100.0)
        self.assertIsNone(watch.next_deadline())

    def test_changed(self) -> None:
        """Both can be changed on the way; silence is counted from then on."""
        watch = self.watch()
        watch.set_keep_alive(3)
        self.assertEqual(103.0, watch.next_deadline())
        watch.set_keep_alive(0)
        watch.set_timeout(7, 150.0)
        self.assertEqual(157.0, watch.next_deadline())
        watch.set_timeout(0, 150.0)
        self.assertIsNone(watch.next_deadline())
