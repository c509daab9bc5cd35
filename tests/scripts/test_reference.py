"""The translation of docstrings for pydoctor: :mod:`scripts.reference`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from scripts.reference import translated


class TranslatedTests(SynchronousTestCase):
    """What our docstrings have beyond what pydoctor reads."""

    def translated(self, text: str) -> str:
        return translated(text, "spaceswarm_proxy.secret")

    def test_short_links(self) -> None:
        """A link of which only the last name is shown keeps its target, also one that begins in the same package."""
        self.assertEqual("`Peer <a.b.Peer>`", self.translated(":class:`~a.b.Peer`"))
        self.assertEqual("`Peer <Peer>`", self.translated(":class:`~Peer`"))
        self.assertEqual("`Watch <spaceswarm_proxy.secret.watch.Watch>`", self.translated(":class:`~.watch.Watch`"))
        self.assertEqual(":class:`a.Peer`", self.translated(":class:`a.Peer`"))

    def test_shared_parameters(self) -> None:
        """Parameters with one description have one each, all lines of it."""
        text = "    :param a, b: of both\n        of them.\n    :param c: alone.\n"
        expected = "".join(f"    :param {name}: of both\n        of them.\n" for name in "ab")
        self.assertEqual(expected + "    :param c: alone.\n", self.translated(text))

    def test_source(self) -> None:
        """Where something comes from is what to see, too."""
        self.assertEqual("    :see: libudx.\n", self.translated("    :source: libudx.\n"))
