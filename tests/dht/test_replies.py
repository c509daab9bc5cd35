"""Tests of spaceswarm_proxy.dht.replies."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.query import Query
from spaceswarm_proxy.dht.replies import Replies
from spaceswarm_proxy.dht.results import Reply
from spaceswarm_proxy.errors import ClosedError, NetworkUnreachableError
from spaceswarm_proxy.interfaces import HostPort


class FakeQuery:
    """What ``Replies`` sees of a query."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.closest_addresses = [address_of("10.0.0.1", 80), address_of("10.0.0.2", 81)]
        self.stored, self.successes, self.errors = 3, 4, 5

    def cancel(self) -> None:
        self.cancelled += 1


def reply(value: int) -> Reply[int]:
    """An answer."""
    return Reply(HostPort("10.0.0.1", 80), None, HostPort("10.0.0.9", 90), value)


class RepliesTests(SynchronousTestCase):
    """A query, from outside."""

    def setUp(self) -> None:
        self.query = FakeQuery()
        self.replies: Replies[int] = Replies()
        self.replies.attach(cast(Query, self.query))

    def read(self) -> tuple[list[int], Deferred[Any]]:
        """:returns: what a loop reads, while it does, and its end."""
        values: list[int] = []

        async def loop() -> str:
            async for each in self.replies:
                values.append(each.value)
            return "end"

        return values, Deferred.fromCoroutine(loop())

    def find(self, *values: int) -> None:
        """Nodes answer."""
        for value in values:
            self.replies.found(reply(value))

    def test_as_they_come(self) -> None:
        """A loop sees each reply when it comes, and ends with the query."""
        values, loop = self.read()
        self.assertEqual([], values)
        self.find(1)
        self.assertEqual([1], values)
        self.find(2, 3)
        self.assertEqual([1, 2, 3], values)
        self.assertNoResult(loop)
        self.replies.end(None)
        self.assertEqual("end", self.successResultOf(loop))

    def test_kept(self) -> None:
        """Replies that nobody has read yet are kept in order, beyond the end too."""
        self.find(1, 2)
        self.replies.end(None)
        values, loop = self.read()
        self.assertEqual(([1, 2], "end"), (values, self.successResultOf(loop)))
        values, loop = self.read()
        self.assertEqual(([], "end"), (values, self.successResultOf(loop)))

    def test_failure(self) -> None:
        """What the query fails with is raised by the loop, after the replies that there were."""
        self.find(1)
        self.replies.end(NetworkUnreachableError())
        values, loop = self.read()
        self.failureResultOf(loop, NetworkUnreachableError)
        self.assertEqual([1], values)

    def test_failure_while_reading(self) -> None:
        """So it is for a loop that waits."""
        _, loop = self.read()
        self.replies.end(ClosedError())
        self.failureResultOf(loop, ClosedError)

    def test_failure_that_nobody_asks_for(self) -> None:
        """A failure is nobody's business who has not asked."""
        self.replies.end(ClosedError())
        del self.replies
        self.assertEqual([], self.flushLoggedErrors())

    def test_several_loops(self) -> None:
        """Several loops share the replies: each goes to one of them, and all end."""
        (first, one), (second, two) = self.read(), self.read()
        self.find(1, 2, 3, 4)
        self.assertEqual([1, 2, 3, 4], sorted(first + second))
        self.replies.end(None)
        self.assertEqual(["end", "end"], [self.successResultOf(loop) for loop in (one, two)])

    def test_loop_that_is_given_up(self) -> None:
        """Who stops reading takes no reply along; the query goes on."""
        (first, one), (second, two) = self.read(), self.read()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.find(1)
        self.assertEqual(([], [1], 0), (first, second, self.query.cancelled))
        self.replies.end(None)
        self.successResultOf(two)

    def test_finished(self) -> None:
        """Everybody who waits for the end is told of it, whether they ask before or after."""
        waiting = [self.replies.finished() for _ in range(3)]
        self.find(1)
        for each in waiting:
            self.assertNoResult(each)
        self.replies.end(None)
        for each in (*waiting, self.replies.finished()):
            self.assertIsNone(self.successResultOf(each))

    def test_finished_with_a_failure(self) -> None:
        """So it is with a failure."""
        waiting = [self.replies.finished() for _ in range(3)]
        self.replies.end(NetworkUnreachableError())
        for each in (*waiting, self.replies.finished()):
            self.failureResultOf(each, NetworkUnreachableError)

    def test_one_end(self) -> None:
        """The first end counts."""
        self.replies.end(None)
        self.replies.end(ClosedError())
        self.assertIsNone(self.successResultOf(self.replies.finished()))

    def test_cancel(self) -> None:
        """Cancelling cancels the query; who waits for its end is told so, and loops end without an error."""
        values, loop = self.read()
        waiting = self.replies.finished()
        self.find(1)
        self.replies.cancel()
        self.replies.cancel()
        self.assertEqual(1, self.query.cancelled)
        self.failureResultOf(waiting, CancelledError)
        self.failureResultOf(self.replies.finished(), CancelledError)
        self.assertEqual(([1], "end"), (values, self.successResultOf(loop)))

    def test_cancel_before_it_has_begun(self) -> None:
        """It can be cancelled before there is a query."""
        replies: Replies[int] = Replies()
        replies.cancel()
        self.failureResultOf(replies.finished(), CancelledError)

    def test_cancel_after_the_end(self) -> None:
        """After the end there is nothing to cancel."""
        self.replies.end(None)
        self.replies.cancel()
        self.assertEqual(0, self.query.cancelled)
        self.assertIsNone(self.successResultOf(self.replies.finished()))

    def test_cancel_the_waiting(self) -> None:
        """Who gives up waiting for the end cancels the query, for the others too."""
        first, second = self.replies.finished(), self.replies.finished()
        first.cancel()
        self.assertEqual(1, self.query.cancelled)
        for each in (first, second):
            self.failureResultOf(each, CancelledError)

    def test_cancel_while_reading(self) -> None:
        """A loop may cancel what it reads: what has come already is read, and it ends."""
        values: list[int] = []

        async def loop() -> None:
            async for each in self.replies:
                values.append(each.value)
                self.replies.cancel()

        self.find(1, 2)
        self.successResultOf(Deferred.fromCoroutine(loop()))
        self.assertEqual([1, 2], values)

    def test_counts(self) -> None:
        """Counts and the nearest nodes are those of the query; before there is one there are none."""
        replies: Replies[int] = Replies()
        self.assertEqual(((), 0, 0, 0), (replies.closest, replies.stored, replies.successes, replies.errors))
        self.assertEqual((HostPort("10.0.0.1", 80), HostPort("10.0.0.2", 81)), self.replies.closest)
        self.assertEqual((3, 4, 5), (self.replies.stored, self.replies.successes, self.replies.errors))
