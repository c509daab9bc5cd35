"""Tests of spaceswarm_proxy.udx.path_mtu."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.packet import MAX_PADDING
from spaceswarm_proxy.udx.path_mtu import BASE, HEADERS, LIMIT, MAX_LOST, PathMTU

quick = settings(deadline=None, max_examples=100)


def search(path: PathMTU, largest: int, length: int | None = None) -> tuple[int, int]:
    """
    Probe until there is nothing to be tried any more.

    :param largest: what the path carries.
    :returns: probes that arrived, and that were lost.
    """
    arrived = lost = 0
    while padding := path.padding(path.payload if length is None else min(length, path.payload)):
        assert 0 < padding <= MAX_PADDING
        if (path.payload if length is None else min(length, path.payload)) + padding + HEADERS <= largest:
            path.arrived()
            arrived += 1
        else:
            path.lost()
            lost += 1
    return arrived, lost


class PathMTUTests(SynchronousTestCase):
    """The search."""

    def test_begins_low(self) -> None:
        """Until something is known, packets are small."""
        self.assertEqual((1200, 1152), (PathMTU().size, PathMTU().payload))

    def test_ethernet(self) -> None:
        """Two probes find out that a path carries all."""
        path = PathMTU()
        self.assertEqual((2, 0), search(path, 1500))
        self.assertEqual((1500, 1452), (path.size, path.payload))

    def test_only_one_at_a_time(self) -> None:
        """No second probe leaves before the first one's fate is known, unless it did not leave at all."""
        path = PathMTU()
        self.assertLess(0, path.padding(path.payload))
        self.assertEqual(0, path.padding(path.payload))
        path.withdrawn()
        self.assertLess(0, path.padding(path.payload))

    @quick
    @given(st.integers(BASE, LIMIT))
    def test_any_path(self, largest: int) -> None:
        """What is found is carried, and hardly less than could be; few probes are lost for that."""
        path = PathMTU()
        _, lost = search(path, largest)
        self.assertLessEqual(path.size, largest)
        self.assertLess(largest - path.size, 64)
        self.assertLessEqual(lost, 5 * MAX_LOST)
        self.assertEqual(path.size - HEADERS, path.payload)

    def test_small_packets_do_not_probe(self) -> None:
        """A packet that cannot be padded far enough is none."""
        self.assertEqual(0, PathMTU().padding(100))

    def test_chance_loss(self) -> None:
        """A size is given up when its probe was lost three times in a row."""
        path = PathMTU()
        for _ in range(MAX_LOST - 1):
            path.padding(path.payload)
            path.lost()
        path.padding(path.payload)
        path.arrived()
        self.assertLess(BASE, path.size)

    def test_restart(self) -> None:
        """Of another path nothing is known."""
        path = PathMTU()
        search(path, 1300)
        path.restart()
        self.assertEqual((BASE, BASE - HEADERS), (path.size, path.payload))
        self.assertEqual((2, 0), search(path, 1500))

    def test_stray_news(self) -> None:
        """What is heard of probes that are not waited for changes nothing."""
        path = PathMTU()
        path.arrived()
        path.lost()
        self.assertEqual(BASE, path.size)
