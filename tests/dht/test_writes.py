"""
What a query writes when it takes a while until that is decided: :mod:`spaceswarm_proxy.dht.writes`.

What is decided at once is in :mod:`tests.dht.test_query_writing`.
"""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.commands import ANNOUNCE, INVALID_TOKEN, UNANNOUNCE
from spaceswarm_proxy.dht.message import Command
from spaceswarm_proxy.dht.query import QueryReply
from spaceswarm_proxy.dht.writes import Decided
from spaceswarm_proxy.errors import ClosedError, LinkLostError, NotStoredError, SpaceswarmError
from tests.dht.walk import NODES, TARGET, Walk

TOKEN = b"t" * 32
FRESH = b"f" * 32


class DeciderTestCase(SynchronousTestCase):
    """A walk whose writes are decided by the test."""

    def setUp(self) -> None:
        #: Who asks what to write.
        self.asked: list[tuple[QueryReply, Decided]] = []

    def decide(self, reply: QueryReply, decided: Decided, now: float) -> None:
        self.asked.append((reply, decided))

    def committing(self, count: int = 3) -> Walk:
        """As far as the commit."""
        walk = Walk(NODES[:count], commit=self.decide)
        walk.start()
        for address in NODES[:count]:
            walk.answer(address, token=TOKEN)
        return walk

    def tell(self, walk: Walk, outcome: Command | SpaceswarmError | None, which: int = 0) -> Decided:
        """Decide for the one who asked first, or another one.  :returns: what makes it be told again."""
        _, decided = self.asked.pop(which)
        decided(outcome, walk.now)
        return decided

    def command(self, which: int = 0) -> Command:
        """Something for the one who asked first, or another one."""
        token = self.asked[which][0].response.token
        assert token is not None
        return Command.make(False, ANNOUNCE, TARGET, token)


