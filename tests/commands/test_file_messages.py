"""What ``send`` and ``receive`` say to each other."""

from __future__ import annotations

import contextlib

from hypothesis import example, given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import MAX_UINT
from spaceswarm_proxy.commands.file_messages import MAX_MESSAGE, MAX_NAME, Begin, Have, Offer, Verdict, checked_name
from spaceswarm_proxy.errors import MessageError

sizes = st.integers(0, MAX_UINT)
hashes = st.binary(min_size=32, max_size=32)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
offers = st.builds(Offer, names, sizes, hashes)
HASH = bytes(range(32))
OFFER = Offer("big.iso", 1000, HASH)


class MessageTests(SynchronousTestCase):
    """The messages, in bytes."""

    def test_bytes(self) -> None:
        """Each is what the module's text says."""
        for message, wanted in (
            (OFFER, b"SF\x01\xfd\xe8\x03" + HASH + b"\x07big.iso"),
            (Have(1, HASH), b"\x01" + HASH),
            (Begin(252), b"\xfc"),
            (Verdict.RECEIVED, b"\0"),
            (Verdict.MISMATCH, b"\1"),
        ):
            self.assertEqual(wanted, message.encode())  # type: ignore[attr-defined]

    @settings(deadline=None)
    @given(offers)
    def test_offer(self, offer: Offer) -> None:
        """What is offered at one end is what is heard at the other, in a message that is short enough."""
        encoded = offer.encode()
        self.assertLessEqual(len(encoded), MAX_MESSAGE)
        self.assertEqual(offer, Offer.parse(encoded))

    @settings(deadline=None)
    @given(offers, st.data())
    def test_have(self, offer: Offer, data: st.DataObject) -> None:
        """So is what is there already, and where the sender begins."""
        have = Have(data.draw(st.integers(0, offer.size)), data.draw(hashes))
        self.assertEqual(have, Have.parse(have.encode(), offer))
        for offset in (0, have.size):
            self.assertEqual(Begin(offset), Begin.parse(Begin(offset).encode(), have))

    def test_verdict(self) -> None:
        """And the verdict; there are two."""
        for verdict in Verdict:
            self.assertIs(verdict, Verdict.parse(verdict.encode()))
        self.assertRaises(MessageError, Verdict.parse, b"\2")

    def test_too_much(self) -> None:
        """More than was offered, a beginning in the middle, and a name without end are refused."""
        self.assertRaises(MessageError, Have.parse, Have(1001, HASH).encode(), OFFER)
        for offset in (1, 999, 1000):
            self.assertRaises(MessageError, Begin.parse, Begin(offset).encode(), Have(500, HASH))
        self.assertRaises(ValueError, Offer("x" * (MAX_NAME + 1), 0, HASH).encode)
        self.assertRaises(MessageError, Offer.parse, OFFER.encode() + b"x")
        self.assertRaises(MessageError, Offer.parse, b"SF\2" + OFFER.encode()[3:])

    @settings(deadline=None)
    @given(st.binary(max_size=MAX_MESSAGE + 10) | st.binary(max_size=80).map(lambda rest: b"SF\x01" + rest))
    @example(b"SF\x01\0" + HASH + b"\xff" + b"\xff" * 8)
    def test_anything(self, message: bytes) -> None:
        """Whatever a peer says is a message, or refused with an error of ours."""
        for parse in (
            Offer.parse,
            Verdict.parse,
            lambda message: Have.parse(message, OFFER),
            lambda message: Begin.parse(message, Have(5, HASH)),
        ):
            with contextlib.suppress(MessageError):
                parse(message)


class NameTests(SynchronousTestCase):
    """Names that come from a remote."""

    def test_taken(self) -> None:
        """Usual ones are taken as they are."""
        for name in ("big.iso", "a b", "schön.txt", "x" * MAX_NAME, "-", "a..b"):
            self.assertEqual(name, checked_name(name))

    def test_refused(self) -> None:
        """What leads elsewhere, hides, or plays tricks on a terminal is refused."""
        for name in (
            "",
            ".",
            "..",
            ".bashrc",
            "/etc/passwd",
            "a/b",
            "..\\x",
            "C:x",
            "a\0b",
            "a\nb",
            "\x1b[2J",
            "\u202ex",
        ):
            self.assertRaises(MessageError, checked_name, name)
        self.assertRaises(MessageError, checked_name, "ü" * (MAX_NAME // 2 + 1))

    @settings(deadline=None)
    @given(names | st.text("./\\~ax", max_size=6))
    def test_anything(self, name: str) -> None:
        """A name that is taken is a single part of a path."""
        with contextlib.suppress(MessageError):
            self.assertNotIn(checked_name(name)[0], "./")
            self.assertNotIn("/", name)
