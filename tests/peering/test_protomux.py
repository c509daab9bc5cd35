"""Channels in one stream: :mod:`spaceswarm_proxy.peering.protomux`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import ChannelRefusedError, ClosedError, MessageError, StreamResetError
from spaceswarm_proxy.peering.protomux import MAX_WAITING, WAITING_OVERHEAD, Channel, Offer
from tests.crypto.connect_vectors import VECTORS
from tests.peering.muxes import End, Owner, closing, deliver, deliver_all, opening, rejecting

GENERIC = VECTORS["protomux"]["generic"]


class TwoEnds(SynchronousTestCase):
    """Two muxes, and an owner of channels at each."""

    def setUp(self) -> None:
        self.one, self.other = End(), End()
        self.mine, self.theirs = Owner(), Owner()

    def open(self, id: bytes = b"", handshake: bytes = b"", **options: Any) -> Channel:
        return self.one.mux.open("p", id, self.mine, 0.0, handshake, **options)

    def settle(self) -> None:
        deliver_all(self.one, self.other)


class OpeningTests(TwoEnds):
    """How channels come about."""

    def test_vectors(self) -> None:
        """What is sent is what the reference sends."""
        channel = self.one.mux.open("test-protocol", b"", self.mine, 0.0)
        channel.send(0, b"\x02hi")
        channel.send(1, b"\x09\x09")
        with self.one.mux.batch():
            channel.send(0, b"\x01a")
            channel.send(1, b"\x07")
        expected = GENERIC["open"] + GENERIC["messages"] + GENERIC["corkedBatch"]
        self.assertEqual(expected, [message.hex() for message in self.one.sent])
        self.one.mux.receive(bytes.fromhex("00010107756e6b6e6f776e00"), 0.0)
        self.assertEqual(GENERIC["rejectOfRemoteOpenOfUnknownProtocol"], [rejecting(1).hex()])
        self.assertEqual(rejecting(1), self.one.sent[-1])

    def test_accepted(self) -> None:
        """One side opens, the other accepts at once; both know what the other said in doing so."""
        self.other.accept("p", self.theirs, b"welcome")
        channel = self.open(b"id", b"hello")
        self.assertFalse(channel.opened)
        self.settle()
        self.assertTrue(channel.opened)
        self.assertEqual([("opened", b"welcome")], self.mine.told)
        self.assertEqual([("opened", b"hello")], self.theirs.told)

    def test_crossing(self) -> None:
        """Both open the same: that is one channel, and nobody needs to have registered it."""
        mine = self.open()
        theirs = self.other.mux.open("p", b"", self.theirs, 0.0)
        self.settle()
        self.assertTrue(mine.opened and theirs.opened)
        mine.send(5, b"ping")
        theirs.send(6, b"pong")
        self.settle()
        self.assertEqual([("opened", b""), (6, b"pong")], self.mine.told)
        self.assertEqual([("opened", b""), (5, b"ping")], self.theirs.told)

    def test_unknown(self) -> None:
        """An open for a protocol that nobody has registered is refused, and its owner told."""
        channel = self.open()
        self.settle()
        [(what, problem)] = self.mine.told
        self.assertEqual(("closed", ChannelRefusedError), (what, type(problem)))
        self.assertTrue(channel.closed)

    def test_ids_apart(self) -> None:
        """Channels of one protocol with different ids are different channels."""
        first, second = self.open(b"1"), self.open(b"2")
        owner = Owner()
        self.other.mux.open("p", b"2", owner, 0.0)
        self.settle()
        self.assertEqual((True, True, False), (first.closed, second.opened, second.closed))
        second.send(0, b"2")
        self.settle()
        self.assertEqual([("opened", b""), (0, b"2")], owner.told)

    def test_offer_refused(self) -> None:
        """Who decides may refuse; deciding twice does nothing."""
        self.other.keep_offers("p")
        self.open()
        self.settle()
        [offer] = self.other.offers
        offer.reject(0.0)
        offer.reject(0.0)
        self.assertIsNone(offer.accept(self.theirs, 0.0))
        self.settle()
        self.assertIsInstance(self.mine.told[0][1], ChannelRefusedError)
        self.assertIsNone(self.one.mux.violation)

    def test_offer_taken_by_opening(self) -> None:
        """To open what was offered is to accept it."""
        self.other.keep_offers("p")
        channel = self.open(b"id", b"hello")
        channel.send(1, b"early")
        self.settle()
        theirs = self.other.mux.open("p", b"id", self.theirs, 0.0, b"yes")
        self.assertTrue(theirs.opened and self.other.offers[0].decided)
        self.assertEqual([("opened", b"hello"), (1, b"early")], self.theirs.told)
        self.settle()
        self.assertEqual([("opened", b"yes")], self.mine.told)

    def test_one_offer_under_a_name(self) -> None:
        """While an offer is undecided, another under the same name is refused: answers could not be told apart."""
        self.other.keep_offers("p")
        first, second = self.open(), self.open()
        self.settle()
        self.assertEqual((1, False, True), (len(self.other.offers), first.closed, second.closed))
        self.other.offers[0].accept(self.theirs, 0.0)
        self.settle()
        self.assertTrue(first.opened)

    def test_same_name_again(self) -> None:
        """Once it is decided, there may be more under the name, each with its own counterpart."""
        self.other.accept("p", self.theirs)
        channels = [self.open(), self.open()]
        self.settle()
        for number, channel in enumerate(channels):
            channel.send(number, b"")
        self.settle()
        self.assertEqual([("opened", b""), ("opened", b""), (0, b""), (1, b"")], self.theirs.told)


class WaitingTests(TwoEnds):
    """What comes before an offer is decided."""

    def setUp(self) -> None:
        super().setUp()
        self.other.keep_offers("p")
        self.channel = self.open()

    def test_kept(self) -> None:
        """It waits, and comes first and in order."""
        for number in range(3):
            self.channel.send(number, b"early")
        self.settle()
        self.assertEqual([], self.theirs.told)
        self.other.offers[0].accept(self.theirs, 0.0)
        self.channel.send(3, b"late")
        self.settle()
        self.assertEqual(
            [("opened", b""), *((number, b"early") for number in range(3)), (3, b"late")], self.theirs.told
        )

    def test_paused(self) -> None:
        """When too much waits, nothing more is read until it is decided; then all comes."""
        for number in range(100):
            self.channel.send(number, bytes(1000))
        self.settle()
        self.assertTrue(self.other.mux.paused)
        came = 101 - len(self.one.sent)
        self.assertEqual(MAX_WAITING // (1000 + WAITING_OVERHEAD), came - 2)
        self.other.offers[0].accept(self.theirs, 0.0)
        self.assertFalse(self.other.mux.paused)
        self.settle()
        self.assertEqual(list(range(100)), [type for type, _ in self.theirs.told[1:]])

    def test_paused_in_a_batch(self) -> None:
        """A batch is left off in the middle, and what is fed in spite of that waits unread."""
        with self.one.mux.batch():
            for number in range(1000):
                self.channel.send(number, b"x")
        self.channel.send(1000, b"y")
        while self.one.sent:
            self.other.mux.receive(self.one.sent.popleft(), 0.0)
        self.assertLess(len(self.other.offers[0]._messages), MAX_WAITING // WAITING_OVERHEAD + 1)
        self.other.offers[0].accept(self.theirs, 0.0)
        self.assertEqual(list(range(1001)), [type for type, _ in self.theirs.told[1:]])

    def test_refused(self) -> None:
        """A refusal lets go of what has waited, and the rest goes by."""
        for _ in range(100):
            self.channel.send(0, bytes(1000))
        self.settle()
        wakes = self.other.wakes
        self.other.offers[0].reject(0.0)
        self.assertFalse(self.other.mux.paused)
        self.assertGreater(self.other.wakes, wakes)
        self.settle()
        self.assertEqual((0, []), (self.other.mux._waiting, self.theirs.told))
        self.assertTrue(self.channel.closed)

    def test_taken_back(self) -> None:
        """An offer that its side closes is gone; its number can be used again when that was answered."""
        self.settle()
        self.channel.close()
        self.assertEqual(2, self.open(b"again")._local)
        self.settle()
        offer = self.other.offers[0]
        self.assertTrue(offer.decided)
        self.assertIsNone(offer.accept(self.theirs, 0.0))
        self.assertEqual(1, self.open(b"once more")._local)
        self.settle()
        self.assertIsNone(self.one.mux.violation or self.other.mux.violation)

    def test_early_violation(self) -> None:
        """What has waited and must not be said ends the stream when it is read, and is no trouble to who accepts."""

        class Strict(Owner):
            def received(self, channel: Channel, type: int, body: bytes, now: float) -> None:
                raise MessageError("not-that")

        self.channel.send(0, b"wrong")
        self.settle()
        wakes = self.other.wakes
        owner = Strict()
        channel = self.other.offers[0].accept(owner, 0.0)
        assert channel is not None
        self.assertTrue(channel.closed)
        assert self.other.mux.violation is not None
        self.assertEqual("not-that", self.other.mux.violation.kind)
        self.assertEqual(("closed", self.other.mux.violation), owner.told[-1])
        self.assertGreater(self.other.wakes, wakes)


class ClosingTests(TwoEnds):
    """How channels end."""

    def setUp(self) -> None:
        super().setUp()
        self.other.accept("p", self.theirs)

    def test_closed(self) -> None:
        """Who closes is told nothing, the other side once; what was sent before comes before."""
        channel = self.open()
        channel.send(0, b"last")
        channel.close()
        channel.close()
        channel.send(0, b"too late")
        self.settle()
        self.assertEqual([], self.mine.told)
        self.assertEqual([("opened", b""), (0, b"last"), ("closed", None)], self.theirs.told)

    def test_crossing(self) -> None:
        """Both may close at once; what is under way to a closed channel is for nobody."""
        channel = self.open()
        theirs: list[Channel] = []

        def accept(offer: Offer, now: float) -> None:
            accepted = offer.accept(self.theirs, now)
            assert accepted is not None
            theirs.append(accepted)

        self.other.mux.register("p", accept)
        self.settle()
        channel.send(0, b"1")
        channel.close()
        theirs[0].send(0, b"2")
        theirs[0].close()
        self.settle()
        self.assertEqual(([("opened", b"")], [("opened", b"")]), (self.mine.told, self.theirs.told))
        self.assertEqual(({}, {}), (self.one.mux._locals, self.other.mux._remotes))

    def test_numbers_again(self) -> None:
        """A number is used again once both sides have opened and closed, however often."""
        for _ in range(300):
            channel = self.open()
            self.settle()
            self.assertEqual(1, channel._local)
            channel.close()
            self.settle()
        self.assertEqual(1, self.other.mux._highest_remote)

    def test_closed_before_the_answer(self) -> None:
        """The answer to what is closed already is no new channel, and then the number is free."""
        self.open().close()
        second = self.open()
        self.assertEqual(2, second._local)
        self.settle()
        self.assertTrue(second.opened)
        self.assertEqual(1, self.open()._local)
        self.assertEqual(("closed", None), self.theirs.told[1])

    def test_closed_while_it_was_decided(self) -> None:
        """The reference passes over a close of what it has not decided about: it hears of it again when it has."""
        self.open().close()
        self.one.sent.clear()
        self.one.mux.receive(opening(1), 0.0)
        self.assertEqual([closing(1)], list(self.one.sent))
        self.assertEqual(1, self.open()._local)

    def test_stream_ends(self) -> None:
        """All owners are told why; nothing is opened, said or read after that."""
        channel, undecided = self.open(), self.open(b"2")
        deliver(self.one, self.other)
        deliver(self.other, self.one)
        problem = StreamResetError()
        self.one.mux.close(problem, 0.0)
        self.one.mux.close(problem, 0.0)
        self.assertEqual([("opened", b""), ("closed", problem), ("closed", problem)], self.mine.told)
        channel.send(0, b"")
        undecided.close()
        self.one.mux.receive(b"\x00", 0.0)
        self.assertRaises(ClosedError, self.open)

    def test_closing_in_turn(self) -> None:
        """When the stream ends, owners may close whatever they like, and nothing goes wrong."""
        channels: list[Channel] = []

        class Tidy(Owner):
            def closed(self, channel: Channel, problem: Any, now: float) -> None:
                for each in channels:
                    each.close()

        channels += [self.one.mux.open("p", bytes([number]), Tidy(), 0.0) for number in range(3)]
        self.settle()
        self.one.mux.close(None, 0.0)
        self.assertTrue(all(channel.closed for channel in channels))

    def test_offers_end_too(self) -> None:
        """An offer that was not decided can't be accepted after the end."""
        self.other.keep_offers("p")
        self.open()
        self.settle()
        self.other.mux.close(None, 0.0)
        self.assertIsNone(self.other.offers[0].accept(self.theirs, 0.0))
