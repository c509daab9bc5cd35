"""Tests of what spaceswarm_proxy.dht.query writes: while it walks, and to the nearest nodes in the end."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.commands import ANNOUNCE, INVALID_TOKEN, SEQ_REUSED, SEQ_TOO_LOW, UNANNOUNCE
from spaceswarm_proxy.dht.message import Command
from spaceswarm_proxy.dht.query import QueryReply
from spaceswarm_proxy.dht.requests import RETRIES
from spaceswarm_proxy.dht.table import K
from spaceswarm_proxy.dht.writes import Decided
from spaceswarm_proxy.errors import (
    ClosedError,
    LimitError,
    NetworkUnreachableError,
    NotStoredError,
    SequenceReusedError,
    SequenceTooLowError,
    SpaceswarmError,
)
from tests.dht.walk import NODES, TARGET, Walk


def token_of(address: bytes) -> bytes:
    """What a node gives out: no two the same."""
    return address.ljust(32, b"t")


def write(reply: QueryReply, decided: Decided, now: float) -> None:
    """Decides on a command for this very reply; on none without a token."""
    token = reply.response.token
    decided(None if token is None else Command.make(False, ANNOUNCE, TARGET, token), now)


class WritingTestCase(SynchronousTestCase):
    """A walk to a few nodes, all of which answer with a token."""

    def walk(self, count: int = 3, **options: Any) -> Walk:
        """As far as the commit."""
        walk = Walk(NODES[:count], commit=write, **options)
        walk.start()
        for address in NODES[:count]:
            walk.answer(address, token=token_of(address))
        return walk

    def assertEnded(self, walk: Walk, problem: type[SpaceswarmError] | None) -> str:
        """The query has ended once, and so; its text."""
        self.assertEqual(len(walk.ends), 1)
        self.assertIs(None if walk.ends[0] is None else type(walk.ends[0]), problem)
        self.assertEqual((walk.open, walk.ended_queries), ([], 1))
        return str(walk.ends[0])


class CommitTests(WritingTestCase):
    """What the nearest are sent in the end."""

    def test_nearest(self) -> None:
        """Each of the twenty nearest gets the command that was made for it, with its own token, all at once."""
        walk = Walk(NODES[5:15], commit=write)
        walk.start()
        for address in NODES[5:15]:
            walk.answer(address, NODES[:25], token=token_of(address))
        while any(not request.token for request in walk.open):
            address = walk.waiting[0]
            walk.answer(address, token=token_of(address))
        self.assertEqual(walk.waiting, NODES[:K])
        for request in walk.open:
            self.assertEqual((request.token, request.retries), (token_of(request.to), RETRIES))
            self.assertIn(token_of(request.to), request.command.tail)

    def test_stored(self) -> None:
        """One node that takes it is enough; the query ends when all have said something, or are given up."""
        walk = self.walk()
        walk.fail(NODES[0])
        walk.answer(NODES[1], error=SEQ_TOO_LOW)
        self.assertEqual(walk.ends, [])
        walk.answer(NODES[2])
        self.assertEnded(walk, None)
        self.assertEqual((walk.query.stored, walk.query.refused), (1, {SEQ_TOO_LOW: 1}))
        self.assertEqual(walk.query.successes, 3)

    def test_refused(self) -> None:
        """When nobody takes it, the query fails with the reason that says most."""
        for errors, problem in (
            ((SEQ_REUSED, SEQ_TOO_LOW, 1), SequenceTooLowError),
            ((SEQ_REUSED, 1, 1), SequenceReusedError),
            ((1, 99, 99), NotStoredError),
        ):
            walk = self.walk()
            for address, error in zip(NODES, errors, strict=False):
                walk.answer(address, error=error)
            text = self.assertEnded(walk, problem)
        self.assertEqual(text, "no node has stored it: it does not serve this command, error 99")

    def test_silent(self) -> None:
        """When nobody says anything, as they do where a signature is wrong, it fails as not stored."""
        walk = self.walk()
        for address in NODES[:3]:
            walk.fail(address)
        self.assertEqual(self.assertEnded(walk, NotStoredError), "none of 3 nodes has confirmed it")

    def test_no_token(self) -> None:
        """Nodes that gave no token are sent nothing; if none has, the query fails at once."""
        walk = Walk(NODES[:3], commit=write)
        walk.start()
        walk.answer(NODES[0])
        walk.answer(NODES[1])
        walk.answer(NODES[2], token=token_of(NODES[2]))
        self.assertEqual(walk.waiting, [NODES[2]])
        walk.answer(NODES[2])
        self.assertEnded(walk, None)
        walk = Walk(NODES[:1], commit=write)
        walk.start()
        walk.answer(NODES[0])
        self.assertEnded(walk, NotStoredError)

    def test_nobody(self) -> None:
        """Where nobody is known, answers, and has an id to store under, the network is out of reach."""
        walk = Walk(commit=write)
        walk.start()
        self.assertEnded(walk, NetworkUnreachableError)
        walk = Walk(NODES[:2], commit=write)
        walk.start()
        walk.fail(NODES[0])
        walk.answer(NODES[1], id=False, token=token_of(NODES[1]))
        self.assertEnded(walk, NetworkUnreachableError)

    def test_old_token(self) -> None:
        """A node that finds our token too old gives a fresh one, which is used at once, but only once."""
        walk = self.walk()
        fresh = b"f" * 32
        walk.answer(NODES[0], error=INVALID_TOKEN, token=fresh)
        self.assertEqual(walk.waiting, [NODES[1], NODES[2], NODES[0]])
        self.assertEqual(walk.open[-1].token, fresh)
        self.assertEqual(walk.open[-1].command, Command.make(False, ANNOUNCE, TARGET, fresh))
        walk.answer(NODES[0], error=INVALID_TOKEN, token=fresh)
        self.assertEqual(walk.waiting, [NODES[1], NODES[2]])
        walk.answer(NODES[1], error=INVALID_TOKEN, token=fresh)
        walk.answer(NODES[1])
        walk.answer(NODES[2], error=INVALID_TOKEN)
        self.assertEnded(walk, None)
        self.assertEqual((walk.query.stored, walk.query.refused), (1, {INVALID_TOKEN: 2}))

    def test_cancel(self) -> None:
        """A commit that is cancelled, or fails for the whole node, leaves nothing."""
        walk = self.walk()
        walk.answer(NODES[0])
        walk.query.cancel()
        self.assertEqual((walk.open, walk.ends, walk.ended_queries), ([], [], 1))
        walk = self.walk()
        walk.fail(NODES[0], ClosedError())
        self.assertEnded(walk, ClosedError)

    def test_cannot_be_sent(self) -> None:
        """What keeps a write from being sent is what the query ends with."""
        walk = Walk(NODES[:2], commit=write)
        walk.start()
        walk.answer(NODES[0], token=token_of(NODES[0]))
        walk.problem = LimitError("max_requests")
        walk.answer(NODES[1], token=token_of(NODES[1]))
        self.assertEnded(walk, LimitError)

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.sampled_from([0, 1, INVALID_TOKEN, SEQ_REUSED, SEQ_TOO_LOW, None]), min_size=6, max_size=6))
    def test_any_outcome(self, outcomes: list[int | None]) -> None:
        """Whatever the nodes say, the query ends once, well if and only if somebody has taken it."""
        walk = self.walk(6)
        for address, outcome in zip(NODES, outcomes, strict=False):
            while address in walk.waiting:
                if outcome is None:
                    walk.fail(address)
                else:
                    walk.answer(address, error=outcome, token=b"f" * 32 if outcome == INVALID_TOKEN else None)
        self.assertEqual((len(walk.ends), walk.open, walk.ended_queries), (1, [], 1))
        self.assertEqual(walk.ends[0] is None, 0 in outcomes)
        self.assertEqual(walk.query.stored, outcomes.count(0))


class ReactTests(WritingTestCase):
    """What is sent to a node as soon as it has answered."""

    @staticmethod
    def react(reply: QueryReply, decided: Decided, now: float) -> None:
        """Only the second node is to be told something."""
        told = reply.contact.address == NODES[1]
        decided(Command.make(False, UNANNOUNCE, TARGET, b"v") if told else None, now)

    def test_at_once(self) -> None:
        """A reaction goes out while the walk goes on, with the token of the answer, and the query waits for it."""
        walk = Walk(NODES[:3], react=self.react)
        walk.start()
        walk.answer(NODES[1], token=token_of(NODES[1]))
        self.assertEqual(walk.waiting, [NODES[0], NODES[2], NODES[1]])
        self.assertEqual(walk.open[-1].token, token_of(NODES[1]))
        walk.answer(NODES[0])
        walk.answer(NODES[2])
        self.assertEqual(walk.ends, [])
        walk.answer(NODES[1])
        self.assertEnded(walk, None)

    def test_before_commit(self) -> None:
        """The commit begins when all reactions have ended, well or not, and only its own results count."""
        for react in (Walk.fail, Walk.answer):
            walk = self.walk(react=self.react)
            self.assertEqual(walk.waiting, [NODES[1]])
            react(walk, NODES[1])
            self.assertEqual(walk.waiting, NODES[:3])
            for address in NODES[:3]:
                walk.answer(address, error=1)
            self.assertEnded(walk, NotStoredError)
            self.assertEqual((walk.query.stored, walk.query.refused), (0, {1: 3}))

    def test_cancel(self) -> None:
        """A reaction under way is forgotten with its query."""
        walk = Walk(NODES[:3], react=self.react)
        walk.start()
        walk.answer(NODES[1])
        walk.query.cancel()
        self.assertEqual((walk.open, walk.ends), ([], []))

    def test_not_after_cancel(self) -> None:
        """Whoever cancels a query when told of a reply prevents the reaction to it."""

        def on_reply(reply: QueryReply, now: float) -> None:
            walk.query.cancel()

        walk = Walk(NODES[:3], react=self.react, on_reply=on_reply)
        walk.start()
        walk.answer(NODES[1])
        self.assertEqual((walk.open, walk.ends), ([], []))

    def test_cannot_be_sent(self) -> None:
        """What keeps a reaction from being sent ends the query."""
        walk = Walk(NODES[:3], react=self.react)
        walk.start()
        walk.problem = LimitError("max_requests")
        walk.answer(NODES[1])
        self.assertEnded(walk, LimitError)
