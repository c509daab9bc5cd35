"""Tests of tests.interop.crowd_talk, and of who is to meet whom."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.crowd_support import Member, pairs
from tests.interop.crowd_talk import Talk


class End:
    """One end: what it has said, and what it tells."""

    def __init__(self, name: str) -> None:
        self.said = b""
        self.told: list[tuple[str, Any]] = []
        self.talk = Talk(name, self.write, self.tell)

    def write(self, data: bytes) -> None:
        self.said += data

    def tell(self, event: str, /, **fields: object) -> None:
        self.told.append((event, fields.get("round", fields.get("peer"))))


class TalkTests(SynchronousTestCase):
    """What two ends make of what they hear."""

    def setUp(self) -> None:
        self.alice, self.bob = End("alice"), End("bob")

    def carry(self, piece: int = 1 << 20) -> None:
        """Carry what was said, piece by piece, until nobody says anything more."""
        while self.alice.said or self.bob.said:
            for one, other in ((self.alice, self.bob), (self.bob, self.alice)):
                data, one.said = one.said[:piece], one.said[piece:]
                other.talk.received(data)

    def test_exchange(self) -> None:
        """Who has said hello is met, and what is sent in a round is confirmed, in whatever pieces it comes."""
        for piece in (1 << 20, 7, 1):
            self.setUp()
            self.alice.talk.round(3, 100)
            self.carry(piece)
            self.assertEqual([("met", "bob"), ("exchanged", 3)], self.alice.told)
            self.assertEqual([("met", "alice")], self.bob.told)

    def test_rounds(self) -> None:
        """Each round is one more exchange, with other bytes."""
        self.carry()
        seen = []
        for number in (1, 2):
            self.alice.talk.round(number, 100)
            seen.append(self.alice.said.partition(b"\n")[2])
            self.carry()
        self.assertEqual([("exchanged", 1), ("exchanged", 2)], self.alice.told[1:])
        self.assertNotEqual(*seen)

    def test_damage(self) -> None:
        """Bytes that are others on arrival are found out."""
        self.carry()
        self.alice.talk.round(1, 100)
        self.alice.said = self.alice.said[:-1] + bytes([self.alice.said[-1] ^ 1])
        self.carry()
        self.assertEqual([("met", "bob"), ("damaged", 1)], self.alice.told)

    def test_nonsense(self) -> None:
        """A line that means nothing is told as damage."""
        self.bob.talk.received(b"what?\n")
        self.assertEqual([("damaged", None)], self.bob.told)

    def test_parted(self) -> None:
        """Of who was met, it is told when he is gone; of who was not, nothing."""
        self.alice.talk.parted()
        self.carry()
        self.bob.talk.parted()
        self.assertEqual(("parted", "alice"), self.bob.told[-1])
        self.assertNotIn("parted", [event for event, _ in self.alice.told])


class PairsTests(SynchronousTestCase):
    """Who is to meet whom."""

    def test_pairs(self) -> None:
        """Those with a topic in common, if one of them at least can be found; nobody meets himself."""
        found = Member("found", "peer", True, frozenset({1, 2}))
        other = Member("other", "peer", True, frozenset({2}))
        seeker = Member("seeker", "tcp", False, frozenset({1}), announced=False)
        seeker_too = Member("seeker too", "ws", False, frozenset({1}), announced=False)
        expected = {("found", "other"), ("found", "seeker"), ("found", "seeker too")}
        both_ways = expected | {(other, one) for one, other in expected}
        self.assertEqual(both_ways, pairs([found, other, seeker, seeker_too]))
