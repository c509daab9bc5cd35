"""Tests of spaceswarm_proxy.proxy.limits."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.mux import MAX_PAYLOAD
from spaceswarm_proxy.proxy.wire import MAX_FRAME


class LimitsTests(SynchronousTestCase):
    """The bounds of a server."""

    def test_defaults(self) -> None:
        """The documented defaults, which go together: a frame of a JavaScript client's fits, and a full window does."""
        limits = Limits()
        self.assertEqual((limits.max_clients, limits.max_topics, limits.max_streams), (1024, 256, 512))
        self.assertEqual((limits.window, limits.max_buffered), (256 * 1024, 4 * 1024 * 1024))
        self.assertEqual((limits.ready_timeout, limits.idle_timeout), (15, 600))
        self.assertEqual(limits.max_frame, MAX_FRAME)
        self.assertLess(limits.window, limits.max_buffered)
        self.assertLess(limits.max_frame, limits.max_partial_total)

    def test_our_frames(self) -> None:
        """What our own client sends in one frame is not too long for the server's default."""
        self.assertGreater(Limits().max_frame, MAX_PAYLOAD + 32)

    def test_positive(self) -> None:
        """A limit of nothing, or less, is refused by name; for two of them, nothing means something."""
        for each in fields(Limits):
            problem = self.assertRaises(ValueError, Limits, **{each.name: -1})
            self.assertIn(each.name, str(problem))
            if each.name in ("half_close_grace", "min_refresh"):
                self.assertEqual(getattr(Limits(**{each.name: 0}), each.name), 0)
            else:
                self.assertRaises(ValueError, Limits, **{each.name: 0})

    def test_settled(self) -> None:
        """Limits don't change under who has been given them."""
        with self.assertRaises(FrozenInstanceError):
            Limits().window = 1  # type: ignore[misc]

    def test_help(self) -> None:
        """Each says in a sentence what it is, for ``twistd --help``."""
        for each in fields(Limits):
            self.assertTrue(each.metadata["help"].endswith("."), each.name)
