"""Tests for ``spaceswarm_proxy.secret.labels``: what streams are bound to, where that is not certain."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import ConnectError, ConnectTimeoutError, HandshakeError, StreamError, StreamResetError
from spaceswarm_proxy.secret.labels import Labels, check_label


def because(cause: BaseException) -> ConnectError:
    problem = ConnectError("lost before it had opened")
    problem.__cause__ = cause
    return problem


def other_label(heard: str | None) -> HandshakeError:
    """What an attempt with ``a`` fails with when the server was heard, with another label."""
    try:
        check_label("a", heard)
    except HandshakeError as problem:
        return problem
    raise AssertionError("it is the same")


class LabelsTests(SynchronousTestCase):
    """Which label is tried next."""

    def test_certain(self) -> None:
        """One alone is certain; of several, none is until a server has understood it."""
        self.assertTrue(Labels(("a",)).are_certain)
        labels = Labels(("a", "b"))
        self.assertFalse(labels.are_certain)
        labels.understood("a")
        self.assertEqual((True, ("a", "b")), (labels.are_certain, labels.all))

    def test_understood(self) -> None:
        """What was understood comes first, the others as they were; also one that nobody had thought of."""
        labels = Labels(("a", "b", "c"))
        labels.understood("c")
        self.assertEqual(("c", "a", "b"), labels.all)
        labels.understood("d")
        self.assertEqual(("d", "c", "a", "b"), labels.all)

    def test_told(self) -> None:
        """A server that says what it calls it is believed, and nothing else is tried, certain or not."""
        for labels in (Labels(("a",)), Labels(("a", "b"))):
            self.assertEqual(("b",), labels.left(("a", "x"), other_label("b")))

    def test_reset(self) -> None:
        """One that just goes may know another one: the rest is tried, until one was understood."""
        labels = Labels(("a", "b", "c"))
        tried, attempts = labels.all, 0
        while tried:
            tried = labels.left(tried, because(StreamResetError()))
            attempts += 1
        self.assertEqual(3, attempts)
        labels.understood("a")
        self.assertEqual((), labels.left(labels.all, because(StreamResetError())))

    def test_nothing_left(self) -> None:
        """Whatever else goes wrong has nothing to do with labels."""
        labels = Labels(("a", "b"))
        for problem in (
            ConnectTimeoutError(),
            ConnectError(),
            StreamResetError(),
            because(StreamError()),
            HandshakeError("bad-header"),
            ZeroDivisionError(),
        ):
            self.assertEqual((), labels.left(labels.all, problem))

    def test_check(self) -> None:
        """A server with the same label is fine; with another, or one that is not known, it will not understand us."""
        check_label("a", "a")
        for heard in ("b", None):
            self.assertEqual(str(heard), other_label(heard).detail)
