"""Tests of spaceswarm_proxy.topics."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.topics import check_topic, topic


class TopicTests(SynchronousTestCase):
    """What a text means."""

    def test_known(self) -> None:
        """A text is hashed with BLAKE2b-256, unkeyed: the value of a published test, and of nothing."""
        self.assertEqual(topic("abc").hex(), "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319")
        self.assertEqual(topic("").hex(), "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8")

    @settings(deadline=None)
    @given(st.binary(min_size=32, max_size=32))
    def test_hex(self, value: bytes) -> None:
        """64 hex digits, in either case, are the topic itself."""
        self.assertEqual(topic(value.hex()), value)
        self.assertEqual(topic(value.hex().upper()), value)

    @settings(deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_text(self, text: str) -> None:
        """Any text gives a topic, always the same."""
        self.assertEqual(check_topic(topic(text)), topic(text))

    def test_almost_hex(self) -> None:
        """What is a digit too long or short, has a line's end, or digits of other scripts, is a text like any other."""
        for text in ("a" * 63, "a" * 65, "a" * 64 + "\n", " " + "a" * 64, "g" * 64, "\u0661" * 64):
            self.assertEqual(len(topic(text)), 32)
            self.assertNotEqual(topic(text), b"\xaa" * 32)


class CheckTests(SynchronousTestCase):
    """What may be a topic."""

    def test_bytes(self) -> None:
        """Anything of 32 bytes is given back as bytes."""
        value = bytes(range(32))
        for each in (value, bytearray(value), memoryview(value)):
            self.assertEqual(check_topic(each), value)  # type: ignore[arg-type]
            self.assertIs(type(check_topic(each)), bytes)  # type: ignore[arg-type]

    def test_refused(self) -> None:
        """Anything else is refused, with a hint: other lengths, texts, numbers, views of wider items."""
        wide = memoryview(bytes(128)).cast("I")
        for value in (b"", bytes(31), bytes(33), "a" * 32, "a" * 64, 32, None, [0] * 32, wide):
            problem = self.assertRaises(ValueError, check_topic, value)
            self.assertIn("topic('some text')", str(problem))