class CommitTests(DeciderTestCase):
    """What the nearest are sent in the end."""

    def test_later(self) -> None:
        """Each is sent its own as soon as that is decided, in any order, and the query waits for all."""
        walk = self.committing()
        self.assertEqual(NODES[:3], [reply.contact.address for reply, _ in self.asked])
        self.assertEqual([], walk.waiting)
        self.tell(walk, self.command(2), 2)
        self.assertEqual([NODES[2]], walk.waiting)
        walk.answer(NODES[2])
        self.assertEqual([], walk.ends)
        for _ in range(2):
            self.tell(walk, self.command())
        for address in NODES[:2]:
            self.assertEqual([], walk.ends)
            walk.answer(address)
        self.assertEqual(([None], 3), (walk.ends, walk.query.stored))

    def test_nothing(self) -> None:
        """When nothing is to be sent to the last one, that is the end."""
        walk = self.committing()
        self.tell(walk, self.command())
        walk.answer(NODES[0])
        self.tell(walk, None)
        self.assertEqual([], walk.ends)
        self.tell(walk, None)
        self.assertEqual(([None], 1), (walk.ends, walk.query.stored))

    def test_problems(self) -> None:
        """Why nothing could be sent is what the query ends with, where nobody has taken anything, or refused it."""
        walk = self.committing()
        first = LinkLostError()
        for problem in (first, None, LinkLostError("another")):
            self.tell(walk, problem)
        self.assertEqual([first], walk.ends)
        for error, expected in ((0, type(None)), (1, NotStoredError)):
            walk = self.committing(2)
            self.tell(walk, first)
            self.tell(walk, self.command())
            walk.answer(NODES[1], error=error)
            self.assertEqual([expected], list(map(type, walk.ends)))

    def test_twice(self) -> None:
        """What is decided twice is sent once."""
        walk = self.committing(1)
        command = self.command()
        again = self.tell(walk, command)
        again(command, walk.now)
        self.assertEqual([NODES[0]], walk.waiting)
        walk.answer(NODES[0])
        again(command, walk.now)
        self.assertEqual(([None], [], 1), (walk.ends, walk.open, walk.ended_queries))

    def test_old_token(self) -> None:
        """With a fresh token it has to be decided anew; if nothing is, then it was refused."""
        for outcome in (None, LinkLostError()):
            walk = self.committing(1)
            self.tell(walk, self.command())
            walk.answer(NODES[0], error=INVALID_TOKEN, token=FRESH)
            [(reply, _)] = self.asked
            self.assertEqual((FRESH, [], []), (reply.response.token, walk.waiting, walk.ends))
            self.tell(walk, outcome)
            self.assertIsInstance(walk.ends[0], NotStoredError)
            self.assertEqual({INVALID_TOKEN: 1}, walk.query.refused)
        walk = self.committing(1)
        self.tell(walk, self.command())
        walk.answer(NODES[0], error=INVALID_TOKEN, token=FRESH)
        self.tell(walk, self.command())
        self.assertEqual(FRESH, walk.open[0].token)
        walk.answer(NODES[0])
        self.assertEqual([None], walk.ends)

    def test_after_the_end(self) -> None:
        """What is decided when the query has ended, or was cancelled, is not sent."""
        for end in (lambda walk: walk.query.cancel(), lambda walk: walk.query.give_up(ClosedError(), walk.now)):
            walk = self.committing()
            self.tell(walk, self.command())
            end(walk)
            told = len(walk.ends)
            while self.asked:
                self.tell(walk, self.command())
            self.assertEqual(([], told, 1), (walk.open, len(walk.ends), walk.ended_queries))

    def test_never(self) -> None:
        """A query that waits for a decision can be given up."""
        walk = self.committing()
        walk.query.give_up(ClosedError(), walk.now)
        self.assertIsInstance(walk.ends[0], ClosedError)

    @settings(deadline=None, max_examples=60)
    @given(st.data())
    def test_any_order(self, data: st.DataObject) -> None:
        """Whatever is decided, and answered, in whatever order: the query ends once, when nothing is missing."""
        self.setUp()
        walk = self.committing(4)
        taken = 0
        while not walk.ends:
            moves = [("tell", number) for number in range(len(self.asked))]
            moves += [("answer", number) for number in range(len(walk.open))]
            self.assertTrue(moves)
            move, number = data.draw(st.sampled_from(moves))
            if move == "tell":
                outcome = data.draw(st.sampled_from([self.command(number), None, LinkLostError()]))
                self.tell(walk, outcome, number)
            else:
                error = data.draw(st.sampled_from([0, 1, INVALID_TOKEN]))
                taken += not error
                walk.answer(walk.waiting[number], error=error, token=FRESH)
        self.assertEqual(([], [], 1), (self.asked, walk.open, walk.ended_queries))
        self.assertEqual((taken, walk.ends[0] is None), (walk.query.stored, taken > 0))


class ReactTests(DeciderTestCase):
    """What is sent to a node that has answered."""

    def test_later(self) -> None:
        """The walk goes on meanwhile; its end waits, and the commit begins after that."""
        commits: list[Decided] = []
        walk = Walk(
            NODES[:2], react=self.decide, commit=lambda reply, decided, now: commits.append(decided)
        )  # fmt: skip
        walk.start()
        for address in NODES[:2]:
            walk.answer(address, token=TOKEN)
        self.assertEqual((2, []), (len(self.asked), commits))
        self.tell(walk, Command.make(False, UNANNOUNCE, TARGET, b"v"))
        self.tell(walk, LinkLostError())
        self.assertEqual([], commits)
        walk.answer(NODES[0], error=1)
        self.assertEqual((2, 0, {}), (len(commits), walk.query.stored, walk.query.refused))
        for decided in commits:
            decided(None, walk.now)
        self.assertIsInstance(walk.ends[0], NotStoredError)

    def test_problem(self) -> None:
        """That something could not be sent is no problem where nothing has to be stored."""
        walk = Walk(NODES[:1], react=self.decide)
        walk.start()
        walk.answer(NODES[0], token=TOKEN)
        self.tell(walk, LinkLostError())
        self.assertEqual([None], walk.ends)
