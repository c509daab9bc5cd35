"""What a remote may not do to :mod:`spaceswarm_proxy.peering.protomux`, and what it may not have."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import ChannelError, LimitError, MessageError, ProtocolError
from spaceswarm_proxy.peering.protomux import MAX_CHANNELS, MAX_MESSAGE, MAX_WAITING
from spaceswarm_proxy.peering.protomux_wire import CONTROL, ControlType, Message, Open, encode_messages, read_messages
from tests.peering.muxes import End, Owner, closing, opening, rejecting


class LiarTests(SynchronousTestCase):
    """One mux, and a remote that is not to be trusted."""

    def setUp(self) -> None:
        self.end = End()
        self.owner = Owner()
        self.end.accept("p", self.owner)

    def hear(self, *messages: bytes) -> None:
        for message in messages:
            self.end.mux.receive(message, 0.0)

    def refuses(self, kind: str, *messages: bytes, error: type[ProtocolError] = ChannelError) -> None:
        """The last of these messages is a violation, of which everybody is told."""
        self.hear(*messages[:-1])
        problem = self.assertRaises(error, self.hear, messages[-1])
        self.assertEqual((kind, self.end.mux.violation), (problem.kind, problem))
        self.assertTrue(self.end.mux.closed)
        self.hear(b"\x00", opening(1))

    def test_live_number(self) -> None:
        """The number of a channel that is open."""
        self.refuses("bad-open", opening(1), opening(1))
        self.assertEqual("closed", self.owner.told[-1][0])

    def test_number_too_high(self) -> None:
        """A number that leaves out others."""
        self.refuses("bad-open", opening(1), opening(3))

    def test_number_of_control(self) -> None:
        """The number of the channel that is always there."""
        self.refuses("bad-open", opening(0))

    def test_rejects_what_is_not_asked(self) -> None:
        """A refusal of what was not opened."""
        self.refuses("bad-reject", rejecting(1))

    def test_rejects_what_is_open(self) -> None:
        """A refusal of what was accepted."""
        self.end.mux.open("q", b"", self.owner, 0.0)
        self.refuses("bad-reject", opening(1, "q"), rejecting(1))

    def test_cut(self) -> None:
        """Messages that are cut short."""
        for message in (
            b"\x01",
            b"\xfd\x01",
            b"\x00\x01\x01\x05p",
            b"\x00\x02",
            b"\x00\x03",
            b"\x00\x00",
            b"\x00\x00\x01\x05a",
        ):
            self.setUp()
            self.refuses("cut", message, error=MessageError)

    def test_too_long(self) -> None:
        """A message that is longer than anybody's need be."""
        self.refuses("message-too-long", opening(1), b"\x01\x00" + bytes(MAX_MESSAGE - 2), b"\x01" * (MAX_MESSAGE + 1))
        self.assertEqual(MAX_MESSAGE - 2, len(self.owner.told[1][1]))

    def test_harmless(self) -> None:
        """What is for nobody is passed over: nothing at all, unknown types, channels that are closed or never were."""
        self.hear(b"", b"\x00\x09whatever", b"\x07\x00x", closing(7), closing(0), opening(1), closing(1), b"\x01\x00x")
        self.assertEqual([("opened", b""), ("closed", None)], self.owner.told)

    def test_many_channels(self) -> None:
        """More channels than allowed are refused, and the others go on; when one is closed, there is room again."""
        self.hear(*(opening(number) for number in range(1, MAX_CHANNELS + 2)))
        self.assertEqual(MAX_CHANNELS, len(self.owner.told))
        self.assertEqual(rejecting(MAX_CHANNELS + 1), self.end.sent[-1])
        self.hear(closing(1), opening(1))
        self.assertEqual([("closed", None), ("opened", b"")], self.owner.told[-2:])

    def test_many_offers(self) -> None:
        """Offers that nobody decides about are bounded, in number and in what they hold."""
        self.end.keep_offers("late")
        for number in range(1, 200):
            if not self.end.mux.paused:
                self.hear(opening(number, "late", number.to_bytes(2, "little")))
        self.assertLessEqual(len(self.end.offers), MAX_CHANNELS)
        self.setUp()
        self.end.keep_offers("late")
        self.hear(opening(1, "late", bytes(MAX_WAITING)))
        self.assertTrue(self.end.mux.paused)

    def test_our_own(self) -> None:
        """We open no more than allowed either; those that are closed and not answered count."""
        for number in range(MAX_CHANNELS):
            self.end.mux.open("q", bytes([number]), self.owner, 0.0).close()
        problem = self.assertRaises(LimitError, self.end.mux.open, "q", b"", self.owner, 0.0)
        self.assertEqual("max_channels", problem.name)

    def test_numbers_without_end(self) -> None:
        """A remote that opens and closes, always under new numbers, takes no memory."""
        for number in range(1, 252):
            self.hear(opening(number), closing(number))
        mux = self.end.mux
        self.assertEqual(({}, {}, 1), (mux._remotes, mux._locals, len(mux._free)))

    def test_refusals(self) -> None:
        """A batch of opens that are refused is answered with one that is no longer."""
        opens = [Message(CONTROL, ControlType.OPEN, Open(number, "", b"").encode()) for number in range(1, 2000)]
        data = encode_messages(opens)
        self.hear(data)
        self.assertEqual(1999, sum(1 for sent in self.end.sent for _ in read_messages(sent)))
        self.assertLessEqual(sum(map(len, self.end.sent)), len(data))
        self.assertLessEqual(len(self.end.sent), 2)
